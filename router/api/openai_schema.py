"""OpenAI's chat completion wire format, as far as the router reads or writes it.

Fields the router does not use itself are kept and handed to the engine untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from router.api import messages as wire_messages
from router.api.streams import Whole, total_carbon, total_usage
from router.domain.chat import Message, Sampling, Usage
from router.domain.errors import RequestError
from router.domain.record import CarbonRecord
from router.service.ask import AUTO, Ask

MOST_CHOICES = 128
_INT64 = 2**63
# Matters of OpenAI's own service (accounts, caches, safety, search, sound): no engine here knows them.
_CLOUD_FIELDS = frozenset(
    {
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "prompt_cache_options", "prediction", "web_search_options", "audio", "modalities",
        "moderation",
    }
)  # fmt: skip


class WireMessage(wire_messages.WireBase):
    """A message as clients send it: content is a string, a list of parts, or null."""

    content: str | list[str | dict[str, Any]] | None = None


class ResponseFormat(BaseModel):
    """The form an answer has to take."""

    model_config = ConfigDict(extra="allow")

    type: str
    json_schema: dict[str, Any] | None = None


class StreamOptions(BaseModel):
    """What a client wants in a stream."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = False


class ChatRequest(BaseModel):
    """Body of ``POST /v1/chat/completions``."""

    model_config = ConfigDict(extra="allow")

    messages: list[WireMessage] = Field(min_length=1)
    model: str = AUTO
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    # OpenAI's schema allows 0, and clients write it for "no limit"; those of llama.cpp and LM Studio write -1.
    max_tokens: int | None = Field(default=None, ge=-_INT64, lt=_INT64)
    max_completion_tokens: int | None = Field(default=None, ge=-_INT64, lt=_INT64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-_INT64, lt=_INT64)
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    modalities: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    response_format: ResponseFormat | None = None
    options: dict[str, Any] | None = None
    directive: str | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return self.n or 1

    def ask(self) -> Ask:
        """The request in the domain's words.

        Raises:
            RequestError: If something in it cannot be served.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError(
                "`top_logprobs` needs `logprobs: true`", param="top_logprobs", hint="send both, or neither"
            )
        if "audio" in (self.modalities or ()):
            raise RequestError("answers are text; audio is not served", param="modalities", hint='send ["text"]')
        messages = tuple(_message(message, index) for index, message in enumerate(self.messages))
        wire_messages.require_prompt(messages)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        extra = {key: value for key, value in (self.model_extra or {}).items() if key not in _CLOUD_FIELDS}
        limit = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        typed = {"tools", "response_format", "options", "top_logprobs"}
        extra |= {key: value for key, value in self.model_dump(include=typed, exclude_none=True).items() if value}
        return Ask(
            messages=messages,
            model=self.model,
            directive=self.directive,
            sampling=Sampling(
                max_tokens=limit if limit and limit > 0 else None,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=self.seed,
                stop=tuple(text for text in stop if text),
            ),
            logprobs=bool(self.logprobs),
            extra=extra,
        )


def _message(wire: WireMessage, index: int) -> Message:
    extra = wire.model_dump(exclude={"role", "content"}, exclude_none=True)
    param = f"messages.{index}"
    if isinstance(wire.content, list):
        text, images = wire_messages.read_parts(wire.content, param=f"{param}.content")
        if images:
            extra["images"] = [*extra.get("images", ()), *images]
    else:
        text = wire.content or ""
    return wire_messages.build(wire.role, text, extra, param=param)


def completion_json(wholes: Sequence[Whole], *, wants_logprobs: bool) -> dict[str, Any]:
    """The body of an answer in one piece; several choices share one usage and one carbon object."""
    ends = [whole.ends() for whole in wholes]
    started, done = ends[0]
    return {
        "id": f"chatcmpl-{started.id}",
        "object": "chat.completion",
        "created": int(done.turn.started_at),
        "model": started.option.model,
        "choices": [
            {
                "index": index,
                "message": _message_json(whole),
                "logprobs": logprobs_json(whole.logprobs if wants_logprobs else ()),
                "finish_reason": whole.ends()[1].finish.reason,
            }
            for index, whole in enumerate(wholes)
        ],
        "usage": usage_json(total_usage([end.finish.usage for _, end in ends])),
        "carbon": carbon_json(total_carbon([end.turn.carbon for _, end in ends])),
    }


def _message_json(whole: Whole) -> dict[str, Any]:
    calls = whole.calls.whole()
    message: dict[str, Any] = {"role": "assistant", "content": whole.text or None if calls else whole.text}
    if whole.thinking:
        message["reasoning_content"] = whole.thinking
    if calls:
        message["tool_calls"] = calls
    return message


def logprobs_json(tokens: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Log-probabilities as far as the engine gave them, or null."""
    if not tokens:
        return None
    content = [{"bytes": list(str(t["token"]).encode("utf-8", "replace")), "top_logprobs": [], **t} for t in tokens]
    return {"content": content, "refusal": None}


def usage_json(usage: Usage) -> dict[str, Any] | None:
    """Token counts, or null where the engine does not report both."""
    if usage.prompt_tokens is None or usage.output_tokens is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def carbon_json(record: CarbonRecord) -> dict[str, Any]:
    """The carbon object sent with every answer."""
    return asdict(record)
