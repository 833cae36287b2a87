from __future__ import annotations

import numpy as np
import pytest

from router.domain.catalogue import Option
from router.domain.estimates import FloatArray
from router.estimate.directives import added, membership
from router.estimate.table import cell_mean, shrink

OPTIONS = tuple(Option(model, directive) for model in ("small", "large") for directive in ("L0", "L1", "L2"))
MODELS = membership(OPTIONS)
LEVEL = np.array([[0.3, 0.7], [0.5, 0.8], [0.2, 0.6], [0.4, 0.9], [0.3, 0.5]])
DIRECTIVES = np.array([0.0, -0.04, -0.1])


def truth(apart: float = 0.0, seed: int = 0) -> FloatArray:
    """(5, 6) quality; ``apart`` by how much directives differ from category to category (standard deviation)."""
    own = apart * np.random.default_rng(seed).normal(size=(5, 6))
    return np.asarray(np.clip(np.repeat(LEVEL, 3, axis=1) + np.tile(DIRECTIVES, 2) + own, 0.02, 0.98))


def answers(q: FloatArray, each: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """(n, 5) categories and (n, 6) right or wrong; half of a prompt's luck is common to a model's options."""
    rng = np.random.default_rng(seed)
    category = np.repeat(np.arange(5), each)
    common = np.repeat(rng.normal(size=(category.size, 2)), 3, axis=1)
    luck = (common + rng.normal(size=(category.size, 6))) / np.sqrt(2.0)
    quantile = np.sort(np.random.default_rng(1).normal(size=200_000))[(q * 199_999).astype(int)]
    return np.eye(5)[category], (luck < quantile[category]).astype(float)


def both_errors(apart: float, each: int, draws: int = 60) -> tuple[float, float]:
    """Squared errors of differences between a model's options: options each for themselves, and in two steps."""
    alone, nested = 0.0, 0.0
    for seed in range(draws):
        q = truth(apart, seed)
        p, y = answers(q, each, 100 + seed)
        wanted = q - np.repeat(q.reshape(5, 2, 3).mean(axis=2), 3, axis=1)
        for kind, found in enumerate((shrink(p, y).mean, shrink(p, y, MODELS).mean)):
            beside = found - np.repeat(found.reshape(5, 2, 3).mean(axis=2), 3, axis=1)
            error = float(((beside - wanted) ** 2).mean())
            alone, nested = (alone + error, nested) if kind == 0 else (alone, nested + error)
    return alone / draws, nested / draws


def test_with_a_dozen_prompts_directives_that_act_alike_are_known_better() -> None:
    alone, nested = both_errors(apart=0.0, each=12)
    assert nested < 0.5 * alone


@pytest.mark.parametrize("each", [12, 200])
def test_directives_that_differ_lose_little(each: int) -> None:
    alone, nested = both_errors(apart=0.1, each=each, draws=30)
    assert nested < 1.1 * alone


def test_with_many_prompts_it_is_what_was_measured() -> None:
    q = truth(apart=0.1, seed=3)
    p, y = answers(q, 4000, 4)
    assert shrink(p, y, MODELS).mean == pytest.approx(cell_mean(p, y), abs=0.01)


def test_what_directives_add_sums_to_zero_and_is_nothing_for_a_model_alone() -> None:
    p, y = answers(truth(), 12, 5)
    y = np.column_stack([y, y[:, 0]])
    models = membership((*OPTIONS, Option("single", "L0")))
    found = added(p, y, cell_mean(p, y), np.full((5, 7), 12.0), models)
    assert found[:, :3].sum(axis=1) == pytest.approx(np.zeros(5), abs=1e-12)
    assert found[:, 3:6].sum(axis=1) == pytest.approx(np.zeros(5), abs=1e-12)
    assert (found[:, 6] == 0.0).all()


def test_models_without_directives_are_shrunk_as_before() -> None:
    p, y = answers(truth(), 12, 6)
    alone = membership(tuple(Option(f"m{o}", "L0") for o in range(6)))
    assert (shrink(p, y, alone).mean == shrink(p, y).mean).all()


def test_a_directive_measured_on_few_prompts_does_not_move_what_is_well_known() -> None:
    p, y = answers(truth(), 400, 7)
    few = np.random.default_rng(8).permutation(len(y))[: len(y) - 40]
    y[few, 1] = np.nan
    y[few, 2] = np.nan
    whole, partly = cell_mean(p, y)[:, 0], shrink(p, y, MODELS).mean[:, 0]
    assert partly == pytest.approx(whole, abs=0.02)


def test_a_directive_measured_on_other_prompts_than_its_siblings_is_told_apart() -> None:
    p, y = answers(truth(), 600, 9)
    odd = np.arange(len(y)) % 2 == 1
    y[odd, 0] = np.nan
    y[~odd, 2] = np.nan
    found = shrink(p, y, MODELS).mean
    assert (found[:, 0] - found[:, 2]).mean() == pytest.approx(0.1, abs=0.04)


def test_a_cell_nobody_measured_stays_unknown_and_its_siblings_do_not() -> None:
    p, y = answers(truth(), 30, 10)
    y[p[:, 2] == 1, 1] = np.nan
    found = shrink(p, y, MODELS).mean
    assert np.isnan(found[2, 1])
    assert np.isfinite(np.delete(found.ravel(), 2 * 6 + 1)).all()


def test_a_model_that_is_always_wrong_says_nothing_of_the_others() -> None:
    p, y = answers(truth(apart=0.15, seed=11), 30, 11)
    dead = np.hstack([y, np.zeros((len(y), 3))])
    models = membership((*OPTIONS, *(Option("dead", directive) for directive in ("L0", "L1", "L2"))))
    n = np.full((5, 9), 30.0)
    found = added(p, dead, cell_mean(p, dead), n, models)
    assert found[:, 6:].tolist() == np.zeros((5, 3)).tolist()
    assert found[:, :6] == pytest.approx(added(p, y, cell_mean(p, y), n[:, :6], MODELS), abs=1e-12)


def test_a_model_nobody_measured_in_a_category_takes_nothing_from_the_others() -> None:
    p, y = answers(truth(), 30, 10)
    whole = shrink(p, y, MODELS).mean
    y[p[:, 2] == 1, 3:] = np.nan
    found = shrink(p, y, MODELS).mean
    assert np.isnan(found[2, 3:]).all()
    assert np.isfinite(np.delete(found.ravel(), [15, 16, 17])).all()
    assert found[:, :3] == pytest.approx(whole[:, :3], abs=0.1)
