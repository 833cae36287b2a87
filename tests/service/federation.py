"""A whole router on fakes: scripted engines, made-up measurements, nothing on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from router.backends.scripted import Fault, ScriptedBackend
from router.carbon.fixed import FixedIntensity
from router.domain.catalogue import Catalogue, Directive, Embodied, Floor, Model, Site
from router.domain.ports import Backend, Embedder, IntensitySource, Journal
from router.domain.record import Measurement, Outcome
from router.embed.hashed import HashedEmbedder
from router.journal.memory import MemoryJournal
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from router.service.assembly import Parts, Service, assemble
from router.service.engines import Engine
from router.service.limits import Limits
from router.service.reload import Reloader
from router.service.steps import Observe
from router.store.memory import MemoryStore

TEXTS = {
    "math": "Add the numbers {i} and {j} and say how much the sum is",
    "code": "Write a Python function called work{i} that returns item {j} of a list",
    "questions": "Which river flows through the capital of country number {i} near city {j}",
}
# (model, directive) -> category -> (quality, joules): the small model is right on questions only, brevity keeps
# code right and ruins math.
TRUTH: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    ("small", "L0"): {"math": (0.1, 10.0), "code": (0.2, 12.0), "questions": (0.9, 4.0)},
    ("small", "L1"): {"math": (0.0, 5.0), "code": (0.1, 6.0), "questions": (0.8, 3.0)},
    ("large", "L0"): {"math": (0.9, 100.0), "code": (0.9, 120.0), "questions": (0.9, 40.0)},
    ("large", "L1"): {"math": (0.4, 50.0), "code": (0.9, 40.0), "questions": (0.9, 30.0)},
}


def catalogue(
    *,
    models: Sequence[str] = ("small", "large"),
    floor: Floor = Floor(0.95),  # noqa: B008
    slots: int = 4,
    contexts: Mapping[str, int | None] | None = None,
    policy: str = "joint",
) -> Catalogue:
    site = Site(
        "local",
        engine="scripted",
        zone="DE",
        intensity_g_per_kwh=385.0,
        embodied=Embodied(1.0, 1000.0, 2000.0, "made up"),
        lifetime_s=126_144_000.0,
        watts_per_core=10.0,
        slots=slots,
    )
    return Catalogue(
        directives={"L0": Directive("L0", ""), "L1": Directive("L1", "Be brief.")},
        sites={"local": site},
        models={
            name: Model(name, parameters=1e9 if name == "large" else 1e8, context=(contexts or {}).get(name, 4096))
            for name in models
        },
        aliases={"gpt-4o": "auto"},
        floor=floor,
        policy=policy,
        confidence=0.5,
    )


def measurements(n: int = 15) -> list[Measurement]:
    """n prompts a category; of every ten, quality times ten are right, spread evenly."""
    rows = []
    for category, text in TEXTS.items():
        for i in range(n):
            outcomes = tuple(
                Outcome(
                    model,
                    directive,
                    float((i * 7 + 3) % 10 < round(10 * by_category[category][0])),
                    energy_j=by_category[category][1] * (0.9 + 0.02 * (i % 11)),
                    duration_s=by_category[category][1] / 20.0,
                    prefill_s=0.1,
                    decode_s=by_category[category][1] / 20.0 - 0.1,
                    prompt_tokens=12,
                    output_tokens=int(by_category[category][1]),
                    method="measured",
                )
                for (model, directive), by_category in TRUTH.items()
            )
            rows.append(
                Measurement(f"{category}-{i}", text.format(i=i, j=i * 3 + 1), category, outcomes, origin="local")
            )
    return rows


def build(
    *,
    measured: Sequence[Measurement] | None = None,
    models: Sequence[str] = ("small", "large"),
    served: Sequence[str] | None = None,
    faults: Mapping[str, Fault] | None = None,
    backend: Backend | None = None,
    limits: Limits | None = None,
    slots: int = 4,
    floor: Floor = Floor(0.95),  # noqa: B008
    contexts: Mapping[str, int | None] | None = None,
    policy: str = "joint",
    reloader: Reloader | None = None,
    embedder: Embedder | None = None,
    source: IntensitySource | None = None,
    journal: Journal | None = None,
    observers: tuple[Observe, ...] = (),
    on_close: tuple[Callable[[], None], ...] = (),
) -> Service:
    """A service that is not started yet; every reading of its meter advances by 5 J."""
    federation = catalogue(models=models, slots=slots, floor=floor, contexts=contexts, policy=policy)
    embedder = embedder or HashedEmbedder()
    store = MemoryStore()
    rows = list(measurements() if measured is None else measured)
    if rows:
        store.add(rows, embedder.embed([row.prompt for row in rows]))
    engine = backend or ScriptedBackend(
        "It is 42, of course.", models=models if served is None else served, faults=faults
    )
    meter = SharedMeter(ReplayCounter([5.0 * step for step in range(100_000)]))
    return assemble(
        federation,
        Parts(
            store=store,
            embedder=embedder,
            engines={"local": Engine(federation.sites["local"], engine, meter)},
            journal=journal or MemoryJournal(),
            sources={"local": source or FixedIntensity(385.0)},
            # Tests of other things let engines fail all day: no circuit is to open on them.
            limits=limits or Limits(backoff_s=0.01, failures_to_open=100_000),
            reloader=reloader,
            observers=observers,
            on_close=on_close,
        ),
    )
