"""What one prompt will take and how well each option will do on it: small corrections of its categories' means.

Two ridge regressions, each with penalties chosen by leaving one out, so that a correction that does not predict
is exactly zero (:mod:`router.estimate.ridge`):

*effort*   mean over o of l_io,  l_io = log(y_io) - log(sum_c p_ic y[c,o])    for joules and seconds: what makes one
           option's answer long makes the others' long, so there is one figure for all of them; and beside it what
           each model has beyond it, the mean of l_io over its own options less that of all. Directives of a model
           get none of their own: where brevity saves most it also cuts most (docs/history.md)
*contrast* (q_io - q_ir) - sum_c p_ic (q[c,o] - q[c,r])       for quality against the reference r, along the
           principal directions of all contrasts, from the features, the effort just predicted and the
           predicted ease (how much better than expected all options do): a choice that follows predicted joules
           must know whether quality goes with them

Effort and ease are learned on radial features (:mod:`router.estimate.radial`), contrasts, of which there is far
less to learn, on the features themselves.
How hard a prompt is for the reference itself is predicted too, for people to read; it moves all options alike.
Exponentials of fitted logarithms are rescaled so that every category and option keeps its mean, with
``STEADY`` prompts' worth of the option's pooled factor where a cell is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.domain.estimates import Estimates, FloatArray, IntArray, Known
from router.estimate.directives import membership
from router.estimate.features import Blocks
from router.estimate.radial import RadialMap
from router.estimate.ridge import LeaveOneOutRidge

EFFORT_PENALTIES = tuple(float(a) for a in np.geomspace(0.01, 1e4, 19))
CONTRAST_PENALTIES = tuple(float(a) for a in np.geomspace(30.0, 1e5, 11))
STEADY = 50.0
WEIGHTS = (1.0, 2.0, 0.1)
"""Say of embedding, words and shape under one penalty; see docs/history.md for what others give."""

RADIAL_WEIGHTS = (1.0, 2.0, 0.3)
"""Likewise where distances are taken."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What prompts look like to the regressions.

    Attributes:
        plain: (n, d) features.
        radial: (n, r) radial features.
    """

    plain: FloatArray
    radial: FloatArray

    def take(self, rows: IntArray) -> Looks:
        """Some of the prompts."""
        return Looks(self.plain[rows], self.radial[rows])


@dataclass(frozen=True, slots=True)
class Looking:
    """How prompts are looked at; fitted without looking at any outcome.

    Attributes:
        radial: Of the known prompts.
    """

    radial: RadialMap

    @classmethod
    def fit(cls, blocks: Blocks, seed: int = 0) -> Looking:
        """Learn from the known prompts."""
        return cls(RadialMap.fit(blocks.weighted(*RADIAL_WEIGHTS), seed))

    def at(self, blocks: Blocks) -> Looks:
        """What these prompts look like."""
        return Looks(blocks.weighted(*WEIGHTS), self.radial.transform(blocks.weighted(*RADIAL_WEIGHTS)))


@dataclass(frozen=True, slots=True)
class Expectation:
    """Per prompt and option.

    Attributes:
        q: (n, O) quality, NaN where the option was not measured on the prompt's categories.
        energy_j: (n, O) joules, NaN likewise.
        duration_s: (n, O) seconds, NaN likewise.
    """

    q: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray


@dataclass(slots=True)
class PromptModel:
    """Fitted once, then only read.

    Attributes:
        table: The categories' means that are corrected.
    """

    table: Estimates
    _effort: LeaveOneOutRidge | None = None
    _models: FloatArray | None = None
    _contrast: LeaveOneOutRidge | None = None
    _directions: FloatArray | None = None
    _extra_scale: FloatArray | None = None
    _factor_energy: FloatArray | None = None
    _factor_duration: FloatArray | None = None

    def fit(self, known: Known, looks: Looks, p: FloatArray) -> PromptModel:
        """Learn from n known prompts, what they look like, and their soft categories p (n, C)."""
        columns, r = len(known.options), self.table.reference
        twins = _Twins.of(known.texts)
        if twins.first.size < 2 * columns + 10:
            return self  # too few prompts to learn more than means
        base_energy, base_duration = mix(p, self.table.energy_j), mix(p, self.table.duration_s)
        residual = known.quality - mix(p, self.table.q)  # (n, O)
        ease = _row_mean(residual)  # (n, 1)
        log_energy = _log_residual(known.energy_j, base_energy)  # (n, O)
        log_duration = _log_residual(known.duration_s, base_duration)
        common = [_row_mean(log_energy), _row_mean(log_duration)]
        self._models = membership(known.options)  # (O, M)
        mean_of = self._models / self._models.sum(axis=0)
        own = [log_energy @ mean_of - common[0], log_duration @ mean_of - common[1]]  # (n, M)
        outputs = np.hstack([*common, ease, *own])
        self._effort = LeaveOneOutRidge(EFFORT_PENALTIES).fit(
            looks.radial[twins.first], twins.mean(outputs), twins.count
        )
        assert self._effort.left_out_ is not None
        left_out = self._effort.left_out_[twins.place]
        log_energy, log_duration = self._logs(left_out)
        self._factor_energy = _factor(p, known.energy_j, base_energy * np.exp(log_energy))
        self._factor_duration = _factor(p, known.duration_s, base_duration * np.exp(log_duration))
        contrast = np.nan_to_num(residual - residual[:, [r]])  # (n, O)
        _, _, self._directions = np.linalg.svd(contrast - contrast.mean(axis=0), full_matrices=False)  # (k, O)
        extra = self._extra(left_out)
        self._extra_scale = np.where(extra.std(axis=0) > 1e-9, 1.0 / np.maximum(extra.std(axis=0), 1e-9), 0.0)
        level = np.nan_to_num(residual[:, [r]])
        # A contrast's mean is the table's business, so the directions are fitted around zero.
        outputs = np.hstack([contrast @ self._directions.T, level])
        looked = np.hstack([looks.plain, extra * self._extra_scale])
        self._contrast = LeaveOneOutRidge(CONTRAST_PENALTIES).fit(
            looked[twins.first], twins.mean(outputs - outputs.mean(axis=0)), twins.count
        )
        return self

    def predict(self, looks: Looks, p: FloatArray) -> Expectation:
        """What to expect of m prompts that look like this and have soft categories p (m, C)."""
        q = mix(p, self.table.q)
        energy, duration = mix(p, self.table.energy_j), mix(p, self.table.duration_s)
        if self._effort is None or self._contrast is None:
            return Expectation(q, energy, duration)
        assert self._directions is not None
        assert self._factor_energy is not None
        assert self._factor_duration is not None
        assert self._extra_scale is not None
        foretold = self._effort.predict(looks.radial)  # (m, 3 + 2 M)
        log_energy, log_duration = self._logs(foretold)
        energy = energy * np.exp(log_energy) * (p @ self._factor_energy)
        duration = duration * np.exp(log_duration) * (p @ self._factor_duration)
        outputs = self._contrast.predict(np.hstack([looks.plain, self._extra(foretold) * self._extra_scale]))
        # Everybody shares the reference's level, so differences are the contrasts alone.
        q = q + outputs[:, :-1] @ self._directions + outputs[:, [-1]]
        return Expectation(np.clip(q, 0.0, 1.0), energy, duration)

    def _logs(self, effort: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, O) log joules and log seconds beyond the categories' means: the common effort and the model's own."""
        assert self._models is not None
        count = self._models.shape[1]
        own_energy, own_duration = effort[:, 3 : 3 + count], effort[:, 3 + count :]
        return effort[:, [0]] + own_energy @ self._models.T, effort[:, [1]] + own_duration @ self._models.T

    def _extra(self, effort: FloatArray) -> FloatArray:
        """(n, 2) predicted effort in joules and predicted ease."""
        return effort[:, [0, 2]]


