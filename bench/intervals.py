"""Percentile bootstrap intervals, paired: every policy is resampled with the same prompts and the same splits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

REPLICATES = 1000
LEVEL = 0.95


def multiplicities(n: int, replicates: int, seed: int) -> FloatArray:
    """(replicates, n) how often each of n units is drawn when n are drawn with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(np.float64)


def percentiles(values: Any, level: float = LEVEL) -> tuple[float, float] | None:
    """The central interval of bootstrap values; None where fewer than nine in ten of them exist."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if array.size == 0 or finite.size < 0.9 * array.size:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of_ratio(
    top: FloatArray, bottom: FloatArray, seed: int = 0, transform: Callable[[FloatArray], FloatArray] | None = None
) -> tuple[float, float] | None:
    """Interval of sum(top) / sum(bottom) over paired units (n,), or of a transform of it."""
    drawn = multiplicities(top.size, REPLICATES, seed)
    below = drawn @ bottom
    ratio = np.where(below != 0, (drawn @ top) / np.where(below != 0, below, 1.0), np.nan)
    return percentiles(ratio if transform is None else transform(ratio))


def interval_of_mean(values: FloatArray, seed: int = 0) -> tuple[float, float] | None:
    """Interval of the mean of units (n,)."""
    return interval_of_ratio(values, np.ones_like(values), seed)


def share_under(top: FloatArray, bottom: FloatArray, level: float, seed: int = 0) -> float:
    """In which share of the resamples sum(top) / sum(bottom) over paired units (n,) lies under a level."""
    drawn = multiplicities(top.size, REPLICATES, seed)
    return float(np.mean(drawn @ top < level * (drawn @ bottom) - 1e-12))


def crossing(levels: FloatArray, values: FloatArray, wanted: float) -> float | None:
    """Where a polyline through (level, value), in the order given, crosses a level: at the best value of several.

    Returns:
        The place along the polyline, 1.25 being a quarter of the way from its second point to its third; None where it
        does not reach the level.
    """
    places = []
    for i, (a, b) in enumerate(pairwise(levels)):
        if not (min(a, b) - 1e-12 <= wanted <= max(a, b) + 1e-12 and np.isfinite(b - a)):
            continue
        places += [float(i), i + 1.0] if a == b else [i + min(max((wanted - a) / (b - a), 0.0), 1.0)]
    return max(places, key=lambda place: at_place(values, place), default=None)


def at_place(values: FloatArray, place: float | None) -> float:
    """Value of a polyline at a place along it, see :func:`crossing`; NaN at none."""
    return float("nan") if place is None else float(np.interp(place, np.arange(len(values)), values))


def at_level(levels: FloatArray, values: FloatArray, wanted: float) -> float:
    """Value where a polyline through (level, value) crosses a level, the best of several; NaN where it does not."""
    return at_place(values, crossing(levels, values, wanted))
