"""Ollama's administration: refused with a reason, or handed on to an Ollama site where that is allowed.

A model that is pulled this way is at the engine, and not in models.yaml: it has to be named there to be routed to.
"""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from router.api.bodies import is_from_elsewhere
from router.api.errors import ollama_error_body
from router.api.streams import LineStream, gone, in_band, unless_gone
from router.domain.errors import RequestError, RouterError
from router.domain.ports import AdministeredBackend, AdministrationReply
from router.service.assembly import Service

logger = logging.getLogger(__name__)

CALLS = (
    ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"), ("POST", "/api/copy"),
    ("DELETE", "/api/delete"), ("HEAD", "/api/blobs/{digest}"), ("POST", "/api/blobs/{digest}"),
)  # fmt: skip
PATHS = tuple(dict.fromkeys(path.partition("{")[0] for _, path in CALLS))
_BLOBS = "/api/blobs/"
SITE_HEADER = "x-router-site"  # which site is meant, where several run Ollama


def build(service: Service, *, allowed: bool) -> APIRouter:
    """The routes.

    Args:
        service: The running service.
        allowed: Whether calls are handed on.
    """
    routes = APIRouter()

    async def refuse(request: Request) -> Response:
        what = request.url.path.removeprefix("/api/").partition("/")[0]
        return refused(
            f"`{what}` is not served: models are added in models.yaml, and fetched by their engine "
            "(ROUTER_ALLOW_ADMIN=true hands such calls on to Ollama)"
        )

    async def hand_on(request: Request) -> Response:
        if is_from_elsewhere(request):
            return refused("administration is not for pages of other sites")
        site, backend = _administered(service, request.headers.get(SITE_HEADER))
        stack = AsyncExitStack()
        path = request.url.path
        try:
            await stack.enter_async_context(service.engines.lend(site))
            if path.startswith(_BLOBS):  # files, which are not to be kept in memory
                reply = await stack.enter_async_context(backend.administer(request.method, path, request.stream()))
            else:
                call = backend.administer(request.method, path, _once(await request.body()))
                found = await unless_gone(request, stack.enter_async_context(call))
                if found is None:
                    await stack.aclose()
                    return gone()
                reply = found
        except BaseException:
            await stack.aclose()
            raise
        logger.info("%s %s at %s -> %d", request.method, path, site, reply.status)
        return _Reply(stack, reply)

    for method, path in CALLS:
        routes.add_api_route(path, hand_on if allowed else refuse, methods=[method], include_in_schema=False)
    return routes


def refused(message: str) -> JSONResponse:
    """The answer to what is not served."""
    return JSONResponse(ollama_error_body(message), status_code=403, headers={"x-should-retry": "false"})


def _administered(service: Service, wanted: str | None) -> tuple[str, AdministeredBackend]:
    """The site that is meant, or the first that runs Ollama.

    Raises:
        RequestError: If there is none.
    """
    able = {
        name: engine.backend
        for name, engine in service.engines.all.items()
        if isinstance(engine.backend, AdministeredBackend)
    }
    if wanted is None and able:
        return next(iter(able.items()))
    if wanted is not None and wanted in able:
        return wanted, able[wanted]
    raise RequestError(
        "no site runs Ollama" if wanted is None else f"no site {wanted!r} runs Ollama",
        hint=f"sites that do: {', '.join(able) or 'none'}; {SITE_HEADER} names one",
    )


class _Reply(LineStream):
    """What the engine answers, piece by piece; when the client goes, the engine's connection is closed with it."""

    def __init__(self, stack: AsyncExitStack, reply: AdministrationReply) -> None:
        """Take the reply, and the context that it lives in."""
        kind = reply.content_type or "text/plain"
        super().__init__(in_band(_texts(reply), _error_line), media_type=kind, headers={})
        self.status_code = reply.status
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reply ends or the client goes."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stack.aclose()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _texts(reply: AdministrationReply) -> AsyncGenerator[str, None]:
    whole_characters = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in reply.pieces:
        if text := whole_characters.decode(piece):
            yield text


def _error_line(error: RouterError) -> str:
    return json.dumps(ollama_error_body(str(error))) + "\n"
