"""Ridge regression that chooses its own penalty, per output, by leaving each row out in closed form.

    B = (X'X + alpha I)^-1 X'Y        with X, Y centred, rows times the root of their weight
    e_i = (y_i - x_i B) / (1 - h_i)   h_i the leverage: the error of row i by a fit without it

An output whose squared error falls by less than ``EARNED`` standard errors of that fall gets B = 0: it has earned
no say. (The best of many penalties looks a little better than the mean even where there is nothing to predict.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.domain.estimates import FloatArray

EARNED = 1.0


@dataclass(slots=True)
class LeaveOneOutRidge:
    """Fitted once, then only read.

    Attributes:
        penalties: Candidates for alpha, ascending.
        coefficients_: (d, m) B; learned.
        penalty_: (m,) the alpha chosen, inf where the mean alone did as well; learned.
        r2_: (m,) share of the variance explained on rows left out; learned.
        left_out_: (n, m) predictions of each row by a fit without it; learned.
    """

    penalties: tuple[float, ...]
    coefficients_: FloatArray | None = None
    penalty_: FloatArray | None = None
    r2_: FloatArray | None = None
    left_out_: FloatArray | None = None
    _x_mean: FloatArray | None = None
    _y_mean: FloatArray | None = None

    def fit(self, x: FloatArray, y: FloatArray, weight: FloatArray | None = None) -> LeaveOneOutRidge:
        """Learn from x (n, d) and y (n, m), both finite; a weight (n,) says for how many rows each one stands."""
        n = x.shape[0]
        whole = np.ones((n, 1)) if weight is None else weight[:, None]
        part, root = whole / whole.sum(), np.sqrt(whole)
        self._x_mean, self._y_mean = (part * x).sum(axis=0), (part * y).sum(axis=0)
        xc, yc = root * (x - self._x_mean), root * (y - self._y_mean)
        eigen, vectors, rotated = _principal(xc)
        squared, moment = rotated**2, rotated.T @ yc
        plain = yc / np.maximum(1.0 - part, 1e-9)  # errors of the mean of the others
        base = (plain**2).mean(axis=0)
        best = base.copy()
        self.coefficients_ = np.zeros((x.shape[1], y.shape[1]))
        self.penalty_ = np.full(y.shape[1], np.inf)
        self.left_out_ = y - plain / root
        self.r2_ = np.zeros(y.shape[1])
        for alpha in self.penalties:
            inverse = 1.0 / (eigen + alpha)
            small = inverse[:, None] * moment
            leverage = np.minimum(squared @ inverse + part[:, 0], 1.0 - 1e-9)
            errors = (yc - rotated @ small) / (1.0 - leverage)[:, None]
            score = (errors**2).mean(axis=0)
            for m in np.flatnonzero(score < best):
                best[m], self.penalty_[m] = score[m], alpha
                self.coefficients_[:, m] = vectors @ small[:, m]
                self.left_out_[:, m] = y[:, m] - errors[:, m] / root[:, 0]
                self.r2_[m] = 1.0 - score[m] / base[m]
        fall = plain**2 - (root * (y - self.left_out_)) ** 2  # (n, m)
        unearned = fall.mean(axis=0) <= EARNED * fall.std(axis=0) / np.sqrt(n)
        self.coefficients_[:, unearned] = 0.0
        self.penalty_[unearned] = np.inf
        self.left_out_[:, unearned] = (y - plain / root)[:, unearned]
        self.r2_[unearned] = 0.0
        return self

    def predict(self, x: FloatArray) -> FloatArray:
        """(k, m) for x (k, d)."""
        assert self.coefficients_ is not None
        assert self._x_mean is not None
        assert self._y_mean is not None
        return np.asarray((x - self._x_mean) @ self.coefficients_ + self._y_mean)


def _principal(xc: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eigenvalues (r,) and vectors (d, r) of X'X, and the rows turned into them (n, r).

    With fewer rows than columns X X' has the same eigenvalues at a fraction of the cost, and the directions that
    no row points in, which it leaves out, get no coefficient from any penalty anyway.
    """
    n, d = xc.shape
    if n >= d:
        eigen, vectors = np.linalg.eigh(xc.T @ xc)
        return np.maximum(eigen, 0.0), vectors, xc @ vectors
    eigen, rows = np.linalg.eigh(xc @ xc.T)  # (n,), (n, n)
    kept = eigen > 1e-12 * max(float(eigen[-1]), 1e-300)
    singular = np.sqrt(eigen[kept])
    return eigen[kept], xc.T @ rows[:, kept] / singular, rows[:, kept] * singular
