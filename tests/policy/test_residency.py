from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.errors import PolicyError
from router.policy.program import Budget, Capacity, Program
from router.policy.residency import Memory, Residency, choose_residents
from router.policy.solve import solve


def by_enumeration(program: Program, memory: Memory, reference: int) -> float | None:
    """Least grams over every set of models that stay and every set that may visit, each by the linear program."""
    count, best = memory.bytes.size, None
    must = int(memory.place[reference])
    for state in itertools.product(("out", "stays", "visits"), repeat=count):
        stays = np.array([s == "stays" for s in state])
        visits = np.array([s == "visits" for s in state])
        held = np.bincount(memory.site, weights=memory.bytes * stays, minlength=memory.limit_bytes.size)
        guests = [held[memory.site[m]] + memory.bytes[m] for m in np.flatnonzero(visits)]
        limits = [memory.limit_bytes[memory.site[m]] for m in np.flatnonzero(visits)]
        if (held > memory.limit_bytes).any() or any(g > x for g, x in zip(guests, limits, strict=True)):
            continue
        if state[must] == "out":
            continue
        open_ = (stays | visits)[memory.place]
        extra_g = np.where(visits, memory.load_g, 0.0)[memory.place]
        extra_s = np.where(visits, memory.load_s, 0.0)[memory.place]
        duration = None if program.duration_s is None else program.duration_s + extra_s
        solution = solve(replace(program, g=np.where(open_, program.g + extra_g, np.nan), duration_s=duration))
        if solution.feasible:
            best = solution.expected_g if best is None else min(best, solution.expected_g)
    return best


@st.composite
def crowded(draw: st.DrawFn) -> tuple[Program, Memory]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    models, levels, categories, sites = draw(st.integers(2, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 3)), 2
    columns = models * levels
    place = np.repeat(np.arange(models), levels)
    site = rng.integers(0, sites, models)
    size = rng.integers(1, 6, models).astype(np.float64)
    size[0] = 3.0
    q = rng.random((categories, columns))
    w = rng.dirichlet(np.ones(categories))
    memory = Memory(
        place, size, site, rng.integers(3, 9, sites).astype(np.float64), rng.random(models), rng.random(models)
    )
    seconds = rng.random((categories, columns)) + 0.1
    program = Program(
        w=w,
        g=rng.random((categories, columns)),
        q=q,
        floor=float(w @ q[:, 0]) * draw(st.floats(0.3, 1.2)),
        category_floor=0.5 * q[:, 0] if draw(st.booleans()) else None,
        duration_s=seconds,
        max_mean_duration_s=draw(st.sampled_from([None, 0.9, 1.5])),
        capacity=draw(st.sampled_from([None, Capacity(site[place], np.array([0.5, 0.7]), 0.8)])),
        budget=draw(st.sampled_from([None, Budget(3600.0 * 0.6, 1.0)])),
    )
    return program, memory


@settings(max_examples=60, deadline=None)
@given(crowded())
def test_it_finds_what_trying_every_set_of_models_finds(drawn: tuple[Program, Memory]) -> None:
    program, memory = drawn
    wanted = by_enumeration(program, memory, 0)
    if wanted is None:
        return  # nobody can keep every row; what gives way is the next test's business
    assert choose_residents(program, memory, 0).expected_g == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(crowded())
def test_what_stays_fits_beside_any_one_visitor(drawn: tuple[Program, Memory]) -> None:
    program, memory = drawn
    found = choose_residents(program, memory, 0)
    for s, limit in enumerate(memory.limit_bytes):
        here = memory.site == s
        guests = memory.bytes[here & found.visits]
        assert memory.bytes[here & found.stays].sum() + (guests.max() if guests.size else 0.0) <= limit + 1e-6
    assert (found.stays | found.visits)[memory.place[0]], "the reference can always answer"


def two(limit: float, load_g: float, **others: float) -> Residency:
    """A large reference and a small model that is good at one of two tasks."""
    program = Program(
        w=np.array([0.5, 0.5]),
        g=np.array([[10.0, 1.0], [10.0, 1.0]]),
        q=np.array([[0.9, 0.9], [0.9, 0.1]]),
        floor=others.get("floor", 0.9),
    )
    memory = Memory(
        place=np.array([0, 1]),
        bytes=np.array([8.0, 2.0]),
        site=np.array([0, 0]),
        limit_bytes=np.array([limit]),
        load_g=np.array([load_g, load_g]),
        load_s=np.array([1.0, 1.0]),
    )
    return choose_residents(program, memory, 0)


def test_where_all_fit_all_that_are_used_stay() -> None:
    found = two(10.0, 5.0)
    assert found.stays.tolist() == [True, True]
    assert found.expected_g == pytest.approx(5.5)


def test_a_model_too_dear_to_swap_is_left_out() -> None:
    found = two(9.0, 100.0)
    assert found.stays.tolist() == [True, False]
    assert found.expected_g == pytest.approx(10.0)


def test_a_cheap_swap_is_made_when_it_pays() -> None:
    found = two(9.0, 1.0)
    assert not found.stays.any()  # 8 and 2 do not fit in 9 together, so both visit
    assert found.visits.tolist() == [True, True]
    assert found.expected_g == pytest.approx(0.5 * (10.0 + 1.0) + 0.5 * (1.0 + 1.0))


def test_a_floor_out_of_reach_still_gives_the_best_models_there_are() -> None:
    found = two(9.0, 1.0, floor=0.99)
    assert found.x.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_reference_larger_than_the_memory_is_refused_with_a_hint() -> None:
    with pytest.raises(PolicyError, match="memory_bytes"):
        two(7.0, 1.0)
