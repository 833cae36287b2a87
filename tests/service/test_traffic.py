from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from router.service.traffic import HALF_LIFE_S, PRIOR_PROMPTS, RATE_HALF_LIFE_S, Traffic, moved

MEASURED = np.array([0.5, 0.3, 0.2])
NAMES = ("code", "math", "sql")


class Clock:
    def __init__(self, now: float = 1e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_without_traffic_the_mix_is_that_of_the_measured_prompts_and_the_rate_is_not_known() -> None:
    traffic = Traffic(clock=Clock())
    assert traffic.mix(NAMES, MEASURED).w == pytest.approx(MEASURED)
    assert traffic.mix(NAMES, MEASURED).effective_n == 0.0
    assert traffic.rate_per_s() is None


def test_prompts_move_the_mix_by_their_probabilities_against_a_prior() -> None:
    traffic = Traffic(clock=Clock())
    for _ in range(50):
        traffic.saw([("math", 0.8), ("sql", 0.2)])
    mix = traffic.mix(NAMES, MEASURED)
    counts = np.array([0.0, 40.0, 10.0])
    assert mix.w == pytest.approx((PRIOR_PROMPTS * MEASURED + counts) / (PRIOR_PROMPTS + 50.0))
    assert mix.w.sum() == pytest.approx(1.0)


def test_after_its_half_life_a_prompt_counts_half() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for _ in range(100):
        traffic.saw([("sql", 1.0)])
    clock.now += HALF_LIFE_S
    assert traffic.mix(NAMES, MEASURED).effective_n == pytest.approx(50.0)


def test_a_steady_stream_has_its_rate_from_the_first_minutes_on() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for second in range(7200):
        clock.now += 1.0
        if second % 4 == 0:
            traffic.arrived()
        if second in (300, 1800, 7199):
            assert traffic.rate_per_s() == pytest.approx(0.25, rel=0.05)


def test_the_rate_of_a_stream_that_ended_fades() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for _ in range(3600):
        clock.now += 1.0
        traffic.arrived()
    before = traffic.rate_per_s()
    clock.now += RATE_HALF_LIFE_S
    assert before is not None
    assert traffic.rate_per_s() == pytest.approx(before / 2, rel=0.02)


def test_one_request_is_no_flood() -> None:
    traffic = Traffic(clock=Clock())
    traffic.arrived()
    rate = traffic.rate_per_s()
    assert rate is not None
    assert rate < 1 / 50


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "deep" / "traffic.json"
    first = Traffic(file, clock=clock)
    for _ in range(30):
        clock.now += 1.0
        first.arrived()
        first.saw([("code", 0.9), ("math", 0.1)])
    first.save()
    second = Traffic(file, clock=clock)
    assert second.mix(NAMES, MEASURED).w == pytest.approx(first.mix(NAMES, MEASURED).w)
    assert second.rate_per_s() == pytest.approx(first.rate_per_s() or math.nan)


def test_the_file_holds_numbers_by_category_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "traffic.json"
    traffic = Traffic(file, clock=Clock())
    traffic.arrived()
    traffic.saw([("code", 1.0)])
    traffic.save()
    data = json.loads(file.read_text())
    assert set(data) == {"version", "at", "since", "rate_sum", "sums"}
    assert data["sums"] == {"code": 1.0}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 99}', '{"version": 1, "sums": {"code": "many"}, "at": -5, "rate_sum": null}'],
)
def test_a_broken_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "traffic.json"
    file.write_text(content)
    traffic = Traffic(file, clock=Clock())
    assert traffic.mix(NAMES, MEASURED).w == pytest.approx(MEASURED)
    traffic.saw([("code", 1.0)])
    traffic.save()
    assert json.loads(file.read_text())["sums"]["code"] == 1.0


def test_what_saw_nothing_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "traffic.json"
    Traffic(file).save()
    assert not file.exists()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    traffic = Traffic(tmp_path / "file" / "traffic.json", clock=Clock())
    traffic.saw([("code", 1.0)])
    traffic.save()


def test_a_clock_set_back_does_not_bring_the_past_back() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    traffic.saw([("code", 1.0)])
    clock.now -= 10 * HALF_LIFE_S
    assert traffic.mix(NAMES, MEASURED).effective_n == pytest.approx(1.0)


def test_the_rate_goes_on_after_a_clock_was_set_back() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    clock.now -= 7200.0
    for _ in range(3600):  # an hour at one a second
        clock.now += 1.0
        traffic.arrived()
    assert traffic.rate_per_s() == pytest.approx(1.0, rel=0.1)


def test_categories_nobody_measures_any_more_are_left_out_of_the_mix() -> None:
    traffic = Traffic(clock=Clock())
    for _ in range(1000):
        traffic.saw([("poetry", 1.0)])
    assert traffic.mix(NAMES, MEASURED).w == pytest.approx(MEASURED)


def test_how_far_a_mix_moved_is_the_share_that_changed_sides() -> None:
    assert moved(np.array([0.5, 0.5]), np.array([0.3, 0.7])) == pytest.approx(0.2)
    assert moved(np.array([1.0]), np.array([0.5, 0.5])) == 1.0
