from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.policy import dominance
from router.policy.dominance import worthwhile
from router.policy.program import Capacity, Program
from router.policy.solve import solve


@st.composite
def wide(draw: st.DrawFn) -> Program:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(dominance.FEWEST, 80)))
    q = np.round(rng.random(shape), draw(st.integers(1, 6)))
    g = np.round(0.1 + q * rng.uniform(0.2, 2.0, shape), draw(st.integers(1, 6)))
    g[rng.random(shape) < 0.1] = np.nan
    g[:, 0] = 1.0
    w = rng.dirichlet(np.ones(shape[0]))
    best = np.where(np.isfinite(g), q, 0.0).max(axis=1)
    site = rng.integers(0, 2, shape[1])
    limits = draw(st.booleans())
    return Program(
        w=w,
        g=g,
        q=q,
        floor=float(w @ best) * draw(st.floats(0.3, 1.1)),
        category_floor=best * draw(st.floats(0.1, 0.9)) if draw(st.booleans()) else None,
        duration_s=np.round(0.1 + rng.random(shape), 2) if limits else None,
        max_mean_duration_s=draw(st.sampled_from([0.3, 0.5, 0.8])) if limits else None,
        capacity=Capacity(site, rng.uniform(0.05, 0.6, 2), 0.7) if limits and draw(st.booleans()) else None,
    )


@settings(max_examples=100, deadline=None)
@given(wide())
def test_what_is_left_out_changes_neither_the_optimum_nor_whether_there_is_one(program: Program) -> None:
    quick = solve(program)
    kept = worthwhile(program, program.columns())
    assert kept.sum() <= program.columns().sum()
    old, dominance.FEWEST = dominance.FEWEST, 10**9
    try:
        whole = solve(program)
    finally:
        dominance.FEWEST = old
    assert quick.feasible == whole.feasible
    assert quick.expected_q >= min(program.floor, quick.reachable_quality) - 1e-7
    if whole.feasible:
        assert quick.expected_g == pytest.approx(whole.expected_g, rel=1e-6, abs=1e-8)
    assert quick.shed.keys() == whole.shed.keys()


def test_of_many_options_few_remain() -> None:
    rng = np.random.default_rng(0)
    q, g = rng.random((5, 1000)), rng.random((5, 1000))
    program = Program(w=np.full(5, 0.2), g=g, q=q, floor=0.5)
    assert worthwhile(program, program.columns()).sum() < 5 * 20
    timed = replace(program, duration_s=rng.random((5, 1000)), max_mean_duration_s=0.5)
    assert worthwhile(timed, timed.columns()).sum() < 5 * 150


def test_of_equal_options_one_at_least_remains() -> None:
    program = Program(w=np.ones(1), g=np.ones((1, 50)), q=np.ones((1, 50)), floor=0.5)
    assert worthwhile(program, program.columns()).any()
