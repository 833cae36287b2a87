"""Asking a running server where there is one, building the service in this process where there is none.

``route`` and ``plan`` show what the *running* server would do if it answers on the configured address; that is
also quicker, since nothing has to be loaded. A server that asks for keys gets the one in ``ROUTER_API_KEY``.
Where none answers that is told on stderr, since what is computed here knows no load, and may have other models.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import typer

from router.config.settings import load_settings
from router.domain.errors import RequestError, RouterError

KEY_VARIABLE = "ROUTER_API_KEY"
_CONNECT_S = 0.5
_READ_S = 60.0
_PORT_HINT = "set ROUTER_PORT to the router's port"


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
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        answer = _of_server(method, f"http://{host}:{settings.port}", path, body)
        if answer is not None:
            return _checked(answer)
        typer.echo(f"no router answers at {host}:{settings.port}; computed here", err=True)
    return asyncio.run(_locally(settings, local))


def _of_server(method: str, address: str, path: str, body: dict[str, Any] | None) -> httpx.Response | None:
    """What answers at the address says; None where nothing listens.

    Raises:
        RouterError: If something listens and does not answer, or in no HTTP.
    """
    key = os.environ.get(KEY_VARIABLE)
    try:
        return httpx.request(
            method,
            f"{address}{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            trust_env=False,
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL):
        return None
    except httpx.TimeoutException:
        raise RouterError(
            f"{address} did not answer within {_READ_S:g} s",
            hint=f"the router is busy: try again; if it is no router, {_PORT_HINT}",
        ) from None
    except httpx.HTTPError as error:
        raise RouterError(f"{address} broke off: {error}", hint=f"if it is no router, {_PORT_HINT}") from error


def _checked(answer: httpx.Response) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        raise RouterError(
            f"{answer.url} is not a carbon-router (it answered {answer.status_code} without JSON)", hint=_PORT_HINT
        ) from None
    # Errors of a router have this field in both dialects.
    if not isinstance(data, dict) or (answer.is_error and "error" not in data):
        raise RouterError(f"{answer.url} is not a carbon-router (it answered {answer.status_code})", hint=_PORT_HINT)
    error = data.get("error")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise RequestError(
            f"the router at {answer.url.host} asks for an API key",
            hint=f"put one that `carbon-router keys add` gave into {KEY_VARIABLE}",
        )
    if answer.is_error:
        message = error.get("message") if isinstance(error, dict) else error
        raise RequestError(str(message or answer.text))
    return data


async def _locally(settings: Any, local: Callable[[Any], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    from router.service.wiring import build, load_federation

    service = build(settings, load_federation(settings))
    try:
        await service.planner.refresh()
        return await local(service)
    finally:
        await service.close()
