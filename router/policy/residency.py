"""Which models stay in a site's memory where they do not all fit: a small mixed-integer program around the LP.

    y_m in {0, 1}    model m stays                        u_m in {0, 1}   m may visit: loaded when it is asked for
    r[c, o] >= 0     answered by a model that stays       v[c, o] >= 0    answered by a visitor, which is loaded first

    minimise    sum_c w_c sum_o (g r + (g + load_g) v)[c, o]
    subject to  sum_o (r + v)[c, o] = 1                                   for every c
                sum_c w_c sum_o q[c, o] (r + v)[c, o] >= floor            and likewise per category
                latency, capacity per site and budget                     as in the program, visits with their load
                r[c, o] <= y_m,  v[c, o] <= u_m                           summed over the cells of m
                sum_m' bytes_m' y_m' + bytes_m u_m <= memory              for every m of a site: one visitor at a time

Every visit is charged a whole load. That is too much where prompts for the same visitor come one after another, and
errs on the side of models that stay. The reference stays or may visit whatever it costs, since prompts that the plan
does not cover take it. A floor or limit that cannot be kept is missed by as little as possible, floors last: the
program that is solved afterwards, with the models known, says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.catalogue import Option
from router.domain.errors import PolicyError
from router.domain.estimates import FloatArray, IntArray
from router.domain.units import SECONDS_PER_HOUR
from router.policy.program import Program
from router.policy.solve import Mixed, solve_mixed

MISSED_FLOOR = 1e4
"""What a whole unit of quality under the floor costs, in the dearest answer's grams."""

MISSED_LIMIT = 1e2
"""The same for exceeding a limit by the whole of it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the models at each site need, as arrays over (site, model) pairs m.

    Attributes:
        place: (O,) index m of each option's model at its site.
        bytes: (M,) memory of each, loaded.
        site: (M,) index of its site.
        limit_bytes: (S,) memory of each site, inf where there is no limit.
        load_g: (M,) grams of loading it once.
        load_s: (M,) seconds of loading it once.
    """

    place: IntArray
    bytes: FloatArray
    site: IntArray
    limit_bytes: FloatArray
    load_g: FloatArray
    load_s: FloatArray

    def is_tight(self) -> bool:
        """Whether the models of some site do not all fit."""
        needed = np.bincount(self.site, weights=self.bytes, minlength=self.limit_bytes.size)
        return bool((needed > self.limit_bytes).any())


@dataclass(frozen=True, slots=True)
class Residency:
    """Who stays.

    Attributes:
        stays: (M,) kept in memory.
        visits: (M,) loaded when asked for.
        x: (C, O) shares under it.
        expected_g: Grams a prompt, loading included.
    """

    stays: NDArray[np.bool_]
    visits: NDArray[np.bool_]
    x: FloatArray
    expected_g: float


def places_of(options: Sequence[Option]) -> tuple[tuple[str, str], ...]:
    """(M,) (site, model) of the options, in order of appearance."""
    return tuple(dict.fromkeys((option.site, option.model) for option in options))


def choose_residents(program: Program, memory: Memory, reference: int) -> Residency:
    """Solve it.

    Args:
        program: As the linear program has it, loading left out.
        memory: Sizes and limits.
        reference: Column of the reference.

    Raises:
        PolicyError: If the reference alone does not fit, or the solver finds nothing.
    """
    must = int(memory.place[reference])
    fits = memory.bytes <= memory.limit_bytes[memory.site]  # (M,)
    if not fits[must]:
        raise PolicyError(
            "the reference does not fit in its site's memory", hint="raise memory_bytes, or name another `reference`"
        )
    usable = program.columns() & fits[memory.place]
    category, option = np.nonzero(usable)  # (K,)
    weight, grams = program.w[category], program.g[category, option]
    load_g = memory.load_g[memory.place[option]]
    missed = _Rows(program, memory, category, option)
    missed.write(must)
    k, m = category.size, memory.bytes.size

    dearest = float(np.max(np.abs(grams))) + float(np.max(memory.load_g)) or 1.0
    tie = np.concatenate([np.full(m, 1e-7), np.full(m, 2e-7)])  # of equals, the one with fewest models
    cost = np.concatenate([weight * grams / dearest, weight * (grams + load_g) / dearest, tie, missed.penalty])
    size = cost.size
    integer = np.zeros(size, dtype=np.bool_)
    integer[2 * k : 2 * k + 2 * m] = True
    found = solve_mixed(
        Mixed(
            cost,
            np.array([np.pad(row, (0, size - row.size)) for row in missed.matrix]),
            np.array(missed.low),
            np.array(missed.high),
            np.where(np.arange(size) < 2 * k + 2 * m, 1.0, np.inf),
            integer,
        )
    )
    if found is None:
        raise PolicyError("no set of models fits in the memory", hint="raise memory_bytes of the site")
    resident, visitor = np.clip(found[:k], 0.0, 1.0), np.clip(found[k : 2 * k], 0.0, 1.0)
    x = np.zeros(usable.shape)
    x[category, option] = resident + visitor
    stays = found[2 * k : 2 * k + m] > 0.5
    return Residency(
        stays=stays,
        visits=(found[2 * k + m : 2 * k + 2 * m] > 0.5) & ~stays,
        x=x / np.maximum(x.sum(axis=1, keepdims=True), 1e-300),
        expected_g=float((weight * grams) @ resident + (weight * (grams + load_g)) @ visitor),
    )


