"""Sources without a key: Great Britain's half hours and Energy-Charts' quarter hours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from router.carbon.fetch import Web
from router.carbon.gridfree import GridFree

NOW = datetime(2026, 3, 1, 12, 20, tzinfo=UTC).timestamp()
QUARTER = 900
BEGIN = NOW - 1200  # 12:00


def gb(actual: Any, forecast: Any = 266) -> dict[str, Any]:
    intensity = {"forecast": forecast, "actual": actual, "index": "moderate"}
    return {"data": [{"from": "2026-03-01T12:00Z", "to": "2026-03-01T12:30Z", "intensity": intensity}]}


def europe(known: list[Any], expected: list[Any]) -> dict[str, Any]:
    times = [BEGIN + QUARTER * i for i in range(len(known))]
    return {"unix_seconds": times, "co2eq": known, "co2eq_forecast": expected, "deprecated": False}


def answering(body: Any, status: int = 200) -> tuple[GridFree, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body)

    web = Web(transport=httpx.MockTransport(answer), clock=lambda: NOW)
    return GridFree("http://gb.test", "http://eu.test", web), seen


async def test_great_britain_is_measured_where_the_half_hour_is_known() -> None:
    source, seen = answering(gb(263))
    value = await source.intensity("GB")
    assert value is not None
    assert (value.g_per_kwh, value.zone, value.estimated, value.age_s) == (263.0, "GB", False, 1200.0)
    assert "generation only" in value.source
    assert str(seen[0].url) == "http://gb.test/intensity"


async def test_before_it_is_known_the_forecast_stands_in_and_is_marked_estimated() -> None:
    value = await answering(gb(None))[0].intensity("GB")
    assert value is not None
    assert (value.g_per_kwh, value.estimated) == (266.0, True)


async def test_a_country_takes_the_latest_known_quarter_hour() -> None:
    source, seen = answering(europe([310.0, 305.5, None, None], [300, 301, 302, 303]))
    value = await source.intensity("DE")
    assert value is not None
    assert (value.g_per_kwh, value.estimated, value.age_s) == (305.5, False, 300.0)
    assert value.source == "Energy-Charts (country de)"
    assert str(seen[0].url) == "http://eu.test/co2eq?country=de"


async def test_a_quarter_hour_only_expected_is_marked_estimated() -> None:
    value = await answering(europe([310.0, None, None], [300, 301, 302]))[0].intensity("DE")
    assert value is not None
    assert (value.g_per_kwh, value.estimated) == (301.0, True)


@pytest.mark.parametrize(("zone", "estimated"), [("DE-LU", False), ("SE-SE3", True)])
async def test_part_of_a_country_gets_the_countrys_figure_and_is_marked(zone: str, estimated: bool) -> None:
    value = await answering(europe([50.0, 51.0], []))[0].intensity(zone)
    assert value is not None
    assert value.zone == zone
    assert value.estimated is estimated


async def test_forecasts_begin_after_now_and_ascend() -> None:
    source, _ = answering(europe([310.0, 305.5, None, None], [300, 301, 302, 303]))
    assert [point.g_per_kwh for point in await source.fetch_forecast("DE")] == [302.0, 303.0]
    source, seen = answering(gb(None))
    assert [point.g_per_kwh for point in await source.fetch_forecast("GB")] == [266.0]
    assert "/intensity/2026-03-01T12:20Z/fw48h" in str(seen[0].url)


@pytest.mark.parametrize("zone", ["US-CAL-CISO", "", None, "ZZ"])
async def test_a_zone_nobody_covers_without_a_key_is_not_even_asked_for(zone: str | None) -> None:
    source, seen = answering({})
    assert await source.intensity(zone) is None
    assert not seen
    assert "Electricity Maps" in (source.last_error or "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"data": []},
        {"data": [{"intensity": {"forecast": -3, "actual": None}, "from": "2026-03-01T12:00Z"}]},
        {"data": [{"intensity": None}]},
        {"unix_seconds": 3, "co2eq": 4},
        {"unix_seconds": [BEGIN, BEGIN], "co2eq": [-4, "x"]},
        {"unix_seconds": ["a"], "co2eq": [4.0]},
        {"unix_seconds": [NOW + 3600], "co2eq": [4.0]},
    ],
)
@pytest.mark.parametrize("zone", ["GB", "FR"])
async def test_nonsense_is_no_value_and_no_exception(body: Any, zone: str) -> None:
    source, _ = answering(body)
    assert await source.intensity(zone) is None
    assert source.last_error


async def test_a_negative_quarter_hour_is_skipped_for_the_one_before() -> None:
    value = await answering(europe([310.0, -5.0], []))[0].intensity("FR")
    assert value is not None
    assert value.g_per_kwh == 310.0


async def test_a_country_the_server_does_not_know_says_what_there_is() -> None:
    source, _ = answering({}, 404)
    assert await source.intensity("XK") is None
    assert "404" in (source.last_error or "")
    assert "Electricity Maps" in (source.last_error or "")
