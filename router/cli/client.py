"""Asking a running server where there is one, building the service in this process where there is none.

``route`` and ``plan`` show what the *running* server would do if it answers on the configured address; that is
also quicker, since nothing has to be loaded. A server that asks for keys gets the one in ``ROUTER_API_KEY``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from router.config.settings import load_settings
from router.domain.errors import RequestError, RouterError

KEY_VARIABLE = "ROUTER_API_KEY"
_CONNECT_S = 0.5
_READ_S = 60.0


def ask(
    method: str,
    path: str,
    body: dict[str, Any] | None,
    *,
    models_file: Path | None,
    local: Callable[[Any], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """One answer of the server, or of a service built here.

    Args:
        method: HTTP method.
        path: Path at the server.
        body: JSON body, or None.
        models_file: A federation to use instead of the running server's: always answered in this process.
        local: What to ask of a service built here.

    Raises:
        RouterError: If the server refuses, or nothing can be built here.
    """
    settings = load_settings(models_file=models_file)
    if models_file is None:
        try:
            timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            key = os.environ.get(KEY_VARIABLE)
            answer = httpx.request(
                method,
                f"http://{host}:{settings.port}{path}",
                json=body,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=timeout,
                trust_env=False,
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            pass
        else:
            return _checked(answer)
    return asyncio.run(_locally(settings, local))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        raise RouterError(
            f"{answer.url} is not a carbon-router (it answered {answer.status_code} without JSON)",
            hint="set ROUTER_PORT to the router's port",
        ) from None
    error = data.get("error") if isinstance(data, dict) else None
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise RequestError(
            f"the router at {answer.url.host} asks for an API key",
            hint=f"put one that `carbon-router keys add` gave into {KEY_VARIABLE}",
        )
    if answer.is_error:
        message = error.get("message") if isinstance(error, dict) else error
        raise RequestError(str(message or answer.text))
    if not isinstance(data, dict):
        raise RouterError(f"{answer.url} is not a carbon-router", hint="set ROUTER_PORT to the router's port")
    return data


async def _locally(settings: Any, local: Callable[[Any], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    from router.service.wiring import build, load_federation

    service = build(settings, load_federation(settings))
    try:
        await service.planner.refresh()
        return await local(service)
    finally:
        await service.close()
