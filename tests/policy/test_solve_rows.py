"""All rows together against the enumeration of every vertex, which knows nothing of HiGHS."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.catalogue import Floor
from router.domain.estimates import FloatArray, Limits
from router.policy.category import CategoryLP
from router.policy.program import Budget, Capacity, Program
from router.policy.rows import rows_of_plan
from router.policy.solve import solve
from tests.policy.worlds import table, terms, usual


@dataclass(frozen=True)
class Standard:
    """min cost z, upper z <= bound, equal z = 1, z >= 0."""

    cost: FloatArray
    upper: FloatArray
    bound: FloatArray
    equal: FloatArray


def standard(program: Program) -> Standard:
    """Written down once more from the formula, row by row."""
    count, columns = program.g.shape
    w = np.repeat(program.w, columns)
    q, g = program.q.ravel(), program.g.ravel()
    category = np.repeat(np.arange(count), columns)
    rows, bound = [-w * q], [-program.floor]
    if program.category_floor is not None:
        for c in range(count):
            rows.append(-1.0 * (category == c) * q)
            bound.append(-program.category_floor[c])
    if program.duration_s is not None:
        t = program.duration_s.ravel()
        if program.max_mean_duration_s is not None:
            rows.append(w * t)
            bound.append(program.max_mean_duration_s)
        if program.capacity is not None:
            for s, limit in enumerate(program.capacity.limit_s_per_s):
                here = np.tile(program.capacity.site == s, count)
                rows.append(program.capacity.rate_per_s * w * t * here)
                bound.append(limit)
    if program.budget is not None:
        rows.append(3600.0 * program.budget.rate_per_s * w * g)
        bound.append(program.budget.grams_per_hour)
    equal = np.array([(category == c).astype(float) for c in range(count)])
    return Standard(w * g, np.array(rows), np.array(bound), equal)


def least_by_vertices(problem: Standard) -> float | None:
    """Cheapest basic feasible solution; None where there is none."""
    k, r = problem.cost.size, problem.bound.size
    c = problem.equal.shape[0]
    matrix = np.block([[problem.equal, np.zeros((c, r))], [problem.upper, np.eye(r)]])
    right = np.concatenate([np.ones(c), problem.bound])
    best: float | None = None
    for basis in itertools.combinations(range(k + r), c + r):
        square = matrix[:, basis]
        if abs(np.linalg.det(square)) < 1e-12:
            continue
        z = np.linalg.solve(square, right)
        if (z < -1e-9).any():
            continue
        cost = sum(problem.cost[i] * v for i, v in zip(basis, z, strict=True) if i < k)
        best = cost if best is None else min(best, cost)
    return best


@st.composite
def with_rows(draw: st.DrawFn) -> Program:
    """Small programs of which every row is somewhere near binding; some have no solution."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, columns = draw(st.sampled_from([(1, 3), (2, 2), (2, 3)]))
    shape = (count, columns)
    q = np.round(rng.random(shape), 3)
    # What costs more is better and slower, more or less: otherwise the rows would agree and none would bind.
    g = np.round(0.2 + q * rng.uniform(0.5, 1.5, shape), 3)
    t = np.round(0.2 + q * rng.uniform(0.3, 1.7, shape), 3)
    w = rng.dirichlet(np.ones(count))
    reach = float(w @ q.max(axis=1))
    latency = draw(st.sampled_from([None, 0.6, 0.9, 1.2]))
    site = rng.integers(0, 2, columns)
    capacity = Capacity(site, rng.uniform(0.1, 0.9, 2), draw(st.floats(0.1, 1.0)))
    return Program(
        w=w,
        g=g,
        q=q,
        floor=reach * draw(st.floats(0.3, 0.98)),
        category_floor=q.max(axis=1) * draw(st.floats(0.2, 0.9)) if draw(st.booleans()) else None,
        duration_s=t,
        max_mean_duration_s=latency,
        capacity=capacity if draw(st.booleans()) else None,
        budget=Budget(3600.0 * float(draw(st.sampled_from([0.5, 0.8, 1.2]))), 1.0) if draw(st.booleans()) else None,
    )


