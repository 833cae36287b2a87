from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from router.domain.errors import ConfigError, PolicyError
from router.domain.estimates import FloatArray
from router.learn.decider import Decider
from router.learn.refit import fit_decider, replan
from tests.policy.worlds import terms, usual

WORLD = usual()
KNOWN = WORLD.sample(300, seed=1)
FRESH = WORLD.sample(60, seed=2)


@pytest.fixture(scope="module")
def decider() -> Decider:
    return fit_decider(KNOWN, terms(0.9, 3))


def test_it_decides_and_explains_one_prompt(decider: Decider) -> None:
    seen = decider.assess(FRESH.texts[0], FRESH.embeddings[0])
    assert seen.p.sum() == pytest.approx(1.0)
    assert seen.weights.sum() == pytest.approx(1.0)
    assert seen.g == pytest.approx(1e-4 * seen.energy_j)
    assert set(seen.neighbour_ids) <= set(KNOWN.ids)
    assert (np.diff(seen.neighbour_distances) >= 0).all()
    assert not seen.unfamiliar
    assert decider.categories[int(seen.p.argmax())] == FRESH.categories[0]


def test_one_prompt_alone_gets_what_it_gets_among_others(decider: Decider) -> None:
    together = decider.weights(FRESH.texts, FRESH.embeddings)
    alone = np.array([decider.assess(t, e).weights for t, e in zip(FRESH.texts, FRESH.embeddings, strict=True)])
    assert alone == pytest.approx(together)


def test_a_new_floor_needs_no_new_estimates(decider: Decider) -> None:
    other = replan(decider, terms(1.0, 3))
    assert other.estimator is decider.estimator
    assert other.plan is not None
    assert decider.plan is not None
    assert other.plan.expected_g > decider.plan.expected_g
    assert replan(decider, terms(0.9, 3), "cheapest").policy == "cheapest"


def test_the_same_seed_gives_the_same_weights(decider: Decider) -> None:
    again = fit_decider(KNOWN, terms(0.9, 3))
    assert again.weights(FRESH.texts, FRESH.embeddings) == pytest.approx(decider.weights(FRESH.texts, FRESH.embeddings))


def test_threads_may_share_it(decider: Decider) -> None:
    wanted = decider.weights(FRESH.texts, FRESH.embeddings)
    wrong: list[int] = []

    def ask() -> None:
        for i in range(60):
            if not np.allclose(decider.assess(FRESH.texts[i], FRESH.embeddings[i]).weights, wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_prompt_unlike_all_measured_ones_is_unfamiliar_and_takes_the_reference(decider: Decider) -> None:
    far = -KNOWN.embeddings.mean(axis=0)
    seen = decider.assess("zzz", far / np.linalg.norm(far))
    assert seen.unfamiliar
    assert decider.options[int(seen.weights.argmax())] == decider.reference
    assert seen.weights.max() == 1.0


def test_history_is_priced_in() -> None:
    size = np.array([[len(t) / 4.0] for t in KNOWN.texts], dtype=np.float64)
    tokens: FloatArray = np.tile(size + np.arange(300)[:, None] % 50, (1, 3)).astype(np.float64)
    known = replace(KNOWN, prompt_tokens=tokens, output_tokens=np.ones_like(tokens), energy_j=10.0 + 2.0 * tokens)
    decider = fit_decider(known, terms(0.9, 3))
    short = decider.assess(FRESH.texts[0], FRESH.embeddings[0], prompt_tokens=10)
    long = decider.assess(FRESH.texts[0], FRESH.embeddings[0], prompt_tokens=2000)
    assert long.energy_j - short.energy_j == pytest.approx(2.0 * 1980, rel=0.1)


def test_the_reference_can_be_named() -> None:
    assert fit_decider(KNOWN, terms(0.9, 3), reference="model1").reference.model == "model1"


def test_traffic_shifts_the_plan_to_what_is_asked() -> None:
    hard = fit_decider(KNOWN, terms(0.9, 3), traffic=np.array([0.0, 1.0, 0.0])).plan
    easy = fit_decider(KNOWN, terms(0.9, 3), traffic=np.array([0.0, 0.0, 1.0])).plan
    assert hard is not None
    assert easy is not None
    assert hard.reference_quality < easy.reference_quality
    assert 1 - hard.expected_g / hard.reference_g < 1 - easy.expected_g / easy.reference_g


def test_a_wrong_policy_is_told_before_any_work() -> None:
    with pytest.raises(ConfigError, match="no policy"):
        fit_decider(KNOWN, terms(0.9, 3), policy="magic")


def test_nothing_known_is_refused_with_a_hint() -> None:
    with pytest.raises(PolicyError, match="make bench"):
        fit_decider(replace(KNOWN, texts=(), ids=(), categories=()), terms(0.9, 3))


def test_joules_unknown_everywhere_are_refused() -> None:
    with pytest.raises(PolicyError, match="measured"):
        fit_decider(replace(KNOWN, energy_j=np.full_like(KNOWN.energy_j, np.nan)), terms(0.9, 3))


def test_options_measured_on_a_few_prompts_only_do_no_harm() -> None:
    quality, energy = KNOWN.quality.copy(), KNOWN.energy_j.copy()
    quality[3:, 2] = np.nan
    energy[3:, 2] = np.nan
    decider = fit_decider(replace(KNOWN, quality=quality, energy_j=energy), terms(0.9, 3))
    assert decider.weights(FRESH.texts, FRESH.embeddings).sum(axis=1) == pytest.approx(np.ones(60))


def test_a_single_prompt_is_enough_to_answer() -> None:
    known = WORLD.sample(1, seed=3)
    assert fit_decider(known, terms(0.9, 3)).weights(["x"], known.embeddings).sum() == pytest.approx(1.0)