@dataclass(frozen=True, slots=True)
class _Twins:
    """Equal prompts as one: leaving out one of them would leave the other in.

    Attributes:
        first: (d,) a row of each distinct prompt.
        place: (n,) which distinct prompt a row is.
    """

    first: IntArray
    place: IntArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Twins:
        """Prompts are equal if their texts are."""
        index = {text: d for d, text in enumerate(dict.fromkeys(texts))}
        place = np.array([index[text] for text in texts], dtype=np.int64)
        return cls(np.unique(place, return_index=True)[1], place)

    @property
    def count(self) -> FloatArray:
        """(d,) how many rows each stands for."""
        return np.bincount(self.place).astype(np.float64)

    def mean(self, values: FloatArray) -> FloatArray:
        """(d, m) of values (n, m)."""
        total = np.zeros((self.first.size, values.shape[1]))
        np.add.at(total, self.place, values)
        return np.asarray(total / self.count[:, None])


def mix(p: FloatArray, cells: FloatArray) -> FloatArray:
    """(n, O) means over the categories, unknown cells left out; NaN where they hold more than half of p."""
    given = np.isfinite(cells)
    mass = p @ given
    total = p @ np.where(given, cells, 0.0)
    return np.asarray(np.where(mass > 0.5, total / np.where(mass > 0, mass, 1.0), np.nan))


def _log_residual(y: FloatArray, base: FloatArray) -> FloatArray:
    """(n, O) log(y / base); a prompt's missing ones are taken to be like its others, or 0."""
    given = np.isfinite(y) & np.isfinite(base) & (y > 0) & (base > 0)
    log = np.where(given, np.log(np.where(given, y, 1.0)) - np.log(np.where(given, base, 1.0)), np.nan)
    return np.where(given, log, np.nan_to_num(_row_mean(log)))


def _row_mean(y: FloatArray) -> FloatArray:
    """(n, 1) mean of the finite entries; 0 where there is none."""
    given = np.isfinite(y)
    count = given.sum(axis=1, keepdims=True)
    return np.asarray(np.where(given, y, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1))


def _factor(p: FloatArray, y: FloatArray, predicted: FloatArray) -> FloatArray:
    """(C, O) by which predictions are too small on average, per category steadied by the option's own factor."""
    given = np.isfinite(y) & np.isfinite(predicted)
    actual, expected = np.where(given, y, 0.0), np.where(given, predicted, 0.0)
    count = np.maximum(given.sum(axis=0), 1)
    mean = expected.sum(axis=0) / count  # (O,)
    pooled = np.where(expected.sum(axis=0) > 0, actual.sum(axis=0) / np.maximum(expected.sum(axis=0), 1e-300), 1.0)
    top = p.T @ actual + STEADY * pooled * mean
    bottom = p.T @ expected + STEADY * mean
    return np.asarray(np.where(bottom > 0, top / np.maximum(bottom, 1e-300), 1.0))