class _Rows:
    """The rows over z = (r, v, y, u, misses), misses last, one for every row that may be missed."""

    def __init__(self, program: Program, memory: Memory, category: NDArray[np.intp], option: NDArray[np.intp]) -> None:
        self._program, self._memory = program, memory
        self._category, self._option = category, option
        self.matrix: list[FloatArray] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.penalty: list[float] = []

    def write(self, must: int) -> None:
        program, category, option = self._program, self._category, self._option
        weight, quality = program.w[category], program.q[category, option]
        for c in range(program.w.size):
            one = (category == c).astype(np.float64)
            self._add(one, one, at_least=1.0, at_most=1.0)
        self._add(weight * quality, weight * quality, at_least=program.floor, missed=MISSED_FLOOR)
        if program.category_floor is not None:
            for asked in np.flatnonzero(np.isfinite(program.category_floor)):
                row = (category == asked) * quality
                floor, missed = float(program.category_floor[asked]), MISSED_FLOOR * float(program.w[asked])
                self._add(row, row, at_least=floor, missed=missed)
        self._limits()
        self._places(must)

    def _limits(self) -> None:
        program, category, option = self._program, self._category, self._option
        place, weight = self._memory.place[option], program.w[category]
        if program.duration_s is not None:
            seconds = weight * program.duration_s[category, option]
            visiting = seconds + weight * self._memory.load_s[place]
            if (latency := program.max_mean_duration_s) is not None:
                self._add(seconds / latency, visiting / latency, at_most=1.0, missed=MISSED_LIMIT)
            if (capacity := program.capacity) is not None:
                for s, limit in enumerate(capacity.limit_s_per_s):
                    here = (capacity.site[option] == s) * capacity.rate_per_s / float(limit)
                    self._add(here * seconds, here * visiting, at_most=1.0, missed=MISSED_LIMIT)
        if (budget := program.budget) is not None:
            share = weight * SECONDS_PER_HOUR * budget.rate_per_s / budget.grams_per_hour
            grams = program.g[category, option]
            self._add(share * grams, share * (grams + self._memory.load_g[place]), at_most=1.0, missed=MISSED_LIMIT)

    def _places(self, must: int) -> None:
        memory, cells = self._memory, self._memory.place[self._option]
        m, nothing = memory.bytes.size, np.zeros(self._option.size)
        for p in range(m):
            mine = (cells == p).astype(np.float64)
            count = max(float(mine.sum()), 1.0)
            stays, visits = np.zeros(2 * m), np.zeros(2 * m)
            stays[p], visits[m + p] = -count, -count
            self._add(mine, nothing, stays, at_most=0.0)
            self._add(nothing, mine, visits, at_most=0.0)
            limit = float(memory.limit_bytes[memory.site[p]])
            if np.isfinite(limit):
                room = np.zeros(2 * m)
                room[:m] = (memory.site == memory.site[p]) * memory.bytes / limit
                room[m + p] = memory.bytes[p] / limit
                self._add(nothing, nothing, room, at_most=1.0)
        answers = np.zeros(2 * m)
        answers[[must, m + must]] = 1.0
        self._add(nothing, nothing, answers, at_least=1.0)

    def _add(
        self,
        resident: FloatArray,
        visitor: FloatArray,
        binaries: FloatArray | None = None,
        *,
        at_least: float = -np.inf,
        at_most: float = np.inf,
        missed: float | None = None,
    ) -> None:
        if binaries is None:
            binaries = np.zeros(2 * self._memory.bytes.size)
        own: list[float] = []
        if missed is not None:
            own = [0.0] * len(self.penalty) + [1.0 if np.isfinite(at_least) else -1.0]
            self.penalty.append(missed)
        self.matrix.append(np.concatenate([resident, visitor, binaries, own]))
        self.low.append(at_least)
        self.high.append(at_most)
