"""Ollama: the engine people run.

It is asked what it has through its official client. Chats are sent without it: the client's own idea of a tool knows
only the simplest parameters, and leaves out of a request whatever else a schema says.

Ollama re-uses a common prompt prefix on its own account and cannot be told not to, so ``cache_prompt`` is not
heeded; its prompt seconds are then those of the tokens it had to read anew. Older servers (0.9 for one) know no
log-probabilities and ignore that they were asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import ollama
from pydantic import ValidationError

from router.backends.http import (
    Exchange,
    Peer,
    Response,
    name,
    open_client,
    patience,
    refused,
    trusts_environment,
    unreachable,
)
from router.backends.lines import LineSplitter, parse_json
from router.backends.means import Mean
from router.backends.ollama_admin import OllamaAdministration
from router.backends.ollama_messages import openai_tool_calls, to_ollama_chat
from router.backends.openai_chunks import error_text
from router.domain.chat import Delta, Finish, FinishReason, Generation, Usage
from router.domain.errors import BackendError, BackendProtocolError, BackendUnavailableError
from router.domain.ports import AdministrationReply, ServedModel
from router.domain.units import seconds_from_ns

DEFAULT_TAG = "latest"
_DESCRIBE_S = 3.0  # a look into a file; who waits for it has a list of models to show
DEFAULT_URL = "http://127.0.0.1:11434"


def with_tag(model: str) -> str:
    """The model's whole name: ``llama3`` is ``llama3:latest``; a registry's port is no tag."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:{DEFAULT_TAG}"


