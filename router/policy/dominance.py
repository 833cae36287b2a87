"""Cells no optimum needs: another option of the same category is no worse in anything that the rows ask about.

Cell (c, j) makes (c, i) superfluous if ``g_j <= g_i``, ``q_j >= q_i`` and, where rows ask for seconds, ``T_j <= T_i``
at the same site, one of them strictly. Every row's price is non-negative, so the reduced cost of i is then no lower
than that of j: leaving i out changes neither the optimum nor the duals. Of a thousand options a few dozen remain.

With two criteria all such cells are found (sort by grams, keep what raises the best quality so far). With three, they
are found against pivots, the best cells under a grid of prices, which is enough to leave few others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.domain.estimates import FloatArray
from router.policy.program import Program

Mask = NDArray[np.bool_]

FEWEST = 40
"""With fewer columns the solver is quicker than this."""

_PRICES = (0.0, *np.logspace(-2.0, 2.0, 9))


def worthwhile(program: Program, usable: Mask) -> Mask:
    """(C, O) those of the usable cells that some optimum may need."""
    if program.g.shape[1] < FEWEST:
        return usable
    g = np.where(usable, program.g, np.inf)
    q = np.where(usable, program.q, -np.inf)
    if program.max_mean_duration_s is None and program.capacity is None:
        return _front(g, q) & usable
    assert program.duration_s is not None
    t = np.where(usable, program.duration_s, np.inf)
    kept = np.zeros_like(usable)
    site = np.zeros(program.g.shape[1], dtype=np.int64) if program.capacity is None else program.capacity.site
    for s in np.unique(site):
        at = np.flatnonzero(site == s)
        kept[:, at] = usable[:, at] & ~_beaten(g[:, at], q[:, at], t[:, at])
    return kept


def _front(g: FloatArray, q: FloatArray) -> Mask:
    """(C, O) cells that are better than every cell of fewer grams."""
    order = np.lexsort((-q, g), axis=1)  # by grams, of equals the best first
    rising = np.take_along_axis(q, order, axis=1)
    before = np.concatenate([np.full((q.shape[0], 1), -np.inf), np.maximum.accumulate(rising, axis=1)[:, :-1]], axis=1)
    kept = np.zeros(q.shape, dtype=np.bool_)
    np.put_along_axis(kept, order, rising > before, axis=1)
    return kept


def _beaten(g: FloatArray, q: FloatArray, t: FloatArray) -> Mask:
    """(C, n) cells that some pivot makes superfluous."""
    known = np.isfinite(g)
    scaled = [_unit(values, known) for values in (g, -q, t)]  # all to be minimised
    rows = np.arange(g.shape[0])[:, None]
    pivots = np.unique(
        np.array(
            [np.argmin(scaled[0] + a * scaled[1] + b * scaled[2], axis=1) for a in _PRICES for b in _PRICES]
        ).T,  # (C, P)
        axis=1,
    )
    beaten = np.zeros(g.shape, dtype=np.bool_)
    for start in range(0, pivots.shape[1], 16):  # in blocks that fit the cache
        index = pivots[:, start : start + 16]
        no_worse = np.ones((*g.shape, index.shape[1]), dtype=np.bool_)
        better = np.zeros_like(no_worse)
        for values in (g, -q, t):
            pivot = values[rows, index][:, None, :]
            no_worse &= pivot <= values[:, :, None]
            better |= pivot < values[:, :, None]
        beaten |= (no_worse & better).any(axis=2)
    return beaten & known


def _unit(values: FloatArray, known: Mask) -> FloatArray:
    """(C, n) each row's known values between 0 and 1; the others far above."""
    low = np.where(known, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(known, values, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        span = np.where(high > low, high - low, 1.0)
        return np.where(known, (values - low) / span, 1e9)
