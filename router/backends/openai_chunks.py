"""OpenAI's chat format, spoken by remote servers and by llama.cpp in the process alike: requests out, chunks in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from router.backends.means import Mean
from router.domain.chat import Delta, Finish, FinishReason, Generation, Message, Usage
from router.domain.errors import BackendProtocolError, BackendUnavailableError, RequestError, RouterError
from router.domain.units import seconds_from_ms

OURS = frozenset({"model", "messages", "stream", "stream_options", "logprobs", "n"})
OLLAMAS = frozenset({"options", "keep_alive", "think", "format"})  # strict servers refuse what they do not know
IMAGE_TYPES = {"iVBOR": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}  # by how their base64 begins
REASONS: Mapping[str, FinishReason] = {"length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}
TOO_LONG = ("exceed_context_size", "context_length_exceeded")
CALLERS_FAULT = ("invalid_request", "BadRequest")


def to_openai(generation: Generation) -> dict[str, Any]:
    """The body of a streaming chat request.

    ``cache_prompt`` is llama.cpp's own field, so it is sent only where re-use is to be switched off.
    """
    sampling = generation.sampling
    body: dict[str, Any] = {key: value for key, value in generation.extra.items() if key not in OURS | OLLAMAS}
    body |= {
        "model": generation.model,
        "messages": [_wire(message) for message in generation.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chosen = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "logprobs": generation.logprobs or None,
        "cache_prompt": None if generation.cache_prompt else False,
    }
    return body | {key: value for key, value in chosen.items() if value is not None}


def _wire(message: Message) -> dict[str, Any]:
    extra = {key: value for key, value in message.extra.items() if key not in ("images", "tool_name", "thinking")}
    content: str | list[dict[str, Any]] = encodable(message.content)
    if images := message.extra.get("images"):
        text = [{"type": "text", "text": content}] if content else []
        content = [*text, *({"type": "image_url", "image_url": {"url": _data_url(str(image))}} for image in images)]
    return {**extra, "role": message.role, "content": content}


def _data_url(image: str) -> str:
    if image.startswith("data:"):
        return image
    kind = next((kind for begin, kind in IMAGE_TYPES.items() if image.startswith(begin)), "png")
    return f"data:image/{kind};base64,{image}"


def encodable(text: str) -> str:
    """The text with halves of characters, which JSON allows and UTF-8 does not, as question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


MOST_TOKENS = 2**40
"""An engine that says more than this has miscounted."""


class ChunkReader:
    """Takes the chunks of one answer and knows at its end what it took.

    Where the server reports no timings, prefill is the time to the first token as seen from here, decode the rest.

    Attributes:
        ended: Whether a finish reason has arrived.
    """

    def __init__(self, who: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin when the request is sent.

        Args:
            who: The engine, for messages.
            clock: Seconds.
        """
        self._who = who
        self._clock = clock
        self._began = clock()
        self._first: float | None = None
        self._last: float | None = None
        self._reason: FinishReason | None = None
        self._called = False
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._logprobs = Mean()

    @property
    def ended(self) -> bool:
        """Whether a finish reason has arrived."""
        return self._reason is not None

    def take(self, chunk: Any) -> Delta | None:
        """Read one chunk; its piece of the answer, if it has one.

        Raises:
            RequestError: If it says that the request is at fault.
            BackendUnavailableError: If it says that the engine failed.
            BackendProtocolError: If it is no chunk.
        """
        try:
            if error := chunk.get("error"):
                raise error_within(self._who, error)
            self._usage = chunk.get("usage") or self._usage
            self._timings = chunk.get("timings") or self._timings
            return self._choice(chunk["choices"][0]) if chunk["choices"] else None
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise BackendProtocolError(
                f"{self._who} sent something that is no chat chunk: {str(chunk)[:80]}"
            ) from error

    def finish(self, load_s: float | None = None) -> Finish:
        """The end of the answer."""
        usage = Usage(
            prompt_tokens=token_count(self._usage.get("prompt_tokens")),
            output_tokens=token_count(self._usage.get("completion_tokens")),
            prefill_s=self._timed("prompt_ms", self._began, self._first),
            decode_s=self._timed("predicted_ms", self._first, self._last),
            load_s=load_s,
            mean_logprob=self._logprobs.value,
        )
        return Finish("tool_calls" if self._called else self._reason or "stop", usage)

    def _choice(self, choice: Mapping[str, Any]) -> Delta | None:
        delta = choice.get("delta") or {}
        logprobs = tuple((choice.get("logprobs") or {}).get("content") or ())
        self._logprobs.add(*(token["logprob"] for token in logprobs))
        if reason := choice.get("finish_reason"):
            self._reason = REASONS.get(reason, "stop")
        text = encodable(delta.get("content") or "")
        tool_calls = tuple(delta.get("tool_calls") or ())
        # Newer servers (vLLM, OpenRouter, Ollama's own /v1) call the reasoning by the shorter name.
        thinking = encodable(delta.get("reasoning_content") or delta.get("reasoning") or "")
        if text or tool_calls or thinking:
            self._last = self._clock()
            self._first = self._last if self._first is None else self._first
        self._called = self._called or bool(tool_calls)
        return Delta(text, tool_calls, logprobs, thinking) if text or tool_calls or logprobs or thinking else None

    def _timed(self, key: str, begin: float | None, end: float | None) -> float | None:
        if isinstance(duration_ms := self._timings.get(key), int | float):
            return seconds_from_ms(duration_ms)
        return None if begin is None or end is None else end - begin


def token_count(said: Any) -> int | None:
    """A number of tokens as an engine says it; None where that is none that can be."""
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < MOST_TOKENS else None


def error_text(error: Any) -> str:
    """The message of an error body in any of the forms servers use."""
    if isinstance(error, Mapping):
        inner = error.get("error", error)
        if isinstance(inner, Mapping):
            return str(inner.get("message") or inner.get("detail") or inner)
        return str(inner)
    return str(error)


def error_within(who: str, error: Any) -> RouterError:
    """The error that an error object in the middle of a stream stands for."""
    kind = f"{error.get('type')} {error.get('code')}" if isinstance(error, Mapping) else ""
    if any(fault in kind for fault in TOO_LONG):
        return RequestError(
            f"the prompt is too long for {who}: {error_text(error)}",
            param="messages",
            hint="shorten the conversation, or ask a model with a larger context window",
        )
    if any(fault in kind for fault in CALLERS_FAULT):
        return RequestError(f"{who} refuses the request: {error_text(error)}")
    return BackendUnavailableError(f"{who} failed while answering: {error_text(error)}")