class OllamaBackend:
    """An Ollama server."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        connect_s: float = 3.0,
        silence_s: float = 300.0,
        options: Mapping[str, Any] | None = None,
        api_key: str | None = None,
    ) -> None:
        """Take where it listens; nothing is sent yet.

        Args:
            url: Its address.
            connect_s: Seconds to wait for a connection.
            silence_s: Seconds without a byte until it counts as hung; loading a large model is silent too.
            options: Ollama options of every request, e.g. ``{"num_ctx": 8192}``.
            api_key: Sent as bearer token.
        """
        self._peer = Peer("Ollama", url)
        self._address = f"{url.rstrip('/')}/api/chat"
        self._options = dict(options or {})
        self._administration = OllamaAdministration(url, connect_s=connect_s, api_key=api_key)
        key = api_key or os.environ.get("OLLAMA_API_KEY")  # as the official client does of its own accord
        self._chats = open_client(url, api_key=key, connect_s=connect_s, silence_s=silence_s)
        self._client = ollama.AsyncClient(
            host=url,
            timeout=patience(connect_s, silence_s),
            headers={"authorization": f"Bearer {api_key}"} if api_key else None,
            trust_env=trusts_environment(url),
        )

    async def stream(self, generation: Generation) -> AsyncGenerator[Delta | Finish, None]:
        """Chat; see :meth:`router.domain.ports.Backend.stream`."""
        logprobs = Mean()
        calls = 0
        with Exchange(self._peer) as exchange:
            body = to_ollama_chat(generation, self._options)
            request = self._chats.stream("POST", self._address, json=body, follow_redirects=True)
            async with request as response:
                await self._check(response, generation.model)
                async with aclosing(_lines(response)) as lines:
                    async for line in lines:
                        part = self._part(line)
                        exchange.started = True
                        logprobs.add(*(token.logprob for token in part.logprobs or ()))
                        tool_calls = openai_tool_calls(part.message.tool_calls or (), first_index=calls)
                        calls += len(tool_calls)
                        text, thinking = part.message.content or "", part.message.thinking or ""
                        if text or tool_calls or thinking or part.logprobs:
                            tokens = tuple(token.model_dump(exclude_none=True) for token in part.logprobs or ())
                            yield Delta(text, tool_calls, tokens, thinking)
                        if part.done:
                            yield _finish(part, generation, logprobs.value, has_calls=calls > 0)
                            return
        raise BackendUnavailableError(f"{self._peer} broke off in the middle of its answer")

    async def models(self) -> tuple[ServedModel, ...]:
        """What ``ollama list`` shows; a model tagged ``latest`` is listed without its tag too."""
        with Exchange(self._peer):
            try:
                listed = (await self._client.list()).models
            except ollama.ResponseError as error:
                raise refused(self._peer, error.status_code, str(error.error), "") from error
            except ConnectionError as error:  # the client's own, whose text would send people to a download
                raise unreachable(self._peer, error.__context__ or error) from error
            except (ValidationError, ValueError, TypeError) as error:
                raise BackendProtocolError(
                    f"{self._peer} sent something that is not its protocol: {name(error)}"
                ) from error
        served = []
        for entry in listed:
            if entry.model:
                short = entry.model.removesuffix(f":{DEFAULT_TAG}")
                size = None if entry.size is None else int(entry.size)
                served += [ServedModel(alias, entry.digest, size) for alias in dict.fromkeys((entry.model, short))]
        return tuple(served)

    async def capabilities(self, model: str) -> frozenset[str] | None:
        """What ``ollama show`` lists; None from servers before 0.6.4, which do not say."""
        try:
            async with asyncio.timeout(_DESCRIBE_S):
                with Exchange(self._peer):
                    shown = await self._client.show(model)
        except (BackendError, ollama.ResponseError, ValidationError, OSError, ValueError, TypeError):
            return None
        return None if shown.capabilities is None else frozenset(shown.capabilities)

    def administer(
        self, method: str, path: str, body: AsyncIterator[bytes]
    ) -> AbstractAsyncContextManager[AdministrationReply]:
        """Hand a call on; see :meth:`router.domain.ports.AdministeredBackend.administer`."""
        return self._administration.call(method, path, body)

    async def close(self) -> None:
        """Close its connections, which stops what still runs."""
        await self._administration.close()
        await self._chats.aclose()
        await self._client.close()  # type: ignore[no-untyped-call]

    def _part(self, line: bytes) -> ollama.ChatResponse:
        try:
            said = json.loads(line.decode("utf-8", errors="replace"))
            error = said.get("error")
            if not error:
                return ollama.ChatResponse(**said)
        except (ValidationError, ValueError, AttributeError, TypeError, RecursionError) as wrong:
            raise BackendProtocolError(
                f"{self._peer} sent something that is not its protocol: {name(wrong)}"
            ) from wrong
        raise BackendUnavailableError(f"{self._peer} failed while answering: {error_text(error)}")

    async def _check(self, response: Response, model: str) -> None:
        if response.is_success:
            return
        await response.aread()
        try:
            detail = error_text(parse_json(response.content))
        except BackendProtocolError:
            detail = response.text
        raise refused(self._peer, response.status_code, detail, model)


async def _lines(response: Response) -> AsyncGenerator[bytes, None]:
    """Its lines, without empty ones."""
    splitter = LineSplitter()
    async for chunk in response.aiter_bytes():
        for line in splitter.feed(chunk):
            if line:
                yield line
    for line in splitter.finish():
        yield line


def _finish(
    part: ollama.ChatResponse, generation: Generation, mean_logprob: float | None, *, has_calls: bool
) -> Finish:
    limit = generation.sampling.max_tokens
    reached = part.done_reason == "length" or (
        part.done_reason is None and limit is not None and part.eval_count is not None and part.eval_count >= limit
    )
    reason: FinishReason = "tool_calls" if has_calls else "length" if reached else "stop"
    usage = Usage(
        prompt_tokens=part.prompt_eval_count,
        output_tokens=part.eval_count,
        prefill_s=_seconds(part.prompt_eval_duration),
        decode_s=_seconds(part.eval_duration),
        load_s=_seconds(part.load_duration),
        mean_logprob=mean_logprob,
    )
    return Finish(reason, usage)


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else seconds_from_ns(duration_ns)
