"""Cascades: exact thresholds, honest outcomes, and nothing chosen where signals are noise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.cascade import Cascade, Signals
from router.domain.catalogue import Option
from router.domain.estimates import FloatArray
from router.policy.cascade import (
    Evidence,
    Pick,
    Slot,
    best,
    best_single,
    choose,
    cross_fitted,
    loss,
    mean_and_error,
)


def made_up(seed: int, n: int = 14, columns: int = 3, *, missing: float = 0.0) -> Evidence:
    rng = np.random.default_rng(seed)
    told = np.round(-rng.exponential(size=(n, columns)), 1)  # rounded: some are equal
    told[rng.random(told.shape) < missing] = np.nan
    return Evidence(
        quality=rng.integers(0, 3, (n, columns)) / 2.0,
        g=rng.uniform(0.5, 5.0, (n, columns)),
        signals=Signals(
            told, (rng.random(told.shape) < 0.7).astype(float), rng.integers(0, 2, told.shape).astype(float)
        ),
        site=np.array([0, 0, 0, 1][:columns]),
    )


def every_cascade(evidence: Evidence) -> list[Pick]:
    """All there are, one by one."""
    columns = evidence.g.shape[1]
    found = []
    for a, b in product(range(columns), repeat=2):
        if a == b or evidence.site[a] != evidence.site[b]:
            continue
        found.append(Pick(a, b, "checks"))
        told = np.unique(evidence.signals.mean_logprob[:, a])
        told = told[np.isfinite(told)]
        between = [*(told[1:] + told[:-1]) / 2.0]
        if np.isnan(evidence.signals.mean_logprob[:, a]).any() and told.size:
            between.append(told[0])  # only the silent ones are sent on
        found += [Pick(a, b, "logprob", float(t)) for t in between]
        found += [
            Pick(a, b, "agreement", None, s)
            for s in range(columns)
            if s not in (a, b) and evidence.site[s] == evidence.site[a]
        ]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 20.0), st.sampled_from([0.0, 0.3]), st.sampled_from([3, 4]))
def test_the_best_cascade_is_the_best_of_all_of_them(seed: int, price: float, missing: float, columns: int) -> None:
    evidence = made_up(seed, columns=columns, missing=missing)
    v = np.random.default_rng(seed + 1).dirichlet(np.ones(evidence.g.shape[0]))
    found = best(evidence, v, price)
    assert found is not None
    least = min(float(v @ loss(pick, evidence, price)) for pick in every_cascade(evidence))
    assert float(v @ loss(found, evidence, price)) == pytest.approx(least)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_both_runs_are_charged_whatever_was_for_nothing(seed: int) -> None:
    evidence = made_up(seed)
    pick = best(evidence, np.full(14, 1 / 14), 3.0)
    assert pick is not None
    sent_on = pick.sent_on(evidence.signals)
    charged = pick.charged(evidence.g, sent_on)
    for i in range(14):
        parts = evidence.g[i, pick.first] + (0.0 if pick.beside is None else evidence.g[i, pick.beside])
        assert charged[i] == pytest.approx(parts + (evidence.g[i, pick.then] if sent_on[i] else 0.0))


def test_a_missing_signal_sends_a_prompt_on() -> None:
    silent = Signals(np.full((2, 2), np.nan), np.full((2, 2), np.nan), np.full((2, 2), np.nan))
    for pick in (Pick(0, 1, "logprob", -9.0), Pick(0, 1, "checks"), Pick(0, 1, "agreement", None, 1)):
        assert pick.sent_on(silent).all()
    evidence = Evidence(np.ones((2, 2)), np.ones((2, 2)), silent, np.zeros(2, dtype=np.int64))
    assert best(evidence, np.full(2, 0.5), 1.0) is None


def world(seed: int, n: int, *, telling: float) -> Evidence:
    """A cheap option right half of the time, a dear one always nearly; how much the log-probability tells of it."""
    rng = np.random.default_rng(seed)
    right = rng.random((n, 2)) < np.array([0.55, 0.95])
    told = -0.5 + telling * (right - 0.5) + 0.3 * rng.normal(size=(n, 2))
    nothing = np.full((n, 2), np.nan)
    return Evidence(
        quality=right.astype(float),
        g=np.array([1.0, 10.0]) * rng.uniform(0.8, 1.2, (n, 2)),
        signals=Signals(told, nothing, nothing),
        site=np.zeros(2, dtype=np.int64),
    )


def gain(seed: int, n: int, price: float, *, telling: float) -> tuple[float, float]:
    """Cross-fitted advantage over the best single option with its standard error."""
    evidence, v, p = world(seed, n, telling=telling), np.full(n, 1 / n), np.ones((n, 1))
    picks, inside = cross_fitted(evidence, p, v, [Slot(None, price)], np.arange(n) % 5)
    ahead = np.zeros(n)
    for (pick,), rows, k in zip(picks, inside, range(5), strict=True):
        others = evidence.take(np.arange(n) % 5 != k)
        single = best_single(others, np.full(others.g.shape[0], 1 / others.g.shape[0]), price)
        part = evidence.take(rows)
        ahead[rows] = loss(single, part, price) - loss(pick, part, price)
    return mean_and_error(ahead, v)


def test_where_the_signal_tells_right_from_wrong_a_cascade_gains_on_prompts_it_was_not_chosen_on() -> None:
    for seed in range(10):
        mean, error = gain(seed, 200, 25.0, telling=1.2)
        assert mean > 2 * error
        fresh = world(seed + 1000, 4000, telling=1.2)
        (pick,) = choose(world(seed, 200, telling=1.2), np.ones((200, 1)), np.full(200, 1 / 200), [Slot(None, 25.0)])
        assert pick.then == 1
        true = (loss(Pick(1), fresh, 25.0) - loss(pick, fresh, 25.0)).mean()
        assert true > 0
        assert abs(true - mean) < 4 * error  # the cross-fitted figure is what really comes of it


def test_where_the_signal_is_noise_no_cascade_is_chosen_but_by_rare_chance_and_then_not_believed() -> None:
    found = [gain(seed, 120, 25.0, telling=0.0) for seed in range(100)]
    assert np.mean([mean > error > 0 for mean, error in found]) <= 0.05
    assert np.mean([mean for mean, _ in found]) <= 0.0


def test_in_sample_the_same_noise_would_have_looked_like_a_gain() -> None:
    """The winner's curse the cross-fitting is there for: without the margin, the best cascade looks good."""
    looked, were = [], []
    for seed in range(60):
        evidence, v = world(seed, 40, telling=0.0), np.full(40, 1 / 40)
        pick = best(evidence, v, 12.0)
        assert pick is not None
        single = best_single(evidence, v, 12.0)
        fresh = world(seed + 500, 2000, telling=0.0)
        looked.append(float(v @ (loss(single, evidence, 12.0) - loss(pick, evidence, 12.0))))
        were.append(float((loss(single, fresh, 12.0) - loss(pick, fresh, 12.0)).mean()))
    assert np.mean(looked) > np.mean(were) + 0.3


