"""The one door to SciPy's HiGHS: a :class:`Program` goes in, a :class:`Solution` comes out.

Mixed-integer programs go through :func:`solve_mixed`.

What yields when not everything can be had, in this order and never silently:

1. a category's floor above what any option reaches there is lowered to what is reachable, and named;
2. a pooled floor above what any mix reaches gives the plan of maximum quality, ties to the fewest grams;
3. then, the floors kept, the latency row gives way by as little as possible, after it the budget, and last
   the capacity: what remains as overload is the share of traffic that has to wait or be refused, alike in all
   categories (no task is sold for another).

Grams can be 1e-5 and joules 1e5, so the objective is scaled to about 1 before HiGHS sees it, and its
tolerances are set far below a prompt's weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from router.domain.errors import PolicyError
from router.domain.estimates import FloatArray
from router.policy.dominance import worthwhile
from router.policy.program import Program

TOLERANCE = 1e-10
"""HiGHS' smallest feasibility tolerance."""

REACH = 1e-9
"""Room left under the reachable maximum, so that rounding does not make it unreachable."""

YIELDS = ("latency", "budget", "capacity")
"""Rows in the order in which they give way, each with what it is told apart by in :attr:`Solution.shed`."""

SECOND = 1e-3
"""Weight of the sites' mean overload beside the worst."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A vertex of the program.

    Attributes:
        x: (C, O) shares, rows summing to 1, 0 where there is no column.
        expected_g: Grams per prompt.
        expected_q: Pooled quality.
        price_of_quality_g: Dual of the pooled floor: grams that one more unit (100 points) of accuracy costs;
            None where the floor is out of reach.
        category_price_g: (C,) duals of the category floors: pooled grams per unit of that category's quality; 0 where
            the floor does not bind.
        latency_price_g: Grams that one second less of mean duration costs, or None without that row.
        capacity_price_g: (S,) grams that one busy second per second more would save, or None.
        budget_price_g: Dual of the budget row, grams a prompt per gram a prompt of the limit, or None.
        feasible: Whether every row asked for is kept.
        reachable_quality: The highest pooled quality of any mix.
        lowered_categories: Rows whose category floor was out of reach and was lowered.
        shed: For each of ``latency``, ``budget``, ``capacity:<site>`` that had to give way, by which share of its
            limit it is exceeded (.25: a fifth of the work has to wait or be refused).
    """

    x: FloatArray
    expected_g: float
    expected_q: float
    price_of_quality_g: float | None
    category_price_g: FloatArray
    latency_price_g: float | None
    capacity_price_g: FloatArray | None
    budget_price_g: float | None
    feasible: bool
    reachable_quality: float
    lowered_categories: tuple[int, ...] = ()
    shed: Mapping[str, float] = field(default_factory=dict)

    @property
    def served_share(self) -> float:
        """Share of the traffic the sites can carry under this plan; 1 without a shortage."""
        overload = [v for name, v in self.shed.items() if name.startswith("capacity")]
        return 1.0 / (1.0 + max(overload)) if overload else 1.0


@dataclass(slots=True)
class _Rows:
    """The inequality rows ``A x <= b`` over the used columns, and which row is which."""

    names: list[str]
    matrix: csr_array
    bound: FloatArray


def solve(program: Program) -> Solution:
    """Solve it; see the module's text for what happens when it has no solution.

    Raises:
        PolicyError: If the arrays do not fit together, a category has no column, or HiGHS fails.
    """
    usable = worthwhile(program, program.columns())
    best = np.where(usable, program.q, -np.inf).max(axis=1)  # (C,)
    reachable = float(program.w @ best)
    lowered: tuple[int, ...] = ()
    category_floor = program.category_floor
    if category_floor is not None:
        wanted = np.where(np.isnan(category_floor), -np.inf, category_floor)
        lowered = tuple(int(c) for c in np.flatnonzero(wanted > best + REACH))
        category_floor = np.minimum(wanted, best - REACH * (wanted > best - REACH))
    in_reach = program.floor <= reachable + REACH
    held = replace(
        program,
        floor=min(program.floor, reachable - REACH) if program.floor > reachable - REACH else program.floor,
        category_floor=category_floor,
    )
    return _solve_held(held, usable, reachable, in_reach, lowered)


