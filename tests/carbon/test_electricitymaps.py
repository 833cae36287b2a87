"""Electricity Maps: what its answers become, and every way in which they can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from router.carbon.electricitymaps import ElectricityMaps
from router.carbon.fetch import Web
from router.domain.errors import ConfigError, IntensityError

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp()
TOKEN = "secret-token"
LATEST = {
    "zone": "DE",
    "carbonIntensity": 302,
    "datetime": "2026-03-01T12:00:00.000Z",
    "updatedAt": "2026-03-01T12:20:00.000Z",
    "emissionFactorType": "lifecycle",
    "isEstimated": True,
    "estimationMethod": "TIME_SLICER_AVERAGE",
}

Answer = Callable[[httpx.Request], httpx.Response]


def asking(answer: Answer) -> ElectricityMaps:
    return ElectricityMaps(TOKEN, "http://maps.test/v3/", Web(transport=httpx.MockTransport(answer), clock=lambda: NOW))


def always(body: Any, status: int = 200, **headers: str) -> ElectricityMaps:
    return asking(lambda _: httpx.Response(status, json=body, headers=headers))


async def test_the_latest_value_carries_source_age_kind_and_estimated_flag() -> None:
    value = await always(LATEST).intensity("DE")
    assert value is not None
    assert value.g_per_kwh == 302.0
    assert value.zone == "DE"
    assert value.source == "Electricity Maps (lifecycle)"
    assert value.age_s == 1800.0
    assert value.kind == "average"
    assert value.estimated is True
    assert not value.stale


async def test_zone_and_token_are_sent_as_the_provider_wants_them() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=LATEST)

    await asking(answer).intensity("DE")
    assert str(seen[0].url) == "http://maps.test/v3/carbon-intensity/latest?zone=DE"
    assert seen[0].headers["auth-token"] == TOKEN


async def test_the_forecast_is_in_order_and_leaves_out_hours_that_make_no_sense() -> None:
    hours = [
        {"datetime": "2026-03-01T14:00:00Z", "carbonIntensity": 280},
        {"datetime": "2026-03-01T13:00:00Z", "carbonIntensity": 290.5},
        {"datetime": "2026-03-01T15:00:00Z", "carbonIntensity": -4},
        {"datetime": "soon", "carbonIntensity": 280},
        None,
    ]
    points = await always({"zone": "DE", "forecast": hours}).fetch_forecast("DE")
    assert [point.g_per_kwh for point in points] == [290.5, 280.0]
    assert points[0].begins_s == NOW + 1800


async def test_a_source_that_does_not_say_whether_it_estimates_is_not_made_to() -> None:
    value = await always({key: LATEST[key] for key in ("zone", "carbonIntensity", "datetime")}).intensity("DE")
    assert value is not None
    assert value.estimated is None
    assert value.source == "Electricity Maps"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (LATEST | {"carbonIntensity": -1}, "no intensity"),
        (LATEST | {"carbonIntensity": "302"}, "no intensity"),
        (LATEST | {"carbonIntensity": None}, "no intensity"),
        (LATEST | {"carbonIntensity": True}, "no intensity"),
        (LATEST | {"carbonIntensity": 1e9}, "no intensity"),
        (LATEST | {"datetime": "yesterday"}, "no time"),
        (LATEST | {"datetime": None}, "no time"),
        (LATEST | {"zone": "FR"}, "zone 'FR', asked was DE"),
        ([], "not an object"),
        ("", "not an object"),
    ],
)
async def test_nonsense_is_refused_and_the_reason_kept(body: Any, says: str) -> None:
    source = always(body)
    assert await source.intensity("DE") is None
    assert source.last_error is not None
    assert says in source.last_error


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "TOKEN"), (403, "plan"), (404, "models.yaml"), (429, "too often"), (500, "500")]
)
async def test_each_refusal_says_what_to_do(status: int, hint: str) -> None:
    with pytest.raises(IntensityError, match=hint):
        await always({}, status).fetch("DE")


@pytest.mark.parametrize(("header", "seconds"), [("120", 120.0), ("Sun, 01 Mar 2026 12:31:00 GMT", 60.0), ("x", None)])
async def test_how_long_to_wait_is_read_as_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    with pytest.raises(IntensityError) as refused:
        await always({}, 429, **{"retry-after": header}).fetch("DE")
    assert refused.value.retry_after_s == seconds


async def test_no_json_no_connection_and_no_zone_are_errors_with_a_sentence() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    for source, zone, says in (
        (asking(lambda _: httpx.Response(200, text="<html>")), "DE", "no JSON"),
        (asking(lambda _: httpx.Response(200, text="[" * 100_000)), "DE", "no JSON"),
        (asking(broken), "DE", "cannot be reached"),
        (always(LATEST), None, "needs a zone"),
    ):
        assert await source.intensity(zone) is None
        assert says in (source.last_error or "")


async def test_the_token_is_in_no_message_and_in_no_representation() -> None:
    source = always({}, 401)
    await source.intensity("DE")
    assert TOKEN not in f"{source!r} {source.last_error}"


@pytest.mark.parametrize("token", ["", "   ", "töken"])
def test_an_empty_or_impossible_token_is_refused_before_anything_is_asked(token: str) -> None:
    with pytest.raises(ConfigError, match="ROUTER_ELECTRICITY_MAPS_TOKEN"):
        ElectricityMaps(token)


async def test_an_answer_makes_the_last_error_go_away() -> None:
    answers = iter([httpx.Response(500), httpx.Response(200, json=LATEST)])
    source = asking(lambda _: next(answers))
    await source.intensity("DE")
    assert source.last_error
    await source.intensity("DE")
    assert source.last_error is None
