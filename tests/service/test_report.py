"""The report's score is the formula by hand, its parts sum to it, and what nobody knows is said, never 0."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.catalogue import Catalogue
from router.domain.record import Turn
from router.service.benchmarks import BenchmarkEnergy
from router.service.report import build_report
from router.service.report_figures import Assumptions, Period, Report
from router.service.tally import tally
from tests.service.federation import catalogue
from tests.service.ledgers import K1_G_PER_S, turn

HOUR = Period(0.0, 3600.0)
G_PER_J = 360.0 * 1.5 / 3.6e6
TURNS = [
    turn(1),
    turn(2, model="large", energy_j=300.0, device_s=12.0, idle_j=120.0, earlier_answers=1),
    turn(3, status="error", energy_j=60.0, wasted_j=60.0, device_s=2.0, idle_j=20.0, attempts=2),
]


def report(turns: list[Turn] = TURNS, federation: Catalogue | None = None, **changes: object) -> Report:
    return build_report(tally(turns), federation or catalogue(), HOUR, **changes)  # type: ignore[arg-type]


def test_the_score_is_the_formula_by_hand() -> None:
    found = report()
    joules = 100 + 300 + 60 + 3 * 1.0 + 10.0 * 3600
    assert found.attributed.g_per_request == pytest.approx((joules * G_PER_J + 3600 * K1_G_PER_S) / 2, rel=1e-9)
    marginal = (100 + 300 + 60 + 3 * 1.0) * G_PER_J + 18 * K1_G_PER_S
    assert found.marginal.g_per_request == pytest.approx(marginal / 2, rel=1e-9)
    assert found.marginal.g_per_token == pytest.approx(marginal / 100, rel=1e-9)
    assert found.marginal.g_per_conversation == pytest.approx(marginal / 1, rel=1e-9)


def test_the_published_hour_of_a_server_is_the_embodied_part_of_an_idle_hour() -> None:
    site = catalogue().sites["local"]
    assert site.embodied is not None
    big = replace(catalogue(), sites={"local": replace(site, embodied=replace(site.embodied, mid_g=1_100_000.0))})
    found = report([turn(1)], big)
    assert found.attributed.embodied_g_per_request == pytest.approx(31.39269406392694, rel=1e-9)


def test_components_sum_to_the_score_and_the_range_holds_it() -> None:
    for score in (report().attributed, report().marginal):
        assert score.operational_g_per_request is not None
        assert score.embodied_g_per_request is not None
        assert score.g_per_request == pytest.approx(
            score.operational_g_per_request + score.embodied_g_per_request, rel=1e-12
        )
        assert score.embodied_low_g_per_request is not None
        assert score.embodied_high_g_per_request is not None
        assert score.embodied_low_g_per_request < score.embodied_g_per_request < score.embodied_high_g_per_request


def test_components_in_joules_sum_to_what_the_device_took() -> None:
    assert math.fsum(part.energy_j or 0.0 for part in report().components) == pytest.approx(463 + 36_000)


def test_groups_of_a_site_sum_to_the_device_and_its_hardware() -> None:
    found = report()
    for groups in (found.by_option, found.by_category):
        joules = math.fsum((group.idle_j or 0.0) + (group.energy_j or 0.0) for group in groups)
        assert joules == pytest.approx(460 + 36_000)
        grams = math.fsum(group.attributed_g or 0.0 for group in groups)
        assert grams == pytest.approx((460 + 36_000) * G_PER_J + 3600 * K1_G_PER_S)


def test_failed_and_repeated_generations_are_charged_and_counted() -> None:
    repeated = turn(4, wasted_j=30.0, energy_j=130.0, attempts=3)
    found = report([turn(1), repeated, turn(5, status="cancelled", energy_j=7.0, wasted_j=7.0)])
    assert found.wasted_j == 37.0
    assert found.requests["generations"] == 5
    assert (found.requests["answered"], found.requests["cancelled"]) == (2, 1)
    generation = next(part for part in found.components if part.name == "generation")
    assert generation.energy_j == pytest.approx(237.0)


def test_idle_that_no_meter_sees_stays_unknown_and_says_what_to_state() -> None:
    turns = [replace(t, basis=replace(t.basis, idle_j=None)) for t in (turn(1, energy_method="modelled"),)]
    found = report(turns)
    assert found.attributed.g_per_request is None
    assert any("--idle-watts" in text for text in found.attributed.unknown)
    assert found.marginal.g_per_request is not None
    stated = report(turns, assumptions=Assumptions(idle_w={"local": 10.0}))
    assert stated.attributed.operational_g_per_request == pytest.approx((101 + 36_000) * G_PER_J)
    assert stated.coefficients["local"].idle_method == "sourced"


def test_idle_joules_a_meter_could_not_split_are_not_counted_twice() -> None:
    turns = [turn(1, idle_j=None, energy_j=140.0)]
    found = report(turns, assumptions=Assumptions(idle_w={"local": 10.0}))
    assert found.attributed.operational_g_per_request == pytest.approx((141 + 35_960) * G_PER_J)
    assert any("hold the idle" in note for note in found.notes)


def test_idle_watts_of_the_last_benchmark_run_are_used_where_the_meter_has_none() -> None:
    turns = [turn(1, idle_j=None, energy_method="modelled")]
    found = report(turns, benchmarks=BenchmarkEnergy(idle_w={"local": 20.0}))
    assert found.coefficients["local"].idle_w == 20.0
    assert "bench run" in found.coefficients["local"].idle_source


def test_hardware_of_unknown_make_leaves_the_score_unknown() -> None:
    site = replace(catalogue().sites["local"], embodied=None)
    found = report([turn(1, embodied_g=None)], replace(catalogue(), sites={"local": site}))
    assert found.attributed.g_per_request is None
    assert found.attributed.operational_g_per_request is not None
    assert any("embodied" in text for text in found.attributed.unknown)


def test_a_request_of_unknown_joules_is_in_no_sum_and_no_mean_and_is_counted() -> None:
    found = report([*TURNS, turn(4, energy_j=None, operational_g=None)])
    assert found.requests["of_unknown_energy"] == 1
    assert found.requests["answered"] == 3
    assert found.marginal.operational_g_per_request == pytest.approx((460 + 4 * 1.0) * G_PER_J / 2)
    assert any("1 requests" in note for note in found.notes)


def test_a_request_that_started_nothing_took_nothing() -> None:
    refused = turn(4, status="error", attempts=0, energy_j=None, operational_g=None, embodied_g=None, device_s=0.0)
    found = report([*TURNS, refused])
    assert found.requests["of_unknown_energy"] == 0
    assert found.marginal.embodied_g_per_request == report().marginal.embodied_g_per_request


def test_benchmark_joules_are_spread_over_the_stated_number_of_requests() -> None:
    measured = BenchmarkEnergy(energy_j=5000.0, rows=10, runs=("a",), methods={"measured": 10})
    found = report(benchmarks=measured, assumptions=Assumptions(amortised_over=1000))
    part = next(part for part in found.components if part.name == "benchmark")
    assert part.energy_j == pytest.approx(5000.0 * 2 / 1000)
    assert part.operational_g == pytest.approx(10.0 * G_PER_J)
    assert found.benchmark_energy_j == 5000.0
    assert found.amortised_over == 1000


def test_coefficients_carry_source_age_kind_and_range() -> None:
    old = turn(2, intensity_g_per_kwh=400.0, intensity_source="a web source", intensity_age_s=600.0,
               intensity_kind="marginal", intensity_is_stale=True)  # fmt: skip
    of = report([turn(1), old]).coefficients["local"]
    assert (of.intensity_low, of.intensity_g_per_kwh, of.intensity_high) == (360.0, 380.0, 400.0)
    assert of.intensity_sources == {"fixed": 1, "a web source": 1}
    assert of.intensity_kinds == {"average": 1, "marginal": 1}
    assert (of.intensity_age_most_s, of.intensity_stale) == (600.0, 1)
    assert of.embodied_g == (1.0, 1000.0, 2000.0)
    assert of.lifetime_s == 126_144_000.0
    assert of.pue == 1.5


def test_the_baseline_is_the_reference_by_the_same_method() -> None:
    found = report([turn(1)])
    assert found.baseline.option == {"large@L0": 1}
    assert found.baseline.g_per_request == pytest.approx(300.0 * G_PER_J + 12 * K1_G_PER_S)
    assert found.baseline.method == "modelled"


def test_an_empty_period_has_no_score_and_says_so() -> None:
    found = report([])
    assert found.attributed.g_per_request is None
    assert found.saving_of_requests.saved_g is None
    assert any("no request" in note for note in found.notes)


@given(
    joules=st.floats(1.0, 1e5), intensity=st.floats(1.0, 2000.0), embodied=st.floats(1.0, 1e7), less=st.floats(0.0, 1.0)
)
def test_the_score_falls_with_intensity_joules_and_embodied_carbon(
    joules: float, intensity: float, embodied: float, less: float
) -> None:
    def score(e: float, k0: float, g: float) -> float:
        site = catalogue().sites["local"]
        assert site.embodied is not None
        federation = replace(catalogue(), sites={"local": replace(site, embodied=replace(site.embodied, mid_g=g))})
        one = turn(1, energy_j=e, intensity_g_per_kwh=k0, operational_g=e * k0 * 1.5 / 3.6e6)
        found = report([one], federation).attributed.g_per_request
        assert found is not None
        return found

    whole = score(joules, intensity, embodied)
    for lower in (
        score(joules * less, intensity, embodied),
        score(joules, intensity * less, embodied),
        score(joules, intensity, embodied * less),
    ):
        assert lower <= whole * (1 + 1e-12)