def _solve_held(
    program: Program, usable: NDArray[np.bool_], reachable: float, in_reach: bool, lowered: tuple[int, ...]
) -> Solution:
    """Solve a program whose floors can be met."""
    category, option = np.nonzero(usable)  # (K,) the columns in use
    weight = program.w[category]
    scale = _scale(program.g[usable])
    cost = weight * program.g[usable] / scale
    rows = _rows(program, category, option, scale)
    one_each = csr_array(
        (np.ones(category.size), (category, np.arange(category.size))), shape=(program.w.size, category.size)
    )

    result = _linprog(cost, rows.matrix, rows.bound, one_each)
    shed: dict[str, float] = {}
    if result is None:
        relaxed = _give_way(rows, one_each)
        result = _linprog(cost, relaxed.matrix, relaxed.bound, one_each)
        if result is None:
            raise PolicyError("the linear program has no solution even with every limit relaxed")
        shed = _overloads(rows, result.x)

    x = np.zeros(usable.shape)
    x[usable] = np.clip(result.x, 0.0, None)
    x[x < 1e-9] = 0.0
    x /= x.sum(axis=1, keepdims=True)
    dual = dict(zip(rows.names, -np.asarray(result.ineqlin.marginals) * scale, strict=True))
    price = dual["floor"]
    unused = np.flatnonzero(program.w <= 0.0)
    for c in unused:
        x[c] = _row_without_traffic(program, int(c), price)
    q, g = np.where(usable, program.q, 0.0), np.where(usable, program.g, 0.0)
    sites = [] if program.capacity is None else range(program.capacity.limit_s_per_s.size)
    return Solution(
        x=x,
        expected_g=float(program.w @ (g * x).sum(axis=1)),
        expected_q=float(program.w @ (q * x).sum(axis=1)),
        price_of_quality_g=price if in_reach else None,
        category_price_g=np.array([dual.get(f"category:{c}", 0.0) for c in range(program.w.size)]),
        latency_price_g=dual.get("latency"),
        capacity_price_g=None if program.capacity is None else np.array([dual[f"capacity:{s}"] for s in sites]),
        budget_price_g=dual["budget"] / scale if "budget" in dual else None,  # its row is in the objective's scale
        feasible=in_reach and not lowered and not shed,
        reachable_quality=reachable,
        lowered_categories=lowered,
        shed=shed,
    )


def _scale(g: FloatArray) -> float:
    """Typical size of the grams, so that the objective is about 1."""
    size = np.abs(g[g != 0.0])
    return float(np.median(size)) if size.size else 1.0


def _rows(program: Program, category: NDArray[np.intp], option: NDArray[np.intp], scale: float) -> _Rows:
    """Every inequality row; limits are scaled to 1 so that one tolerance fits all."""
    weight, quality = program.w[category], program.q[category, option]
    names, dense, bound = ["floor"], [-weight * quality], [-program.floor]
    if program.duration_s is not None:
        busy = weight * program.duration_s[category, option]
        if program.max_mean_duration_s is not None:
            names.append("latency")
            dense.append(busy)
            bound.append(program.max_mean_duration_s)
        if program.capacity is not None:
            for s, limit in enumerate(program.capacity.limit_s_per_s):
                names.append(f"capacity:{s}")
                dense.append(program.capacity.rate_per_s * busy * (program.capacity.site[option] == s))
                bound.append(float(limit))
    if program.budget is not None:
        # In the objective's scale, so that its coefficients are about 1 whatever the grams are.
        names.append("budget")
        dense.append(weight * program.g[category, option] / scale)
        bound.append(program.budget.grams_per_hour / (3600.0 * max(program.budget.rate_per_s, 1e-12) * scale))
    matrix = csr_array(np.array(dense))
    if program.category_floor is not None:
        asked = np.flatnonzero(np.isfinite(program.category_floor))
        place = np.full(program.w.size, -1)
        place[asked] = np.arange(asked.size)
        inside = place[category] >= 0
        per_category = csr_array(
            (-quality[inside], (place[category[inside]], np.flatnonzero(inside))), shape=(asked.size, category.size)
        )
        matrix = vstack([matrix, per_category], format="csr")
        names += [f"category:{c}" for c in asked]
        bound += [-float(program.category_floor[c]) for c in asked]
    return _Rows(names, matrix, np.array(bound))


