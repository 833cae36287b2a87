"""Attributed joules and seconds of a window's requests sum to what the device took, however they overlapped."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.attribution import Load, attribute
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter

loads = st.lists(st.builds(Load, st.floats(0, 1e6), st.floats(0, 1e4)), min_size=1, max_size=20)


@given(loads=loads, period_s=st.floats(0, 1e6), idle_w=st.floats(0, 1e3))
def test_the_requests_of_a_window_sum_to_the_devices_total(loads: list[Load], period_s: float, idle_w: float) -> None:
    shared = attribute(loads, period_s=period_s, idle_w=idle_w)
    marginal = math.fsum(load.energy_j or 0.0 for load in loads)
    assert math.fsum(a.total_j or 0.0 for a in shared) == pytest.approx(marginal + idle_w * period_s, rel=1e-9)
    assert math.fsum(a.reserved_s or 0.0 for a in shared) == pytest.approx(period_s, rel=1e-9)


@given(loads=loads, idle_w=st.floats(0, 1e3))
def test_a_group_is_attributed_what_its_requests_are(loads: list[Load], idle_w: float) -> None:
    rest = Load(1.0, 2.0)
    single = attribute([*loads, rest], period_s=3600.0, idle_w=idle_w)
    group = Load(math.fsum(x.energy_j or 0.0 for x in loads), math.fsum(x.device_s or 0.0 for x in loads))
    together, _ = attribute([group, rest], period_s=3600.0, idle_w=idle_w)
    assert together.total_j == pytest.approx(math.fsum(a.total_j or 0.0 for a in single[:-1]), rel=1e-9)


@pytest.mark.parametrize("idle_w", [3.0, 0.0])
def test_windows_that_overlap_on_a_metered_device_sum_to_its_counter(idle_w: float) -> None:
    # The counter's joules at each event: open a, open b, close a, open c, close b, close c, end.
    at_s = [0.0, 2.0, 5.0, 6.0, 9.0, 10.0, 20.0]
    counter_j = [0.0, 20.0, 70.0, 85.0, 130.0, 142.0, 142.0 + 10 * idle_w]
    clock = iter(at_s)
    meter = SharedMeter(ReplayCounter(counter_j, idle_w=idle_w), clock=lambda: next(clock))
    a = meter.start()
    b = meter.start()
    readings = [a.stop()]
    c = meter.start()
    readings += [b.stop(), c.stop()]
    shared = attribute([Load(r.energy_j, r.device_s) for r in readings], period_s=at_s[-1], idle_w=idle_w)
    assert math.fsum(s.total_j or 0.0 for s in shared) == pytest.approx(counter_j[-1])
    assert all(later >= earlier for earlier, later in pairwise(counter_j))


def test_idle_that_nobody_knows_stays_unknown_and_the_seconds_are_shared_all_the_same() -> None:
    (only,) = attribute([Load(5.0, 1.0)], period_s=10.0, idle_w=None)
    assert (only.idle_j, only.total_j, only.reserved_s) == (None, None, 10.0)


def test_a_request_of_unknown_device_time_leaves_every_share_unknown() -> None:
    shared = attribute([Load(5.0, None), Load(5.0, 1.0)], period_s=10.0, idle_w=1.0)
    assert [a.idle_j for a in shared] == [None, None]
    assert [a.reserved_s for a in shared] == [None, None]


@pytest.mark.parametrize("period_s", [-1.0, math.nan, math.inf])
def test_a_window_of_no_length_is_refused(period_s: float) -> None:
    with pytest.raises(ValueError, match="period_s"):
        attribute([], period_s=period_s, idle_w=1.0)
