from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.domain.catalogue import Option
from router.domain.errors import PolicyError
from router.estimate.table import estimate, reference_of, shrink, shrink_positive
from tests.policy.worlds import usual

WORLD = usual()
KNOWN = WORLD.sample(600, seed=8)
HARD = np.array([[c == f"c{k}" for k in range(3)] for c in KNOWN.categories], dtype=np.float64)


def test_with_many_prompts_the_cells_are_the_truth() -> None:
    known = WORLD.sample(20_000, seed=9)
    p = np.array([[c == f"c{k}" for k in range(3)] for c in known.categories], dtype=np.float64)
    found = estimate(known, p, ("c0", "c1", "c2"))
    assert found.q == pytest.approx(WORLD.q, abs=0.025)
    assert found.energy_j == pytest.approx(WORLD.energy_j, rel=0.05)
    assert found.w == pytest.approx(WORLD.w, abs=0.02)
    assert found.reference == 0


def test_shrinking_lowers_the_error_where_prompts_are_few() -> None:
    raw_error, shrunk_error = 0.0, 0.0
    rng = np.random.default_rng(10)
    truth = np.clip(0.6 + 0.1 * rng.normal(size=(6, 1)) + np.array([0.1, 0.0, -0.1, -0.2]), 0.05, 0.95)
    for _ in range(60):
        category = rng.integers(0, 6, size=60)
        y = (rng.random((60, 4)) < truth[category]).astype(float)
        p = np.eye(6)[category]
        if (p.sum(axis=0) < 2).any():
            continue
        raw = (p.T @ y) / p.sum(axis=0)[:, None]
        raw_error += float(((raw - truth) ** 2).mean())
        shrunk_error += float(((shrink(p, y).mean - truth) ** 2).mean())
    assert shrunk_error < 0.7 * raw_error


def test_errors_shrink_with_the_number_of_prompts() -> None:
    few, many = WORLD.sample(150, seed=11), WORLD.sample(6000, seed=11)
    errors = []
    for known in (few, many):
        p = np.array([[c == f"c{k}" for k in range(3)] for c in known.categories], dtype=np.float64)
        errors.append(estimate(known, p, ("c0", "c1", "c2")).q_se.mean())
    assert errors[1] < errors[0] / 3


def test_a_cell_nobody_measured_stays_unknown() -> None:
    quality = KNOWN.quality.copy()
    quality[HARD[:, 1] == 1, 2] = np.nan
    found = estimate(replace(KNOWN, quality=quality), HARD, ("c0", "c1", "c2"))
    assert np.isnan(found.q[1, 2])
    assert np.isfinite(np.delete(found.q.ravel(), 5)).all()


def test_an_option_without_joules_has_none_in_the_table() -> None:
    energy = KNOWN.energy_j.copy()
    energy[:, 1] = np.nan
    found = estimate(replace(KNOWN, energy_j=energy), HARD, ("c0", "c1", "c2"))
    assert np.isnan(found.energy_j[:, 1]).all()


def test_a_category_nobody_measured_is_left_to_the_reference() -> None:
    quality = np.where(HARD[:, [1]] == 1, np.nan, KNOWN.quality)
    found = estimate(replace(KNOWN, quality=quality), HARD, ("c0", "c1", "c2"))
    assert np.isfinite(found.q[1]).tolist() == [True, False, False]


def test_soft_categories_are_weighted_means() -> None:
    p = np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    y = np.array([[1.0], [0.0], [0.0], [1.0]])
    found = shrink(p, y)
    assert found.n[0, 0] == pytest.approx(2.5**2 / 2.25)
    only = shrink(np.ones((4, 1)), y)
    assert only.mean[0, 0] == 0.5  # one category: the plain mean


def test_joules_of_zero_stay_zero() -> None:
    assert shrink_positive(np.ones((5, 1)), np.zeros((5, 1))).mean[0, 0] == 0.0


def test_the_reference_is_the_most_accurate_at_l0_and_ties_go_to_the_cheaper() -> None:
    options = (Option("a"), Option("b"), Option("c", "L1"))
    quality = np.tile([0.8, 0.8, 0.9], (600, 1))
    energy = np.tile([5.0, 4.0, 1.0], (600, 1))
    known = replace(KNOWN, options=options, quality=quality, energy_j=energy)
    assert reference_of(known) == 1


def test_an_option_graded_on_a_few_prompts_only_is_no_reference() -> None:
    quality = KNOWN.quality.copy()
    quality[5:, 2] = np.nan
    quality[:5, 2] = 1.0
    assert reference_of(replace(KNOWN, quality=quality)) == 0


def test_the_reference_can_be_named() -> None:
    assert reference_of(KNOWN, "model1") == 1
    assert reference_of(KNOWN, Option("model2")) == 2
    with pytest.raises(PolicyError, match="nobody"):
        reference_of(KNOWN, "nobody")


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(PolicyError, match="make bench"):
        reference_of(replace(KNOWN, energy_j=np.full_like(KNOWN.energy_j, np.nan)))


def test_a_category_nobody_measured_keeps_the_seconds_of_the_reference() -> None:
    known = replace(KNOWN, duration_s=KNOWN.energy_j / 100)
    lonely = np.hstack([0.999 * HARD, np.full((len(HARD), 1), 0.001)])
    found = estimate(known, lonely, ("c0", "c1", "c2", "rare"))
    assert np.isfinite(found.q[3]).sum() == 1
    assert found.duration_s[3, found.reference] == pytest.approx(known.duration_s[:, found.reference].mean())


def test_quality_stays_within_its_bounds() -> None:
    rng = np.random.default_rng(31)
    for _ in range(20):
        p = np.eye(3)[rng.integers(0, 3, 18)]
        few = replace(
            KNOWN,
            **{
                name: getattr(KNOWN, name)[:18]
                for name in ("ids", "texts", "categories", "embeddings", "duration_s", "energy_j")
            },
            quality=(rng.random((18, 3)) < np.array([0.99, 0.6, 0.3])).astype(float),
        )
        q = estimate(few, p, ("a", "b", "c")).q
        assert np.nanmax(q) <= 1.0
        assert np.nanmin(q) >= 0.0


def test_what_was_measured_of_an_ungraded_category_is_kept() -> None:
    quality = np.where(HARD[:, [1]] == 1, np.nan, KNOWN.quality)
    found = estimate(replace(KNOWN, quality=quality), HARD, ("c0", "c1", "c2"))
    measured = KNOWN.energy_j[HARD[:, 1] == 1].mean(axis=0)
    assert found.energy_j[1] == pytest.approx(measured, rel=0.05)
    assert found.ungraded is not None
    assert found.ungraded.tolist() == [False, True, False]
    assert np.isnan(found.stated_q[1]).all()
    assert found.graded_w[1] == 0.0
    assert found.graded_w.sum() == pytest.approx(1.0)


def test_prompts_that_were_misread_do_not_make_a_category_known() -> None:
    p = 0.98 * HARD + 0.01
    p[np.flatnonzero(HARD[:, 0])[:30]] = [0.2, 0.6, 0.2]  # graded prompts taken for the category nobody graded
    quality = np.where(HARD[:, [1]] == 1, np.nan, KNOWN.quality)
    found = estimate(replace(KNOWN, quality=quality), p / p.sum(axis=1, keepdims=True), ("c0", "c1", "c2"))
    assert found.ungraded is not None
    assert found.ungraded.tolist() == [False, True, False]
