from __future__ import annotations

import numpy as np

from router.domain.estimates import Draws
from router.estimate.table import redrawn, shrink
from router.policy.ladder import Ladder
from router.policy.optimism import optimism_of

G = np.array([[0.1, 0.05, 0.05]])
ALIKE = np.array([[0.8, 0.6, 0.6]])


def optimism(q: np.ndarray, spread: float, n: int = 200, shrunk: float = 1.0) -> np.ndarray:
    moved = spread * np.random.default_rng(0).normal(size=(200, 1, 3))
    draws = Draws(q=shrunk * moved, plain_q=moved)
    one = np.ones((n, 1))
    return optimism_of(draws, one, one[:, 0] / n, np.tile(G, (n, 1)), np.tile(q, (n, 1)), Ladder.around(0.1, 0))


def test_choosing_the_luckier_of_two_equals_flatters_by_what_the_mean_of_a_maximum_says() -> None:
    found = optimism(ALIKE, 0.01)
    # at a price that leaves the reference out: E max of two normals is their spread over the root of pi
    middle = Ladder.around(0.1, 0).prices.searchsorted(0.1)
    assert abs(found[middle] - 0.01 / np.sqrt(np.pi)) < 0.001


def test_what_is_chosen_by_shrunk_means_is_counted_by_plain_ones() -> None:
    middle = Ladder.around(0.1, 0).prices.searchsorted(0.1)
    # Halved differences pick the same of two equals, and what is counted is not halved.
    assert abs(optimism(ALIKE, 0.01, shrunk=0.5)[middle] - optimism(ALIKE, 0.01)[middle]) < 0.001


def test_it_is_never_negative_and_nothing_for_the_reference_itself() -> None:
    found = optimism(ALIKE, 0.05)
    assert (found >= 0).all()
    assert found[-1] == 0.0


def test_nothing_flatters_what_is_known_exactly_or_has_no_rival() -> None:
    assert not optimism(ALIKE, 0.0).any()
    far_apart = optimism(np.array([[0.9, 0.5, 0.1]]), 0.001)
    assert far_apart[0] < 1e-4


def test_without_draws_there_is_none() -> None:
    ladder = Ladder.around(0.1, 0)
    assert not optimism_of(None, np.ones((1, 1)), np.ones(1), G, ALIKE, ladder).any()


def test_redrawn_tables_differ_as_much_as_the_means_standard_error_says() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random((400, 2)) < [0.5, 0.8]).astype(float)
    spread = redrawn(np.ones((400, 1)), y, 300).plain_q.std(axis=0)[0]
    assert np.allclose(spread, np.sqrt([0.25 / 400, 0.16 / 400]), rtol=0.15)
    assert shrink(np.ones((400, 1)), y).mean.shape == (1, 2)
