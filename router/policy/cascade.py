"""Which cascades are worth a column, and where their thresholds lie: chosen on some prompts, judged on others.

Letters: i prompt, o option, A first, B then, S beside, v_i weight of a prompt, lambda price of quality.

    L_io  = g_io - lambda q_io                                        what option o comes to once quality is paid for
    C_i   = L_iA + g_iS + e_i (g_iB - lambda (q_iB - q_iA))           a cascade; e_i = 1 where its signal sends i on

For every pair (A, B) the threshold that makes sum_i v_i C_i least is found exactly: prompts sorted by A's mean
log-probability, the second term summed up along them (:func:`best`). A prompt whose signal is missing is sent on.

One *slot* is the best choice for one weighting of the prompts (a category, or all) at one price: a cascade if it
beats the best single option by a standard error on the prompts it is chosen on, else that option. Choosing the best
of many on few prompts looks better than it is, so a slot is judged by what it gives on prompts that had no part in
the choice, pair, signal and threshold included (:func:`cross_fitted`); those outcomes are the column's quality, joules
and seconds in everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from router.domain.cascade import Cascade, SignalKind, Signals
from router.domain.catalogue import Option
from router.domain.estimates import FloatArray, IntArray

MARGIN = 1.0
"""Standard errors by which a cascade has to be ahead."""

FEWEST = 8.0
"""Effective prompts on which one may be chosen: with fewer, a standard error is no measure of luck."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n prompts, (n, O) each; every entry of quality, grams, joules and seconds is known.

    Attributes:
        quality: In [0, 1].
        g: Grams under the terms at hand.
        signals: What the answers told.
        site: (O,) number of each option's site.
    """

    quality: FloatArray
    g: FloatArray
    signals: Signals
    site: IntArray

    def take(self, rows: NDArray[np.bool_] | IntArray) -> Evidence:
        """The same for some of the prompts."""
        return Evidence(self.quality[rows], self.g[rows], self.signals.take(rows), self.site)


@dataclass(frozen=True, slots=True)
class Pick:
    """A single option (``then`` None) or a cascade, by columns.

    Attributes:
        first: A.
        then: B, or None.
        signal: What sends a prompt on.
        threshold: Of the mean log-probability.
        beside: S, for agreement.
    """

    first: int
    then: int | None = None
    signal: SignalKind = "logprob"
    threshold: float | None = None
    beside: int | None = None

    def sent_on(self, signals: Signals) -> NDArray[np.bool_]:
        """(n,) e_i; a missing signal sends a prompt on."""
        if self.then is None:
            return np.zeros(signals.checks.shape[0], dtype=np.bool_)
        if self.signal == "logprob":
            lowest = np.inf if self.threshold is None else self.threshold
            stands = signals.mean_logprob[:, self.first] >= lowest
        elif self.signal == "checks":
            stands = signals.checks[:, self.first] == 1.0
        else:
            stands = signals.sameness[:, self.first] == signals.sameness[:, self.beside]
        return np.logical_not(stands)

    def charged(self, values: FloatArray, sent_on: NDArray[np.bool_]) -> FloatArray:
        """(n,) what accumulates along the way, joules or seconds or grams: A always, S always, B where it is asked."""
        total = values[:, self.first].copy()
        if self.beside is not None:
            total += values[:, self.beside]
        if self.then is not None:
            total += np.where(sent_on, values[:, self.then], 0.0)
        return total

    def answered(self, quality: FloatArray, sent_on: NDArray[np.bool_]) -> FloatArray:
        """(n,) quality of the answer that is given."""
        return (
            quality[:, self.first]
            if self.then is None
            else np.where(sent_on, quality[:, self.then], quality[:, self.first])
        )

    def column(self, options: Sequence[Option]) -> Option:
        """As the plan names it."""
        first = options[self.first]
        if self.then is None:
            return first
        return Cascade(
            first.model, first.directive, first.site, first.setting, then=options[self.then], signal=self.signal,
            threshold=self.threshold, beside=None if self.beside is None else options[self.beside],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """What a choice is made for.

    Attributes:
        category: Column of p whose prompts count, or None for all alike.
        price: Grams per unit of quality.
    """

    category: int | None
    price: float

    def weights(self, p: FloatArray, v: FloatArray) -> FloatArray:
        """(n,) of the prompts, summing to 1 (or all 0)."""
        mass = v if self.category is None else v * p[:, self.category]
        return np.asarray(mass / mass.sum() if mass.sum() > 0 else mass)


def loss(pick: Pick, evidence: Evidence, price: float) -> FloatArray:
    """(n,) grams less what the answers are worth."""
    sent_on = pick.sent_on(evidence.signals)
    return pick.charged(evidence.g, sent_on) - price * pick.answered(evidence.quality, sent_on)


def best_single(evidence: Evidence, v: FloatArray, price: float) -> Pick:
    """The option of least loss under weights v (n,)."""
    return Pick(int(np.argmin(v @ (evidence.g - price * evidence.quality))))


def best(evidence: Evidence, v: FloatArray, price: float) -> Pick | None:
    """The cascade of least loss under weights v (n,), its threshold exact; None where no signal is known."""
    found: list[tuple[float, Pick]] = []
    signals, columns = evidence.signals, evidence.g.shape[1]
    used = v > 0
    for a in range(columns):
        # (n, O) what sending prompt i on to o adds; never to A itself, nor to another site
        more = v[:, None] * (evidence.g - price * (evidence.quality - evidence.quality[:, [a]]))
        closed = np.where((evidence.site == evidence.site[a]) & (np.arange(columns) != a), 0.0, np.inf)
        alone = float(v @ (evidence.g[:, a] - price * evidence.quality[:, a]))
        told = signals.mean_logprob[:, a]
        if np.isfinite(told[used]).any():
            threshold, sums = _along(told[used], more[used])
            _note(found, alone + sums + closed, partial(_by_logprob, a, threshold))
        if np.isfinite(signals.checks[used, a]).any():
            total = (more * ~(signals.checks[:, [a]] == 1.0)).sum(axis=0)
            _note(found, (alone + total + closed)[None, :], partial(_by_checks, a))
        for s in range(columns):
            if s == a or closed[s] or not np.isfinite(signals.sameness[used, s]).any():
                continue
            differs = ~(signals.sameness[:, [a]] == signals.sameness[:, [s]])
            total = alone + float(v @ evidence.g[:, s]) + (more * differs).sum(axis=0) + closed
            total[s] = np.inf
            _note(found, total[None, :], partial(_by_agreement, a, s))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def choose(evidence: Evidence, p: FloatArray, v: FloatArray, slots: Sequence[Slot]) -> list[Pick]:
    """For every slot the cascade, or the single option where no cascade is ahead of it by ``MARGIN``."""
    picks = []
    for slot in slots:
        u = slot.weights(p, v)
        single = best_single(evidence, u, slot.price)
        cascade = best(evidence, u, slot.price) if effective(u) >= FEWEST else None
        if cascade is not None:
            ahead = loss(single, evidence, slot.price) - loss(cascade, evidence, slot.price)
            mean, error = mean_and_error(ahead, u)
            cascade = cascade if mean > MARGIN * error else None
        picks.append(cascade or single)
    return picks


def cross_fitted(
    evidence: Evidence, p: FloatArray, v: FloatArray, slots: Sequence[Slot], fold: IntArray
) -> tuple[list[list[Pick]], list[IntArray]]:
    """Per fold the picks of the prompts outside it, and the rows inside it."""
    picks, inside = [], []
    for k in np.unique(fold):
        others = fold != k
        if not others.any():
            others = np.ones_like(others)
        picks.append(choose(evidence.take(others), p[others], v[others] / v[others].sum(), slots))
        inside.append(np.flatnonzero(fold == k))
    return picks, inside


def mean_and_error(values: FloatArray, u: FloatArray) -> tuple[float, float]:
    """Weighted mean of values (n,) under weights summing to 1, and its standard error."""
    mean = float(u @ values)
    room = 1.0 - float(u @ u)
    return mean, float(np.sqrt((u**2 @ (values - mean) ** 2) / room)) if room > 1e-12 else float("inf")


def effective(u: FloatArray) -> float:
    """Kish's number of prompts behind weights (n,)."""
    total = float(u @ u)
    return float(u.sum()) ** 2 / total if total > 0 else 0.0


