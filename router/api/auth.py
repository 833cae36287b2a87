"""Who may use the router: an API key as bearer token, where keys are required."""

from __future__ import annotations

import logging

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from router.api.errors import response_to
from router.config.keys import KeyFile
from router.domain.errors import ConfigError, UnauthorizedError

logger = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz",)  # says nothing but that the process lives; who watches over it has no key
OWNER = "router_key_owner"


class KeyGuard:
    """Lets requests with a known key through, and notes whose it is."""

    def __init__(self, app: ASGIApp, keys: KeyFile, only: tuple[str, ...] = ()) -> None:
        """Take what is guarded, and the keys.

        Args:
            app: What is guarded.
            keys: The keys.
            only: How the paths begin that need one, and these only if there is any key; empty for all paths, always.
        """
        self._app = app
        self._keys = keys
        self._only = only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or hand on."""
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        owner = self._owner(token.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            what = "the API key is not known" if token else "an API key is required"
            error = UnauthorizedError(
                what, hint="send `Authorization: Bearer KEY`; `carbon-router keys add NAME` makes one"
            )
            await response_to(request, error)(scope, receive, send)
            return
        scope[OWNER] = owner
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        if not self._only:
            return path in OPEN_PATHS
        try:
            return not path.startswith(self._only) or not self._keys.all()
        except ConfigError:
            return False  # nobody can be told apart, so nobody is let in

    def _owner(self, token: str) -> str | None:
        try:
            return self._keys.owner(token)
        except ConfigError as error:
            logger.error("nobody is let in: %s", error)
            return None
