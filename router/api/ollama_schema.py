"""Ollama's chat and generate wire formats, as far as the router reads or writes them.

Unknown fields are passed over, as Ollama does. What the engine is handed is in OpenAI's form (tool calls, response
format), which every engine here understands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from router.api import messages as wire_messages
from router.api.openai_schema import carbon_json
from router.api.streams import Whole
from router.domain.chat import Message, Sampling
from router.domain.errors import BackendProtocolError, RequestError
from router.domain.units import ns_from_seconds
from router.service.ask import Ask
from router.service.progress import Done

_INT64 = 2**63
# Options that OpenAI-style engines know by the same name; all others only mean something to Ollama.
_SHARED_OPTIONS = frozenset(
    {
        "top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty",
        "mirostat", "mirostat_tau", "mirostat_eta",
    }
)  # fmt: skip
_SAMPLING_OPTIONS = frozenset({"num_predict", "temperature", "top_p", "seed", "stop"})
_KEPT_MESSAGE_FIELDS = ("images", "tool_calls", "tool_call_id", "tool_name", "name", "thinking")


class Options(BaseModel):
    """Ollama's ``options``: those the router reads are checked, the others handed on."""

    model_config = ConfigDict(extra="allow")

    num_predict: int | None = Field(default=None, ge=-_INT64, lt=_INT64)
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-_INT64, lt=_INT64)
    stop: str | list[str] | None = None

    def sampling(self) -> Sampling:
        """How tokens are drawn; Ollama's negative ``num_predict`` means no limit, a negative seed a random one."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            max_tokens=self.num_predict if self.num_predict and self.num_predict > 0 else None,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed if self.seed is not None and self.seed >= 0 else None,
            stop=tuple(text for text in stop if text),
        )

    def for_engine(self) -> dict[str, Any]:
        """The other options: shared ones side by side with the request's fields, Ollama's own under ``options``."""
        others = {key: value for key, value in (self.model_extra or {}).items() if value is not None}
        shared = {key: value for key, value in others.items() if key in _SHARED_OPTIONS}
        own = {key: value for key, value in others.items() if key not in _SHARED_OPTIONS}
        return {**shared, "options": own} if own else shared


class OllamaWireMessage(wire_messages.WireBase):
    """A message as Ollama's clients send it."""

    content: str | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1)
    stream: bool | None = True
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: str | float | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    directive: str | None = None

    @property
    def streams(self) -> bool:
        """Whether lines are wanted: yes, unless told otherwise."""
        return self.stream is not False

    @property
    def unloads(self) -> bool:
        """Whether the model is to be thrown out of memory; only without a prompt is that a request of its own."""
        return str(self.keep_alive).strip() in ("0", "0.0", "0s", "0m", "0h")

    def _ask(self, messages: tuple[Message, ...], **extra: Any) -> Ask:
        wire_messages.require_prompt(messages)
        options = self.options or Options()
        fields = {
            **options.for_engine(),
            **extra,
            "response_format": _response_format(self.format),
            "keep_alive": self.keep_alive,
            "think": self.think,
            "top_logprobs": self.top_logprobs or None,
        }
        return Ask(
            messages=messages,
            model=plain_name(self.model),
            directive=self.directive,
            sampling=options.sampling(),
            logprobs=bool(self.logprobs),
            extra={key: value for key, value in fields.items() if value is not None},
        )


class OllamaChatRequest(_Request):
    """Body of ``POST /api/chat``."""

    messages: list[OllamaWireMessage] | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def is_load(self) -> bool:
        """Whether there is nothing to answer, which is how clients ask for a model to be loaded."""
        return not self.messages

    def ask(self) -> Ask:
        """The request in the domain's words.

        Raises:
            RequestError: If something in it cannot be served.
        """
        plain = [message.model_dump(exclude_none=True) for message in self.messages or ()]
        messages = tuple(
            wire_messages.build(
                message["role"],
                message.get("content") or "",
                {key: message[key] for key in _KEPT_MESSAGE_FIELDS if key in message},
                param=f"messages.{index}",
            )
            for index, message in enumerate(wire_messages.tool_calls_from_ollama(plain))
        )
        return self._ask(messages, tools=self.tools or None)


class GenerateRequest(_Request):
    """Body of ``POST /api/generate``."""

    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None

    @property
    def is_load(self) -> bool:
        """Whether there is nothing to answer, which is how clients ask for a model to be loaded."""
        return not self.prompt and not self.images

    def ask(self) -> Ask:
        """The request in the domain's words.

        Raises:
            RequestError: If something in it cannot be served.
        """
        refusals = {
            "suffix": "filling in the middle is not served",
            "template": "templates are the engine's own here",
            "context": "tokens of an earlier answer mean nothing to another model",
            "raw": "a raw prompt bypasses the directive and the engine's template, so it is not served",
        }
        for param, why in refusals.items():
            if getattr(self, param):
                hint = "send the conversation to /api/chat" if param == "context" else f"leave `{param}` out"
                raise RequestError(f"`{param}`: {why}", param=param, hint=hint)
        user = wire_messages.build("user", self.prompt or "", {"images": self.images}, param="prompt")
        system = wire_messages.build("system", self.system or "", {}, param="system")
        return self._ask((system, user) if system.content else (user,))


def _response_format(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not wanted:
        return None
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    if wanted == "json":
        return {"type": "json_object"}
    raise RequestError(f"unknown format {wanted!r}", param="format", hint='send "json" or a JSON schema')


def plain_name(name: str) -> str:
    """The name without the ``:latest`` that clients put behind a name such as ``auto@L1``, where it is no tag."""
    return name.removesuffix(":latest") if "@" in name else name


def full_name(name: str) -> str:
    """The name as Ollama lists it: always with a tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def now_iso() -> str:
    """This moment as Ollama writes it."""
    return iso(datetime.now(UTC).timestamp())


def iso(unix_s: float) -> str:
    """Unix seconds as ISO 8601, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tool_calls_json(whole: Whole) -> list[dict[str, Any]]:
    """Tool calls as Ollama sends them: arguments are an object.

    Raises:
        BackendProtocolError: If the model wrote arguments that are no JSON object.
    """
    calls = []
    for call in whole.calls.whole():
        name, text = call["function"]["name"], call["function"]["arguments"]
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise BackendProtocolError(
                f"the model called {name!r} with arguments that are no JSON object: {text[:80]!r}"
            )
        calls.append({"id": call["id"], "function": {"name": name, "arguments": arguments}})
    return calls


def finish_json(done: Done) -> dict[str, Any]:
    """What the last line says: counts, nanoseconds and the carbon object; a figure nobody knows is left out."""
    usage = done.finish.usage
    figures = {
        "total_duration": _ns(done.turn.duration_s),
        "load_duration": _ns(usage.load_s),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": _ns(usage.prefill_s),
        "eval_count": usage.output_tokens,
        "eval_duration": _ns(usage.decode_s),
    }
    return {
        "done": True,
        # Ollama knows no reason of its own for tool calls.
        "done_reason": "length" if done.finish.reason == "length" else "stop",
        **{key: value for key, value in figures.items() if value is not None},
        "carbon": carbon_json(done.turn.carbon),
    }


def _ns(duration_s: float | None) -> int | None:
    return None if duration_s is None else ns_from_seconds(duration_s)


def logprobs_field(tokens: Any) -> Mapping[str, Any]:
    """The ``logprobs`` field of a line, or nothing where there are none."""
    return {"logprobs": [dict(token) for token in tokens]} if tokens else {}
