"""Ollama's administration (pull, push, create, copy, delete, blobs), handed on byte by byte."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from router.backends.http import Exchange, Peer, Response, open_client
from router.domain.ports import AdministrationReply

_SILENCE_S = 3600.0  # a pull that is not to report its progress says nothing until it is done


class OllamaAdministration:
    """Calls of administration to one Ollama server."""

    def __init__(self, url: str, *, connect_s: float, api_key: str | None) -> None:
        """Take where it listens; nothing is sent yet."""
        self._url = url.rstrip("/")
        self._peer = Peer("Ollama", url)
        self._client = open_client(url, api_key=api_key, connect_s=connect_s, silence_s=_SILENCE_S)

    @asynccontextmanager
    async def call(
        self, method: str, path: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[AdministrationReply, None]:
        """See :meth:`router.domain.ports.AdministeredBackend.administer`."""
        content = body if method != "HEAD" else None
        with Exchange(self._peer) as exchange:
            async with self._client.stream(
                method, self._url + path, content=content, headers={"content-type": "application/json"}
            ) as response:
                exchange.started = True
                yield AdministrationReply(
                    response.status_code, response.headers.get("content-type"), self._pieces(response)
                )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _pieces(self, response: Response) -> AsyncGenerator[bytes, None]:
        with Exchange(self._peer) as exchange:
            exchange.started = True
            async for piece in response.aiter_bytes():
                yield piece
