"""The load a plan is made for: what the gates saw, the nearest measured level, and no flapping."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.api.explain import plan_json
from router.domain.record import Measurement
from router.meters.recording import ReplayClock
from router.service.gate import Gate
from router.service.load import PRIOR_S, WINDOW_S, LoadWatch
from router.service.planner import Planner
from tests.service import federation


class Door(Gate):
    """A gate whose integrals a test turns on."""

    def __init__(self) -> None:
        super().__init__("local", 16, 0)
        self.sums = (0.0, 0.0)

    def ran(self, n: float, seconds: float) -> None:
        self.sums = (self.sums[0] + n * seconds, self.sums[1] + n * n * seconds)

    def worked_s(self) -> tuple[float, float]:
        return self.sums


class Site:
    """A site under a load that a test prescribes, second by second."""

    def __init__(self, levels: tuple[int, ...] = (1, 4, 16)) -> None:
        self.clock, self.door = ReplayClock(), Door()
        self.watch = LoadWatch(clock=self.clock)
        self.watch.read(rows_at(levels))
        self.watch.observe({"local": self.door})

    def runs(self, n: float, seconds: int) -> list[frozenset[tuple[str, int]]]:
        seen = []
        for _ in range(seconds):
            self.clock.sleep(1.0)
            self.door.ran(n, 1.0)
            seen.append(self.watch.observe({"local": self.door}))
        return seen


def rows_at(levels: tuple[int, ...], ratio: float = 0.5) -> list[Measurement]:
    """The federation's rows, also measured at these levels; every level costs ``1 / level ** ratio``."""
    return [
        replace(
            row,
            outcomes=tuple(
                replace(
                    o,
                    concurrency=level,
                    energy_j=(o.energy_j or 0) / level**ratio,
                    duration_s=(o.duration_s or 0) / level**ratio,
                )
                for o in row.outcomes
                for level in levels
            ),
        )
        for row in federation.measurements()
    ]


def test_a_site_nobody_uses_has_a_load_of_one() -> None:
    site = Site()
    assert site.watch.load("local") == 1.0
    assert site.runs(0, 100)[-1] == frozenset()


def test_a_steady_load_is_seen_as_it_is() -> None:
    site = Site()
    site.runs(8, 600)
    b = 8 * WINDOW_S * (1 - math.exp(-600 / WINDOW_S))  # a sum of seconds comes near the integral
    assert site.watch.load("local") == pytest.approx((8 * b + PRIOR_S) / (b + PRIOR_S), rel=0.01)


def test_bursts_count_as_their_generations_saw_them_and_not_by_the_clock() -> None:
    site = Site()
    for _ in range(30):
        site.runs(16, 2)
        site.runs(0, 18)
    assert site.watch.load("local") == pytest.approx(16, rel=0.1)


def test_afterwards_it_goes_back_to_one() -> None:
    site = Site()
    site.runs(16, 300)
    assert site.runs(0, 1)[-1] == {("local", 16)}
    assert site.runs(0, 1800)[-1] == frozenset()


def test_a_load_around_the_middle_between_two_levels_does_not_make_plans_flap() -> None:
    site = Site((1, 4))
    site.runs(1.9, 600)
    seen = [levels for _ in range(20) for n in (1.7, 2.3) for levels in site.runs(n, 60)]
    assert len(set(seen)) == 1


def test_a_load_well_beyond_the_middle_changes_the_level_once_and_back_once() -> None:
    site = Site((1, 4))
    seen = [*site.runs(4, 600), *site.runs(1, 900)]
    changes = [b for a, b in pairwise([frozenset(), *seen]) if a != b]
    assert changes == [{("local", 4)}, frozenset()]
    assert seen[500] == {("local", 4)}
    assert seen[-1] == frozenset()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 50)), min_size=1, max_size=12))
def test_the_load_lies_between_one_and_the_most_that_ran(course: list[tuple[int, int]]) -> None:
    site = Site()
    for n, seconds in course:
        site.runs(n, seconds)
    assert 1.0 - 1e-9 <= site.watch.load("local") <= max(1, *(n for n, _ in course)) + 1e-9


def test_a_new_gate_of_a_site_goes_on_where_the_old_one_was() -> None:
    site = Site()
    site.runs(8, 300)
    before = site.watch.load("local")
    site.door = Door()
    site.watch.observe({"local": site.door})
    assert site.watch.load("local") == pytest.approx(before)


async def test_a_gate_integrates_who_is_in_it() -> None:
    gate = Gate("local", 4, 10)
    began = time.monotonic()

    async def generation(seconds: float) -> None:
        async with gate.hold(asyncio.get_running_loop().time() + 10):
            await asyncio.sleep(seconds)

    await asyncio.gather(generation(0.1), generation(0.1), generation(0.2))
    linear_s, square_s = gate.worked_s()
    assert time.monotonic() - began >= 0.2
    assert linear_s >= 0.39
    assert square_s / linear_s == pytest.approx((9 * 0.1 + 0.1) / 0.4, rel=0.3)
    assert gate.worked_s() == (linear_s, square_s)


async def test_under_load_the_plan_is_made_from_rows_of_that_load_and_says_so() -> None:
    service = federation.build(measured=rows_at((1, 4)), slots=8)
    clock, door = ReplayClock(), Door()
    watch = LoadWatch(clock=clock)
    planner = Planner(service.catalogue, service.store, service.engines, service.sources, load=watch)
    service.engines._gates = {"local": door}
    await planner.refresh()
    quiet = planner.current
    assert not await planner.refresh()
    assert plan_json(quiet)["load"] == {"local": {"observed": 1.0, "rows_at": 1}}
    assert not any("planned for" in note for note in quiet.notes)

    for _ in range(200):
        clock.sleep(1.0)
        door.ran(5, 1.0)
        watch.observe({"local": door})
    assert await planner.refresh()
    loaded = planner.current
    assert plan_json(loaded)["load"]["local"] == {"observed": pytest.approx(5, rel=0.05), "rows_at": 4}
    assert any("planned for local: 5.0 generations at a time, rows of 4" in note for note in loaded.notes)
    assert quiet.decider is not None
    assert loaded.decider is not None
    assert quiet.decider.plan is not None
    assert loaded.decider.plan is not None
    assert loaded.decider.plan.reference_g == pytest.approx(quiet.decider.plan.reference_g / 2, rel=0.02)
    assert not await planner.refresh()
    await service.close()
