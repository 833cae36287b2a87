"""The plan follows the zone's past, the traffic and the limits; each is shown with the plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.api.explain import plan_json
from router.domain.catalogue import Catalogue
from router.domain.chat import Message
from router.domain.reading import Intensity
from router.domain.record import Outcome
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.chooser import Chooser
from router.service.conditions import have_moved
from router.service.past import FEWEST_HOURS, Past
from router.service.planner import Memory, Planner
from router.service.traffic import Traffic
from tests.service import federation

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1e6 * HOUR

    def __call__(self) -> float:
        return self.now


class Live:
    """A live source that a test can turn."""

    def __init__(self, value: float) -> None:
        self.value = value

    async def intensity(self, zone: str | None) -> Intensity | None:
        return Intensity(self.value, zone, "live", age_s=0.0)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    built = federation.build()
    yield built
    await built.close()


def a_year(clock: Clock) -> Past:
    """A past between 100 and 500 g/kWh."""
    past = Past(clock=clock)
    for hour in range(FEWEST_HOURS):
        past.note(Intensity(100.0 if hour % 2 else 500.0, "DE", "live", age_s=0.0))
        clock.now += HOUR
    return past


def planner(service: Service, source: Live, memory: Memory, catalogue: Catalogue | None = None) -> Planner:
    return Planner(catalogue or service.catalogue, service.store, service.engines, {"local": source}, memory=memory)


async def test_a_clean_hour_asks_for_more_than_the_floor_and_a_dirty_one_for_no_less(service: Service) -> None:
    clock = Clock()
    source, memory = Live(100.0), Memory(past=a_year(clock))
    plans = planner(service, source, memory)
    floors = []
    for value in (100.0, 300.0, 500.0, 900.0):
        source.value = value
        assert await plans.refresh()
        assert plans.current.decider is not None
        plan = plans.current.decider.plan
        assert plan is not None
        floors.append(plan.floor_quality / plan.reference_quality)
    assert floors == pytest.approx([1.0, 0.975, 0.95, 0.95])
    shown = plan_json(plans.current)["sliding_floor"]
    assert (shown["s"], shown["k0_min_g_per_kwh"], shown["k0_max_g_per_kwh"]) == (1.0, 100.0, 500.0)
    assert shown["k0_g_per_kwh"] == 900.0
    assert shown["floor_in_force"] == pytest.approx(0.95 * plan_json(plans.current)["plan"]["reference_quality"])


async def test_without_a_week_of_history_the_floor_is_the_users(service: Service) -> None:
    plans = planner(service, Live(100.0), Memory(past=Past(clock=Clock())))
    await plans.refresh()
    sliding = plans.current.conditions.sliding
    assert sliding.s == 1.0
    assert "168 are needed" in sliding.why


async def test_a_fixed_figure_never_slides(service: Service) -> None:
    await service.planner.refresh()
    assert service.planner.current.conditions.sliding.s == 1.0
    assert "fixed figure" in service.planner.current.conditions.sliding.why


async def test_the_slide_can_be_switched_off(service: Service) -> None:
    catalogue = replace(service.catalogue, sliding_floor=False)
    plans = planner(service, Live(100.0), Memory(past=a_year(Clock())), catalogue)
    await plans.refresh()
    assert plans.current.conditions.sliding.s == 1.0
    assert plan_json(plans.current)["sliding_floor"]["on"] is False


async def test_the_hours_seen_are_kept_on_disk(service: Service, tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "past.json"
    plans = planner(service, Live(100.0), Memory(past=Past(file, clock=clock)))
    await plans.refresh()
    plans.save()
    clock.now += HOUR
    assert Past(file, clock=clock).span(Intensity(1.0, "DE", "live", age_s=0.0)).hours == 1


async def test_served_prompts_shift_the_plan_without_fitting_again(service: Service) -> None:
    await service.planner.refresh()
    before = service.planner.current
    for i in range(200):
        ask = Ask((Message("user", federation.TEXTS["questions"].format(i=i % 15, j=(i % 15) * 3 + 1)),))
        await service.chooser.choose(ask)
    assert await service.planner.refresh()
    after = service.planner.current
    assert before.decider is not None
    assert after.decider is not None
    assert after.decider.estimates.q is before.decider.estimates.q
    index = after.decider.categories.index("questions")
    assert after.decider.estimates.w[index] > before.decider.estimates.w[index] + 0.3
    shown = plan_json(after)["traffic"]
    assert shown["effective_n"] == pytest.approx(200.0, abs=1.0)
    assert shown["shares"]["questions"] == pytest.approx(after.decider.estimates.w[index])
    assert not await service.planner.refresh(), "nothing moved since"


async def test_dry_runs_pins_and_side_requests_are_no_traffic_of_the_plan(service: Service) -> None:
    await service.planner.refresh()
    ask = Ask((Message("user", federation.TEXTS["math"].format(i=1, j=4)),))
    await service.chooser.choose(ask, dry_run=True)
    assert service.planner.traffic.rate_per_s() is None
    await service.chooser.choose(replace(ask, model="small"))
    assert service.planner.current.decider is not None
    estimates = service.planner.current.decider.estimates
    assert service.planner.traffic.mix(estimates.categories, estimates.w).effective_n == 0.0
    assert service.planner.traffic.rate_per_s() is not None


def rushed(clock: Clock, per_s: float) -> Traffic:
    traffic = Traffic(clock=clock)
    for _ in range(int(3600 * per_s)):
        clock.now += 1.0 / per_s
        traffic.arrived()
    return traffic


def mean_seconds(plans: Planner) -> float:
    decider = plans.current.decider
    assert decider is not None
    assert decider.plan is not None
    return float((decider.plan.w[:, None] * decider.plan.x * np.nan_to_num(decider.estimates.duration_s)).sum())


async def test_a_rush_moves_the_plan_to_options_the_slots_can_carry() -> None:
    def slower(outcome: Outcome) -> Outcome:
        """Being brief saves joules and, in this world, costs time."""
        return replace(outcome, duration_s=12.0) if (outcome.model, outcome.directive) == ("large", "L1") else outcome

    rows = [replace(row, outcomes=tuple(map(slower, row.outcomes))) for row in federation.measurements()]
    service = federation.build(measured=rows)
    catalogue = replace(service.catalogue, floor=replace(service.catalogue.floor, value=0.6), slack=None)
    calm = planner(service, Live(385.0), Memory(), catalogue)
    await calm.refresh()
    clock = Clock()
    per_s = 2.8 / (0.8 * mean_seconds(calm))  # 4 slots, of which .7 are planned for: a fifth more than they carry
    rush = planner(service, Live(385.0), Memory(traffic=rushed(clock, per_s)), catalogue)
    await rush.refresh()
    shown = plan_json(rush.current)["plan"]
    row = {r["row"]: r for r in shown["rows"]}["capacity of local"]
    assert row["unit"] == "busy s per s"
    assert row["limit"] == pytest.approx(2.8)
    assert row["value"] <= 2.8 + 1e-6
    assert row["price_g_per_unit"] > 0.0
    assert mean_seconds(rush) < 0.9 * mean_seconds(calm)
    assert shown["expected_quality"] >= shown["floor_quality"] - 1e-6
    await service.close()


async def test_rows_of_answers_that_shared_the_device_leave_less_of_its_time_to_plan_for() -> None:
    """Measured with all four slots busy, an answer's device seconds are a quarter of its wall seconds."""
    rows = [
        replace(
            row, outcomes=tuple(replace(o, concurrency=4, duration_s=(o.duration_s or 0) / 4) for o in row.outcomes)
        )
        for row in federation.measurements()
    ]
    service = federation.build(measured=rows)
    plans = planner(service, Live(385.0), Memory(traffic=rushed(Clock(), 0.1)))
    await plans.refresh()
    row = {r["row"]: r for r in plan_json(plans.current)["plan"]["rows"]}["capacity of local"]
    assert row["limit"] == pytest.approx(0.7)
    decider, before = plans.current.decider, plans.current.conditions
    assert decider is not None
    seconds = np.nan_to_num(decider.estimates.duration_s)
    per_s = 1.0 / float(decider.estimates.w @ seconds.max(axis=1))  # more than .7, less than .7 times the slots
    assert have_moved(before, replace(before, rate_per_s=per_s), decider.estimates, service.catalogue)
    alone = replace(before, levels={})
    assert not have_moved(alone, replace(alone, rate_per_s=per_s), decider.estimates, service.catalogue)
    await service.close()


