from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.domain.catalogue import Floor, Option
from router.domain.decision import Plan
from router.domain.errors import ConfigError, PolicyError
from router.domain.estimates import Limits, PromptView
from router.estimate.table import estimate
from router.policy.registry import POLICY_NAMES, make_policy
from router.policy.terms import importance, pooled_grams, pooled_quality
from tests.policy.worlds import G_PER_J, World, table, terms, usual

WORLD = usual()
KNOWN = WORLD.sample(400, seed=2)
TABLE = table(WORLD.w, WORLD.q, WORLD.energy_j)


def views(n: int, neighbour: int = 0) -> PromptView:
    flags = np.zeros(n, dtype=np.bool_)
    return PromptView(
        np.full((n, 3), 1 / 3), np.full((n, 1), neighbour, dtype=np.int64), np.zeros((n, 1)), flags, flags
    )


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_every_policy_keeps_the_port(name: str) -> None:
    policy = make_policy(name)
    fitted = policy.fit(KNOWN, TABLE, terms(0.9, 3))
    weights = fitted.weights(views(4))
    assert fitted.name == name
    assert weights.shape == (4, 3)
    assert weights.sum(axis=1) == pytest.approx(np.ones(4))
    assert (weights >= 0).all()
    if fitted.plan is not None:
        assert fitted.plan.policy == name
        assert fitted.plan.x.sum(axis=1) == pytest.approx(np.ones(3))


def test_an_unknown_policy_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="joint, "):
        make_policy("magic")


def test_nearest_takes_the_cheapest_option_that_answered_the_nearest_prompt() -> None:
    known = replace(
        KNOWN,
        quality=np.where(np.arange(400)[:, None] == 7, np.array([1.0, 1.0, 0.0]), KNOWN.quality),
        energy_j=np.where(np.arange(400)[:, None] == 7, np.array([50.0, 30.0, 1.0]), KNOWN.energy_j),
    )
    fitted = make_policy("nearest").fit(known, TABLE, terms(0.9, 3))
    assert fitted.weights(views(1, neighbour=7))[0].tolist() == [0.0, 1.0, 0.0]


def test_nearest_falls_back_on_the_reference_where_none_was_right() -> None:
    known = replace(KNOWN, quality=np.zeros_like(KNOWN.quality))
    fitted = make_policy("nearest").fit(known, TABLE, terms(0.9, 3))
    assert fitted.weights(views(1))[0].tolist() == [1.0, 0.0, 0.0]


def test_nearest_breaks_ties_by_the_lower_mean() -> None:
    known = replace(KNOWN, quality=np.ones_like(KNOWN.quality), energy_j=np.ones_like(KNOWN.energy_j))
    fitted = make_policy("nearest").fit(known, TABLE, terms(0.9, 3))
    assert fitted.weights(views(1))[0].tolist() == [0.0, 0.0, 1.0]


def test_sprout_stays_with_the_references_model() -> None:
    columns = (Option("big", "L0"), Option("big", "L1"), Option("small", "L0"))
    fitted = make_policy("sprout").fit(replace(KNOWN, options=columns), replace(TABLE, options=columns), terms(0.9, 3))
    assert fitted.weights(views(1))[0, 2] == 0.0
    assert fitted.weights(views(1))[0, 1] > 0.0


def test_the_lottery_meets_its_floor_exactly_and_beats_any_single_option() -> None:
    lottery = make_policy("random-mix").fit(KNOWN, TABLE, terms(0.9, 3)).plan
    single = make_policy("cheapest-meeting-floor").fit(KNOWN, TABLE, terms(0.9, 3)).plan
    assert lottery is not None
    assert single is not None
    mean = WORLD.w @ WORLD.energy_j * G_PER_J
    assert float(lottery.x[0] @ mean) <= float(single.x[0] @ mean)


def test_a_floor_no_single_option_meets_falls_back_on_the_best() -> None:
    world = World(
        w=np.array([0.5, 0.5]),
        q=np.array([[0.9, 0.5], [0.4, 0.8]]),
        energy_j=np.array([[100.0, 50.0], [100.0, 50.0]]),
    )
    known = world.sample(200, seed=3)
    plan = make_policy("cheapest-meeting-floor").fit(known, table(world.w, world.q, world.energy_j), terms(1.3, 2)).plan
    assert plan is not None
    assert not plan.feasible


def test_the_cheapest_is_the_cheapest() -> None:
    assert make_policy("cheapest").fit(KNOWN, TABLE, terms(0.9, 3)).weights(views(1))[0].tolist() == [0.0, 0.0, 1.0]


def test_a_reference_without_grams_is_refused_with_a_hint() -> None:
    energy = WORLD.energy_j.copy()
    energy[:, 0] = np.nan
    with pytest.raises(PolicyError, match="reference"):
        make_policy("reference").fit(KNOWN, replace(TABLE, energy_j=energy), terms(0.9, 3))