@settings(max_examples=120, deadline=None)
@given(with_rows())
def test_with_every_row_it_finds_what_enumerating_all_vertices_finds(program: Program) -> None:
    wanted, solution = least_by_vertices(standard(program)), solve(program)
    if wanted is None:
        assert not solution.feasible
        assert solution.shed or solution.lowered_categories or solution.price_of_quality_g is None
    elif solution.feasible:
        assert solution.expected_g == pytest.approx(wanted, rel=1e-6, abs=1e-8)
    else:  # feasible on the very edge alone
        assert max(solution.shed.values(), default=0.0) < 1e-6


@settings(max_examples=80, deadline=None)
@given(with_rows())
def test_what_cannot_all_be_had_never_costs_quality_under_the_floor(program: Program) -> None:
    solution = solve(program)
    assert solution.expected_q >= min(program.floor, solution.reachable_quality) - 1e-7
    if program.category_floor is not None:
        own = (solution.x * program.q).sum(axis=1)
        assert (own >= np.minimum(program.category_floor, program.q.max(axis=1)) - 1e-7).all()


@settings(max_examples=120, deadline=None)
@given(with_rows())
def test_each_row_splits_at_most_one_category_more(program: Program) -> None:
    split = int(((solve(program).x > 1e-7).sum(axis=1) - 1).sum())
    assert split <= standard(program).bound.size


@settings(max_examples=60, deadline=None)
@given(with_rows(), st.integers(0, 30))
def test_categories_in_plenty_are_split_by_coupling_rows_alone(program: Program, seed: int) -> None:
    """With twelve categories and no floors of their own, no more are split than rows couple them."""
    rng = np.random.default_rng(seed)
    shape = (12, program.g.shape[1])
    q = rng.random(shape)
    wide = replace(
        program,
        w=rng.dirichlet(np.ones(12)),
        q=q,
        g=0.2 + q * rng.uniform(0.5, 1.5, shape),
        duration_s=0.2 + q * rng.uniform(0.3, 1.7, shape),
        category_floor=None,
        floor=0.6,
    )
    coupling = 1 + (wide.max_mean_duration_s is not None) + 2 * (wide.capacity is not None) + (wide.budget is not None)
    assert int(((solve(wide).x > 1e-7).sum(axis=1) > 1).sum()) <= coupling


