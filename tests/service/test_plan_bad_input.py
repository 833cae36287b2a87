"""Measurements with holes: there is always somebody who answers, and the plan says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from router.api.explain import plan_json
from router.domain.catalogue import Floor
from router.domain.chat import Message
from router.domain.record import Measurement, Outcome
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.planner import Planner
from tests.service import federation


def changed(change: Callable[[Measurement, Outcome], Outcome | None]) -> list[Measurement]:
    rows = []
    for row in federation.measurements():
        kept = tuple(o for outcome in row.outcomes if (o := change(row, outcome)) is not None)
        if kept:
            rows.append(replace(row, outcomes=kept))
    return rows


async def planned(rows: list[Measurement], **others: object) -> tuple[Service, Planner, str]:
    """A service with these measurements, its planner, and all notes in one text."""
    service = federation.build(measured=rows)
    catalogue = replace(service.catalogue, **others)  # type: ignore[arg-type]
    planner = Planner(catalogue, service.store, service.engines, service.sources)
    await planner.refresh(force=True)
    service.chooser._planner = planner
    return service, planner, " | ".join(plan_json(planner.current)["notes"])


async def answers(service: Service, text: str) -> str:
    choice = await service.chooser.choose(Ask((Message("user", text),)), dry_run=True)
    return str(choice.decision.option)


async def test_an_unreachable_floor_gives_the_best_plan_and_says_what_can_be_had() -> None:
    service, planner, notes = await planned(federation.measurements(), floor=Floor(0.99, absolute=True))
    shown = plan_json(planner.current)["plan"]
    assert shown["feasible"] is False
    assert 0.85 < shown["reachable_quality"] < 0.99
    assert "out of reach" in notes
    assert (await answers(service, federation.TEXTS["math"].format(i=1, j=4))).startswith("large")
    await service.close()


async def test_a_category_that_nobody_graded_goes_to_the_reference_and_is_named() -> None:
    def ungraded(row: Measurement, outcome: Outcome) -> Outcome:
        return replace(outcome, quality=None) if row.category == "code" else outcome

    service, planner, notes = await planned(changed(ungraded))
    assert "nothing is graded on code: the reference answers it, and the floor says nothing of it" in notes
    reference = planner.current.reference
    choice = await service.chooser.choose(Ask((Message("user", federation.TEXTS["code"].format(i=1, j=4)),)))
    assert choice.decision.option == reference
    assert "nobody has graded answers of its kind" in choice.decision.reason
    assert {candidate.expected_quality for candidate in choice.decision.candidates} == {None}
    await service.close()


async def test_a_reference_not_measured_on_one_kind_of_task_is_said() -> None:
    def holed(row: Measurement, outcome: Outcome) -> Outcome | None:
        is_reference = (outcome.model, outcome.directive) == ("large", "L0")
        return None if row.category == "questions" and is_reference else outcome

    for policy in ("joint", "category-lp"):
        service, planner, notes = await planned(changed(holed), policy=policy, reference="large")
        assert "the reference is not measured on questions" in notes
        assert planner.current.decider is not None
        plan = planner.current.decider.plan
        assert plan is not None
        assert plan.floor_quality == plan.floor_quality, "not NaN"
        await service.close()


async def test_options_measured_on_a_few_prompts_are_named_with_their_number() -> None:
    def few(row: Measurement, outcome: Outcome) -> Outcome | None:
        is_small = (outcome.model, outcome.directive) == ("small", "L1")
        return None if is_small and row.id not in ("math-0", "code-0", "questions-0") else outcome

    service, planner, notes = await planned(changed(few))
    assert "small@L1 (3)" in notes
    assert "fewer than 20 prompts" in notes
    assert planner.current.decider is not None
    await service.close()


async def test_options_without_joules_are_never_drawn_and_named() -> None:
    def unmetered(row: Measurement, outcome: Outcome) -> Outcome:
        return replace(outcome, energy_j=None) if outcome.model == "small" else outcome

    service, planner, notes = await planned(changed(unmetered))
    assert "no joules are known of small@L0, small@L1: never routed to" in notes
    decider = planner.current.decider
    assert decider is not None
    assert decider.plan is not None
    small = [o for o, option in enumerate(decider.options) if option.model == "small"]
    assert decider.plan.x[:, small].sum() == 0.0
    await service.close()


async def test_joules_known_of_nobody_leave_the_reference_and_a_hint() -> None:
    service, planner, notes = await planned(changed(lambda _, outcome: replace(outcome, energy_j=None)))
    assert planner.current.decider is None
    assert "no plan" in notes
    assert "make bench" in notes
    assert (await answers(service, "anything at all")).startswith("large")
    await service.close()


async def test_a_single_option_answers_everything_and_the_plan_says_there_is_no_choice() -> None:
    def only(row: Measurement, outcome: Outcome) -> Outcome | None:
        return outcome if (outcome.model, outcome.directive) == ("large", "L0") else None

    service, planner, notes = await planned(changed(only))
    assert "large@L0 is the only measured option" in notes
    assert planner.current.decider is not None
    assert await answers(service, federation.TEXTS["math"].format(i=1, j=4)) == "large@L0"
    await service.close()
