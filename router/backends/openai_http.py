"""Any server that speaks OpenAI's chat API: vLLM, SGLang, llama-server and the like."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from router.backends.http import Exchange, Peer, Response, open_client, refused
from router.backends.lines import SseEvent, SseParser, parse_json
from router.backends.openai_chunks import ChunkReader, error_text, to_openai
from router.domain.chat import Delta, Finish, Generation
from router.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendUnavailableError,
    ModelMissingError,
    RequestError,
)
from router.domain.ports import ServedModel


class OpenAIBackend:
    """An OpenAI-compatible server."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        connect_s: float = 3.0,
        silence_s: float = 300.0,
    ) -> None:
        """Take where it listens; nothing is sent yet.

        Args:
            url: Its address, with or without ``/v1``.
            api_key: Sent as bearer token.
            connect_s: Seconds to wait for a connection.
            silence_s: Seconds without a byte until it counts as hung.
        """
        base = url.rstrip("/").removesuffix("/v1")
        self._peer = Peer("the OpenAI-compatible server", base)
        self._base = f"{base}/v1"
        self._client = open_client(base, api_key=api_key, connect_s=connect_s, silence_s=silence_s)

    async def stream(self, generation: Generation) -> AsyncGenerator[Delta | Finish, None]:
        """Chat; see :meth:`router.domain.ports.Backend.stream`."""
        reader = ChunkReader(str(self._peer))
        events = SseParser()
        done = False
        with Exchange(self._peer) as exchange:
            request = self._client.stream("POST", f"{self._base}/chat/completions", json=to_openai(generation))
            async with request as response:
                await self._check(response, generation.model)
                async for chunk in response.aiter_bytes():
                    for event in events.feed(chunk):
                        exchange.started = True
                        if event.is_done:
                            yield reader.finish()
                            return
                        if delta := _read(reader, event):
                            yield delta
                for event in events.finish():
                    done = done or event.is_done
                    if not event.is_done and (delta := _read(reader, event)):
                        yield delta
        if done or reader.ended:
            yield reader.finish()
        elif exchange.started:
            raise BackendUnavailableError(f"{self._peer} broke off in the middle of its answer")
        else:
            raise BackendProtocolError(f"{self._peer} did not answer with a stream of events")

    async def models(self) -> tuple[ServedModel, ...]:
        """What ``GET /v1/models`` lists."""
        with Exchange(self._peer):
            response = await self._client.get(f"{self._base}/models")
            await self._check(response, "")
        try:
            return tuple(_served(entry) for entry in parse_json(response.content)["data"])
        except (KeyError, TypeError, AttributeError) as error:
            raise BackendProtocolError(f"{self._peer} did not answer with a list of models") from error

    async def close(self) -> None:
        """Close its connections, which stops what still runs."""
        await self._client.aclose()

    async def _check(self, response: Response, model: str) -> None:
        if response.is_success:
            return
        await response.aread()
        raise self._refusal(response, model)

    def _refusal(self, response: Response, model: str) -> BackendError | RequestError:
        try:
            body = parse_json(response.content)
        except BackendProtocolError:
            return refused(self._peer, response.status_code, response.text, model)
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and error.get("code") == "model_not_found":
            return ModelMissingError(f"{self._peer} has no model {model!r}: {error_text(error)}")
        return refused(self._peer, response.status_code, error_text(body), model)


def _read(reader: ChunkReader, event: SseEvent) -> Delta | None:
    return reader.take(parse_json(event.data)) if event.data else None


def _served(entry: dict[str, Any]) -> ServedModel:
    size = (entry.get("meta") or {}).get("size")  # llama-server tells it
    return ServedModel(str(entry["id"]), digest=None, bytes=size if isinstance(size, int) else None)