@settings(max_examples=80, deadline=None)
@given(with_rows(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_with_limits_too_a_higher_floor_never_costs_less(program: Program, a: float, b: float) -> None:
    reach = solve(program).reachable_quality
    low, high = (solve(replace(program, floor=reach * f)) for f in sorted((a, b)))
    if high.feasible:
        assert low.feasible
        assert low.expected_g <= high.expected_g + 1e-7


@settings(max_examples=60, deadline=None)
@given(with_rows(), st.floats(1.0, 2.0))
def test_looser_limits_never_cost_more(program: Program, factor: float) -> None:
    tight = solve(program)
    if not tight.feasible:
        return
    loose = solve(
        replace(
            program,
            max_mean_duration_s=None if program.max_mean_duration_s is None else factor * program.max_mean_duration_s,
            capacity=None
            if program.capacity is None
            else replace(program.capacity, limit_s_per_s=factor * program.capacity.limit_s_per_s),
        )
    )
    assert loose.feasible
    assert loose.expected_g <= tight.expected_g + 1e-7


@settings(max_examples=60, deadline=None)
@given(with_rows())
def test_the_price_of_a_second_is_the_slope_of_the_cost(program: Program) -> None:
    step = 1e-5
    if program.max_mean_duration_s is None:
        return
    here = solve(program)
    there = solve(replace(program, max_mean_duration_s=program.max_mean_duration_s - step))
    if not (here.feasible and there.feasible) or here.latency_price_g is None or there.latency_price_g is None:
        return
    slope = (there.expected_g - here.expected_g) / step
    assert here.latency_price_g - 1e-3 <= slope <= there.latency_price_g + 1e-3


WORLD = usual()
TABLE = replace(table(WORLD.w, WORLD.q, WORLD.energy_j), duration_s=WORLD.energy_j / 250.0)
KNOWN = WORLD.sample(200, seed=1)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_a_larger_xi_never_costs_more(a: float, b: float, s: float) -> None:
    """xi is what may be given up at the dirtiest hour: q_min = (1 - xi) q_ref."""
    small, large = (
        CategoryLP().fit(KNOWN, TABLE, terms(Floor(1.0 - xi), 3, cleanliness=s, slack=0.05)).plan
        for xi in sorted((a, b))
    )
    assert small is not None
    assert large is not None
    assert large.expected_g <= small.expected_g + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_the_users_floor_is_never_undercut_by_the_slide(floor: float, s: float) -> None:
    plan = CategoryLP().fit(KNOWN, TABLE, terms(Floor(floor), 3, cleanliness=s)).plan
    assert plan is not None
    assert plan.expected_quality >= floor * plan.reference_quality - 1e-7
    assert plan.floor_quality <= plan.reference_quality + 1e-12


def test_the_extra_quality_of_a_clean_hour_yields_to_a_limit_first() -> None:
    free = CategoryLP().fit(KNOWN, TABLE, terms(0.9, 3)).plan
    assert free is not None
    seconds = float((free.w[:, None] * free.x * TABLE.duration_s).sum())
    limits = Limits(max_mean_duration_s=1.05 * seconds)
    plan = CategoryLP().fit(KNOWN, TABLE, terms(0.9, 3, cleanliness=0.0, limits=limits)).plan
    assert plan is not None
    assert plan.feasible
    assert not plan.shed
    assert any("clean hour" in note for note in plan.notes)
    assert plan.expected_quality >= 0.9 * plan.reference_quality - 1e-7


def test_every_row_of_a_plan_has_its_limit_value_unit_and_price() -> None:
    limits = Limits(rate_per_s=0.1, max_mean_duration_s=2.0, slots=np.ones(3), budget_g_per_hour=50.0)
    wanted = terms(0.9, 3, slack=0.05, limits=limits)
    plan = CategoryLP().fit(KNOWN, TABLE, wanted).plan
    assert plan is not None
    rows = {row.name: row for row in rows_of_plan(plan, TABLE, wanted)}
    assert set(rows) == {
        *("floor", "floor of c0", "floor of c1", "floor of c2"),
        *("mean seconds", "capacity of local", "budget"),
    }
    assert rows["mean seconds"].unit == "s a prompt"
    assert rows["capacity of local"].limit == pytest.approx(0.7)
    assert rows["capacity of local"].value == pytest.approx(0.1 * rows["mean seconds"].value)
    assert rows["budget"].value == pytest.approx(360.0 * plan.expected_g)
    assert all(row.price_g is not None for row in rows.values())


def test_seconds_that_are_not_known_leave_the_capacity_out_and_say_so() -> None:
    patchy = TABLE.duration_s.copy()
    patchy[0, 1] = np.nan
    limits = Limits(rate_per_s=10.0, slots=np.ones(3))
    plan = CategoryLP().fit(KNOWN, replace(TABLE, duration_s=patchy), terms(0.9, 3, limits=limits)).plan
    assert plan is not None
    assert plan.feasible
    assert any("capacity is not planned for" in note for note in plan.notes)


def test_a_latency_limit_without_any_known_seconds_is_said_and_left_out() -> None:
    blank = replace(TABLE, duration_s=np.full((3, 3), np.nan))
    plan = CategoryLP().fit(KNOWN, blank, terms(0.9, 3, limits=Limits(max_mean_duration_s=1.0))).plan
    assert plan is not None
    assert any("max_mean_seconds cannot be kept" in note for note in plan.notes)


def test_a_limit_that_gives_way_is_named_by_its_key_in_models_yaml() -> None:
    limits = Limits(rate_per_s=1.0, max_mean_duration_s=0.1, slots=np.ones(3), budget_g_per_hour=0.001)
    plan = CategoryLP().fit(KNOWN, TABLE, terms(0.95, 3, limits=limits)).plan
    assert plan is not None
    assert set(plan.shed) == {"latency", "budget", "capacity:local"}
    assert plan.expected_quality >= 0.95 * plan.reference_quality - 1e-7
    told = " ".join(plan.notes)
    assert all(word in told for word in ("max_mean_seconds", "carbon_budget_g_per_hour", "the capacity of local"))
