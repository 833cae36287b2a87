"""What every source of grid intensity promises; those that ask over the web are asked over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from router.carbon.cached import CachedIntensity, Timing, Upstream
from router.carbon.electricitymaps import ElectricityMaps
from router.carbon.fetch import Web
from router.carbon.fixed import FixedIntensity
from router.carbon.gridfree import GridFree
from router.carbon.trace import Trace, TraceIntensity
from router.domain.errors import IntensityError
from router.domain.ports import ForecastSource, IntensitySource, WatchedSource
from router.domain.reading import ForecastPoint, Intensity
from tests.backends.fake_servers import listening
from tests.carbon.fake_grid import NOW_S, TOKEN, FakeGrid


@dataclass
class Fake:
    """A source that is no network at all."""

    name: str = "the fake grid"
    values: dict[str, float] = field(default_factory=lambda: {"NL": 300.0, "SE": 0.0})

    async def fetch(self, zone: str | None) -> Intensity:
        if zone not in self.values:
            raise IntensityError(f"no zone {zone}")
        return Intensity(self.values[zone], zone, self.name, age_s=60.0)


@dataclass
class Place:
    """What a source may need to be made."""

    folder: Path
    url: str
    clock_s: float = 1000.0

    @property
    def web(self) -> Web:
        return Web(timeout_s=0.5, clock=lambda: NOW_S + self.clock_s - 1000.0)

    def cached(self, upstream: Upstream, fallback: IntensitySource | None = None) -> CachedIntensity:
        return CachedIntensity(
            upstream,
            fallback=fallback,
            timing=Timing(ttl_s=300, max_stale_s=3600, patience_s=5, first_delay_s=10, longest_delay_s=100),
            clock=lambda: self.clock_s,
            uniform=lambda low, high: high,
            calendar=self.web.clock,
        )


def fixed(place: Place) -> IntensitySource:
    return FixedIntensity(by_zone={"NL": 300.0, "SE": 0.0})


def trace(place: Place) -> IntensitySource:
    path = place.folder / "trace.csv"
    path.write_text("datetime_utc,NL,SE\n1970-01-01 00:00:00,300,0\n", encoding="utf-8")
    return TraceIntensity(Trace.load(path), clock=lambda: 60.0)


def electricity_maps(place: Place) -> ElectricityMaps:
    return ElectricityMaps(TOKEN, f"{place.url}/v3", place.web)


def keyless(place: Place) -> GridFree:
    return GridFree(place.url, place.url, place.web)


def cached_fake(place: Place) -> IntensitySource:
    return place.cached(Fake())


def cached_maps(place: Place) -> IntensitySource:
    return place.cached(electricity_maps(place))


def cached_keyless(place: Place) -> IntensitySource:
    return place.cached(keyless(place))


@pytest.fixture
def grid() -> FakeGrid:
    return FakeGrid()


@pytest.fixture
def place(tmp_path: Path, grid: FakeGrid) -> Iterator[Place]:
    with listening(grid.app) as url:
        yield Place(tmp_path, url)


MAKES = [fixed, trace, electricity_maps, keyless, cached_fake, cached_maps, cached_keyless]


@pytest.fixture(params=MAKES, ids=lambda make: make.__name__)
def source(request: pytest.FixtureRequest, place: Place) -> IntensitySource:
    made: IntensitySource = request.param(place)
    return made


async def test_a_known_zone_has_a_value_that_names_zone_source_and_kind(source: IntensitySource) -> None:
    value = await source.intensity("NL")
    assert value is not None
    assert value.g_per_kwh == 300.0
    assert value.zone == "NL"
    assert value.source
    assert value.kind == "average"
    assert value.age_s is None or value.age_s >= 0
    assert not value.stale


async def test_a_carbon_free_hour_is_zero_and_not_unknown(source: IntensitySource) -> None:
    value = await source.intensity("SE")
    assert value is not None
    assert value.g_per_kwh == 0.0


@pytest.mark.parametrize("zone", ["XX", "", None])
async def test_an_unknown_zone_is_none_and_no_error(source: IntensitySource, zone: str | None) -> None:
    assert await source.intensity(zone) is None


async def test_a_watched_source_tells_of_every_zone_what_it_serves(source: IntensitySource) -> None:
    if not isinstance(source, WatchedSource):
        pytest.skip("it cannot fail, or fails in its wrapper's hands")
    await source.intensity("NL")
    await source.intensity("XX")
    health = {entry.zone: entry for entry in source.health()}
    assert (health["NL"].serving, health["NL"].last_error) == ("fresh", None)
    assert health["XX"].serving == "nothing"
    assert health["XX"].last_error


@pytest.fixture(params=[electricity_maps, keyless], ids=lambda make: make.__name__)
def web_source(request: pytest.FixtureRequest, place: Place) -> CachedIntensity:
    return place.cached(request.param(place), FixedIntensity(385.0))


FAILURES: dict[str, tuple[Callable[[], Response], str]] = {
    "401": (lambda: JSONResponse({"message": "Invalid"}, 401), "answered 401"),
    "429": (lambda: JSONResponse({}, 429, {"retry-after": "700"}), "answered 429"),
    "500": (lambda: PlainTextResponse("<html>", 500), "answered 500"),
    "html": (lambda: PlainTextResponse("<html>sorry</html>"), "no JSON"),
    "list": (lambda: JSONResponse([1, 2]), "answered"),
    "negative": (
        lambda: JSONResponse(
            {"zone": "NL", "carbonIntensity": -3, "datetime": "2026-03-01T12:00:00Z", "unix_seconds": [NOW_S - 60],
             "co2eq": [-3], "co2eq_forecast": [-3]}
        ),
        "answered",
    ),
    "empty": (lambda: JSONResponse({}), "answered"),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_source_that_fails_leaves_the_last_value_marked_stale_then_the_fallback_and_is_left_alone(
    web_source: CachedIntensity, place: Place, grid: FakeGrid, failure: str
) -> None:
    reply, says = FAILURES[failure]
    good = await web_source.intensity("NL")
    assert good is not None
    grid.reply_with = reply
    place.clock_s += 301
    asked = len(grid.asked)
    late = await web_source.intensity("NL")
    assert late is not None
    assert (late.g_per_kwh, late.stale, late.source) == (300.0, True, good.source)
    assert late.age_s == (good.age_s or 0.0) + 301
    (health,) = web_source.health()
    assert (health.serving, health.failures) == ("stale", 1)
    assert says in (health.last_error or "")
    assert health.retry_in_s == (700.0 if failure == "429" else 10.0)
    place.clock_s += health.retry_in_s - 1
    await web_source.intensity("NL")
    assert len(grid.asked) == asked + 1
    place.clock_s += 3600
    gone = await web_source.intensity("NL")
    assert gone is not None
    assert (gone.g_per_kwh, gone.stale) == (385.0, True)
    assert gone.source.startswith(f"fallback for {web_source.name}")
    grid.reply_with = None
    grid.values["NL"] = 200.0
    place.clock_s += web_source.health()[0].retry_in_s
    grid.now_s = place.web.clock()
    back = await web_source.intensity("NL")
    assert back is not None
    assert (back.g_per_kwh, back.stale) == (200.0, False)
    assert web_source.last_error is None


async def test_a_source_that_does_not_answer_is_given_up_in_time(
    web_source: CachedIntensity, place: Place, grid: FakeGrid
) -> None:
    await web_source.intensity("NL")
    grid.pause_s = 5.0
    place.clock_s += 301
    async with asyncio.timeout(3):
        late = await web_source.intensity("NL")
    assert late is not None
    assert late.stale
    assert "did not answer in 0.5 s" in (web_source.last_error or "")
    grid.pause_s = 0.0


async def test_many_who_ask_at_once_are_one_request(web_source: CachedIntensity, grid: FakeGrid) -> None:
    grid.pause_s = 0.1
    values = await asyncio.gather(*(web_source.intensity("NL") for _ in range(20)))
    assert len(grid.asked) == 1
    assert {value.g_per_kwh for value in values if value is not None} == {300.0}


@pytest.mark.parametrize("zone", ["NL", "GB"])
async def test_a_forecast_is_never_waited_for_and_holds_the_coming_hours_only(
    web_source: CachedIntensity, place: Place, grid: FakeGrid, zone: str
) -> None:
    assert isinstance(web_source, ForecastSource)
    grid.pause_s = 0.1
    assert await web_source.forecast(zone) == ()
    await until(lambda: web_source.health()[0].forecast_error is None and len(grid.asked) == 1)
    points = await settled(web_source, zone)
    assert [point.g_per_kwh for point in points] == sorted(point.g_per_kwh for point in points)
    assert points[0].begins_s > place.web.clock()
    place.clock_s += points[0].begins_s - place.web.clock()
    assert await web_source.forecast(zone) == points[1:]
    assert len(grid.asked) == 1


async def test_without_a_forecast_there_is_still_the_intensity(web_source: CachedIntensity, grid: FakeGrid) -> None:
    grid.reply_with = lambda: JSONResponse({}, 403)
    assert await web_source.forecast("NL") == ()
    await until(lambda: web_source.health()[0].forecast_error is not None)
    assert await web_source.forecast("NL") == ()
    assert len(grid.asked) == 1  # backed off
    grid.reply_with = None
    value = await web_source.intensity("NL")
    assert value is not None
    assert (value.g_per_kwh, value.stale) == (300.0, False)


async def test_a_wrong_token_is_told_and_never_shown(place: Place) -> None:
    source = place.cached(ElectricityMaps("the-wrong-token", f"{place.url}/v3", place.web))
    assert await source.intensity("NL") is None
    assert "the token is not accepted" in (source.last_error or "")
    assert "the-wrong-token" not in str(source.health())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def settled(source: CachedIntensity, zone: str) -> tuple[ForecastPoint, ...]:
    """The forecast once it has come."""
    async with asyncio.timeout(5):
        while not (points := await source.forecast(zone)):
            await asyncio.sleep(0.01)
    return points
