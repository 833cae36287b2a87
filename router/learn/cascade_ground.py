"""What cascades are chosen on: the known prompts, fold by fold, and the slots that are sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.cascade import Signals
from router.domain.estimates import Estimates, FloatArray, IntArray, Known, Terms
from router.estimate.known import take
from router.estimate.table import shrink
from router.learn.cascade_columns import Column, Fitted, column_of, fitted, overwrite
from router.policy.cascade import FEWEST, Evidence, Pick, Slot, choose, cross_fitted
from router.policy.terms import grams_of, importance, price, rows_of

PRICES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Prices of quality for which cascades are sought, in the reference's grams per unit of quality."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What cascades are chosen on.

    Attributes:
        known: The measured prompts.
        plain: The options' table, with its rows.
        signals: Of the known prompts.
        g: (n, O) grams.
        usable: (U,) options measured on enough prompts to take part.
        whole: (n,) prompts on which all of those are known.
        v: (n,) weights of the prompts.
        fold: (n,).
        slots: What is sought.
    """

    known: Known
    plain: Estimates
    signals: Signals
    g: FloatArray
    usable: IntArray
    whole: np.ndarray
    v: FloatArray
    fold: IntArray
    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, known: Known, plain: Estimates, signals: Signals, terms: Terms, fold: IntArray) -> Ground:
        """Options measured on half as many prompts as the most measured one take part."""
        g = price(known.energy_j, known.duration_s, terms, grams_of(plain, terms).with_embodied)
        told = np.isfinite(known.quality) & np.isfinite(g)
        usable = np.flatnonzero(2 * told.sum(axis=0) >= told.sum(axis=0).max())
        reference_g = float(np.nanmean(g[:, plain.reference]))
        graded = [c for c in range(len(plain.categories)) if c not in plain.ungraded_rows]
        categories: list[int | None] = [None, *graded] if len(graded) > 1 else [None]
        return cls(
            known,
            plain,
            signals,
            g,
            usable,
            np.asarray(told[:, usable].all(axis=1)),
            importance(rows_of(known, plain).p, plain.w),
            fold,
            tuple(Slot(c, factor * reference_g) for factor in PRICES for c in categories),
        )

    @property
    def p(self) -> FloatArray:
        """(n, C)."""
        return rows_of(self.known, self.plain).p

    def evidence(self, rows: IntArray) -> Evidence:
        """Of some prompts, the usable options alone."""
        cells = np.ix_(rows, self.usable)
        names = [self.known.options[o].site for o in self.usable]
        signals = self.signals
        return Evidence(
            self.known.quality[cells],
            self.g[cells],
            Signals(signals.mean_logprob[cells], signals.checks[cells], signals.sameness[cells]),
            np.array([names.index(name) for name in names], dtype=np.int64),
        )

    def chosen(self, rows: IntArray) -> tuple[list[Pick], list[tuple[list[Pick], IntArray]]]:
        """The picks of all these prompts, and per fold those made without it with the prompts (of ``rows``) in it."""
        whole = rows[self.whole[rows]]
        evidence, p, v = self.evidence(whole), self.p[whole], self.v[whole] / self.v[whole].sum()
        final = [self.outside(pick) for pick in choose(evidence, p, v, self.slots)]
        picks, _ = cross_fitted(evidence, p, v, self.slots, self.fold[whole])
        parts = []
        for k, made in zip(np.unique(self.fold[whole]), picks, strict=True):
            parts.append(([self.outside(pick) for pick in made], rows[self.fold[rows] == k]))
        return final, parts

    def fit(self, rows: IntArray) -> tuple[list[Fitted], list[Column], list[tuple[list[Pick], IntArray]]]:
        """Every slot fitted on these prompts, its column on them, and who was chosen for which of them."""
        final, parts = self.chosen(rows)
        known, signals, p = take(self.known, rows), self.signals.take(rows), self.p[rows]
        place = np.full(len(self.known.texts), -1)
        place[rows] = np.arange(rows.size)
        columns = []
        for s in range(len(self.slots)):
            column = column_of(final[s], known, signals)
            for picks, inside in parts:
                overwrite(
                    column, column_of(picks[s], take(self.known, inside), self.signals.take(inside)), place[inside]
                )
            columns.append(column)
        cells = shrink(p, np.column_stack([known.quality, *(column.quality for column in columns)])).mean
        width = len(known.options)
        fits = []
        for s, (pick, column) in enumerate(zip(final, columns, strict=True)):
            beyond = cells[:, width + s] - cells[:, pick.first]
            fits.append(fitted(pick, column, known, signals, p, beyond))
        return fits, columns, parts

    def foretold(self, kept: Sequence[int]) -> list[tuple[Fitted, ...]]:
        """For every known prompt the fits of the kept slots on the other folds."""
        everybody = np.arange(len(self.known.texts))
        found: list[tuple[Fitted, ...]] = [()] * everybody.size
        for k in np.unique(self.fold):
            others = everybody[self.fold != k]
            others = others if self.whole[others].sum() >= FEWEST else everybody
            fits, _, _ = self.fit(others)
            own = tuple(fits[s] for s in kept)
            for i in everybody[self.fold == k]:
                found[i] = own
        return found

    def outside(self, pick: Pick) -> Pick:
        """By the columns of all options."""

        def column(o: int | None) -> int | None:
            return None if o is None else int(self.usable[o])

        return replace(pick, first=int(self.usable[pick.first]), then=column(pick.then), beside=column(pick.beside))
