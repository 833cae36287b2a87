"""``python -m bench overhead``: what routing and metering cost, on this machine.

Routing, request by request, phase by phase: embedding the prompt, asking Chroma for its neighbours, deciding, writing
the journal; and the whole way through the router to an engine that answers at once. The decision itself reads arrays
in memory; the query is timed beside it, since it grows with the store.

Metering: the same load with and without meters (:mod:`bench.overhead_metering`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from router.domain.chat import Message
from router.domain.errors import ConfigError, MeasurementError
from router.domain.estimates import FloatArray
from router.domain.ports import Embedder, Journal, MeasurementStore
from router.domain.units import ms_from_seconds

HELP = """What routing and metering cost on this machine.

Routing overhead per request by phase (embed, Chroma, decide, journal), median and 95th percentile; the cost of
metering as the same load with and without meters, in pairs, with a 95 % interval (target: under 1 %). Run it on a
machine that has nothing else to do: `busy_share` says what other processes used.
"""
NEIGHBOURS = 8
WARM_UP = 5
METERING_TARGET = 0.01


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, over many times.

    Attributes:
        n: How many.
        p50_ms: Median.
        p95_ms: 95th percentile.
        mean_ms: Mean.
    """

    n: int
    p50_ms: float
    p95_ms: float
    mean_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of seconds.

        Raises:
            ValueError: If there are none.
        """
        if not seconds:
            raise ValueError("nothing was timed")
        p50, p95 = np.quantile(seconds, [0.5, 0.95])
        mean = float(np.mean(seconds))
        return cls(len(seconds), *(ms_from_seconds(float(value)) for value in (p50, p95, mean)))


class _Ready:
    """An embedder whose vectors are there already: deciding is timed without embedding."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.vectors: dict[str, FloatArray] = {}

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def window_tokens(self) -> int | None:
        return self._inner.window_tokens

    def embed(self, texts: Sequence[str]) -> FloatArray:
        known = [self.vectors.get(text) for text in texts]
        if all(vector is not None for vector in known):
            return np.stack([vector for vector in known if vector is not None])
        return self._inner.embed(texts)


@dataclass(frozen=True, slots=True)
class Bench:
    """What is timed: a router's parts, and the router on them.

    Attributes:
        service: Wired and planned, on an engine that answers at once.
        ready: The embedder it was given.
        embedder: The one to be timed.
        store: Asked for neighbours.
        journal: A second journal of the same kind, to write turns into.
    """

    service: Any
    ready: _Ready
    embedder: Embedder
    store: MeasurementStore
    journal: Journal


async def routing(
    bench: Bench, prompts: Sequence[str], clock: Callable[[], float] = time.perf_counter
) -> dict[str, Spread]:
    """Each phase for each prompt, and the whole; the first few prompts warm everything up and do not count.

    Raises:
        MeasurementError: If the router could not answer.
    """
    from router.service.ask import Ask
    from router.service.progress import Done

    times: dict[str, list[float]] = {phase: [] for phase in ("embed", "chroma", "decide", "journal", "router", "turn")}
    for number, prompt in enumerate(prompts):
        ask = Ask(messages=(Message("user", prompt),))
        marks = [clock()]
        vector = bench.embedder.embed([prompt])[0]
        marks.append(clock())
        bench.store.nearest(vector[None, :], NEIGHBOURS)
        marks.append(clock())
        bench.ready.vectors[prompt] = vector
        await bench.service.chooser.choose(ask, dry_run=True)
        marks.append(clock())
        del bench.ready.vectors[prompt]  # the whole turn embeds for itself
        turn = None
        whole = clock()
        async for event in bench.service.runner.run(replace(ask, conversation=f"overhead-{number}")):
            turn = event.turn if isinstance(event, Done) else turn
        whole = clock() - whole
        if turn is None:
            raise MeasurementError("the router gave no answer", hint="run `carbon-router doctor`")
        began = clock()
        bench.journal.write(replace(turn, id=f"copy-{turn.id}"))
        journalled = clock() - began
        if number >= WARM_UP:
            for phase, (a, b) in zip(("embed", "chroma", "decide"), pairwise(marks), strict=True):
                times[phase].append(b - a)
            times["journal"].append(journalled)
            times["router"].append(turn.carbon.overhead_ms / 1000.0)
            times["turn"].append(whole)
    return {phase: Spread.of(seconds) for phase, seconds in times.items()}


