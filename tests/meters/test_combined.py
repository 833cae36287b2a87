"""Parts are summed or reconciled with the wall; what is unknown stays unknown."""

from __future__ import annotations

import pytest

from router.domain.errors import ConfigError
from router.domain.reading import Method
from router.meters.combined import UNACCOUNTED, Breakdown, CombinedCounter
from router.meters.discipline import IdleKnown
from router.meters.recording import ReplayClock
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from tests.meters.sampled import Sampled


def counter(*values: float | None, idle_w: float | None = None, method: Method = "measured") -> ReplayCounter:
    return ReplayCounter(values, idle_w=idle_w, method=method)


def between(combined: CombinedCounter) -> Breakdown:
    before = combined.breakdown()
    return combined.breakdown().since(before)


def test_without_a_wall_meter_the_joules_are_the_sum_of_the_parts() -> None:
    seen = between(CombinedCounter({"gpu": counter(10.0, 40.0), "cpu": counter(5.0, 7.0)}))
    assert seen.total_j == 32.0
    assert dict(seen.parts_j) == {"gpu": 30.0, "cpu": 2.0}


def test_with_one_they_are_the_walls_and_the_remainder_is_shown() -> None:
    seen = between(CombinedCounter({"gpu": counter(0.0, 30.0), "cpu": counter(0.0, 20.0)}, wall=counter(0.0, 65.0)))
    assert seen.total_j == 65.0
    assert seen.parts_j[UNACCOUNTED] == 15.0


def test_a_part_that_fails_taints_the_sum_but_not_the_wall() -> None:
    parts = CombinedCounter({"gpu": counter(0.0, None), "cpu": counter(0.0, 20.0)})
    assert between(parts).total_j is None
    seen = between(CombinedCounter({"gpu": counter(0.0, None), "cpu": counter(0.0, 20.0)}, wall=counter(0.0, 65.0)))
    assert seen.total_j == 65.0
    assert dict(seen.parts_j) == {"gpu": None, "cpu": 20.0, UNACCOUNTED: None}


def test_a_wall_meter_that_fails_leaves_the_parts() -> None:
    seen = between(CombinedCounter({"gpu": counter(0.0, 30.0)}, wall=counter(0.0, None)))
    assert seen.total_j is None
    assert dict(seen.parts_j) == {"gpu": 30.0, UNACCOUNTED: None}


def test_parts_that_draw_more_than_the_wall_are_called_out() -> None:
    combined = CombinedCounter({"gpu": counter(0.0, 300.0)}, wall=counter(0.0, 100.0))
    combined.breakdown()
    assert combined.problem is None
    combined.breakdown()
    assert "more than the wall" in (combined.problem or "")


def test_a_few_percent_between_two_instruments_are_no_problem() -> None:
    combined = CombinedCounter({"gpu": counter(0.0, 103.0)}, wall=counter(0.0, 100.0))
    between(combined)
    assert combined.problem is None


def test_a_sum_is_measured_only_if_every_part_is() -> None:
    modelled = counter(0.0, method="modelled")
    assert CombinedCounter({"gpu": counter(0.0), "cpu": modelled}).method == "modelled"
    assert CombinedCounter({"gpu": counter(0.0)}).method == "measured"
    assert CombinedCounter({"cpu": modelled}, wall=counter(0.0)).method == "measured"


def test_idle_watts_add_up_or_are_unknown_together() -> None:
    known, unknown = counter(0.0, idle_w=10.0), counter(0.0)
    assert CombinedCounter({"gpu": known, "cpu": known}).idle_w == 20.0
    assert CombinedCounter({"gpu": known, "cpu": unknown}).idle_w is None
    assert CombinedCounter({"gpu": unknown}, wall=known).idle_w == 10.0


def test_the_source_names_every_instrument() -> None:
    assert CombinedCounter({"gpu": counter(0.0)}).source == "gpu [recording]"
    assert "of which gpu" in CombinedCounter({"gpu": counter(0.0)}, wall=counter(0.0)).source


def test_it_is_a_counter_like_any_other_for_windows_that_overlap() -> None:
    clock = ReplayClock()
    combined = CombinedCounter({"gpu": counter(0.0, 10.0, 50.0, 60.0), "cpu": counter(0.0, 2.0, 4.0, 6.0)})
    meter = SharedMeter(combined, clock=clock)
    windows = []
    for _ in range(2):
        windows.append(meter.start())
        clock.sleep(1.0)
    energies = []
    for window in windows:
        energies.append(window.stop().energy_j or 0.0)
        clock.sleep(1.0)
    assert sum(energies) == pytest.approx(66.0)


@pytest.mark.parametrize("parts", [{}, {UNACCOUNTED: counter(0.0)}])
def test_no_parts_or_one_with_the_remainders_name_is_refused(parts: dict[str, ReplayCounter]) -> None:
    with pytest.raises(ConfigError, match="parts"):
        CombinedCounter(parts)


def test_a_meter_that_is_closed_ends_what_samples_for_every_instrument_below_it() -> None:
    gpu, wall = Sampled(), Sampled()
    unsampled = ReplayCounter([0.0])
    SharedMeter(IdleKnown(CombinedCounter({"gpu": gpu, "cpu": unsampled}, wall=wall), 10.0)).close()
    assert gpu.is_closed
    assert wall.is_closed
