"""Whether a follow-up stays with the model that answered before, and who answers a regeneration: arithmetic alone.

A model that answered a moment ago still holds the conversation in its cache; any other reads all of it again. With
``g`` grams expected of this turn, reading the history included, ``h`` the grams of reading the history alone, and the
plan's price of quality ``lambda``:

    cost[o] = g[o] - lambda q[o]                    what an option costs once its quality is paid for
    here    = sum over the present model's options   x[o] (cost[o] - h[o])     its history is in the cache
    away    = sum over the plan's other options      x[o] cost[o]

A switch pays if ``away < here``. Two things overrule it: a plan that gives the present model's options no less than
all of the weight has nothing to switch to; and where staying would cost more quality than the plan may give up in a
category, the plan is followed, whatever that costs. What is not known is compared with nothing: the plan decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.estimates import FloatArray

WARM_S = 300.0
"""An engine is taken to hold a conversation so long: Ollama's own time until it unloads a model that nobody asks."""

LEAST_STEP = 0.02
"""A regenerated answer has to be expected to be better by this much, where there is such an option."""

_TINY = 1e-9

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as the plan sees it, all (O,).

    Attributes:
        weights: The plan's weights, zero where an option may not answer; summing to 1.
        g: Grams expected, reading the whole conversation included; NaN unknown.
        q: Quality expected; NaN unknown.
        history_g: Of the grams, those of reading what was said before this turn.
        may: Options that may answer.
    """

    weights: FloatArray
    g: FloatArray
    q: FloatArray
    history_g: FloatArray
    may: Mask


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a conversation's model.

    Attributes:
        stays: Whether it answers again.
        weights: (O,) from which the option is drawn.
        switch_g: Grams that switching would cost beyond staying, quality at the plan's price: negative where it
            saves; None where nothing was to be weighed.
        for_quality: The plan is followed since staying would give up too much quality.
    """

    stays: bool
    weights: FloatArray
    switch_g: float | None = None
    for_quality: bool = False


def stay_or_switch(turn: Turn, here: Mask, *, price_g: float | None, is_warm: bool, most_loss: float) -> Verdict:
    """Weigh the model that answered before against what the plan would have now.

    Args:
        turn: The turn.
        here: (O,) the options of the model and site that answered before.
        price_g: Grams that one unit (100 points) of quality is worth, or None where the plan has no price.
        is_warm: Whether its engine still holds the conversation.
        most_loss: Quality that staying may cost against the plan where quality has a price. Without one, none.
    """
    here = here & turn.may
    away_weight = float(turn.weights[~here].sum())
    if not here.any():
        return Verdict(False, turn.weights)
    price = max(price_g or 0.0, 0.0)
    cost = turn.g - price * turn.q  # (O,)
    stay = _among(turn.weights, here, cost)
    if stay is None:
        return Verdict(False, turn.weights)
    if away_weight <= _TINY:
        return Verdict(True, stay)
    leave = np.where(here, 0.0, turn.weights) / away_weight
    at_stay = _mean(stay, cost - turn.history_g * is_warm)
    switch_g = _mean(leave, cost) - at_stay
    loss = _mean(leave, turn.q) - _mean(stay, turn.q)
    if np.isnan(switch_g) or np.isnan(loss):
        agrees = float(turn.weights[here].sum()) > _TINY
        return Verdict(agrees, stay if agrees else turn.weights)
    if loss > (most_loss if price > 0 else 0.0) + _TINY:
        return Verdict(False, leave, switch_g, for_quality=switch_g >= 0)
    if switch_g >= -_TINY * max(1.0, abs(at_stay)):
        return Verdict(True, stay, switch_g)
    return Verdict(False, leave, switch_g)


def next_up(g: FloatArray, q: FloatArray, may: Mask, last: int) -> int | None:
    """The next option up in expected quality, the cheapest of equals; None where none is better than the last.

    Args:
        g: (O,) grams.
        q: (O,) quality.
        may: (O,) options that may answer.
        last: The option whose answer did not please.
    """
    base = q[last] if np.isfinite(q[last]) else -np.inf
    better = may & np.isfinite(q) & (np.nan_to_num(q, nan=-np.inf) > base + _TINY)
    better[last] = False
    if not better.any():
        return None
    clearly = better & (np.nan_to_num(q, nan=-np.inf) >= base + LEAST_STEP)
    # Nothing is clearly better: the best there is.
    level = float(q[clearly].min() if clearly.any() else q[better].max())
    equals = np.flatnonzero(better & (np.abs(q - level) <= _TINY))
    return int(min(equals, key=lambda o: (np.inf if np.isnan(g[o]) else g[o], o)))


def _among(weights: FloatArray, mask: Mask, cost: FloatArray) -> FloatArray | None:
    """(O,) the weights among some options; where they have none, all of it to the one of least cost."""
    kept = np.where(mask, weights, 0.0)
    if kept.sum() > _TINY:
        return np.asarray(kept / kept.sum(), dtype=np.float64)
    known = mask & np.isfinite(cost)
    if not known.any():
        return None
    only = np.zeros_like(weights)
    only[int(np.argmin(np.where(known, cost, np.inf)))] = 1.0
    return only


def _mean(weights: FloatArray, values: FloatArray) -> float:
    """Mean over the options that have weight; NaN as soon as one of them is unknown."""
    used = weights > 0
    return float(weights[used] @ values[used])