async def test_a_limit_on_seconds_is_kept_and_its_price_is_shown(service: Service) -> None:
    free = planner(service, Live(385.0), Memory())
    await free.refresh()
    seconds = mean_seconds(free)
    catalogue = replace(
        service.catalogue, max_mean_seconds=0.9 * seconds, floor=replace(service.catalogue.floor, value=0.8)
    )
    limited = planner(service, Live(385.0), Memory(), catalogue)
    await limited.refresh()
    rows = {r["row"]: r for r in plan_json(limited.current)["plan"]["rows"]}
    assert rows["mean seconds"]["value"] <= 0.9 * seconds + 1e-6
    assert rows["mean seconds"]["price_g_per_unit"] is not None


async def test_a_limit_that_cannot_be_kept_is_said_and_the_floor_is(service: Service) -> None:
    catalogue = replace(service.catalogue, max_mean_seconds=0.01)
    plans = planner(service, Live(385.0), Memory(), catalogue)
    await plans.refresh()
    shown = plan_json(plans.current)
    assert shown["plan"]["feasible"] is False
    assert any("max_mean_seconds had to give way" in note for note in shown["notes"])
    assert shown["plan"]["expected_quality"] >= shown["plan"]["floor_quality"] - 1e-6


async def test_a_budget_without_requests_is_said_to_wait(service: Service) -> None:
    catalogue = replace(service.catalogue, carbon_budget_g_per_hour=1.0)
    plans = planner(service, Live(385.0), Memory(), catalogue)
    await plans.refresh()
    assert any("no request" in note for note in plans.current.notes)
    plans.traffic.arrived()
    assert await plans.refresh(), "the first request makes the budget a row"
    assert "budget" in {r["row"] for r in plan_json(plans.current)["plan"]["rows"]}


async def test_a_budget_too_small_is_exceeded_by_as_little_as_the_floor_allows(service: Service) -> None:
    catalogue = replace(service.catalogue, carbon_budget_g_per_hour=1e-6)
    plans = planner(service, Live(385.0), Memory(traffic=rushed(Clock(), 0.1)), catalogue)
    await plans.refresh()
    row = {r["row"]: r for r in plan_json(plans.current)["plan"]["rows"]}["budget"]
    assert row["exceeded_by"] > 1.0
    assert any("carbon_budget_g_per_hour had to give way" in note for note in plan_json(plans.current)["notes"])


async def test_a_pinned_directive_is_answered_by_a_program_of_its_own(service: Service) -> None:
    await service.planner.refresh()
    text = federation.TEXTS["math"].format(i=2, j=7)
    chooser: Chooser = service.chooser
    free = await chooser.choose(Ask((Message("user", text),)), dry_run=True)
    pinned = await chooser.choose(Ask((Message("user", text),), "auto@L0"), dry_run=True)
    assert pinned.decision.option.directive == "L0"
    weights = {str(c.option): c.weight for c in pinned.decision.candidates}
    assert weights["large@L0"] > 0.9, "only the large model can do math"
    assert free.decision.category == pinned.decision.category == "math"
