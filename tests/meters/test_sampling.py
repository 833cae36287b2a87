"""Sampled watts become joules, and what was not sampled is unknown rather than nothing."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import MeterError
from router.meters.recording import ReplayClock
from router.meters.sampling import PowerIntegral, Sampler


class Watts:
    """Says what it is told to."""

    def __init__(self, power_w: float = 0.0) -> None:
        self.power_w: float | None = power_w

    def __call__(self) -> float:
        if self.power_w is None:
            raise MeterError("no answer")
        return self.power_w


def read_after(integral: PowerIntegral, clock: ReplayClock, seconds: float) -> float | None:
    clock.sleep(seconds)
    return integral.read_j()


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0, 500)), min_size=1, max_size=20), st.floats(0, 500))
def test_a_straight_course_between_samples_is_integrated_exactly(
    steps: list[tuple[float, float]], start_w: float
) -> None:
    clock, watts = ReplayClock(), Watts(start_w)
    integral = PowerIntegral(watts, clock=clock, longest_gap_s=1.5)
    integral.sample()
    expected_j, last_w = 0.0, start_w
    for seconds, power_w in steps:
        clock.sleep(seconds)
        watts.power_w = power_w
        integral.sample()
        expected_j += seconds * (last_w + power_w) / 2
        last_w = power_w
    assert integral.read_j() == pytest.approx(expected_j)


def test_a_pause_too_long_makes_one_look_unknown_and_counting_goes_on() -> None:
    clock = ReplayClock()
    integral = PowerIntegral(Watts(100.0), clock=clock)
    assert integral.read_j() == 0.0
    assert read_after(integral, clock, 0.5) == pytest.approx(50.0)
    assert read_after(integral, clock, 5.0) is None
    assert integral.problem == "no sample for 5.0 s"
    assert read_after(integral, clock, 0.5) == pytest.approx(100.0)
    assert integral.problem is None


def test_a_failed_sample_between_two_looks_is_told_at_the_next() -> None:
    clock, watts = ReplayClock(), Watts(100.0)
    integral = PowerIntegral(watts, clock=clock)
    integral.read_j()
    watts.power_w = None
    clock.sleep(0.1)
    integral.sample()
    watts.power_w = 100.0
    assert read_after(integral, clock, 0.1) is None
    assert read_after(integral, clock, 0.1) is not None


@pytest.mark.parametrize("power_w", [-1.0, float("nan"), float("inf"), 1e6])
def test_watts_that_cannot_be_are_a_failed_reading_and_not_zero(power_w: float) -> None:
    integral = PowerIntegral(Watts(power_w), clock=ReplayClock())
    assert integral.read_j() is None
    assert "no reading" in (integral.problem or "")


def test_the_sampler_calls_at_its_pace_until_closed() -> None:
    calls: list[float] = []
    enough = threading.Event()

    def sample() -> None:
        calls.append(time.monotonic())
        if len(calls) == 5:
            enough.set()

    sampler = Sampler(sample, 0.02).start()
    assert enough.wait(5.0)
    sampler.close()
    count = len(calls)
    time.sleep(0.06)
    assert len(calls) == count
    assert calls[4] - calls[0] >= 0.06


def test_closing_a_sampler_that_never_began_does_nothing() -> None:
    Sampler(lambda: None).close()


def test_what_was_told_between_samples_is_not_taken_back_when_the_watts_fall() -> None:
    clock, watts = ReplayClock(), Watts(300.0)
    integral = PowerIntegral(watts, clock=clock, longest_gap_s=5.0)
    integral.sample()
    clock.sleep(1.0)
    assert integral.look_j() == pytest.approx(300.0)
    watts.power_w = 50.0
    integral.sample()
    assert integral.look_j() == pytest.approx(300.0), "175 J by now, but 300 J were told"
    clock.sleep(4.0)
    assert integral.look_j() == pytest.approx(375.0)
