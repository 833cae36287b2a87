"""Where Protocols meet concrete classes: the only file that names them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.backends.auto import AutoBackend
from router.backends.embedded import EmbeddedBackend
from router.backends.ollama import OllamaBackend
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import ScriptedBackend
from router.config.federation import load_catalogue
from router.config.settings import Settings
from router.domain.catalogue import Catalogue, Option, Site
from router.domain.errors import ConfigError
from router.domain.estimates import FloatArray
from router.domain.ports import Backend, Embedder, IntensitySource, Journal, MeasurementStore, Meter
from router.embed.sentence import SentenceEmbedder
from router.journal.sqlite import SqliteJournal
from router.meters.window import SharedMeter
from router.policy.draw import Draw
from router.policy.registry import POLICY_NAMES
from router.service.benchmarks import measured_idle_w
from router.service.breaker import Breakers
from router.service.chooser import Chooser
from router.service.engines import Engine, Engines
from router.service.instruments import build_meters, build_source, open_meters, runs_here
from router.service.ledger import Ledger
from router.service.limits import Limits
from router.service.memory import measured_loads
from router.service.metrics import Metrics
from router.service.otel import Tracing
from router.service.past import Past
from router.service.planner import Memory, Planner
from router.service.provision import Provisioner
from router.service.reload import Reloader
from router.service.seed import is_seeded, mark_seeded, shipped_file
from router.service.steps import Observe
from router.service.traffic import Traffic
from router.service.turn import TurnRunner
from router.service.turnlog import TurnLog
from router.service.worker import Worker
from router.store.chroma import ChromaStore
from router.store.importing import import_file

logger = logging.getLogger(__name__)

_LAST_TURNS_S = 2.0
_WARM_UP_S = 60.0  # loading it takes some 5 s on two cores


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of: ports, each with its adapter or fake."""

    store: MeasurementStore
    embedder: Embedder
    engines: Mapping[str, Engine]
    journal: Journal
    sources: Mapping[str, IntensitySource]
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    reloader: Reloader | None = None
    observers: tuple[Observe, ...] = ()
    on_close: tuple[Callable[[], None], ...] = ()
    memory: Memory = field(default_factory=Memory)
    lacking_meters: tuple[str, ...] = ()


