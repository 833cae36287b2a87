"""What answers look like, for the OpenAPI document alone: the answers themselves are written where they are made.

That the two agree is tested against a running server. Every object may have more fields than are named here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.domain.record import CarbonRecord


class Shape(BaseModel):
    """Base of all: more fields are no error."""

    model_config = ConfigDict(extra="allow")


class OpenAIErrorDetail(Shape):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class OpenAIError(Shape):
    """An error in OpenAI's dialect."""

    error: OpenAIErrorDetail


class OllamaError(Shape):
    """An error in Ollama's dialect."""

    error: str


class FunctionCall(Shape):
    """What a tool call calls; the arguments are a JSON text."""

    name: str
    arguments: str


class ToolCall(Shape):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(Shape):
    """The answer; null where there are only tool calls."""

    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = []


class TokenLogprobs(Shape):
    """Log-probabilities, token by token."""

    content: list[dict[str, Any]]
    refusal: None


class Choice(Shape):
    """One of n answers."""

    index: int = Field(ge=0)
    message: AssistantMessage
    logprobs: TokenLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class TokenUsage(Shape):
    """Tokens read and written."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class ChatCompletion(Shape):
    """An answer in one piece."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1)
    usage: TokenUsage | None
    carbon: CarbonRecord


class ModelEntry(Shape):
    """A model that can be asked for; ``auto`` and aliases have only the first four fields, or ``alias_of``."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    alias_of: str | None = None
    parameters: float | None = None
    context_length: int | None = None
    licence: str | None = None
    available: bool | None = None
    measured: bool | None = None


class ModelList(Shape):
    """Every model that can be asked for."""

    object: Literal["list"]
    data: list[ModelEntry]


class EmbeddingEntry(Shape):
    """One vector: numbers, or little-endian 32-bit floats as base64."""

    object: Literal["embedding"]
    index: int = Field(ge=0)
    embedding: list[float] | str


class EmbeddingUsage(Shape):
    """Tokens, estimated at four characters each."""

    prompt_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    estimated: Literal[True]


class EmbeddingList(Shape):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    model: str
    data: list[EmbeddingEntry]
    usage: EmbeddingUsage


class OllamaFigures(Shape):
    """The last line of a stream, or an answer in one piece; a figure that the engine does not report is left out.

    An answer to a request without a prompt (``done_reason`` is ``load``) has no figures.
    """

    model: str
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    done: Literal[True]
    done_reason: Literal["stop", "length", "load"]
    total_duration: int = Field(default=0, ge=0, description="nanoseconds")
    load_duration: int = Field(default=0, ge=0, description="nanoseconds")
    prompt_eval_count: int = Field(default=0, ge=0)
    prompt_eval_duration: int = Field(default=0, ge=0, description="nanoseconds")
    eval_count: int = Field(default=0, ge=0)
    eval_duration: int = Field(default=0, ge=0, description="nanoseconds")
    logprobs: list[dict[str, Any]] = []
    carbon: CarbonRecord | None = None


class OllamaMessage(Shape):
    """The answer, with what the model thought where that is kept apart."""

    role: Literal["assistant"]
    content: str
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = []


class OllamaChatAnswer(OllamaFigures):
    """An answer of ``/api/chat`` in one piece."""

    message: OllamaMessage


class OllamaGenerateAnswer(OllamaFigures):
    """An answer of ``/api/generate`` in one piece."""

    response: str
    thinking: str = ""


class OllamaEmbedAnswer(Shape):
    """Vectors in the order of the texts."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = Field(ge=0, description="nanoseconds")


class OllamaEmbeddingAnswer(Shape):
    """The vector of one text."""

    embedding: list[float]


class OllamaDetails(Shape):
    """What kind of model it is; empty where not known."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(Shape):
    """A model in a list; ``size`` is null where no engine says it."""

    name: str
    model: str
    size: int | None
    digest: str = Field(min_length=12)
    details: OllamaDetails


class OllamaTag(OllamaModel):
    """A model that can be asked for."""

    modified_at: str = Field(json_schema_extra={"format": "date-time"})


class OllamaTags(Shape):
    """Every model that can be asked for."""

    models: list[OllamaTag]


class OllamaRunningModel(OllamaModel):
    """A model that answered lately."""

    expires_at: str = Field(json_schema_extra={"format": "date-time"})
    size_vram: int | None
    context_length: int | None = None


class OllamaRunning(Shape):
    """Models that answered lately."""

    models: list[OllamaRunningModel]


class OllamaShown(Shape):
    """What is known of one model."""

    modelfile: str
    parameters: str
    template: str
    license: str
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str = Field(json_schema_extra={"format": "date-time"})


class OllamaVersion(Shape):
    """The Ollama whose API this is, and the router's own version."""

    version: str
    carbon_router: str


class OptionName(Shape):
    """An option by its parts; of a cascade the option that answers first, and in words who follows and when."""

    model: str
    directive: str
    site: str
    setting: str
    cascade: str | None = None


class Expected(OptionName):
    """An option with what is expected of it."""

    expected_g: float | None


class WeighedOption(Expected):
    """An option as it was weighed for one prompt."""

    weight: float | None
    expected_quality: float | None


class Neighbour(Shape):
    """A measured prompt near this one."""

    id: str
    category: str | None
    distance: float | None
    prompt: str


class RouteAnswer(OptionName):
    """What would answer, and every number behind it."""

    policy: str
    reason: str
    fallback: str | None
    side: str | None
    conversation: str | None
    category: str | None
    category_probability: float | None
    probabilities: dict[str, float | None]
    reference: Expected
    neighbours: list[Neighbour]
    options: list[WeighedOption]


class PlanAnswer(Shape):
    """The current plan, or null under ``plan`` where there is none; ``notes`` say why.

    ``decided_by`` is ``prompt`` where the policy has no plan to show, and null where the reference answers everything.
    """

    policy: str
    decided_by: Literal["plan", "prompt"] | None
    floor: str
    planned_at: float | None
    solved_ms: float
    reference: OptionName | None
    intensity_g_per_kwh: dict[str, dict[str, Any]]
    intensity_forecast: dict[str, list[dict[str, float]]]
    sliding_floor: dict[str, Any]
    traffic: dict[str, Any]
    residency: list[dict[str, Any]]
    measured_prompts: int = Field(ge=0)
    notes: list[str]
    plan: dict[str, Any] | None


class StatsAnswer(Shape):
    """Totals of the journal; null where nothing of a sum is known."""

    since: float
    first_at: float | None
    last_at: float | None
    turns: int = Field(ge=0)
    side_requests: dict[str, float | None]
    energy_j: float | None
    operational_g: float | None
    embodied_g: float | None
    reference_g: float | None
    saved_g: float | None
    router_energy_j: float | None
    unknown: dict[str, int]
    prompt_tokens: int | None
    output_tokens: int | None
    attempts: int
    escalations: int
    mean_overhead_ms: float | None
    period_s: float
    saving: dict[str, dict[str, Any]]
    score: dict[str, dict[str, Any]]


class Health(Shape):
    """The process lives."""

    status: Literal["ok"]


class Readiness(Shape):
    """Whether requests can be answered, part by part."""

    ready: bool
    checks: dict[str, dict[str, Any]]
