"""An application in this process, asked without a socket; unless told otherwise its store is empty: nothing to fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from router.api.app import Access, create_app
from router.service.assembly import Service
from tests.service import federation

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


@asynccontextmanager
async def asked(access: Access | None = None, **parts: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    """A client of an application around a service on fakes."""
    service = federation.build(**{"measured": [], **parts})
    await service.planner.refresh(force=True)
    app = create_app(service, access=access or Access())
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, service
    await service.close()