def _give_way(rows: _Rows, one_each: csr_array) -> _Rows:
    """Relax latency, then budget, then capacity, each by as little as the ones kept longer allow.

    Of several sites the worst overload is made as small as can be, then the sum of all: a site that has room gives
    nothing away.
    """
    groups = [[i for i, n in enumerate(rows.names) if n.split(":")[0] == kind] for kind in YIELDS]
    bound = rows.bound.copy()
    for position in reversed(range(len(groups))):  # what is kept longest is made good first
        members = groups[position]
        if not members:
            continue
        later = [i for group in groups[:position] for i in group]
        keep = [i for i in range(len(rows.names)) if i not in later]
        size = np.maximum(np.abs(rows.bound[members]), 1e-12)
        # row <= limit (1 + v) with an overload v >= 0 of its own, and v <= V
        count, columns = len(members), rows.matrix.shape[1]
        matrix = np.zeros((len(keep) + count, columns + count + 1))
        matrix[: len(keep), :columns] = rows.matrix[keep].toarray()
        for m, i in enumerate(members):
            matrix[keep.index(i), columns + m] = -size[m]
            matrix[len(keep) + m, [columns + m, -1]] = 1.0, -1.0
        cost = np.concatenate([np.zeros(columns), np.full(count, SECOND / count), [1.0]])
        padded = csr_array(np.hstack([one_each.toarray(), np.zeros((one_each.shape[0], count + 1))]))
        result = _linprog(cost, csr_array(matrix), np.concatenate([bound[keep], np.zeros(count)]), padded)
        if result is None:
            raise PolicyError("the linear program has no solution even with every limit relaxed")
        overload = np.asarray(result.x[columns:-1])
        bound[members] += np.where(overload > 1e-9, size * overload * (1 + 1e-9) + 1e-12, 0.0)
    return _Rows(rows.names, rows.matrix, bound)


def _overloads(rows: _Rows, x: FloatArray) -> dict[str, float]:
    """By which share of its limit each limit is exceeded by the shares ``x`` (K,) of the columns in use."""
    load = rows.matrix @ x
    return {
        name: float(load[i] / max(abs(float(rows.bound[i])), 1e-12) - 1.0)
        for i, name in enumerate(rows.names)
        if name.split(":")[0] in YIELDS and load[i] > rows.bound[i] + 1e-8 * max(abs(float(rows.bound[i])), 1e-12)
    }


def _row_without_traffic(program: Program, c: int, price: float) -> FloatArray:
    """(O,) what a category nobody asks for yet would get: the same price of quality and its own floor."""
    own = -np.inf if program.category_floor is None else float(program.category_floor[c])
    lone = Program(
        w=np.ones(1),
        g=program.g[c : c + 1] - price * program.q[c : c + 1],
        q=program.q[c : c + 1],
        floor=max(own, -1.0),
    )
    return np.asarray(solve(lone).x[0])


@dataclass(frozen=True, slots=True)
class Mixed:
    """Minimise ``cost z`` with ``low <= matrix z <= high`` and ``0 <= z <= upper``, some of z integer.

    Attributes:
        cost: (K,) of size about 1.
        matrix: (R, K).
        low: (R,) may be -inf.
        high: (R,) may be inf.
        upper: (K,) may be inf.
        integer: (K,).
    """

    cost: FloatArray
    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    upper: FloatArray
    integer: NDArray[np.bool_]


def solve_mixed(mixed: Mixed, *, time_limit_s: float = 5.0) -> FloatArray | None:
    """(K,) the best solution found in time; None where there is none."""
    result = milp(
        mixed.cost,
        constraints=LinearConstraint(csr_array(mixed.matrix), mixed.low, mixed.high),
        integrality=mixed.integer.astype(np.int64),
        bounds=Bounds(0.0, mixed.upper),
        options={"time_limit": time_limit_s, "mip_rel_gap": 1e-6},
    )
    return None if result.x is None else np.asarray(result.x)


@dataclass(slots=True)
class _Marginals:
    marginals: FloatArray


@dataclass(slots=True)
class _Result:
    x: FloatArray
    ineqlin: _Marginals


def _linprog(cost: FloatArray, upper: csr_array, bound: FloatArray, equal: csr_array) -> _Result | None:
    """Call HiGHS; None where there is no solution."""
    result = linprog(
        cost,
        A_ub=upper,
        b_ub=bound,
        A_eq=equal,
        b_eq=np.ones(equal.shape[0]),
        bounds=(0.0, None),
        method="highs",
        options={"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE},
    )
    if result.status == 2:
        return None
    if result.status != 0:
        raise PolicyError(f"the linear program was not solved: {result.message}")
    return _Result(np.asarray(result.x), _Marginals(np.asarray(result.ineqlin.marginals)))
