"""The joint program as arrays, free of any solver.

Letters as in DESIGN: c category, o option, x[c, o] the share of category c that option o answers.

    minimise    sum_c w_c sum_o g[c, o] x[c, o]
    subject to  sum_o x[c, o] = 1                                      for every c
                sum_c w_c sum_o q[c, o] x[c, o] >= floor
                sum_o q[c, o] x[c, o] >= category_floor[c]             for every c, where given
                sum_c w_c sum_o T[c, o] x[c, o] <= max_mean_duration_s
                rate sum_c w_c sum_(o at site) T[c, o] x[c, o] <= limit_s_per_s[site]
                3600 rate sum_c w_c sum_o g[c, o] x[c, o] <= grams_per_hour

A cell without g or q is no column; where a row needs T, a cell without T is none either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.catalogue import Option
from router.domain.errors import PolicyError
from router.domain.estimates import FloatArray, IntArray

UTILISATION = 0.7
"""Share of a site's slots that may be planned for: beyond it, queues grow faster than throughput."""

ROUNDING = 1e-9
"""Of a limit: a plan that lies on it, as an optimum does, must not count as beyond it for its last digits."""


def site_names(options: Sequence[Option]) -> tuple[str, ...]:
    """(S,) sites of the options, in the order in which capacity rows stand."""
    return tuple(dict.fromkeys(option.site for option in options))


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much work each site can take.

    Attributes:
        site: (O,) index of each option's site.
        limit_s_per_s: (S,) device seconds per second that may be planned for, ``.7 * slots / n`` with rows of n
            generations at a time.
        rate_per_s: Forecast requests per second, all categories together.
    """

    site: IntArray
    limit_s_per_s: FloatArray
    rate_per_s: float

    @classmethod
    def of_slots(cls, site: IntArray, slots: FloatArray, rate_per_s: float) -> Capacity:
        """Limits from the number of generations each site runs at a time, over that at which its rows were measured.

        By Little's law ``rate * W`` answers are in flight where an answer takes W seconds of wall time, and those are
        what slots hold: rate * W <= .7 slots. Rows hold the device's time, of which each of n answers in flight gets
        an n-th (``meters.window``): W = n T, hence rate * T <= .7 slots / n. With every slot busy that is .7: all
        answers together have one second of a device per second, however many there are. Elsewhere it takes W to be
        what it was at n, which hopes for much where n < slots and for little where n > slots; n follows the load
        (``service.load``), so that a site that fills up is held to the rows nearest its slots.

        Args:
            site: (O,) index of each option's site.
            slots: (S,) slots / n.
            rate_per_s: Forecast requests per second.
        """
        return cls(site, UTILISATION * np.asarray(slots, dtype=np.float64), rate_per_s)


@dataclass(frozen=True, slots=True)
class Budget:
    """Grams that may be emitted.

    Attributes:
        grams_per_hour: The budget.
        rate_per_s: Forecast requests per second.
    """

    grams_per_hour: float
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be solved.

    Attributes:
        w: (C,) share of each category in the traffic, summing to 1.
        g: (C, O) grams per prompt, NaN where the option is no column.
        q: (C, O) quality, NaN where the option is no column.
        floor: Lowest pooled quality, as an accuracy.
        category_floor: (C,) lowest quality of each category (NaN: none), or None for no such rows.
        duration_s: (C, O) device seconds per prompt; needed by the latency and capacity rows.
        max_mean_duration_s: Latency row, or None.
        capacity: Capacity rows, or None.
        budget: Budget row, or None.
    """

    w: FloatArray
    g: FloatArray
    q: FloatArray
    floor: float
    category_floor: FloatArray | None = None
    duration_s: FloatArray | None = None
    max_mean_duration_s: float | None = None
    capacity: Capacity | None = None
    budget: Budget | None = None

    def columns(self) -> NDArray[np.bool_]:
        """(C, O) which cells may be used.

        Raises:
            PolicyError: If the arrays do not fit together, or a category is left with no cell.
        """
        shape = self.g.shape
        if len(shape) != 2 or self.q.shape != shape or self.w.shape != shape[:1] or shape[0] == 0:
            raise PolicyError(f"w {self.w.shape}, g {self.g.shape} and q {self.q.shape} do not fit together")
        if not np.isfinite(self.w).all() or (self.w < 0).any() or abs(float(self.w.sum()) - 1.0) > 1e-6:
            raise PolicyError("the categories' shares must be non-negative and sum to 1")
        usable = np.isfinite(self.g) & np.isfinite(self.q)
        if self.max_mean_duration_s is not None or self.capacity is not None:
            if self.duration_s is None or self.duration_s.shape != shape:
                raise PolicyError("latency and capacity rows need duration_s for every category and option")
            usable &= np.isfinite(self.duration_s)
        bare = np.flatnonzero(~usable.any(axis=1))
        if bare.size:
            raise PolicyError(
                f"no option has both a known quality and known grams in category row(s) {bare.tolist()}",
                hint="measure them with `make bench`, or import measurements with `carbon-router store import`",
            )
        return usable

    def carries(self, x: FloatArray, grams: float) -> bool:
        """Whether mixes ``x`` (C, O) that come to so many grams a prompt keep latency, capacity and budget."""
        most = 1.0 + ROUNDING
        kept = self.budget is None or 3600.0 * self.budget.rate_per_s * grams <= most * self.budget.grams_per_hour
        if self.duration_s is None:
            return kept
        busy = (self.w[:, None] * np.where(x > 0, self.duration_s, 0.0) * x).sum(axis=0)  # (O,)
        if self.max_mean_duration_s is not None:
            kept = kept and float(busy.sum()) <= most * self.max_mean_duration_s
        if self.capacity is not None:
            load = np.bincount(self.capacity.site, busy, self.capacity.limit_s_per_s.size)
            kept = kept and bool((self.capacity.rate_per_s * load <= most * self.capacity.limit_s_per_s).all())
        return kept
