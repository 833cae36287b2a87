"""The carbon record charges what was wasted, and says unknown where anything is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.catalogue import Embodied, Floor, Option, Site
from router.domain.decision import Decision
from router.domain.reading import Intensity, Reading
from router.domain.record import CarbonRecord
from router.service.accounting import Attempt, Places, basis_of, carbon_record, total_energy_j

SITE = Site("local", pue=1.5, embodied=Embodied(1, 1000.0, 3, "s"), lifetime_s=1000.0)
OPTION = Option("m", "L1")


def reading(energy_j: float | None, device_s: float | None = 2.0) -> Reading:
    return Reading(energy_j, None, device_s, "measured", "a meter")


FIXED = Intensity(360.0, "DE", "fixed")


PLACES = Places(
    {"local": SITE, "remote": replace(SITE, name="remote", pue=1.0)},
    {"local": FIXED, "remote": Intensity(36.0, "NO", "fixed", "marginal", estimated=True)},
)


DECISION = Decision(OPTION, "joint", "math", 0.9, (), (), (), Option("big"), 5.0, "because")


def record(*attempts: Attempt, intensity: Intensity | None = FIXED, decision: Decision = DECISION) -> CarbonRecord:
    return carbon_record(
        decision,
        attempts,
        places=PLACES if intensity else Places({"local": SITE}, {}),
        floor=Floor(),
        overhead_s=0.01,
        router_energy_j=None,
        fallback=None,
    )


def test_grams_follow_from_joules_seconds_intensity_and_pue() -> None:
    carbon = record(Attempt(OPTION, reading(10_000.0)))
    assert carbon.operational_g == pytest.approx(10_000.0 * 360.0 * 1.5 / 3.6e6)
    assert carbon.embodied_g == pytest.approx(2.0)
    assert carbon.saved_g == pytest.approx(5.0 - 1.5 - 2.0)
    assert carbon.overhead_ms == pytest.approx(10.0)
    assert carbon.energy_method == "measured"


def test_wasted_attempts_are_charged() -> None:
    carbon = record(Attempt(Option("other"), reading(100.0), "backend_unavailable"), Attempt(OPTION, reading(50.0)))
    assert carbon.energy_j == 150.0
    assert carbon.embodied_g == pytest.approx(4.0)
    assert carbon.model == "m"


def test_one_unknown_attempt_makes_the_sum_unknown() -> None:
    carbon = record(Attempt(OPTION, reading(None)), Attempt(OPTION, reading(50.0)))
    assert carbon.energy_j is None
    assert carbon.operational_g is None
    assert carbon.saved_g is None
    assert carbon.energy_method is None


def test_without_intensity_the_joules_remain_and_the_grams_are_unknown() -> None:
    carbon = record(Attempt(OPTION, reading(50.0)), intensity=None)
    assert carbon.energy_j == 50.0
    assert carbon.operational_g is None


def test_nothing_started_means_unknown_not_zero() -> None:
    assert total_energy_j([]) is None


def test_an_attempt_is_charged_where_it_ran() -> None:
    there = Attempt(Option("m", "L0", "remote"), reading(3.6e6), "backend_unavailable")
    assert record(there, Attempt(OPTION, reading(0.0))).operational_g == pytest.approx(36.0)


def test_a_sum_calls_itself_by_its_weakest_method() -> None:
    modelled = Attempt(OPTION, replace(reading(1.0), method="modelled"), "backend_unavailable")
    assert record(modelled, Attempt(OPTION, reading(1.0))).energy_method == "modelled"


def test_a_plan_without_the_embodied_part_is_compared_without_it() -> None:
    decision = replace(DECISION, is_embodied_priced=False)
    carbon = record(Attempt(OPTION, reading(10_000.0)), decision=decision)
    assert carbon.saved_g == pytest.approx(5.0 - 1.5)


def test_the_basis_keeps_what_was_wasted_and_the_baseline_at_its_own_site() -> None:
    decision = replace(
        DECISION, reference=Option("big", "L0", "remote"), reference_energy_j=3.6e6, reference_device_s=7.0
    )
    wasted = Attempt(Option("m", "L0", "remote"), Reading(100.0, 4.0, 1.0, "measured", "a meter"), "backend_timeout")
    basis = basis_of(
        decision, [wasted, Attempt(OPTION, Reading(50.0, 8.0, 2.0, "measured", "a meter"))], places=PLACES,
        earlier_answers=3,
    )  # fmt: skip
    assert (basis.wasted_j, basis.device_s, basis.idle_j, basis.earlier_answers) == (100.0, 3.0, 12.0, 3)
    assert basis.reference == "remote/big@L0"
    assert basis.reference_operational_g == pytest.approx(36.0)
    assert (basis.pue, basis.energy_source, basis.holds_idle) == (1.5, "a meter", False)


def test_an_answer_that_failed_wasted_all_its_joules_and_one_never_started_none() -> None:
    failed = Attempt(OPTION, reading(50.0), "backend_timeout")
    assert basis_of(DECISION, [failed], places=PLACES, earlier_answers=0).wasted_j == 50.0
    never = basis_of(DECISION, [], places=PLACES, earlier_answers=0)
    assert (never.wasted_j, never.device_s) == (0.0, 0.0)
