"""By how much a plan looks better than it is, because its options were chosen for looking good.

    u_b[i,o]    = sum_c p_ic (q_b[c,o] - q[c,o])            what sampling alone does to the quality by which options are
                                                            chosen, from tables of the same prompts drawn anew
    t_b[i,o]    likewise to the quality by which they are counted: means before shrinkage
    x_b(i, k)   the option of prompt i on rung k with q + u_b in place of q;    x(i, k) with q itself
    optimism(k) = mean over b and i of t_b[i, x_b(i, k)] - t_b[i, x(i, k)]

In a drawn world q is the truth and u_b the error, so this is the winner's curse of the very rule that decides: what
a choice that follows the error gains by it on paper. The second term has mean zero and takes most of the noise off.
Where few prompts speak for a cell the two errors differ: shrinkage moves less than half as far as the mean it shrinks.
It is never negative, and 0 where all options are known well or only one is worth choosing.
"""

from __future__ import annotations

import numpy as np

from router.domain.estimates import Draws, FloatArray
from router.policy.ladder import Ladder

EVERY = 8
"""Rungs from one look to the next; in between it is interpolated."""

CELLS = 400_000
"""Prompts x options x draws looked at, so that a replan stays quick whatever the store's size."""


def optimism_of(
    draws: Draws | None, p: FloatArray, v: FloatArray, g: FloatArray, q: FloatArray, ladder: Ladder
) -> FloatArray:
    """(K + 1,) quality by which each rung flatters itself; 0 for the reference.

    Args:
        draws: Redrawn tables; None where nothing is known of them.
        p: (n, C) categories of the prompts.
        v: (n,) weights of the prompts.
        g: (n, O) grams.
        q: (n, O) quality.
        ladder: Of prices.
    """
    found = np.zeros(ladder.top + 1)
    if draws is None or not draws.q.size:
        return found
    count, _, options = draws.q.shape
    n = max(CELLS // (count * options), 50)
    rows = np.unique(np.linspace(0, len(v) - 1, min(n, len(v))).round().astype(np.int64))
    weight = v[rows] / v[rows].sum()
    looked = np.unique(np.append(np.arange(0, ladder.top, EVERY), ladder.top - 1))
    plain = ladder.choose(g[rows], q[rows], looked)  # (m, looked)
    total = np.zeros(looked.size)
    for choosing, counting in zip(draws.q, draws.plain_q, strict=True):
        lucky = ladder.choose(g[rows], q[rows] + p[rows] @ choosing, looked)
        t = p[rows] @ counting  # (m, O)
        total += weight @ (np.take_along_axis(t, lucky, axis=1) - np.take_along_axis(t, plain, axis=1))
    found[:-1] = np.interp(np.arange(ladder.top), looked, np.maximum(total / count, 0.0))
    return found
