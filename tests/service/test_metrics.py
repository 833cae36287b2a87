"""Counters count what is known, never fall, and say apart what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.service.metrics import Metrics, Rising
from router.service.stats import Totals
from tests.service.ledgers import turn


def test_a_total_waits_where_its_sum_falls_and_counts_nothing_twice() -> None:
    total, shown = Rising(), []
    for amount in (2.0, -0.7, 0.5, 1.0):
        total.add(amount)
        shown.append(total.value)
    assert shown == pytest.approx([2.0, 2.0, 2.0, 2.8])


def test_joules_below_idle_of_a_short_window_do_not_turn_counters_back() -> None:
    metrics = Metrics()
    metrics.turn(turn(1, energy_j=10.0, router_energy_j=0.5))
    metrics.turn(turn(2, energy_j=-1.0, router_energy_j=-0.7))
    (energy,) = metrics.energy_j.values()
    assert (energy.value, metrics.router_energy_j.value) == (10.0, 0.5)


def test_routing_of_unknown_joules_is_counted_apart() -> None:
    metrics = Metrics()
    metrics.turn(turn(1, router_energy_j=None))
    assert (metrics.router_energy_j.value, metrics.router_energy_unknown) == (0.0, 1)


def test_what_started_nothing_is_not_of_unknown_joules() -> None:
    refused = turn(1, status="error", attempts=0, energy_j=None, operational_g=None, embodied_g=None, saved_g=None)
    metrics, sums = Metrics(), Totals()
    metrics.turn(refused)
    sums.add(refused)
    assert (sum(metrics.energy_unknown.values()), metrics.saved_unknown, sums.unknown["energy_j"]) == (0, 0, 0)
    failed = replace(refused, attempts=1)
    metrics.turn(failed)
    sums.add(failed)
    assert (sum(metrics.energy_unknown.values()), metrics.saved_unknown, sums.unknown["energy_j"]) == (1, 1, 1)