def test_with_few_prompts_the_certain_floor_of_the_program_is_not_out_of_reach() -> None:
    few = WORLD.sample(40, seed=3)
    sure = terms(0.95, 3, confidence=0.99)
    plan = make_policy("category-lp").fit(few, TABLE, sure).plan
    free = make_policy("category-lp").fit(few, TABLE, terms(0.95, 3)).plan
    assert plan is not None
    assert free is not None
    assert plan.feasible, "the reference keeps a share of itself, however few prompts there are"
    assert plan.expected_quality > free.expected_quality
    assert not plan.notes


@pytest.mark.parametrize("name", ["category-lp", "joint"])
def test_limits_come_before_the_margin_and_the_floor_before_both(name: str) -> None:
    timed = replace(TABLE, duration_s=WORLD.energy_j / 100)

    def plan_of(confidence: float, seconds: float | None = None, of: str = "category-lp") -> Plan:
        limits = None if seconds is None else Limits(max_mean_duration_s=seconds)
        plan = make_policy(of).fit(KNOWN, timed, terms(0.95, 3, confidence=confidence, limits=limits)).plan
        assert plan is not None
        return plan

    def seconds_of(plan: Plan) -> float:
        return float(WORLD.w @ (plan.x * timed.duration_s).sum(axis=1))

    mean, sure = seconds_of(plan_of(0.5)), seconds_of(plan_of(0.99))
    assert sure > mean * 1.01, "or nothing would be decided here"
    between = plan_of(0.99, 0.5 * (mean + sure), name)
    assert between.feasible
    assert seconds_of(between) <= 0.5 * (mean + sure) + 1e-6
    assert between.expected_quality > between.floor_quality
    assert any("instead of 0.99" in note for note in between.notes)
    tight = plan_of(0.99, 0.9 * mean, name)
    assert not tight.feasible, "no margin is left to give: the limit gives way and the floor is kept"
    assert tight.expected_quality >= tight.floor_quality - 1e-9
    assert set(tight.shed) == {"latency"}


def test_a_category_that_only_the_reference_was_measured_in_hides_no_option_from_the_baselines() -> None:
    bare = TABLE.q.copy(), TABLE.energy_j.copy()
    for cells in bare:
        cells[2, 1:] = np.nan
    thin = replace(TABLE, q=bare[0], energy_j=bare[1])
    assert make_policy("cheapest").fit(KNOWN, thin, terms(0.9, 3)).weights(views(1))[0].tolist() == [0.0, 0.0, 1.0]
    lottery = make_policy("random-mix").fit(KNOWN, thin, terms(0.9, 3)).plan
    assert lottery is not None
    assert lottery.x[0, 0] < 0.9


def test_an_option_measured_on_easy_categories_only_is_set_against_the_reference_there() -> None:
    q = np.array([[0.9, 0.8], [0.3, np.nan]])
    pooled = pooled_quality(np.array([0.6, 0.4]), q, 0)
    assert pooled == pytest.approx([0.66, 0.56])  # a tenth under the reference, and not at .8
    assert pooled_grams(np.array([0.6, 0.4]), 10 * q, 0) == pytest.approx([6.6, 6.6 * 8 / 9])
    assert np.isnan(pooled_quality(np.array([0.4, 0.6]), q, 0)[1])


def test_traffic_is_what_the_weights_come_to_where_categories_are_soft() -> None:
    p = np.array([[0.8, 0.2], [0.2, 0.8], [0.9, 0.1]])
    v = importance(p, np.array([0.75, 0.25]))
    assert v @ p == pytest.approx([0.75, 0.25], abs=0.005)
    assert v.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["category-lp", "joint"])
def test_an_option_measured_on_few_prompts_is_as_uncertain_as_they_are(name: str) -> None:
    flat = World(w=np.ones(1), q=np.array([[0.8, 0.72]]), energy_j=np.array([[1000.0, 100.0]]))
    missed = 0
    for seed in range(40):
        known = flat.sample(200, seed)
        quality = known.quality.copy()
        quality[12:, 1] = np.nan
        known = replace(known, quality=quality)
        plan = (
            make_policy(name)
            .fit(known, estimate(known, np.ones((200, 1)), ("c0",)), terms(0.95, 2, confidence=0.9))
            .plan
        )
        assert plan is not None
        missed += flat.truth(plan.x)[0] < 0.95 * 0.8 - 1e-9
    assert missed <= 10, "4 would be perfect; taking a mean for a measurement gives about 13"


def test_an_absolute_floor_says_which_confidence_the_reference_leaves() -> None:
    few = WORLD.sample(50, seed=1)
    plan = make_policy("category-lp").fit(few, TABLE, terms(Floor(0.77, absolute=True), 3, confidence=0.99)).plan
    assert plan is not None
    assert any("instead of 0.99" in note for note in plan.notes)
