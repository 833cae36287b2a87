"""The application: routes, error shapes and the service's life time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

import router
from router.api import administration, documents, embeddings, errors, metrics, ollama, openai, routing
from router.api.auth import KeyGuard
from router.api.headers import EXPOSED
from router.api.limits import BodyLimit, HostGuard, RateLimit
from router.api.residents import Residents
from router.config.keys import KeyFile
from router.service.assembly import Service


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for what.

    Attributes:
        keys: Keys of which each request needs one; None asks for none.
        hosts: Names the router answers under; empty for any.
        rate_per_minute: POST requests a client may send a minute, or None for any number.
        most_body_bytes: Largest request body.
        cors_origins: Origins whose pages may call the router from a browser.
        administrators: Keys of which Ollama's administration needs one as soon as there is any; None hands no such
            call on.
    """

    keys: KeyFile | None = None
    hosts: tuple[str, ...] = ()
    rate_per_minute: float | None = None
    most_body_bytes: int = 10_000_000
    cors_origins: tuple[str, ...] = ()
    administrators: KeyFile | None = None


def create_app(
    service: Service,
    *,
    on_ready: Callable[[], None] | None = None,
    access: Access = Access(),
) -> FastAPI:
    """An application around a service that is started and stopped with it.

    Args:
        service: Built by ``router.service.wiring.build``; not started yet.
        on_ready: Called once requests can be answered.
        access: Who may ask for what; by default anybody for anything.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        if on_ready is not None:
            on_ready()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="carbon-router",
        version=router.__version__,
        description="Answers every prompt with the least carbon at an accuracy its users can state.",
        lifespan=lifespan,
    )
    residents = Residents()
    app.include_router(openai.build(service, residents))
    app.include_router(embeddings.build(service))
    app.include_router(ollama.build(service, residents))
    app.include_router(administration.build(service, allowed=access.administrators is not None))
    app.include_router(routing.build(service))
    app.include_router(metrics.build(service))
    errors.install(app)
    documents.install(app, needs_key=access.keys is not None)
    _guard(app, service, access)
    return app


def _guard(app: FastAPI, service: Service, access: Access) -> None:
    """Put the guards around the application; the one added last is the first that a request meets."""
    app.add_middleware(BodyLimit, most_bytes=access.most_body_bytes)
    if access.rate_per_minute is not None:
        app.add_middleware(RateLimit, per_minute=access.rate_per_minute)
    if access.administrators is not None and access.keys is None:
        app.add_middleware(KeyGuard, keys=access.administrators, only=administration.PATHS)
    if access.keys is not None:
        app.add_middleware(KeyGuard, keys=access.keys)
    if access.hosts:
        app.add_middleware(HostGuard, hosts=access.hosts)
    if access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(access.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(metrics.CountResponses, metrics=service.metrics)
