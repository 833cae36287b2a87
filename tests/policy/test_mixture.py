from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.policy.mixture import Comparison, cheapest_mixture
from router.policy.terms import Target

PAID = np.array([1.0, 2.0, 4.0, 8.0])  # three rungs and the reference
PLAIN = Comparison(
    foretold=np.array([-0.10, -0.02, 0.02, 0.0]),
    optimism=np.zeros(4),
    error=np.array([0.01, 0.01, 0.01, 0.0]),
)


def test_without_a_margin_it_lies_where_the_gap_closes() -> None:
    found = cheapest_mixture(PLAIN, PAID, 0.5)
    assert found.rungs == (1, 2)
    assert found.share == pytest.approx((0.5, 0.5))
    assert found.quality_gap == pytest.approx(0.0)


def test_what_flatters_is_taken_off() -> None:
    luck = np.array([0.03, 0.03, 0.03, 0.0])
    flattered = replace(PLAIN, foretold=PLAIN.foretold + luck, optimism=luck)
    assert cheapest_mixture(flattered, PAID, 0.5).share == pytest.approx((0.5, 0.5))


def test_a_margin_costs_grams() -> None:
    grams = [
        sum(s * PAID[k] for k, s in zip(m.rungs, m.share, strict=True))
        for m in (cheapest_mixture(PLAIN, PAID, c) for c in (0.5, 0.8, 0.95))
    ]
    assert grams[0] < grams[1] < grams[2]


def test_with_confidence_the_reference_may_be_the_cheaper_certainty() -> None:
    unsure = replace(PLAIN, error=np.array([0.01, 0.01, 0.5, 0.0]))
    found = cheapest_mixture(unsure, PAID, 0.95)
    assert found.feasible
    assert found.rungs[1] == 3


def out_of_reach(optimism: float) -> Comparison:
    return Comparison(
        foretold=np.array([-0.3, -0.2, -0.07, -0.10]),
        optimism=np.array([0.0, 0.0, optimism, 0.0]),
        error=np.array([0.01, 0.01, 0.01, 0.01]),
    )


def test_out_of_reach_it_gives_the_rung_foretold_to_be_best() -> None:
    found = cheapest_mixture(out_of_reach(0.02), PAID, 0.5)
    assert not found.feasible
    assert found.rungs == (2, 2)


def test_out_of_reach_it_never_says_that_less_can_be_had_than_the_reference_gives() -> None:
    found = cheapest_mixture(out_of_reach(0.05), PAID, 0.5)
    assert found.quality_gap == pytest.approx(-0.12)
    assert found.reachable_gap == pytest.approx(-0.10)


def test_differences_are_counted_prompt_by_prompt() -> None:
    quality = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    v = np.full(4, 0.25)
    compare = Comparison.of(
        v, quality, quality[:, 1], quality * 0.5, quality[:, 1] * 0.5, np.zeros(2), np.zeros(2), Target(0.75, 1.0)
    )
    assert compare.foretold == pytest.approx([0.0, 0.0])
    assert compare.error[1] == 0.0
    assert compare.error[0] == pytest.approx(np.sqrt(2 * 0.25**2))
