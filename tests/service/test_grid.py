"""What people and programs are told of the grid in plan, readiness and metrics: as it is now, not as it was planned."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import pytest

from router.api.app import create_app
from router.carbon.cached import CachedIntensity, Timing
from router.carbon.fixed import FixedIntensity
from router.domain.errors import IntensityError
from router.domain.ports import IntensitySource
from router.domain.reading import ForecastPoint, Intensity
from router.service.grid import read_grid
from tests.api.test_metrics import samples
from tests.service import federation


class Grid:
    """A source over the web that answers, or fails, as it is told."""

    name = "the grid"

    def __init__(self, value: float | None = 300.0) -> None:
        self.value = value

    async def fetch(self, zone: str | None) -> Intensity:
        if self.value is None:
            raise IntensityError("the grid answered 500")
        return Intensity(self.value, zone, self.name, kind="marginal", age_s=60.0, estimated=True)

    async def fetch_forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        if self.value is None:
            raise IntensityError("the grid answered 500")
        now = time.time()
        return (ForecastPoint(now - 10, 1.0), ForecastPoint(now + 3600, 200.0), ForecastPoint(now + 7200, 100.0))


class World:
    """A service at one site whose source's clock is set by hand."""

    def __init__(self, upstream: Grid, fallback: IntensitySource | None = None) -> None:
        self.now = 1000.0
        self.upstream = upstream
        source = CachedIntensity(
            upstream,
            fallback=fallback,
            timing=Timing(ttl_s=300, max_stale_s=3600, first_delay_s=10),
            clock=lambda: self.now,
            uniform=lambda low, high: high,
        )
        self.service = federation.build(measured=[], source=source)
        transport = httpx.ASGITransport(app=create_app(self.service))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await self.service.planner.refresh()

    async def close(self) -> None:
        await self.http.aclose()
        await self.service.close()


async def test_the_age_of_a_figure_grows_in_plan_and_records_without_planning_anew() -> None:
    world = World(Grid())
    await world.service.planner.refresh(force=True)
    planned_at = world.service.planner.current.planned_at
    await world.after(100)
    plan = (await world.http.get("/v1/plan")).json()
    assert plan["planned_at"] == planned_at
    shown = plan["intensity_g_per_kwh"]["local"]
    assert (shown["value"], shown["kind"], shown["estimated"], shown["stale"]) == (300.0, "marginal", True, False)
    assert shown["age_s"] == 160.0
    answer = await world.http.post(
        "/v1/chat/completions", json={"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    )
    assert answer.json()["carbon"]["intensity_age_s"] == 160.0
    await world.close()


async def test_the_forecast_is_in_the_plan_from_the_next_hour_on() -> None:
    world = World(Grid())
    await world.service.planner.refresh(force=True)
    await world.after(1)
    forecast = (await world.http.get("/v1/plan")).json()["intensity_forecast"]["local"]
    assert [point["g_per_kwh"] for point in forecast] == [200.0, 100.0]
    assert forecast[0]["begins_at"] > time.time()
    await world.close()


async def test_metrics_tell_source_kind_and_whether_it_is_estimated_or_stale() -> None:
    world = World(Grid())
    await world.service.planner.refresh(force=True)
    text = (await world.http.get("/metrics")).text
    labels = 'site="local",zone="DE",source="the grid",kind="marginal",estimated="true",stale='
    assert samples(text, "intensity_info") == {f'{{{labels}"false"}}': 1}
    assert samples(text, "intensity_stale") == {'{site="local"}': 0}
    assert samples(text, "intensity_source_failures") == {'{site="local"}': 0}
    world.upstream.value = None
    await world.after(400)
    text = (await world.http.get("/metrics")).text
    assert samples(text, "intensity_info") == {f'{{{labels}"true"}}': 1}
    assert samples(text, "intensity_stale") == {'{site="local"}': 1}
    assert samples(text, "intensity_source_failures") == {'{site="local"}': 1}
    assert samples(text, "intensity_age_seconds") == {'{site="local"}': 460.0}
    assert samples(text, "intensity_unknown") == {'{site="local"}': 0}
    await world.close()


@pytest.mark.parametrize("fallback", [None, 385.0])
async def test_a_source_that_is_gone_is_noted_in_plan_and_readiness(fallback: float | None) -> None:
    world = World(Grid(None), None if fallback is None else FixedIntensity(fallback))
    await world.service.planner.refresh(force=True)
    ready = await world.http.get("/readyz")
    plan = (await world.http.get("/v1/plan")).json()
    text = (await world.http.get("/metrics")).text
    assert ready.status_code == 200  # answers do not depend on it
    said = ready.json()["checks"]["intensity"]
    assert said["ok"] is (fallback is not None)
    (note,) = said["notes"]
    assert note in plan["notes"]
    assert "the grid answered 500" in note
    assert ("385 g/kWh, fallback for the grid" in note) == (fallback is not None)
    assert ("intensity_fallback_g_per_kwh" in note) == (fallback is None)
    assert samples(text, "intensity_unknown") == {'{site="local"}': int(fallback is None)}
    world.upstream.value = 250.0
    await world.after(11)
    assert (await world.http.get("/readyz")).json()["checks"]["intensity"] == {"ok": True, "notes": []}
    await world.close()


async def test_a_fixed_figure_needs_no_notes_and_has_no_health() -> None:
    catalogue = federation.catalogue()
    twin = replace(catalogue.sites["local"], name="twin")
    catalogue = replace(catalogue, sites={**catalogue.sites, "twin": twin})
    grid = await read_grid({"local": FixedIntensity(1.0), "twin": FixedIntensity(2.0)}, catalogue)
    assert {site: value.g_per_kwh for site, value in grid.intensities.items()} == {"local": 1.0, "twin": 2.0}
    assert (grid.notes(catalogue), dict(grid.health), dict(grid.forecasts)) == ((), {}, {})
