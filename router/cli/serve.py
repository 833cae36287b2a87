"""``carbon-router serve``."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from router.cli.logs import configure
from router.cli.models import pull_with_progress
from router.config.keys import KeyFile
from router.config.settings import load_settings
from router.domain.errors import ConfigError
from router.service.provision import Provisioner, fetchable

logger = logging.getLogger(__name__)

HELP = "Serve the router's endpoints; fetches the weights that are missing."
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default 8000.")] = None,
    models_file: Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")] = None,
    fetch: Annotated[bool, typer.Option(help="Fetch missing weights for the embedded engine.")] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    """Serve until stopped."""
    settings = load_settings(models_file=models_file, host=host, port=port)
    keys = KeyFile(settings.keys_file)
    is_local = settings.host in _LOOPBACK
    if not keys.all() and (settings.require_keys or not is_local):
        raise ConfigError(
            f"refusing to bind {settings.host} without API keys: anybody who reaches it could use your models",
            hint="make one with `carbon-router keys add NAME`, or bind 127.0.0.1",
        )
    _check_free(settings.host, settings.port)
    configure(settings.log_format, "debug" if verbose else settings.log_level, prompts=settings.log_prompts)
    # Programs read JSON lines only; people get what they have to know without time and level in front.
    say = logger.info if settings.log_format == "json" else typer.echo

    # Imported here: they bring fastapi, torch and chromadb, which --help and wrong usage need not wait for.
    import uvicorn

    from router.api.app import Access, create_app
    from router.service.otel import build_tracing
    from router.service.wiring import build, load_federation

    tracing = build_tracing()
    catalogue = load_federation(settings)
    absent = fetchable(catalogue, settings.cache_dir) if fetch else []
    embedded = [m for m in catalogue.models.values() if m.weights is not None]
    if absent and len(absent) == len(embedded):
        # Nothing could answer yet: the smallest model first, the rest while serving.
        pull_with_progress([absent[0].model], settings.cache_dir)
    provisioner = Provisioner(settings.cache_dir) if fetch else None
    service = build(settings, catalogue, tracing=tracing, provisioner=provisioner)
    address = f"http://{'localhost' if settings.host == '::1' else settings.host}:{settings.port}"

    access = Access(
        keys=None if is_local and not settings.require_keys else keys,
        # Beyond this machine a key is needed anyway; on it, a page from elsewhere must not pass for a local one.
        hosts=(*_LOOPBACK, *settings.allowed_hosts) if is_local or settings.allowed_hosts else (),
        rate_per_minute=settings.rate_per_minute,
        most_body_bytes=settings.most_body_bytes,
        cors_origins=settings.cors_origins,
        administrators=keys if settings.allow_admin else None,
    )

    def ready() -> None:
        # A browser has no key to show, so behind keys there is no page to open.
        calls = "" if access.keys is not None else f"; {address}/docs lists every call (the page needs the internet)"
        say(f"carbon-router answers at {address}/v1 (model `auto` routes){calls}")
        for line in service.banner():
            say(f"  {line}")
        if provisioner is not None:
            provisioner.ensure(catalogue)

    app = create_app(service, on_ready=ready, access=access)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # its lines go the way of all others
        log_level="info" if verbose else "warning",
        # Who asks is told apart by address where there are no keys: a client must not name its own.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        access_log=False,  # a turn has its line and the metrics count the rest; a query string may hold anything
        timeout_graceful_shutdown=settings.grace_s,
    )


def _check_free(host: str, port: int) -> None:
    """Say at once that the port is taken, not after models and store have been loaded.

    Raises:
        ConfigError: If nothing can listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="stop what listens there, or choose another port with --port",
        ) from error
