"""Where Protocols meet concrete classes: the only file that names them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from router.backends.auto import AutoBackend
from router.backends.embedded import EmbeddedBackend
from router.backends.ollama import OllamaBackend
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import ScriptedBackend
from router.config.federation import load_catalogue
from router.config.settings import Settings
from router.domain.catalogue import Catalogue, Site
from router.domain.errors import ConfigError
from router.domain.ports import Backend, Embedder, Journal, Meter
from router.embed.sentence import SentenceEmbedder
from router.journal.sqlite import SqliteJournal
from router.meters.window import SharedMeter
from router.policy.registry import POLICY_NAMES
from router.service.assembly import Parts, Service, assemble
from router.service.benchmarks import measured_idle_w
from router.service.engines import Engine
from router.service.instruments import build_source, build_sources, open_meter, open_meters
from router.service.limits import Limits
from router.service.memory import measured_loads
from router.service.otel import Tracing
from router.service.past import Past
from router.service.planner import Memory
from router.service.provision import Provisioner
from router.service.reload import Reloader
from router.service.seed import Seeding, shipped_file
from router.service.traffic import Traffic
from router.service.turnlog import TurnLog
from router.store.chroma import ChromaStore
from router.store.importing import import_file

logger = logging.getLogger(__name__)


def load_federation(settings: Settings) -> Catalogue:
    """The federation the settings name."""
    return read_federation(settings.models_file)


def read_federation(file: Path) -> Catalogue:
    """The federation of a file, with a policy that exists."""
    return load_catalogue(file, policies=POLICY_NAMES)


def build(
    settings: Settings,
    catalogue: Catalogue,
    *,
    tracing: Tracing | None = None,
    provisioner: Provisioner | None = None,
) -> Service:
    """The service the settings describe, on real adapters.

    Args:
        settings: Of this process.
        catalogue: The federation.
        tracing: Shows turns as traces; closed with the service.
        provisioner: Fetches the weights of models that a change of models.yaml adds; None fetches none.

    Raises:
        RouterError: If the store or the journal cannot be opened.
    """
    opened = open_store(settings, catalogue)
    backends = build_backends(catalogue, settings)
    opened_meters = open_meters(catalogue, measured_idle_w(_runs_here(settings)))
    meters = opened_meters.meters
    return assemble(
        catalogue,
        Parts(
            store=opened.store,
            embedder=opened.embedder,
            engines={name: Engine(site, backends[name], meters[name]) for name, site in catalogue.sites.items()},
            journal=SqliteJournal(settings.journal_file),
            sources=build_sources(catalogue),
            limits=Limits(queue=settings.queue, deadline_s=settings.deadline_s),
            reloader=build_reloader(settings, opened_meters.local, provisioner),
            observers=(TurnLog(prompts=settings.log_prompts), *([tracing] if tracing else [])),
            lacking_meters=opened_meters.lacking,
            refused_meters=opened_meters.refused,
            on_close=tuple(part.close for part in (provisioner, tracing) if part is not None),
            memory=Memory(
                Traffic(settings.data_dir / "traffic.json"),
                Past(settings.data_dir / "intensity_past.json"),
                lambda: measured_loads(_run_files(settings)),
            ),
        ),
    )


def _run_files(settings: Settings) -> list[Path]:
    """What tells of loading: the shipped run, then those of this machine, oldest first, since later ones win."""
    shipped = shipped_file()
    beside = [] if shipped is None else [shipped.with_name(f"{shipped.name.removesuffix('.gz')}.runs.json")]
    return [file for file in (*beside, *_runs_here(settings)) if file.is_file()]


def _runs_here(settings: Settings) -> list[Path]:
    """What runs on this machine tell of it, oldest first."""
    return sorted(settings.measurements_dir.glob("*.runs.json"), key=lambda file: file.stat().st_mtime)


@dataclass(frozen=True, slots=True)
class StoreAndEmbedder:
    """A store and the embedder whose vectors it holds: neither is of use without the other."""

    store: ChromaStore
    embedder: Embedder


def open_journal(settings: Settings) -> Journal:
    """The journal of turns, also while a server writes to it.

    Raises:
        JournalError: If it cannot be opened.
    """
    return SqliteJournal(settings.journal_file)


def open_store(settings: Settings, catalogue: Catalogue) -> StoreAndEmbedder:
    """The store of measured prompts, the shipped ones put in where they are missing.

    Raises:
        StoreError: If it cannot be opened.
    """
    embedder = SentenceEmbedder(catalogue.embedding_model, threads=settings.embed_threads)
    if settings.chroma_url is not None:
        store = ChromaStore(embedder.name, url=settings.chroma_url)
    else:
        store = ChromaStore(embedder.name, path=settings.store_dir)
    shipped = shipped_file()
    if shipped is not None:
        where = settings.chroma_url or settings.store_dir.resolve()
        seeding = Seeding.of(shipped, embedder.name, where, catalogue.options())
        # An empty store is a new one, or one that was moved away to be made anew.
        if not seeding.is_done(settings.data_dir) or not store.all()[0]:
            import_file(shipped, store, embedder, origin="shipped")
            seeding.mark(settings.data_dir)
    return StoreAndEmbedder(store, embedder)


def build_reloader(settings: Settings, local: Meter | None, provisioner: Provisioner | None) -> Reloader:
    """What watches models.yaml; this machine's meter is used on, since its windows share one device."""

    def build_engine(site: Site, catalogue: Catalogue) -> Engine:
        nonlocal local
        backend = build_backend(site, catalogue, settings)  # first: where it is refused, nothing samples yet
        if site.runs_here and local is not None:
            return Engine(site, backend, local)
        meter = open_meter(site, catalogue, measured_idle_w(_runs_here(settings)))
        if site.runs_here and isinstance(meter, SharedMeter):
            local = meter
        return Engine(site, backend, meter)

    return Reloader(
        settings.models_file,
        read_federation,
        build_engine,
        build_source,
        on_change=None if provisioner is None else provisioner.ensure,
    )


def build_backend(site: Site, catalogue: Catalogue, settings: Settings) -> Backend:
    """The engine of a site, as models.yaml names it.

    Raises:
        ConfigError: If the site lacks what its engine needs.
    """
    here = {name: model for name, model in catalogue.models.items() if site.name in model.sites}
    if site.engine == "scripted":
        return ScriptedBackend(models=tuple(here))
    if site.engine == "openai":
        return OpenAIBackend(_url(site), api_key=_api_key(site))
    if site.engine == "ollama":
        return OllamaBackend(_url(site), api_key=_api_key(site))
    embedded = EmbeddedBackend(here, settings.cache_dir, memory_bytes=site.memory_bytes, slots=site.slots)
    if site.engine == "embedded" or site.url is None:
        return embedded
    return AutoBackend(OllamaBackend(site.url, api_key=_api_key(site)), embedded)


def _url(site: Site) -> str:
    if site.url is None:
        raise ConfigError(
            f"its engine {site.engine!r} needs an address",
            key=f"sites.{site.name}.url",
            hint="add `url:` in models.yaml",
        )
    return site.url


def _api_key(site: Site) -> str | None:
    if site.api_key_env is None:
        return None
    key = os.environ.get(site.api_key_env)
    if not key:
        raise ConfigError(
            f"the environment variable {site.api_key_env} is not set",
            key=f"sites.{site.name}.api_key_env",
            hint=f"export {site.api_key_env}=... before starting",
        )
    return key


def build_backends(catalogue: Catalogue, settings: Settings) -> dict[str, Backend]:
    """The backend of every site."""
    return {name: build_backend(site, catalogue, settings) for name, site in catalogue.sites.items()}