def _by_logprob(first: int, thresholds: FloatArray, m: int, then: int) -> Pick:
    return Pick(first, then, "logprob", float(thresholds[m]))


def _by_checks(first: int, _: int, then: int) -> Pick:
    return Pick(first, then, "checks")


def _by_agreement(first: int, beside: int, _: int, then: int) -> Pick:
    return Pick(first, then, "agreement", None, beside)


def _along(told: FloatArray, more: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Thresholds (m,) and the sums (m, O) of ``more`` over the prompts under each; missing ones are always under."""
    key = np.where(np.isfinite(told), told, -np.inf)
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    sums = np.cumsum(more[order], axis=0)
    cut = np.flatnonzero(ranked[1:] > ranked[:-1])  # between different values only
    low, high = ranked[cut], ranked[cut + 1]
    middle = np.where(np.isfinite(low), (np.where(np.isfinite(low), low, 0.0) + high) / 2.0, high)
    return middle, sums[cut]


def _note(found: list[tuple[float, Pick]], totals: FloatArray, pick: Callable[[int, int], Pick]) -> None:
    """Keep the least of totals (m, O)."""
    if totals.size == 0:
        return
    m, b = np.unravel_index(int(np.argmin(totals)), totals.shape)
    if np.isfinite(totals[m, b]):
        found.append((float(totals[m, b]), pick(int(m), int(b))))
