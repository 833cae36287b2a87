"""A router put together from ports: what the application, the command line and tests hold in their hands."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.domain.catalogue import Catalogue, Option
from router.domain.estimates import FloatArray
from router.domain.ports import ChoosingBackend, Embedder, ExplainingMeter, IntensitySource, Journal, MeasurementStore
from router.policy.draw import Draw
from router.service.breaker import Breakers
from router.service.chooser import Chooser
from router.service.embedding import Embedding
from router.service.engines import Engine, Engines
from router.service.ledger import Ledger
from router.service.limits import Limits
from router.service.metrics import Metrics
from router.service.planner import Memory, Planner
from router.service.reload import Reloader
from router.service.stats import SharedTotals
from router.service.steps import Observe
from router.service.turn import TurnRunner

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
    refused_meters: tuple[str, ...] = ()


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
    embedding: Embedding
    totals: SharedTotals
    on_close: tuple[Callable[[], None], ...] = ()
    lacking_meters: tuple[str, ...] = ()
    refused_meters: tuple[str, ...] = ()
    deadline_s: float = Limits().deadline_s
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def catalogue(self) -> Catalogue:
        """The federation as it is now."""
        return self.planner.current.catalogue

    async def start(self) -> None:
        """Make the first plan and keep it fresh from then on; loads the embedder."""
        await self.planner.refresh(force=True)
        try:
            await self.embedding.load(within_s=_WARM_UP_S)
        except TimeoutError:
            logger.warning("the embedder has not answered yet: until it does, the reference answers")
        self._tasks.append(asyncio.create_task(self.planner.run(), name="planner"))

    async def embed(self, texts: list[str]) -> FloatArray:
        """Vectors of unit length, (n, d), by the embedder that decides; apart from deciding, which must not wait.

        Raises:
            EmbedError: If the embedder fails.
            TimeoutError: If it is not through by a request's deadline.
        """
        return await self.embedding.embed(texts, within_s=self.deadline_s)

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
        self.embedding.close()
        self.totals.close()
        self.planner.save()
        for close in self.on_close:
            await asyncio.to_thread(close)
        await self.engines.close()
        await asyncio.to_thread(self.ledger.close)
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
            "energy": {"ok": not self.meter_troubles(), "notes": self.meter_troubles()},
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
        return [*lines, *self.meter_troubles()]

    def meter_source(self, site: str) -> str:
        """Which instrument meters a site."""
        return self.engines.engine(site).meter.source

    def meter_troubles(self) -> list[str]:
        """Which instruments of this machine may not be read, and what ails the meters there are; a sentence each."""
        found = [f"not metered: {refused}" for refused in self.refused_meters]
        for name in self.engines.sites:
            meter = self.engines.engine(name).meter
            if isinstance(meter, ExplainingMeter) and meter.problem is not None:
                found.append(f"energy at {name}: {meter.problem}")
        return found

    def meter_parts(self) -> dict[str, Mapping[str, float | None]]:
        """Joules by part of each meter that has parts; a meter that sites share is told with the first of them."""
        found: dict[str, Mapping[str, float | None]] = {}
        told: list[object] = []
        for name in self.engines.sites:
            meter = self.engines.engine(name).meter
            if isinstance(meter, ExplainingMeter) and not any(meter is other for other in told) and meter.parts_j:
                told.append(meter)
                found[name] = meter.parts_j
        return found

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
        if isinstance(engine.backend, ChoosingBackend):
            return await engine.backend.engine_for(self.engines.tag(option, self.catalogue))
        return engine.site.engine


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
    router_meter = parts.engines[catalogue.home].meter
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
        embedding=Embedding(parts.embedder, router_meter, runner.carry),
        totals=SharedTotals(parts.journal),
        on_close=parts.on_close,
        lacking_meters=parts.lacking_meters,
        refused_meters=parts.refused_meters,
        deadline_s=parts.limits.deadline_s,
    )