def test_too_few_prompts_choose_no_cascade() -> None:
    evidence = world(0, 7, telling=3.0)
    (pick,) = choose(evidence, np.ones((7, 1)), np.full(7, 1 / 7), [Slot(None, 25.0)])
    assert pick.then is None


def test_a_category_chooses_on_its_own_prompts() -> None:
    both = [world(3, 100, telling=1.5), world(4, 100, telling=0.0)]
    evidence = Evidence(
        np.vstack([e.quality for e in both]),
        np.vstack([e.g for e in both]),
        Signals(*(np.vstack([getattr(e.signals, n) for e in both]) for n in ("mean_logprob", "checks", "sameness"))),
        both[0].site,
    )
    p: FloatArray = np.repeat(np.eye(2), 100, axis=0)
    told, noise = choose(evidence, p, np.full(200, 1 / 200), [Slot(0, 25.0), Slot(1, 25.0)])
    assert told.then == 1
    assert noise == Pick(1)


def test_a_column_says_what_it_does() -> None:
    options = (Option("a", "L2"), Option("b"), Option("c"))
    column = Pick(0, 1, "logprob", -0.8).column(options)
    assert isinstance(column, Cascade)
    assert str(column) == "a@L2, then b@L0 if mean log-probability under -0.80"
    assert column.first == options[0]
    assert not column.is_plain
    assert Pick(1, 2, "checks").column(options).is_plain
    assert column != options[0]
    assert "c@L0 says otherwise" in str(Pick(0, 1, "agreement", None, 2).column(options))
    assert Pick(2).column(options) == options[2]
