"""Request bodies as clients really send them: without a content type, or with half a character in them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class MendingRequest(Request):
    """A request whose JSON holds only what can be written as JSON in UTF-8 again, since engines are sent it.

    Programs that cut texts by UTF-16 units send half of a pair now and then; it becomes U+FFFD here. NaN and
    infinities, which Python's own parser takes and no other does, are an error.
    """

    async def json(self) -> Any:
        """The body.

        Raises:
            JSONDecodeError: If it is not JSON.
        """
        body = await self.body()
        try:
            value = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:  # no UTF-8, too many digits, too deep
            raise json.JSONDecodeError(str(error), "", 0) from error
        if _SURROGATE.search(body):
            text = json.dumps(value, ensure_ascii=False)
            return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        return value


def _no_number(constant: str) -> float:
    raise json.JSONDecodeError(f"{constant} is no number in JSON", "", 0)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise json.JSONDecodeError(f"the number {text[:20]} is too large", "", 0)
    return value


class WireRoute(APIRoute):
    """A route that mends what can be mended in a body."""

    def get_route_handler(self) -> Handler:
        """The usual handler with a mending request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(MendingRequest(request.scope, request.receive))

        return handle


class AnyContentTypeRoute(WireRoute):
    """Reads the body as JSON whatever its content type says: people's curl commands rarely set one.

    Not if a browser sends it from another site's page: such a request needs no leave of ours only as long as its
    content type is a plain one, and should not be able to spend this machine's energy.
    """

    def get_route_handler(self) -> Handler:
        """The usual handler behind a corrected content type."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if not is_from_elsewhere(request):
                # A new list: the one in the scope is the server's, and what others log of it should stay true.
                request.scope["headers"] = list(request.scope["headers"])
                MutableHeaders(scope=request.scope)["content-type"] = "application/json"
            return await handler(Request(request.scope, request.receive))

        return handle


def is_from_elsewhere(request: Request) -> bool:
    """Whether a browser sends it from a page that this machine did not serve."""
    origin = request.headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).hostname not in _LOOPBACK
    except ValueError:
        return True
