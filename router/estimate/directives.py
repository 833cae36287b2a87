"""What a directive adds to its model in each category, shrunk towards adding the same in all of them.

Options of one model (as it runs: at a site, in a setting) differ in their directive alone, and five categories of a
dozen prompts tell little of how directives differ from category to category. With m[c] the (K,) cell means of a
model's K options, H the (K - 1, K) orthonormal contrasts between them and sigma^2 the variance of one prompt's answer
against its siblings', within categories:

    H m[c] ~ N(H q[c], sigma^2 H N[c] H')         N[c] from how many prompts are known, and known to both of a pair:
                                                  diag(1 / n_o) + omega n_oo' / (n_o n_o'), omega the variance of
                                                  prompts over that of answers; known alike, the latter cancels
    H q[c] ~ N(delta, sigma^2 / n0 I)             delta what the directives add on the whole; n0 how many prompts
                                                  that is worth as evidence
    d[c]   = H' (H m[c] - f (H m[c] - E(H q[c] | m)))       (K,) sums to zero; f = (D - 2) / D of D free contrasts,
                                                  at least 1/4, as in :mod:`router.estimate.table`

Models themselves are shrunk there: what they are good at is less alike. n0 is one figure for all models and is
averaged over its likelihood (restricted: delta is estimated too), since so few cells cannot tell it from its
neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert

from router.domain.catalogue import Option
from router.domain.estimates import FloatArray, IntArray

WORTH = tuple(float(n) for n in np.geomspace(1.0, 4096.0, 13))
"""Candidates for n0, in prompts."""

LEAST = 0.25
"""Of the shrinkage that is taken however few contrasts there are."""

UNKNOWN = 1e-6
"""Prompts that a cell nobody measured counts as: what it is told is the prior."""


def membership(options: Sequence[Option]) -> FloatArray:
    """(O, M) 1 where an option is of a model as it runs: at a site, in a setting, with any directive."""
    kinds = [(option.model, option.site, option.setting) for option in options]
    return np.array([[float(kind == other) for other in dict.fromkeys(kinds)] for kind in kinds])


def added(p: FloatArray, y: FloatArray, mean: FloatArray, n: FloatArray, models: FloatArray) -> FloatArray:
    """(C, O) what directives add to the mean of their model's options; 0 for a model with one option.

    Args:
        p: (n, C) probability of each category.
        y: (n, O) quality, NaN where unknown.
        mean: (C, O) cell means of ``y``.
        n: (C, O) effective number of prompts.
        models: (O, M) membership.
    """
    found = np.zeros(mean.shape)
    several = [np.flatnonzero(member) for member in models.T if member.sum() > 1]
    fits = [fit for columns in several if (fit := _Fit.of(p, y, mean, n, columns)) is not None]
    if not fits:
        return found
    likelihood = np.sum([fit.log_likelihood for fit in fits], axis=0)
    weight = np.exp(likelihood - likelihood.max())  # (W,)
    free = (len(mean) - 1.0) * sum(fit.columns.size - 1 for fit in fits)
    factor = max((free - 2.0) / free, LEAST) if free else 1.0
    for fit in fits:
        told = np.tensordot(weight / weight.sum(), fit.told, 1)
        found[:, fit.columns] = told + (1.0 - factor) * np.nan_to_num(fit.seen - told)
    return found


@dataclass(frozen=True, slots=True)
class _Fit:
    """One model's options under each candidate for n0.

    Attributes:
        columns: (K,) its options.
        log_likelihood: (W,) of each candidate.
        seen: (C, K) what its directives add as measured, NaN where one of the options was not.
        told: (W, C, K) what they are expected to add.
    """

    columns: IntArray
    log_likelihood: FloatArray
    seen: FloatArray
    told: FloatArray

    @classmethod
    def of(cls, p: FloatArray, y: FloatArray, mean: FloatArray, n: FloatArray, columns: IntArray) -> _Fit | None:
        """None where its options were never seen to differ."""
        y, mean, n = y[:, columns], mean[:, columns], n[:, columns]
        sigma2, omega = _spread(p, y, mean)
        if sigma2 <= 0.0:
            return None
        contrast = helmert(columns.size)  # (K - 1, K)
        seen = np.isfinite(mean) & (n > 0)
        x = np.where(seen, mean, 0.0) @ contrast.T / np.sqrt(sigma2)  # (C, K - 1)
        noise = contrast @ _noise(p, y, np.where(seen, n, UNKNOWN), omega) @ contrast.T  # (C, K - 1, K - 1)
        prior = 1.0 / np.array(WORTH)[:, None, None, None] * np.eye(columns.size - 1)
        precision = np.linalg.inv(prior + noise)  # (W, C, K - 1, K - 1)
        pooled = precision.sum(axis=1)
        delta = np.linalg.solve(pooled, (precision @ x[..., None]).sum(axis=1))  # (W, K - 1, 1)
        away = precision @ (x[..., None] - delta[:, None])  # (W, C, K - 1, 1)
        misfit = (x * away[..., 0]).sum(axis=(1, 2))
        likelihood = np.linalg.slogdet(precision)[1].sum(axis=1) - np.linalg.slogdet(pooled)[1] - misfit
        told = (delta[:, None] + prior @ away)[..., 0] @ contrast * np.sqrt(sigma2)
        measured = np.where(seen, mean, np.nan)
        return cls(columns, 0.5 * likelihood, measured - measured.mean(axis=1, keepdims=True), told)


def _spread(p: FloatArray, y: FloatArray, mean: FloatArray) -> tuple[float, float]:
    """Variance of one answer against its siblings', and of prompts (beside their category's mean) in units of it."""
    expected = p @ np.nan_to_num(mean)
    given = np.isfinite(y)
    residual = np.where(given, y - expected, 0.0)
    count = given.sum(axis=1)
    beside = np.where(given, residual - residual.sum(axis=1, keepdims=True) / np.maximum(count, 1)[:, None], 0.0)
    categories, options = mean.shape
    free = float(np.maximum(count - 1, 0).sum()) - categories * (options - 1)
    whole = float((residual**2).sum()) / max(float(count.sum()) - categories * options, 1.0)
    if free < 1.0 or not (count > 1).any():
        return whole, 0.0  # nobody answered the same prompts
    sigma2 = float((beside**2).sum()) / free
    return sigma2, max(whole / sigma2 - 1.0, 0.0) if sigma2 > 0 else 0.0


def _noise(p: FloatArray, y: FloatArray, n: FloatArray, omega: float) -> FloatArray:
    """(C, K, K) covariance of the cells' means, in units of sigma^2 (the N[c] above)."""
    given = np.isfinite(y).astype(np.float64)
    both = np.einsum("ic,ik,il->ckl", p, given, given)
    mass = np.maximum(p.T @ given, UNKNOWN)  # (C, K)
    scale = np.sqrt(n / mass)  # effective prompts of a unit of mass
    shared = both * scale[:, :, None] * scale[:, None, :] / (n[:, :, None] * n[:, None, :])
    return np.asarray(np.eye(y.shape[1]) / n[:, :, None] + omega * shared)
