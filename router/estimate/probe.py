"""Which category? Multinomial logistic regression over the embedding, the prompt's words and its shape.

    p(c | prompt) = softmax((x V + b) / temperature)

with x the blocks of :mod:`router.estimate.features`, scaled so that one ridge penalty suits all of them. The
temperature is the one under which held-out prompts are least surprised; :func:`reliability` shows what is left
of miscalibration. scikit-learn is imported where it is used: importing this is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.estimates import FloatArray, Known
from router.estimate.features import Blocks, Features

PSEUDO_CATEGORY = "all"
"""The one category where no prompt carries a label."""

WEIGHTS = (3.0, 4.0, 0.3)
"""Say of embedding, words and shape; see docs/history.md for what others give."""

INVERSE_PENALTY = 10.0


@dataclass(slots=True)
class CategoryProbe:
    """A fitted probe is only read, so threads may share it.

    Attributes:
        features: How prompts are turned into numbers.
        categories: (C,) names, sorted; learned.
        temperature: Divides the scores; 1 until calibrated.
    """

    features: Features
    categories: tuple[str, ...] = (PSEUDO_CATEGORY,)
    temperature: float = 1.0
    _coefficients: FloatArray | None = None
    _intercept: FloatArray | None = None

    def fit(self, blocks: Blocks, labels: Sequence[str | None]) -> CategoryProbe:
        """Learn from the labelled prompts; those without a label are left out."""
        self.categories = categories_of(labels)
        self._coefficients = self._intercept = None
        rows = np.array([i for i, label in enumerate(labels) if label is not None], dtype=np.int64)
        if len(self.categories) < 2:
            return self
        from sklearn.linear_model import LogisticRegression

        index = {name: c for c, name in enumerate(self.categories)}
        y = np.array([index[str(labels[i])] for i in rows])  # (m,)
        x = blocks.take(rows).weighted(*WEIGHTS)
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=300, tol=1e-3).fit(x, y)
        coefficients, intercept = np.asarray(model.coef_), np.asarray(model.intercept_)
        if len(self.categories) == 2:  # scikit-learn keeps one row for two classes
            coefficients = np.vstack([-coefficients / 2, coefficients / 2])
            intercept = np.concatenate([-intercept / 2, intercept / 2])
        self._coefficients, self._intercept = np.ascontiguousarray(coefficients.T), intercept  # (columns, C), (C,)
        return self

    def probabilities(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        """(n, C) calibrated probabilities, rows summing to 1."""
        return self.read(self.features.transform(texts, embeddings))

    def read(self, blocks: Blocks) -> FloatArray:
        """(n, C) likewise, of prompts already turned into numbers."""
        return _softmax(self.scores(blocks) / self.temperature)

    def scores(self, blocks: Blocks) -> FloatArray:
        """(n, C) scores before the temperature."""
        if self._coefficients is None or self._intercept is None:
            return np.zeros((blocks.embedding.shape[0], len(self.categories)))
        return np.asarray(blocks.weighted(*WEIGHTS) @ self._coefficients + self._intercept)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Prompts whose top probability fell into one bin.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        n: How many prompts.
        mean_probability: What the probe said on average.
        accuracy: How often it was right.
    """

    low: float
    high: float
    n: int
    mean_probability: float
    accuracy: float


def categories_of(labels: Sequence[str | None]) -> tuple[str, ...]:
    """The names in the order of the columns; the pseudo category where there is none."""
    return tuple(sorted({label for label in labels if label is not None})) or (PSEUDO_CATEGORY,)


def out_of_fold(known: Known, folds: int = 5, seed: int = 0) -> FloatArray:
    """(n, C) probabilities of each known prompt from a probe that did not see it; see :func:`fit_probe`."""
    return fit_probe(known, folds, seed)[1]


def fit_probe(known: Known, folds: int = 5, seed: int = 0) -> tuple[CategoryProbe, FloatArray]:
    """A calibrated probe fitted on everything, and out-of-fold probabilities of the same prompts.

    Returns:
        The probe, and p (n, C), rows summing to 1.
    """
    features = Features.fit(known.texts, seed)
    return fit_on(features, features.transform(known.texts, known.embeddings), known, folds, seed)


def fit_on(features: Features, blocks: Blocks, known: Known, folds: int, seed: int) -> tuple[CategoryProbe, FloatArray]:
    """:func:`fit_probe` on prompts already turned into numbers.

    Equal prompts stay in one fold. A category of one prompt is unknown to the probe of its own fold; that is how
    it would be met.
    """
    probe = CategoryProbe(features).fit(blocks, known.categories)
    n, names = len(known.texts), probe.categories
    if len(names) == 1:
        return probe, np.ones((n, 1))
    fold = fold_of(known.texts, folds, seed)  # (n,)
    scores = np.zeros((n, len(names)))
    for k in np.unique(fold):
        inside, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        part = CategoryProbe(features).fit(blocks.take(inside), [known.categories[i] for i in inside])
        seen = [c for c, name in enumerate(names) if name in part.categories]
        if not seen:  # no label in this fold: no opinion
            continue
        found = part.scores(blocks.take(held))  # (m, seen)
        # A category its fold never saw gets a score well under the worst one seen.
        scores[held] = found.min(axis=1, keepdims=True) - 5.0
        scores[held[:, None], np.array(seen)] = found
    labels = np.array([-1 if c is None else names.index(c) for c in known.categories])
    probe.temperature = best_temperature(scores[labels >= 0], labels[labels >= 0])
    return probe, _softmax(scores / probe.temperature)


def fold_of(texts: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each prompt, folds of about equal size; equal prompts share theirs."""
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    folds = max(1, min(folds, len(distinct)))
    order = np.random.default_rng(seed).permutation(len(distinct)) % folds
    return np.array([order[distinct[text]] for text in texts], dtype=np.int64)


def best_temperature(scores: FloatArray, labels: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood, by golden section in its logarithm."""
    if labels.size == 0:
        return 1.0

    def surprise(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        top = scaled.max(axis=1)
        log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float(np.mean(log_sum - scaled[np.arange(labels.size), labels]))

    low, high, golden = np.log(0.1), np.log(10.0), (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if surprise(left) < surprise(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2.0))


def reliability(
    p: FloatArray, labels: Sequence[str | None], categories: Sequence[str], bins: int = 10
) -> list[ReliabilityBin]:
    """What the probe's top probability is worth: per bin, what it said and how often it was right."""
    rows = np.array([i for i, label in enumerate(labels) if label in categories], dtype=np.int64)
    top, said = p[rows].argmax(axis=1), p[rows].max(axis=1)
    right = np.array([categories[c] == labels[i] for c, i in zip(top, rows, strict=True)], dtype=np.float64)
    place = np.minimum((said * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(b / bins, (b + 1) / bins, int(m.sum()), float(said[m].mean()), float(right[m].mean()))
        for b in range(bins)
        if (m := place == b).any()
    ]


def _softmax(scores: FloatArray) -> FloatArray:
    exponent = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))
