from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.errors import PolicyError
from router.domain.estimates import FloatArray
from router.meters.recording import ReplayClock
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from router.policy.program import Budget, Capacity, Program
from router.policy.solve import solve


def cheapest_vertex(program: Program) -> float | None:
    """Least grams by enumeration: one option a category, or two in one of them (a single coupling row)."""
    count, columns = program.g.shape
    floor = np.full(count, -1.0) if program.category_floor is None else program.category_floor
    best: float | None = None
    for pure in itertools.product(range(columns), repeat=count):
        rows = np.arange(count)
        g, q = program.g[rows, pure], program.q[rows, pure]
        for c, other in itertools.product(range(count), range(columns)):
            dq = program.w[c] * (program.q[c, other] - q[c])
            short = program.floor - program.w @ q
            share = 0.0 if short <= 1e-12 else (short / dq if dq > 0 else 2.0)
            if share > 1 + 1e-12:
                continue
            mixed = q.copy()
            mixed[c] += share * (program.q[c, other] - q[c])
            if (mixed < floor - 1e-9).any():
                continue
            cost = float(program.w @ g + share * program.w[c] * (program.g[c, other] - g[c]))
            best = cost if best is None else min(best, cost)
    return best


@st.composite
def programs(draw: st.DrawFn, most_categories: int = 3, most_options: int = 4) -> Program:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shape = (draw(st.integers(1, most_categories)), draw(st.integers(1, most_options)))
    scale = 10.0 ** draw(st.integers(-6, 3))
    q = np.round(rng.random(shape), draw(st.integers(1, 6)))
    w = rng.dirichlet(np.ones(shape[0]))
    reach = float(w @ q.max(axis=1))
    return Program(w=w, g=rng.random(shape) * scale, q=q, floor=reach * draw(st.floats(0.0, 1.0)))


@settings(max_examples=150, deadline=None)
@given(programs())
def test_it_finds_what_enumerating_all_vertices_finds(program: Program) -> None:
    solution = solve(program)
    wanted = cheapest_vertex(program)
    assert wanted is not None
    assert solution.expected_g == pytest.approx(wanted, rel=1e-6, abs=1e-6 * float(program.g.max()))
    assert solution.expected_q >= program.floor - 1e-8


@settings(max_examples=80, deadline=None)
@given(programs(most_categories=5, most_options=6))
def test_at_most_one_category_is_split_by_the_one_coupling_row(program: Program) -> None:
    split = (solve(program).x > 1e-7).sum(axis=1) > 1
    assert split.sum() <= 1


