from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.domain.catalogue import Option
from router.domain.estimates import Known
from router.estimate.estimator import fit_estimator
from router.estimate.known import take
from router.estimate.prompt import mix
from tests.policy.worlds import usual

WORLD = usual()


def with_lengths(n: int, seed: int) -> tuple[Known, np.ndarray]:
    """Prompts whose wording tells how many joules they take."""
    known = WORLD.sample(n, seed)
    long = np.random.default_rng(seed).random(n) < 0.5
    ending = "explain the whole history " * 6
    texts = tuple(f"{t} please {ending if x else 'hi'}" for t, x in zip(known.texts, long, strict=True))
    return replace(known, texts=texts, energy_j=known.energy_j * np.where(long, 1.8, 0.2)[:, None]), long


def test_joules_follow_the_prompt_and_keep_their_mean() -> None:
    known, _ = with_lengths(600, seed=1)
    fresh, long = with_lengths(400, seed=2)
    view = fit_estimator(known).view(fresh.texts, fresh.embeddings)
    assert view.energy_j is not None
    ratio = view.energy_j[long].mean(axis=0) / view.energy_j[~long].mean(axis=0)
    assert (ratio > 4.0).all()
    assert view.energy_j.mean(axis=0) == pytest.approx(fresh.energy_j.mean(axis=0), rel=0.12)


def test_quality_is_left_alone_where_nothing_can_be_foretold() -> None:
    known, fresh = WORLD.sample(800, seed=3), WORLD.sample(300, seed=4)
    view = fit_estimator(known).view(fresh.texts, fresh.embeddings)
    assert view.q is not None
    truth = WORLD.q[[int(c[1]) for c in fresh.categories if c]]
    assert np.sqrt(((view.q - truth) ** 2).mean()) < 0.06


def test_rows_are_out_of_fold() -> None:
    known = WORLD.sample(120, seed=5)
    estimator = fit_estimator(known)
    rows = estimator.estimates.rows
    assert rows is not None
    assert rows.q is not None
    # a fit that had seen the answers would agree with them better than the truth does
    truth = WORLD.q[[int(c[1]) for c in known.categories if c]]
    own = np.corrcoef(rows.q.ravel(), known.quality.ravel())[0, 1]
    ideal = np.corrcoef(truth.ravel(), known.quality.ravel())[0, 1]
    assert own < ideal + 0.03


def test_a_handful_of_prompts_is_enough_to_go_on() -> None:
    known = WORLD.sample(6, seed=6)
    view = fit_estimator(known).view(["hello"], known.embeddings[:1])
    assert view.q is not None
    assert np.isfinite(view.q[0, 0])


def test_prompts_with_missing_cells_still_teach_the_rest() -> None:
    known = WORLD.sample(300, seed=7)
    quality, energy = known.quality.copy(), known.energy_j.copy()
    quality[50:, 2] = np.nan
    energy[50:, 2] = np.nan
    view = fit_estimator(replace(known, quality=quality, energy_j=energy)).view(known.texts[:5], known.embeddings[:5])
    assert view.energy_j is not None
    assert np.isfinite(view.energy_j).all()


def test_a_mean_over_categories_skips_what_is_unknown() -> None:
    cells = np.array([[1.0, np.nan], [3.0, 5.0]])
    found = mix(np.array([[0.5, 0.5], [0.8, 0.2]]), cells)
    assert found[0, 0] == 2.0
    assert np.isnan(found[1, 1])  # most of it is unknown there


def test_what_makes_one_model_long_is_foretold_for_it_alone() -> None:
    known, long = with_lengths(600, seed=8)
    fresh, fresh_long = with_lengths(300, seed=9)
    options = (Option("a"), Option("a", "L1"), *(Option(f"m{o}") for o in range(2, len(known.options))))

    def uneven(world: Known, is_long: np.ndarray) -> Known:
        """Long prompts are long for model ``a`` only."""
        plain = world.energy_j / np.where(is_long, 1.8, 0.2)[:, None]
        factor = np.where(np.array([option.model == "a" for option in options]), 3.0, 1.0)
        return replace(world, options=options, energy_j=np.where(is_long[:, None], plain * factor, plain))

    view = fit_estimator(uneven(known, long)).view(fresh.texts, fresh.embeddings)
    assert view.energy_j is not None
    ratio = view.energy_j[fresh_long].mean(axis=0) / view.energy_j[~fresh_long].mean(axis=0)
    assert (ratio[:2] > 2.5).all()
    assert (ratio[2:] < 1.3).all()


def test_directives_of_a_model_share_one_effort() -> None:
    known, long = with_lengths(600, seed=10)
    options = (Option("a"), Option("a", "L1"), *(Option(f"m{o}") for o in range(2, len(known.options))))
    # brevity saves most on long prompts
    energy_j = np.where((np.arange(len(options)) == 1) & long[:, None], known.energy_j / 3.0, known.energy_j)
    estimator = fit_estimator(replace(known, options=options, energy_j=energy_j))
    view = estimator.view(known.texts, known.embeddings)
    assert view.energy_j is not None
    ratio = view.energy_j[:, 1] / view.energy_j[:, 0]
    by_category = [ratio[[c == name for c in known.categories]] for name in set(known.categories) if name]
    assert max(float(np.std(part)) / float(np.mean(part)) for part in by_category) < 0.05


def test_repeated_prompts_teach_no_more_than_one_of_them() -> None:
    once = WORLD.sample(150, seed=21)
    rng = np.random.default_rng(21)
    noise = replace(once, quality=(rng.random(once.quality.shape) < 0.5).astype(float))
    twice = take(noise, np.tile(np.arange(150), 2))
    estimator = fit_estimator(twice)
    view = estimator.view(noise.texts, noise.embeddings)
    assert view.q is not None
    beyond = view.q - mix(view.p, estimator.estimates.q)
    assert np.abs(beyond - beyond[:, :1]).max() < 0.1, "what is noise in one prompt is no signal in its twin"


def test_known_prompts_are_expected_what_a_new_prompt_like_them_is() -> None:
    known = replace(WORLD.sample(100, seed=22), categories=(None,) * 100, texts=tuple(f"w{i}" for i in range(100)))
    blind = replace(known, embeddings=np.tile(known.embeddings[:1], (100, 1)))
    estimator = fit_estimator(blind)
    rows, fresh = estimator.estimates.rows, estimator.view(("w",), blind.embeddings[:1])
    assert rows is not None
    assert rows.q is not None
    assert fresh.q is not None
    ahead = rows.q - rows.q[:, :1], fresh.q - fresh.q[:, :1]
    assert np.abs(ahead[0] - ahead[1]).max() < 1e-9, "nothing tells these prompts apart, so no price may"
