from __future__ import annotations

from pathlib import Path

import pytest

from router.domain.reading import Intensity
from router.service.past import FEWEST_HOURS, WINDOW_HOURS, Past

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1e6 * HOUR

    def __call__(self) -> float:
        return self.now


def now_is(value: float, zone: str = "DE", **others: object) -> Intensity:
    return Intensity(value, zone, "a source", **{"age_s": 0.0, **others})  # type: ignore[arg-type]


def after(hours: int, values: tuple[float, ...], clock: Clock, past: Past) -> None:
    for hour in range(hours):
        past.note(now_is(values[hour % len(values)]))
        clock.now += HOUR


def test_a_week_of_hours_gives_the_range() -> None:
    clock = Clock()
    past = Past(clock=clock)
    after(FEWEST_HOURS, (100.0, 300.0, 500.0), clock, past)
    span = past.span(now_is(250.0))
    assert (span.low_g_per_kwh, span.high_g_per_kwh, span.hours) == (100.0, 500.0, FEWEST_HOURS)


def test_less_than_a_week_gives_none() -> None:
    clock = Clock()
    past = Past(clock=clock)
    after(FEWEST_HOURS - 1, (100.0, 500.0), clock, past)
    span = past.span(now_is(250.0))
    assert (span.low_g_per_kwh, span.high_g_per_kwh, span.hours) == (None, None, FEWEST_HOURS - 1)


def test_the_present_hour_and_the_future_are_not_part_of_the_past() -> None:
    clock = Clock()
    past = Past(clock=clock)
    after(FEWEST_HOURS, (100.0, 500.0), clock, past)
    past.note(now_is(9000.0))
    assert past.span(now_is(9000.0)).high_g_per_kwh == 500.0
    clock.now -= 10 * HOUR  # a clock set back sees fewer hours, never later ones
    assert past.span(now_is(1.0)).hours == FEWEST_HOURS - 10


def test_a_year_is_kept_and_no_more() -> None:
    clock = Clock()
    past = Past(clock=clock)
    past.note(now_is(1.0))
    clock.now += HOUR
    after(WINDOW_HOURS + 5, (200.0, 300.0), clock, past)
    span = past.span(now_is(250.0))
    assert span.low_g_per_kwh == 200.0
    assert span.hours <= WINDOW_HOURS


@pytest.mark.parametrize("value", [now_is(1.0, age_s=None), now_is(1.0, stale=True)])
def test_fixed_and_stale_figures_are_no_history(value: Intensity) -> None:
    clock = Clock()
    past = Past(clock=clock)
    past.note(value)
    clock.now += HOUR
    assert past.span(now_is(1.0)).hours == 0


def test_a_value_belongs_to_the_hour_it_was_valid_in() -> None:
    clock = Clock()
    past = Past(clock=clock)
    past.note(now_is(100.0, age_s=2 * HOUR))
    assert past.span(now_is(1.0)).hours == 1


def test_zones_and_kinds_have_pasts_of_their_own() -> None:
    clock = Clock()
    past = Past(clock=clock)
    after(3, (100.0,), clock, past)
    assert past.span(now_is(1.0, zone="FR")).hours == 0
    assert past.span(now_is(1.0, kind="marginal")).hours == 0


def test_a_restart_remembers(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "past.json"
    past = Past(file, clock=clock)
    after(FEWEST_HOURS, (100.0, 500.0), clock, past)
    past.save()
    assert Past(file, clock=clock).span(now_is(1.0)) == past.span(now_is(1.0))


@pytest.mark.parametrize(
    "content", ["nonsense", '{"version": 1, "zones": {"DE average": {"x": 1, "5": "y", "6": -1}}}']
)
def test_a_broken_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "past.json"
    file.write_text(content)
    assert Past(file).span(now_is(1.0)).hours == 0