@settings(max_examples=60, deadline=None)
@given(programs(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_higher_floor_never_costs_less(program: Program, a: float, b: float) -> None:
    reach = solve(program).reachable_quality
    low, high = sorted((a * reach, b * reach))
    tolerance = 1e-7 * float(program.g.max())
    assert solve(replace(program, floor=low)).expected_g <= solve(replace(program, floor=high)).expected_g + tolerance


@settings(max_examples=60, deadline=None)
@given(programs(), st.floats(1.0, 3.0))
def test_dearer_grams_never_make_the_plan_cheaper(program: Program, factor: float) -> None:
    raised = program.g.copy()
    raised[0, 0] *= factor
    assert solve(replace(program, g=raised)).expected_g >= solve(program).expected_g - 1e-7 * float(program.g.max())


@settings(max_examples=40, deadline=None)
@given(programs())
def test_the_price_of_quality_is_the_slope_of_the_cost(program: Program) -> None:
    solution = solve(program)
    step = 1e-4
    if program.floor + step > solution.reachable_quality:
        return
    dearer = solve(replace(program, floor=program.floor + step))
    assert dearer.price_of_quality_g is not None
    assert solution.price_of_quality_g is not None
    slope = (dearer.expected_g - solution.expected_g) / step
    room = 1e-6 * float(program.g.max()) / step
    assert solution.price_of_quality_g - room <= slope <= dearer.price_of_quality_g + room


@settings(max_examples=40, deadline=None)
@given(programs(most_categories=4))
def test_every_category_keeps_its_own_floor(program: Program) -> None:
    best = program.q.max(axis=1)
    solution = solve(replace(program, category_floor=0.9 * best))
    assert ((solution.x * program.q).sum(axis=1) >= 0.9 * best - 1e-7).all()


def simple(**others: object) -> Program:
    fields: dict[str, object] = {
        "w": np.array([0.5, 0.5]),
        "g": np.array([[3.0, 1.0], [4.0, 1.0]]),
        "q": np.array([[0.9, 0.5], [0.8, 0.6]]),
        "floor": 0.6,
    }
    return Program(**{**fields, **others})  # type: ignore[arg-type]


def test_a_floor_out_of_reach_gets_the_best_plan_and_says_what_can_be_reached() -> None:
    solution = solve(simple(floor=0.99))
    assert not solution.feasible
    assert solution.price_of_quality_g is None
    assert solution.reachable_quality == pytest.approx(0.85)
    assert solution.expected_q == pytest.approx(0.85)


def test_of_equally_good_plans_the_one_of_fewest_grams_is_taken() -> None:
    solution = solve(simple(q=np.array([[0.9, 0.9], [0.8, 0.6]]), floor=0.99))
    assert solution.expected_g == pytest.approx(0.5 * 1.0 + 0.5 * 4.0)


def test_a_category_floor_out_of_reach_is_lowered_and_named() -> None:
    solution = solve(simple(category_floor=np.array([0.5, 0.95])))
    assert solution.lowered_categories == (1,)
    assert not solution.feasible
    assert solution.x[1, 0] == pytest.approx(1.0, abs=1e-6)


def test_unknown_cells_are_no_columns() -> None:
    solution = solve(simple(g=np.array([[3.0, np.nan], [4.0, 1.0]])))
    assert solution.x[0].tolist() == [1.0, 0.0]


def test_a_category_without_any_column_is_refused_with_a_hint() -> None:
    with pytest.raises(PolicyError, match="make bench"):
        solve(simple(q=np.array([[np.nan, np.nan], [0.8, 0.6]])))


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(PolicyError, match="sum to 1"):
        solve(simple(w=np.array([0.5, 0.6])))


def test_tiny_grams_are_solved_like_large_ones() -> None:
    small, large = solve(simple(g=simple().g * 1e-9)), solve(simple(g=simple().g * 1e6))
    assert small.x == pytest.approx(large.x, abs=1e-7)


def test_a_category_nobody_asks_for_is_priced_like_the_others() -> None:
    solution = solve(simple(w=np.array([1.0, 0.0]), category_floor=np.array([0.0, 0.7])))
    assert (solution.x[1] * np.array([0.8, 0.6])).sum() >= 0.7 - 1e-7


DURATION = np.array([[4.0, 1.0], [4.0, 1.0]])


def test_a_latency_row_is_kept_where_it_can_be() -> None:
    solution = solve(simple(duration_s=DURATION, max_mean_duration_s=2.5))
    assert 0.5 * (solution.x * DURATION).sum() <= 2.5 + 1e-7
    assert solution.feasible


def test_latency_gives_way_before_the_floor_does() -> None:
    solution = solve(simple(floor=0.85, duration_s=DURATION, max_mean_duration_s=2.0))
    assert solution.expected_q == pytest.approx(0.85, abs=1e-6)
    assert solution.shed["latency"] == pytest.approx(1.0, rel=1e-4)
    assert not solution.feasible


def test_a_shortage_of_capacity_says_which_share_of_the_work_is_served() -> None:
    capacity = Capacity(np.array([0, 0]), np.array([1.0]), rate_per_s=0.5)
    solution = solve(simple(floor=0.85, duration_s=DURATION, capacity=capacity))
    assert solution.expected_q == pytest.approx(0.85, abs=1e-6)
    assert solution.shed["capacity:0"] == pytest.approx(1.0, rel=1e-4)
    assert solution.served_share == pytest.approx(0.5, rel=1e-4)


def test_the_budget_gives_way_before_capacity() -> None:
    capacity = Capacity(np.array([0, 1]), np.array([0.3, 10.0]), rate_per_s=0.1)
    budget = Budget(grams_per_hour=1.0, rate_per_s=0.1)
    solution = solve(simple(duration_s=DURATION, capacity=capacity, budget=budget))
    assert set(solution.shed) == {"budget"}
    assert 0.1 * 0.5 * (solution.x * DURATION)[:, 0].sum() <= 0.3 + 1e-6


def test_a_budget_that_binds_lowers_the_grams() -> None:
    free = solve(simple())
    tight = solve(simple(budget=Budget(3600.0 * free.expected_g * 1.0, 1.0)))
    assert tight.feasible
    assert tight.expected_g <= free.expected_g + 1e-9


def test_capacity_comes_from_slots() -> None:
    limit: FloatArray = Capacity.of_slots(np.array([0]), np.array([10.0]), 1.0).limit_s_per_s
    assert limit.tolist() == [7.0]


@pytest.mark.parametrize("at_a_time", [1, 2, 8])
def test_of_a_site_as_busy_as_its_rows_a_share_of_the_devices_time_is_planned_for(at_a_time: int) -> None:
    """Answers that overlap share the device: what their rows say of it sums to its time, not to that of the slots."""
    clock = ReplayClock()
    meter = SharedMeter(ReplayCounter([0.0]), clock=clock)
    windows = [meter.start() for _ in range(at_a_time)]
    clock.sleep(10.0)
    seconds = [window.stop().device_s or 0.0 for window in windows]
    served_per_s = at_a_time / 10.0
    slots = np.array([at_a_time]) / at_a_time
    limit = Capacity.of_slots(np.array([0]), slots, served_per_s).limit_s_per_s
    assert limit[0] == pytest.approx(0.7 * served_per_s * np.mean(seconds))


def test_a_plan_on_its_limits_is_within_them_whatever_its_last_digits_are() -> None:
    x, grams = np.array([[0.3, 0.7], [0.6, 0.4]]), 0.3
    seconds = float((0.5 * DURATION * x).sum())

    def limited(by: float) -> list[Program]:
        capacity = Capacity(np.array([0, 0]), np.array([by * 0.1 * seconds]), rate_per_s=0.1)
        return [
            simple(duration_s=DURATION, max_mean_duration_s=by * seconds),
            simple(duration_s=DURATION, capacity=capacity),
            simple(budget=Budget(by * 3600.0 * 0.1 * grams, rate_per_s=0.1)),
        ]

    assert all(program.carries(x, grams) for program in limited(1.0 - 1e-12))
    assert not any(program.carries(x, grams) for program in limited(1.0 - 1e-6))


def test_latency_rows_need_durations() -> None:
    with pytest.raises(PolicyError, match="duration_s"):
        solve(simple(max_mean_duration_s=1.0))


def test_a_site_with_room_gives_nothing_away_when_another_is_overloaded() -> None:
    nan = np.nan
    program = Program(
        w=np.array([0.5, 0.5]),
        g=np.array([[1.0, nan, nan], [nan, 1.0, 5.0]]),
        q=np.array([[0.5, nan, nan], [nan, 0.5, 0.5]]),
        floor=0.4,
        duration_s=np.ones((2, 3)),
        capacity=Capacity(np.array([0, 1, 2]), np.array([0.1, 0.2, 10.0]), rate_per_s=1.0),
    )
    solution = solve(program)
    assert solution.shed == {"capacity:0": pytest.approx(4.0)}, "only the first site is asked for more than it has"
    assert solution.x[1] == pytest.approx([0.0, 0.4, 0.6])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_every_overload_is_said_and_none_that_is_not_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits = np.array([0.1, 0.2, 0.2, 0.3])
    q = np.where(rng.random((3, 4)) < 0.8, 0.5, np.nan)
    q[0], q[:, 3] = [0.5, np.nan, np.nan, np.nan], [np.nan, 0.5, 0.5]
    program = Program(
        w=np.array([0.4, 0.3, 0.3]),
        g=rng.random((3, 4)),
        q=q,
        floor=0.3,
        duration_s=np.ones((3, 4)),
        capacity=Capacity(np.arange(4), limits, rate_per_s=1.0),
    )
    solution = solve(program)
    over = (program.w @ solution.x) / limits - 1.0
    assert solution.shed == {f"capacity:{s}": pytest.approx(v) for s, v in enumerate(over) if v > 1e-7}
