from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from router.domain.estimates import Known
from router.estimate.probe import best_temperature, fit_probe, fold_of, out_of_fold, reliability
from tests.policy.worlds import usual

KNOWN = usual().sample(240, seed=5)


def labelled(*labels: str | None) -> Known:
    count = len(labels)
    part = usual().sample(count, seed=6)
    return replace(part, categories=labels)


def test_importing_it_does_not_import_scikit_learn() -> None:
    code = "import sys, router.estimate.probe; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_names_the_category_of_prompts_it_has_not_seen() -> None:
    probe, _ = fit_probe(KNOWN)
    fresh = usual().sample(200, seed=7)
    named = [probe.categories[c] for c in probe.probabilities(fresh.texts, fresh.embeddings).argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(named, fresh.categories, strict=True)]) > 0.95


def test_out_of_fold_probabilities_do_not_know_the_label_of_their_own_prompt() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=KNOWN.embeddings.shape)
    blind = replace(
        KNOWN,
        texts=tuple(f"w{i}" for i in range(240)),
        embeddings=noise / np.linalg.norm(noise, axis=1, keepdims=True),
        categories=tuple(rng.choice(["a", "b"], size=240)),
    )
    p = out_of_fold(blind)
    right = np.mean(p.argmax(axis=1) == (np.array(blind.categories) == "b"))
    assert 0.35 < right < 0.65
    assert p.max(axis=1).mean() < 0.75  # and calibrated: it does not claim to know


def test_prompts_without_a_label_are_counted_but_not_learned_from() -> None:
    half = tuple(c if i % 2 else None for i, c in enumerate(KNOWN.categories))
    probe, p = fit_probe(replace(KNOWN, categories=half))
    assert p.shape == (240, 3)
    right = [probe.categories[c] == label for c, label in zip(p.argmax(axis=1), KNOWN.categories, strict=True)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(
    ("labels", "names"),
    [((None,) * 5, ("all",)), (("a",) * 5, ("a",)), (("a", None, "a"), ("a",)), ((None,), ("all",))],
)
def test_one_category_or_none_is_a_category(labels: tuple[str | None, ...], names: tuple[str, ...]) -> None:
    known = labelled(*labels)
    probe, p = fit_probe(known)
    assert probe.categories == names
    assert p.tolist() == [[1.0]] * len(labels)
    assert probe.probabilities(["x"], known.embeddings[:1]).tolist() == [[1.0]]


def test_a_category_of_one_prompt_does_no_harm() -> None:
    categories = ("rare", *KNOWN.categories[1:])
    probe, p = fit_probe(replace(KNOWN, categories=categories))
    assert "rare" in probe.categories
    assert p.sum(axis=1) == pytest.approx(np.ones(240))
    assert np.isfinite(p).all()


def test_two_prompts_of_two_categories_are_enough_not_to_fail() -> None:
    _, p = fit_probe(labelled("a", "b"))
    assert p.sum(axis=1) == pytest.approx(np.ones(2))


def test_equal_prompts_share_a_fold() -> None:
    fold = fold_of(["a", "b", "a", "c", "b"], 3, seed=0)
    assert fold[0] == fold[2]
    assert fold[1] == fold[4]
    assert len(set(fold.tolist())) == 3


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(4000, 3))
    p = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    assert best_temperature(4.0 * honest, labels) == pytest.approx(4.0, rel=0.15)


def test_the_reliability_table_compares_what_was_said_with_what_was_right() -> None:
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    rows = reliability(p, ["a", "b", "b"], ["a", "b"])
    assert [(r.n, r.mean_probability, r.accuracy) for r in rows] == [(1, 0.6, 1.0), (2, 0.95, 0.5)]


def test_a_fold_that_saw_one_category_only_takes_its_prompts_for_that_one() -> None:
    lone = replace(usual().sample(120, seed=9), categories=("math",) * 119 + ("code",))
    p = out_of_fold(lone)
    assert (p[:119, 1] > 0.5).all(), "categories are sorted: code, math"
    assert p[:119, 1].mean() > 0.95