def overhead(
    requests: Annotated[int, typer.Option(min=20, help="Requests to route.")] = 200,
    pairs: Annotated[int, typer.Option(min=5, help="Pairs of blocks, one metered, one not.")] = 40,
    models_file: Annotated[Path | None, typer.Option(help="The federation [default: models.yaml].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """See ``HELP``."""
    from bench.datasets.own import load_items
    from bench.run_machine import Watch, hardware, versions
    from router.config.settings import load_settings
    from router.service.wiring import load_federation

    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    items = load_items()
    # Worded a little otherwise, so that no prompt is one that the store has.
    prompts = [f"{items[i % len(items)].prompt} (question {i})" for i in range(requests + WARM_UP)]
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="carbon-router-overhead-") as folder:
        phases, stored = asyncio.run(_routing(settings, catalogue, Path(folder), prompts))
    from bench.overhead_metering import metering

    site = next(iter(catalogue.sites.values()))
    cost = asyncio.run(metering(site, pairs=pairs))
    report = {
        "hardware": hardware(),
        "versions": versions(),
        "embedder": catalogue.embedding_model,
        "stored_prompts": stored,
        "routing_ms": {phase: _json(spread) for phase, spread in phases.items()},
        "metering": {**cost, "target": METERING_TARGET},
        "busy_share": watch.summary()["busy_share"],
    }
    typer.echo(json.dumps(report, indent=2)) if as_json else _show(report)


async def _routing(
    settings: Any, catalogue: Any, folder: Path, prompts: Sequence[str]
) -> tuple[dict[str, Spread], int]:
    """On the real embedder, Chroma and journal, in a folder of its own, with the measurements that ship."""
    from router.backends.scripted import ScriptedBackend
    from router.carbon.fixed import FixedIntensity
    from router.embed.cached import CachedEmbedder
    from router.embed.sentence import SentenceEmbedder
    from router.journal.sqlite import SqliteJournal
    from router.service.assembly import Parts, assemble
    from router.service.engines import Engine
    from router.service.instruments import local_meter
    from router.service.seed import shipped_file
    from router.store.chroma import ChromaStore
    from router.store.importing import import_file

    shipped = shipped_file()
    if shipped is None:
        raise ConfigError("there are no shipped measurements to route on")
    embedder = SentenceEmbedder(catalogue.embedding_model, threads=settings.embed_threads)
    store = ChromaStore(embedder.name, path=folder / "store")
    import_file(shipped, store, CachedEmbedder(embedder, settings.cache_dir / "embeddings"), origin="shipped")
    ready = _Ready(embedder)
    engines = {
        name: Engine(
            replace(site, engine="scripted"),
            ScriptedBackend("Yes.", models=[m.tags.get(name, m.name) for m in catalogue.models.values()]),
            local_meter(site).meter,
        )
        for name, site in catalogue.sites.items()
    }
    service = assemble(
        catalogue,
        Parts(
            store=store,
            embedder=ready,
            engines=engines,
            journal=SqliteJournal(folder / "journal.sqlite3"),
            sources={name: FixedIntensity(site.intensity_g_per_kwh or 400.0) for name, site in catalogue.sites.items()},
        ),
    )
    try:
        await service.planner.refresh(force=True)
        with closing(SqliteJournal(folder / "copy.sqlite3")) as journal:
            phases = await routing(Bench(service, ready, embedder, store, journal), prompts)
        return phases, len(service.planner.current.prompts)
    finally:
        await service.close()


def _json(spread: Spread) -> dict[str, float]:
    return {
        "n": spread.n,
        "p50": round(spread.p50_ms, 3),
        "p95": round(spread.p95_ms, 3),
        "mean": round(spread.mean_ms, 3),
    }


_WORDS = {
    "embed": "embed the prompt",
    "chroma": "ask Chroma for its neighbours",
    "decide": "decide",
    "journal": "write the journal",
    "router": "router, before the engine is asked",
    "turn": "whole turn, engine of no time",
}


def _show(report: Mapping[str, Any]) -> None:
    lines = [f"{'milliseconds a request':36} {'p50':>8} {'p95':>8}"]
    lines += [f"{_WORDS[name]:36} {ms['p50']:8.2f} {ms['p95']:8.2f}" for name, ms in report["routing_ms"].items()]
    metering, hardware = report["metering"], report["hardware"]
    lines += [
        f"\n{report['stored_prompts']} measured prompts, {report['embedder']}, on {hardware['cpu']}, "
        f"{hardware['cores']} cores; other processes used {report['busy_share']:.0%} of them",
        f"\nmetering ({metering['source']}), {metering['pairs']} pairs of {metering['generations']} generations:",
    ]
    for what, words in (("seconds", "seconds"), ("cpu_seconds", "processor seconds, hence modelled joules")):
        found = metering[what]
        between = "" if found["low"] is None else f" ({found['low']:+.2%} to {found['high']:+.2%})"
        lines.append(f"  {words}: {found['share']:+.2%}{between}")
    lines.append(
        f"  one window: {1000 * metering['window_ms']['p50']:.0f} µs (p95 {1000 * metering['window_ms']['p95']:.0f})"
    )
    lines += [f"  not metered: {why}" for why in metering["lacking"]]
    typer.echo("\n".join(lines))
