"""Figures for machines: Prometheus' text format at ``/metrics``, totals of the journal at ``/v1/stats``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.api import answers_schema as shapes
from router.api import documents
from router.domain.reading import Intensity
from router.service.assembly import Service
from router.service.metrics import OVERHEAD_BOUNDS_S, Labels, Metrics, Rising
from router.service.stats import savings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Samples = Iterable[tuple[Labels, float]]


class CountResponses:
    """Counts every response by its status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Take what is counted, and where."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and look at the status that comes back."""
        has_begun = False

        async def counting(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                self._metrics.response(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counting if scope["type"] == "http" else send)
        except Exception:
            if scope["type"] == "http" and not has_begun:
                self._metrics.response(500)  # which the server's outermost layer answers with
            raise


def build(service: Service) -> APIRouter:
    """The routes, bound to a running service."""
    routes = APIRouter()

    @routes.get(
        "/metrics",
        summary="Figures since the start, for Prometheus",
        response_class=Response,
        responses=documents.answers(text=CONTENT_TYPE) | documents.errors("/metrics"),
    )
    async def metrics() -> Response:
        return Response(exposition(service), media_type=CONTENT_TYPE)

    @routes.get(
        "/v1/stats",
        summary="Totals, savings and scores of the journal; `since` is in Unix seconds",
        responses=documents.answers(shapes.StatsAnswer) | documents.errors("/v1/", 400, 429, 503, 504),
    )
    async def stats(
        since: float = Query(default=0.0, ge=0, allow_inf_nan=False),
        utilisation: float | None = Query(default=None, gt=0, le=1),
    ) -> dict[str, Any]:
        found = await service.totals.since(since, within_s=service.deadline_s)
        return {
            "since": since,
            "first_at": found.first_at,
            "last_at": found.last_at,
            "turns": found.turns,
            "side_requests": found.side_requests(),
            **{f"by_{name}": dict(counts) for name, counts in found.by.items()},
            **found.known(),
            "unknown": found.unknown,
            "attempts": found.attempts,
            "escalations": found.escalations,
            "mean_overhead_ms": found.overhead_ms / found.turns if found.turns else None,
            **savings(found, service.catalogue, since=since, until=time.time(), utilisation=utilisation),
        }

    return routes


def exposition(service: Service) -> str:
    """Everything in Prometheus' text format."""
    m = service.metrics
    gates = service.engines.gates
    intensities = service.planner.current.intensities
    families: list[tuple[str, str, str, Samples]] = [
        ("http_responses_total", "counter", "HTTP responses by status.", m.responses.items()),
        ("requests_total", "counter", "Routed requests as journalled.", m.turns.items()),
        ("attempts_total", "counter", "Generations started, failed ones included.", [((), m.attempts)]),
        ("escalations_total", "counter", "Cascades whose first answer did not stand.", [((), m.escalations)]),
        ("side_requests_total", "counter", "Of the requests, what clients asked for their own sake.", m.side.items()),
        ("side_energy_joules_total", "counter", "Of the joules, theirs, where known.", [((), m.side_energy_j.value)]),
        ("side_energy_unknown_total", "counter", "Of them, those without known joules.", [((), m.side_energy_unknown)]),
        ("conversation_turns_total", "counter", "What became of conversations' models.", m.conversations.items()),
        ("energy_joules_total", "counter", "Marginal joules, wasted ones included.", _risen(m.energy_j)),
        ("energy_unknown_total", "counter", "Requests whose joules are not known.", m.energy_unknown.items()),
        ("carbon_grams_total", "counter", "Grams CO2e by kind.", _risen(m.grams)),
        ("saved_grams", "gauge", "Grams saved against the reference since the start; may fall.", [((), m.saved_g)]),
        ("saved_unknown_total", "counter", "Requests whose savings are not known.", [((), m.saved_unknown)]),
        ("own_energy_joules_total", "counter", "Joules of routing, where known.", [((), m.router_energy_j.value)]),
        ("own_energy_unknown_total", "counter", "Requests whose routing is of unknown joules.",
         [((), m.router_energy_unknown)]),
        ("device_energy_joules", "gauge", "Joules of each part of a site's meter since the start, idle ones included.",
         _parts(service)),
        ("overhead_seconds", "histogram", "Seconds the router takes before the engine is asked.", []),
        ("running", "gauge", "Generations that run now.", _by_site({s: g.running for s, g in gates.items()})),
        ("queue_depth", "gauge", "Requests that wait for a slot.", _by_site({s: g.waiting for s, g in gates.items()})),
        (
            "breaker_state",
            "gauge",
            "0 closed, 1 half-open, 2 open.",
            [
                ((("site", site), ("model", model)), _BREAKER[state])
                for (site, model), state in service.breakers.states().items()
            ],
        ),
        ("intensity_grams_per_kwh", "gauge", "Grid intensity that is planned with.",
         _by_site({s: i.g_per_kwh for s, i in intensities.items()})),
        ("intensity_age_seconds", "gauge", "How old that figure is, where it ages.",
         _by_site({s: i.age_s for s, i in intensities.items() if i.age_s is not None})),
        ("intensity_info", "gauge", "1 a site: where its intensity comes from, and what kind of figure it is.",
         [(_intensity_labels(s, i), 1) for s, i in intensities.items()]),
        ("intensity_stale", "gauge", "1 where the last known value or the fallback stands in for a current one.",
         _by_site({s: int(i.stale) for s, i in intensities.items()})),
        ("intensity_unknown", "gauge", "1 where a site has no intensity, so that no grams can be told.",
         _by_site({s: int(s not in intensities) for s in service.catalogue.sites})),
        ("intensity_source_failures", "gauge", "Failures of the site's source since it last answered.",
         _by_site({s: health.failures for s, health in service.planner.current.grid.health.items()})),
        ("journal_waiting", "gauge", "Turns not on disk yet.", [((), service.ledger.waiting)]),
    ]  # fmt: skip
    lines: list[str] = []
    for name, kind, text, samples in families:
        full = f"carbon_router_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
        lines += _histogram(full, m) if kind == "histogram" else [_sample(full, *sample) for sample in list(samples)]
    return "\n".join(lines) + "\n"


def _intensity_labels(site: str, value: Intensity) -> Labels:
    return (
        ("site", site),
        ("zone", value.zone or ""),
        ("source", value.source),
        ("kind", value.kind),
        ("estimated", "unknown" if value.estimated is None else str(value.estimated).lower()),
        ("stale", str(value.stale).lower()),
    )


def _risen(totals: Mapping[Labels, Rising]) -> Samples:
    return [(labels, total.value) for labels, total in totals.items()]


def _parts(service: Service) -> Samples:
    return [
        ((("site", site), ("part", part)), joules)
        for site, parts in service.meter_parts().items()
        for part, joules in parts.items()
        if joules is not None
    ]


def _by_site(values: Mapping[str, float]) -> Samples:
    return [((("site", site),), value) for site, value in values.items()]


def _histogram(name: str, metrics: Metrics) -> list[str]:
    lines, so_far = [], 0
    for bound, count in zip([*map(str, OVERHEAD_BOUNDS_S), "+Inf"], metrics.overhead_counts, strict=True):
        so_far += count
        lines.append(_sample(f"{name}_bucket", (("le", bound),), so_far))
    return [*lines, _sample(f"{name}_sum", (), metrics.overhead_sum_s), _sample(f"{name}_count", (), so_far)]


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"
