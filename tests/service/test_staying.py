"""Staying and switching, by sums a reader can do by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.service.staying import Turn, next_up, stay_or_switch

ALL = np.ones(3, dtype=bool)


def turn(
    weights: list[float], g: list[float], q: list[float], history_g: list[float], may: list[bool] | None = None
) -> Turn:
    return Turn(np.array(weights), np.array(g), np.array(q), np.array(history_g), ALL if may is None else np.array(may))


FIRST = np.array([True, False, False])


def test_nothing_to_switch_to_is_nothing_to_weigh() -> None:
    verdict = stay_or_switch(
        turn([1, 0, 0], [9, 1, 1], [0, 1, 1], [0, 0, 0]), FIRST, price_g=1, is_warm=True, most_loss=0
    )
    assert verdict.stays
    assert verdict.switch_g is None
    assert verdict.weights.tolist() == [1, 0, 0]


def test_a_switch_that_saves_less_than_reading_the_history_again_does_not_pay() -> None:
    # here 5 - 3 of history in the cache = 2 g; away 4 g, its reading of 1 g included
    t = turn([0, 1, 0], [5, 4, 9], [0.8, 0.8, 0.8], [3, 1, 1])
    verdict = stay_or_switch(t, FIRST, price_g=None, is_warm=True, most_loss=0.05)
    assert verdict.stays
    assert verdict.switch_g == pytest.approx(2.0)
    assert verdict.weights.tolist() == [1, 0, 0]


def test_once_the_cache_is_cold_the_present_model_has_to_read_it_too() -> None:
    t = turn([0, 1, 0], [5, 4, 9], [0.8, 0.8, 0.8], [3, 1, 1])
    verdict = stay_or_switch(t, FIRST, price_g=None, is_warm=False, most_loss=0.05)
    assert not verdict.stays
    assert verdict.switch_g == pytest.approx(-1.0)
    assert verdict.weights.tolist() == [0, 1, 0]


def test_quality_counts_at_the_plans_price() -> None:
    t = turn([0, 1, 0], [2, 4, 9], [0.5, 0.9, 0.9], [0, 0, 0])
    cheap = stay_or_switch(t, FIRST, price_g=1.0, is_warm=True, most_loss=1.0)
    dear = stay_or_switch(t, FIRST, price_g=10.0, is_warm=True, most_loss=1.0)
    assert cheap.stays
    assert cheap.switch_g == pytest.approx(2.0 - 0.4)
    assert not dear.stays
    assert dear.switch_g == pytest.approx(2.0 - 4.0)


@pytest.mark.parametrize("price_g", [None, 0.0, 0.1])
def test_no_saving_buys_more_quality_than_the_plan_may_give_up(price_g: float | None) -> None:
    t = turn([0, 1, 0], [1, 50, 50], [0.1, 0.9, 0.9], [0, 0, 0])
    verdict = stay_or_switch(t, FIRST, price_g=price_g, is_warm=True, most_loss=0.05)
    assert not verdict.stays
    assert verdict.for_quality
    assert verdict.weights.tolist() == [0, 1, 0]


def test_without_a_price_no_quality_is_given_up_at_all() -> None:
    t = turn([0, 1, 0], [1, 2, 9], [0.88, 0.9, 0.9], [0, 0, 0])
    assert not stay_or_switch(t, FIRST, price_g=None, is_warm=True, most_loss=0.05).stays
    assert stay_or_switch(t, FIRST, price_g=1.0, is_warm=True, most_loss=0.05).stays


def test_a_split_category_does_not_bounce() -> None:
    t = turn([0.3, 0.7, 0], [3, 3, 9], [0.8, 0.8, 0.9], [0.1, 0.1, 0.1])
    for here in (FIRST, np.array([False, True, False])):
        assert stay_or_switch(t, here, price_g=1.0, is_warm=True, most_loss=0.05).stays


def test_the_directive_may_change_within_the_model() -> None:
    both = np.array([True, True, False])
    t = turn([0.2, 0.2, 0.6], [3, 3, 2.9], [0.8, 0.8, 0.8], [1, 1, 1])
    verdict = stay_or_switch(t, both, price_g=1.0, is_warm=True, most_loss=0.05)
    assert verdict.stays
    assert verdict.weights.tolist() == [0.5, 0.5, 0]


def test_a_model_that_may_not_answer_or_is_gone_leaves_the_plan() -> None:
    t = turn([0, 1, 0], [1, 2, 3], [1, 1, 1], [0, 0, 0], [False, True, True])
    assert not stay_or_switch(t, FIRST, price_g=None, is_warm=True, most_loss=0.05).stays
    nobody = np.zeros(3, dtype=bool)
    assert stay_or_switch(t, nobody, price_g=None, is_warm=True, most_loss=0.05).weights.tolist() == [0, 1, 0]


def test_what_is_unknown_is_compared_with_nothing() -> None:
    nan = float("nan")
    t = turn([0, 1, 0], [nan, 2, 3], [0.9, 0.9, 0.9], [0, 0, 0])
    assert not stay_or_switch(t, FIRST, price_g=None, is_warm=True, most_loss=0.05).stays
    t = turn([0.5, 0.5, 0], [nan, 2, 3], [0.9, 0.9, 0.9], [0, 0, 0])
    verdict = stay_or_switch(t, FIRST, price_g=None, is_warm=True, most_loss=0.05)
    assert verdict.stays
    assert verdict.switch_g is None


@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01),
    st.lists(st.floats(0.0, 100.0), min_size=3, max_size=3),
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    st.lists(st.floats(0.0, 10.0), min_size=3, max_size=3),
    st.floats(0.0, 50.0),
    st.booleans(),
)
def test_the_weights_are_always_a_mix_and_a_stay_never_costs_more_than_the_switch(
    w: list[float], g: list[float], q: list[float], h: list[float], price_g: float, is_warm: bool
) -> None:
    weights = np.array(w) / sum(w)
    t = Turn(weights, np.array(g), np.array(q), np.array(h), ALL)
    verdict = stay_or_switch(t, FIRST, price_g=price_g, is_warm=is_warm, most_loss=0.05)
    assert verdict.weights.sum() == pytest.approx(1.0)
    assert (verdict.weights >= 0).all()
    if verdict.stays:
        assert verdict.weights[~FIRST].sum() == 0
        assert verdict.switch_g is None or verdict.switch_g >= -1e-6
    else:
        assert verdict.for_quality or verdict.switch_g is None or verdict.switch_g < 0


def test_a_regenerated_answer_goes_one_option_up_and_no_further_than_the_best() -> None:
    g, q = np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.7, 0.9])
    assert next_up(g, q, ALL, 0) == 1
    assert next_up(g, q, ALL, 1) == 2
    assert next_up(g, q, ALL, 2) is None


def test_of_equals_the_cheapest_and_never_what_may_not_answer() -> None:
    g, q = np.array([1.0, 5.0, 2.0]), np.array([0.5, 0.7, 0.7])
    assert next_up(g, q, ALL, 0) == 2
    assert next_up(g, q, np.array([True, True, False]), 0) == 1
    assert next_up(g, q, np.array([True, False, False]), 0) is None


def test_a_difference_too_small_to_notice_is_skipped_unless_it_is_all_there_is() -> None:
    g = np.array([1.0, 2.0, 9.0])
    assert next_up(g, np.array([0.80, 0.805, 0.9]), ALL, 0) == 2
    assert next_up(g, np.array([0.80, 0.805, 0.7]), ALL, 0) == 1


def test_an_unknown_quality_is_under_every_known_one() -> None:
    q = np.array([float("nan"), 0.4, float("nan")])
    assert next_up(np.array([1.0, 1.0, 1.0]), q, ALL, 0) == 1
    assert next_up(np.array([1.0, 1.0, 1.0]), q, ALL, 1) is None