@dataclass(slots=True)
class Service:
    """A router that is wired together; :meth:`start` before the first request."""

    store: MeasurementStore
    embedder: Embedder
    engines: Engines
    journal: Journal
    sources: Mapping[str, IntensitySource]
    planner: Planner
    chooser: Chooser
    ledger: Ledger
    runner: TurnRunner
    breakers: Breakers
    metrics: Metrics
    on_close: tuple[Callable[[], None], ...] = ()
    lacking_meters: tuple[str, ...] = ()
    deadline_s: float = Limits().deadline_s
    _embedding: Worker = field(default_factory=lambda: Worker("embed", threads=2))
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def catalogue(self) -> Catalogue:
        """The federation as it is now."""
        return self.planner.current.catalogue

    async def start(self) -> None:
        """Make the first plan and keep it fresh from then on; loads the embedder."""
        await self.planner.refresh(force=True)
        try:
            await self.embed(["warm-up"], within_s=_WARM_UP_S)
        except TimeoutError:
            logger.warning("the embedder has not answered yet: until it does, the reference answers")
        self._tasks.append(asyncio.create_task(self.planner.run(), name="planner"))

    async def embed(self, texts: list[str], *, within_s: float | None = None) -> FloatArray:
        """Vectors of unit length, (n, d), by the embedder that decides; apart from deciding, which must not wait.

        Args:
            texts: What to embed.
            within_s: Seconds; a request's deadline where None.

        Raises:
            EmbedError: If the embedder fails.
            TimeoutError: If it does not answer in time.
        """
        patience_s = self.deadline_s if within_s is None else within_s
        return await self._embedding.run(lambda: self.embedder.embed(texts), within_s=patience_s)

    async def stop(self) -> None:
        """Stop planning, let turns that are being cancelled reach the journal, then close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        patience = asyncio.get_running_loop().time() + _LAST_TURNS_S
        while (
            not all(gate.idle for gate in self.engines.gates.values()) and patience > asyncio.get_running_loop().time()
        ):
            await asyncio.sleep(0.01)
        await self.close()

    async def close(self) -> None:
        """Free engines and files."""
        self.chooser.close()
        self._embedding.close()
        self.planner.save()
        for close in self.on_close:
            await asyncio.to_thread(close)
        await self.engines.close()
        self.journal.close()

    def readiness(self) -> dict[str, dict[str, Any]]:
        """What the router needs to answer, part by part."""
        snapshot = self.planner.current
        models = sorted({option.model for option in snapshot.available})
        return {
            "engine": {"ok": bool(models), "models": models, "down": dict(self.engines.down)},
            "plan": {"ok": snapshot.decider is not None, "notes": list(snapshot.notes)},
            "intensity": {
                "ok": all(name in snapshot.intensities for name in snapshot.catalogue.sites),
                "notes": list(snapshot.grid.notes(snapshot.catalogue)),
            },
            "journal": {"ok": self.ledger.trouble is None, "waiting": self.ledger.waiting},
        }

    def banner(self) -> list[str]:
        """What a person who has just started the server should know, a sentence a line."""
        snapshot = self.planner.current
        models = sorted({option.model for option in snapshot.available})
        lines = [f"models ready: {', '.join(models) or 'none yet'}; {len(snapshot.prompts)} measured prompts"]
        lines += [*snapshot.grid.notes(snapshot.catalogue), *snapshot.notes]
        for name in self.engines.sites:
            lines.append(f"energy at {name}: {self.meter_source(name)}")
        return lines

    def meter_source(self, site: str) -> str:
        """Which instrument meters a site."""
        return self.engines.engine(site).meter.source

    def measured_counts(self) -> dict[str, int]:
        """On how many prompts each model has been measured and graded."""
        measurements, _ = self.store.all()
        return dict(
            Counter(model for m in measurements for model in {o.model for o in m.outcomes if o.quality is not None})
        )

    async def engine_name(self, option: Option) -> str | None:
        """Which engine would run an option now; None if none has its model."""
        if not self.engines.available(option, self.catalogue):
            return None
        engine = self.engines.engine(option.site)
        if isinstance(engine.backend, AutoBackend):
            return await engine.backend.engine_for(self.engines.tag(option, self.catalogue))
        return engine.site.engine


def load_federation(settings: Settings) -> Catalogue:
    """The federation the settings name."""
    return read_federation(settings.models_file)


def read_federation(file: Path) -> Catalogue:
    """The federation of a file, with a policy that exists."""
    return load_catalogue(file, policies=POLICY_NAMES)


def assemble(catalogue: Catalogue, parts: Parts) -> Service:
    """A service from its parts; tests hand in fakes."""
    engines = Engines(parts.engines, most_waiting=parts.limits.queue)
    planner = Planner(
        catalogue,
        parts.store,
        engines,
        parts.sources,
        seed=parts.seed,
        reloader=parts.reloader,
        memory=parts.memory,
    )
    chooser = Chooser(planner, parts.embedder, Draw(parts.seed))
    metrics = Metrics()
    ledger = Ledger(parts.journal, metrics.turn)
    # The router works on the machine of its first site, where that one is metered.
    router_meter = next(iter(parts.engines.values())).meter
    breakers = Breakers(failures_to_open=parts.limits.failures_to_open)
    runner = TurnRunner(chooser, engines, ledger, router_meter, parts.limits, breakers, parts.observers)
    return Service(
        store=parts.store,
        embedder=parts.embedder,
        engines=engines,
        journal=parts.journal,
        sources=parts.sources,
        planner=planner,
        chooser=chooser,
        ledger=ledger,
        runner=runner,
        breakers=breakers,
        metrics=metrics,
        on_close=parts.on_close,
        lacking_meters=parts.lacking_meters,
        deadline_s=parts.limits.deadline_s,
    )


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
            sources={name: build_source(site) for name, site in catalogue.sites.items()},
            limits=Limits(queue=settings.queue, deadline_s=settings.deadline_s),
            reloader=build_reloader(settings, meters, provisioner),
            observers=(TurnLog(prompts=settings.log_prompts), *([tracing] if tracing else [])),
            lacking_meters=opened_meters.lacking,
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
    if shipped is not None and not is_seeded(settings.data_dir, shipped, embedder.name):
        import_file(shipped, store, embedder, origin="shipped")
        mark_seeded(settings.data_dir, shipped, embedder.name)
    return StoreAndEmbedder(store, embedder)


def build_reloader(settings: Settings, meters: Mapping[str, Meter], provisioner: Provisioner | None) -> Reloader:
    """What watches models.yaml; the meters of sites that stay are used on, since their windows share one device."""

    def build_engine(site: Site, catalogue: Catalogue) -> Engine:
        local = next((meter for meter in meters.values() if isinstance(meter, SharedMeter)), None)
        meter = local if local is not None and runs_here(site) else build_meters(catalogue)[site.name]
        return Engine(site, build_backend(site, catalogue, settings), meter)

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
