"""What one prompt will take and how well each option will do on it: small corrections of its categories' means.

Two ridge regressions, each with penalties chosen by leaving one out, so that a correction that does not predict
is exactly zero (:mod:`router.estimate.ridge`):

*effort*   mean over o of log(y_io) - log(sum_c p_ic y[c,o])   for joules and seconds, from the prompt's features:
           what makes one option's answer long makes the others' long, so there is one figure for all of them, and
           it is foretold better than each option's own
*contrast* (q_io - q_ir) - sum_c p_ic (q[c,o] - q[c,r])       for quality against the reference r, along the
           principal directions of all contrasts, from the features, the effort just predicted and the
           predicted difficulty (how often options fail): a choice that follows predicted joules must know
           whether quality goes with them

How hard a prompt is for the reference itself is predicted too, for people to read; it moves all options alike.
Exponentials of fitted logarithms are rescaled so that every category and option keeps its mean, with
``STEADY`` prompts' worth of the option's pooled factor where a cell is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.domain.estimates import Estimates, FloatArray, Known
from router.estimate.ridge import LeaveOneOutRidge

EFFORT_PENALTIES = tuple(float(a) for a in np.geomspace(0.3, 1e3, 11))
CONTRAST_PENALTIES = tuple(float(a) for a in np.geomspace(30.0, 1e5, 11))
STEADY = 50.0
WEIGHTS = (1.0, 2.0, 0.1)
"""Say of embedding, words and shape under one penalty; see docs/policies.md for what others give."""


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
    _contrast: LeaveOneOutRidge | None = None
    _directions: FloatArray | None = None
    _extra_scale: FloatArray | None = None
    _factor_energy: FloatArray | None = None
    _factor_duration: FloatArray | None = None

    def fit(self, known: Known, features: FloatArray, p: FloatArray) -> PromptModel:
        """Learn from known prompts, their features (n, d) and soft categories p (n, C)."""
        n, columns, r = len(known.texts), len(known.options), self.table.reference
        if n < 2 * columns + 10:
            return self  # too few prompts to learn more than means
        base_energy, base_duration = mix(p, self.table.energy_j), mix(p, self.table.duration_s)
        residual = known.quality - mix(p, self.table.q)  # (n, O)
        difficulty = _row_mean(residual)  # (n, 1)
        targets = np.hstack(
            [
                _row_mean(_log_residual(known.energy_j, base_energy)),
                _row_mean(_log_residual(known.duration_s, base_duration)),
                difficulty,
            ]
        )
        self._effort = LeaveOneOutRidge(EFFORT_PENALTIES + CONTRAST_PENALTIES[-4:]).fit(features, targets)
        left_out = self._effort.left_out_
        assert left_out is not None
        self._factor_energy = _factor(p, known.energy_j, base_energy * np.exp(left_out[:, [0]]))
        self._factor_duration = _factor(p, known.duration_s, base_duration * np.exp(left_out[:, [1]]))
        contrast = np.nan_to_num(residual - residual[:, [r]])  # (n, O)
        _, _, self._directions = np.linalg.svd(contrast - contrast.mean(axis=0), full_matrices=False)  # (k, O)
        extra = self._extra(left_out)
        self._extra_scale = np.where(extra.std(axis=0) > 1e-9, 1.0 / np.maximum(extra.std(axis=0), 1e-9), 0.0)
        level = np.nan_to_num(residual[:, [r]])
        # A contrast's mean is the table's business, so the directions are fitted around zero.
        outputs = np.hstack([contrast @ self._directions.T, level])
        self._contrast = LeaveOneOutRidge(CONTRAST_PENALTIES).fit(
            np.hstack([features, extra * self._extra_scale]), outputs - outputs.mean(axis=0)
        )
        return self

    def predict(self, features: FloatArray, p: FloatArray) -> Expectation:
        """What to expect of prompts with these features (m, d) and soft categories p (m, C)."""
        q = mix(p, self.table.q)
        energy, duration = mix(p, self.table.energy_j), mix(p, self.table.duration_s)
        if self._effort is None or self._contrast is None:
            return Expectation(q, energy, duration)
        assert self._directions is not None
        assert self._factor_energy is not None
        assert self._factor_duration is not None
        assert self._extra_scale is not None
        foretold = self._effort.predict(features)  # (m, 3)
        energy = energy * np.exp(foretold[:, [0]]) * (p @ self._factor_energy)
        duration = duration * np.exp(foretold[:, [1]]) * (p @ self._factor_duration)
        outputs = self._contrast.predict(np.hstack([features, self._extra(foretold) * self._extra_scale]))
        # Everybody shares the reference's level, so differences are the contrasts alone.
        q = q + outputs[:, :-1] @ self._directions + outputs[:, [-1]]
        return Expectation(np.clip(q, 0.0, 1.0), energy, duration)

    def _extra(self, effort: FloatArray) -> FloatArray:
        """(n, 2) predicted effort in joules and predicted difficulty."""
        return effort[:, [0, 2]]


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
