"""What a pin leaves open is a program of its own; what a request caps is not priced in."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from router.domain.catalogue import Floor, Option
from router.domain.estimates import FloatArray, Known, Terms
from router.domain.ports import Policy
from router.learn.decider import Assessment, Decider
from router.learn.refit import fit_decider, replan
from router.policy.registry import make_policy
from tests.policy.worlds import G_PER_J, World

OPTIONS = (Option("big", "L0"), Option("big", "L1"), Option("small", "L0"), Option("small", "L1"))
WORLD = World(
    w=np.array([0.5, 0.5]),
    q=np.array([[0.90, 0.88, 0.87, 0.50], [0.90, 0.60, 0.30, 0.10]]),
    energy_j=np.array([[1000.0, 500.0, 100.0, 60.0], [1500.0, 700.0, 120.0, 80.0]]),
)


def known(n: int = 1200) -> Known:
    return replace(WORLD.sample(n, seed=5), options=OPTIONS)


def terms(floor: float = 0.9) -> Terms:
    return Terms(Floor(floor), np.full(4, G_PER_J), np.full(4, np.nan), slack=None)


@pytest.fixture(scope="module", params=["joint", "category-lp"])
def decider(request: pytest.FixtureRequest) -> Decider:
    return fit_decider(known(), terms(), request.param)


def assessed(decider: Decider, category: int) -> Assessment:
    rows = [i for i, c in enumerate(known().categories) if c == f"c{category}"]
    return decider.assess(known().texts[rows[0]], known().embeddings[rows[0]])


def mean_of_pin(decider: Decider, allowed: list[bool]) -> tuple[float, float]:
    """True quality and joules when all traffic is pinned so."""
    x: list[FloatArray] = []
    for c in range(2):
        weights = decider.among(allowed, assessed(decider, c))
        assert weights is not None
        assert weights[~np.array(allowed)].sum() == 0.0
        x.append(weights)
    return WORLD.truth(np.array(x))


def test_a_pinned_directive_keeps_the_floor_without_giving_every_prompt_the_reference(decider: Decider) -> None:
    quality, joules = mean_of_pin(decider, [True, False, True, False])  # L0 alone
    assert quality >= 0.9 * 0.9 - 0.03
    assert joules < 0.75 * 1250.0


def test_a_pin_that_cannot_reach_the_floor_gives_the_most_quality_it_can(decider: Decider) -> None:
    quality, _ = mean_of_pin(decider, [False, False, True, True])  # the small model
    assert quality == pytest.approx((0.87 + 0.30) / 2, abs=0.03)


def test_brevity_pinned_is_kept_even_where_the_prompt_asks_for_length(decider: Decider) -> None:
    long = replace(assessed(decider, 0), no_brevity=True)
    weights = decider.among([False, True, False, True], long)
    assert weights is not None
    assert weights[[0, 2]].sum() == 0.0


def test_an_unfamiliar_prompt_under_a_pin_takes_what_is_best_on_the_whole(decider: Decider) -> None:
    odd = replace(assessed(decider, 0), unfamiliar=True)
    assert np.argmax(decider.among([True, True, False, False], odd)) == 0  # type: ignore[arg-type]
    assert np.argmax(decider.among([False, False, True, True], odd)) == 2  # type: ignore[arg-type]


def test_a_pin_is_solved_once(decider: Decider) -> None:
    mask = [True, False, True, False]
    decider.among(mask, assessed(decider, 0))
    before = dict(decider._pinned)
    decider.among(mask, assessed(decider, 1))
    assert decider._pinned == before


def test_nothing_allowed_has_no_weights(decider: Decider) -> None:
    assert decider.among([False] * 4, assessed(decider, 0)) is None


def test_policies_without_a_program_leave_pins_to_the_plans_weights() -> None:
    fitted = fit_decider(known(200), terms(), "cheapest")
    assert fitted.among([True, False, False, False], assessed(fitted, 0)) is None


def by_length() -> Known:
    """Answers of 20 to 400 tokens at two joules and a tenth of a second each."""
    rows = known(400)
    rng = np.random.default_rng(0)
    tokens = rng.integers(20, 400, rows.quality.shape).astype(np.float64)
    prompt = np.tile([[float(len(t) // 4)] for t in rows.texts], (1, 4))
    return replace(
        rows,
        output_tokens=tokens,
        prompt_tokens=prompt,
        energy_j=5.0 + 2.0 * tokens,
        duration_s=1.0 + 0.1 * tokens,
    )


def test_a_cap_below_the_expected_length_lowers_joules_and_seconds() -> None:
    rows = by_length()
    fitted = fit_decider(rows, terms())
    text, vector = rows.texts[0], rows.embeddings[0]
    free, capped = fitted.assess(text, vector), fitted.assess(text, vector, max_tokens=50)
    assert capped.energy_j == pytest.approx(np.full(4, 5.0 + 2.0 * 50), rel=0.15)
    assert capped.duration_s == pytest.approx(np.full(4, 1.0 + 0.1 * 50), rel=0.15)
    assert (capped.g < free.g).all()


def test_a_cap_above_the_expected_length_changes_nothing() -> None:
    rows = by_length()
    fitted = fit_decider(rows, terms())
    text, vector = rows.texts[0], rows.embeddings[0]
    assert fitted.assess(text, vector, max_tokens=5000).energy_j == pytest.approx(fitted.assess(text, vector).energy_j)


def test_without_measured_lengths_a_cap_changes_nothing() -> None:
    fitted = fit_decider(known(300), terms())
    text, vector = known().texts[0], known().embeddings[0]
    assert fitted.assess(text, vector, max_tokens=1).energy_j == pytest.approx(fitted.assess(text, vector).energy_j)


def test_other_shares_of_the_traffic_need_no_new_estimates() -> None:
    fitted = fit_decider(known(), terms(), "category-lp")
    hard = replan(fitted, terms(), traffic=np.array([0.0, 2.0]))
    assert hard.estimates.w.tolist() == [0.0, 1.0]
    assert hard.estimates.q is fitted.estimates.q
    assert hard.plan is not None
    assert fitted.plan is not None
    assert hard.plan.reference_g > fitted.plan.reference_g


def test_every_row_says_limit_value_and_price() -> None:
    fitted = fit_decider(known(), replace(terms(), slack=0.05), "category-lp")
    floor = fitted.rows[0]
    assert (floor.name, floor.unit) == ("floor", "quality")
    assert floor.value >= floor.limit - 1e-6
    assert {row.name for row in fitted.rows[1:]} == {"floor of c0", "floor of c1"}
    assert all(row.price_g is not None for row in fitted.rows)
    assert max(row.price_g or 0.0 for row in fitted.rows) > 0.0


def test_requests_that_pin_at_once_all_wait_for_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit_decider(known(300), terms(), "joint")
    begun = threading.Barrier(2, timeout=20.0)

    def slow(name: str) -> Policy:
        begun.wait()  # both threads are inside before either has a program
        return make_policy(name)

    monkeypatch.setattr("router.learn.decider.make_policy", slow)
    allowed, assessment = [False, True, False, True], assessed(fitted, 0)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fitted._restricted, np.array(allowed)) for _ in range(2)]
        assert all(future.result() is not None for future in both)
    assert fitted.among(allowed, assessment) is not None
