"""What is unknown stays so, in the report too: for the request, the site or the row it is about, and for no others."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from router.domain.catalogue import Catalogue, Site
from router.domain.record import Turn
from router.service.benchmarks import BenchmarkEnergy
from router.service.manifest import manifest
from router.service.report import build_report
from router.service.report_figures import Assumptions, Component, Period, Report
from router.service.tally import tally
from tests.service.federation import catalogue
from tests.service.ledgers import K1_G_PER_S, turn
from tests.service.test_manifest import compute

HOUR = Period(0.0, 3600.0)
G_PER_J = 360.0 * 1.5 / 3.6e6
TURNS = [turn(1), turn(2, energy_j=300.0, device_s=12.0, idle_j=120.0)]
UNKNOWN = turn(3, energy_j=None, energy_method=None, operational_g=None, device_s=4.0, idle_j=None)


def report(turns: list[Turn], federation: Catalogue | None = None, **changes: object) -> Report:
    return build_report(tally(turns), federation or catalogue(), HOUR, **changes)  # type: ignore[arg-type]


def with_site(name: str, **changes: object) -> Catalogue:
    federation = catalogue()
    own = federation.sites["local"]
    site: Site = replace(own, name=name, **changes)  # type: ignore[arg-type]
    return replace(federation, sites={name: site, "local": own})


def part(found: Report, name: str, site: str = "local") -> Component:
    return next(component for component in found.components if (component.name, component.site) == (name, site))


def test_routing_of_unknown_joules_is_taken_as_that_of_the_other_requests() -> None:
    found = report([*TURNS, turn(3, router_energy_j=None)])
    assert part(found, "router").energy_j == pytest.approx(3.0)
    assert part(found, "router").method == "modelled"
    assert "of 1 requests not known" in part(found, "router").source
    assert found.attributed.g_per_request is not None


def test_routing_that_nothing_meters_is_unknown() -> None:
    found = report([turn(1, router_energy_j=None), turn(2, router_energy_j=None)])
    assert part(found, "router").energy_j is None
    assert found.marginal.g_per_request is None
    assert any("nothing meters this machine" in text for text in found.marginal.unknown)


def test_benchmark_rows_of_unknown_joules_are_left_out_and_said() -> None:
    found = report(TURNS, benchmarks=BenchmarkEnergy(energy_j=5000.0, rows=11, unknown=1, methods={"measured": 10}))
    assert found.attributed.g_per_request is not None
    assert any("1 benchmark rows" in note for note in found.notes)


def test_a_benchmark_is_charged_once_however_many_requests_there_were() -> None:
    measured = BenchmarkEnergy(energy_j=5000.0, rows=10, methods={"measured": 10})
    found = report(TURNS * 10, benchmarks=measured, assumptions=Assumptions(amortised_over=10))
    assert part(found, "benchmark").energy_j == 5000.0
    assert "whole" in part(found, "benchmark").source


def test_components_groups_and_manifest_agree_where_a_request_is_unknown() -> None:
    found = report([*TURNS, UNKNOWN])
    joules = math.fsum(component.operational_g or 0.0 for component in found.components)
    assert found.attributed.operational_g_per_request == pytest.approx(joules / 2)
    assert compute(manifest(found, catalogue())) == pytest.approx(found.attributed.g_per_request)
    known_part = 16.0 / 20.0
    assert part(found, "idle").energy_j == pytest.approx(10.0 * 3600 * known_part)
    assert "80.0% of it" in part(found, "idle").source
    for groups in (found.by_option, found.by_category):
        grams = math.fsum(group.attributed_g or 0.0 for group in groups)
        assert grams == pytest.approx((400 + 36_000 * known_part) * G_PER_J + 3600 * known_part * K1_G_PER_S)


def test_a_site_of_which_nothing_is_known_does_not_touch_the_others() -> None:
    federation = with_site("far", url="http://10.0.0.5:11434")
    far = [replace(UNKNOWN, id=f"far-{n}", carbon=replace(UNKNOWN.carbon, site="far")) for n in range(2)]
    far = [replace(t, basis=replace(t.basis, device_s=400.0)) for t in far]
    alone, found = report(TURNS), report([*TURNS, *far], federation)
    router_g = 2.0 * G_PER_J
    assert found.attributed.g_per_request == pytest.approx((alone.attributed.g_per_request or 0.0) + router_g / 2)
    assert (part(found, "generation", "far").energy_j, part(found, "generation", "far").method) == (None, None)
    group = next(group for group in found.by_option if group.site == "far")
    assert (group.energy_j, group.operational_g, group.attributed_g) == (None, None, None)
    assert any("nothing is known of what requests took at far" in note for note in found.notes)
    assert compute(manifest(found, federation)) == pytest.approx(found.attributed.g_per_request)


def test_sites_of_one_machine_are_charged_its_idle_joules_once() -> None:
    federation = with_site("second", url="http://127.0.0.1:11434")
    second = [turn(4, site="second", device_s=4.0), turn(5, site="second", device_s=12.0, idle_j=120.0)]
    found = report([*TURNS, *second], federation)
    idle_j = [part(found, "idle", name).energy_j for name in ("local", "second")]
    assert idle_j == pytest.approx([18_000.0, 18_000.0])
    assert "other sites are on the same machine" in part(found, "idle").source


def test_the_router_runs_on_the_site_that_is_this_machine() -> None:
    federation = with_site("gpu", url="http://10.0.0.5:11434", pue=1.1)
    assert next(iter(federation.sites)) == "gpu"
    assert part(report(TURNS, federation), "router").site == "local"


def test_joules_that_hold_idle_ones_are_known_by_what_the_meter_said() -> None:
    stated = Assumptions(idle_w={"local": 10.0})
    mixed = turn(1, energy_j=140.0, energy_method="modelled", idle_j=None, holds_idle=True)
    found = report([mixed], assumptions=stated)
    assert part(found, "idle").energy_j == pytest.approx(35_960.0)
    assert any("hold the idle" in note for note in found.notes)
    busy_only = turn(1, energy_j=100.0, energy_method="measured", idle_j=None, holds_idle=False)
    assert part(report([busy_only], assumptions=stated), "idle").energy_j == pytest.approx(36_000.0)


def test_idle_watts_that_models_yaml_states_are_not_called_measured() -> None:
    federation = catalogue()
    site = replace(federation.sites["local"], idle_w=10.0)
    found = report(TURNS, replace(federation, sites={"local": site}))
    assert (part(found, "idle").method, part(found, "idle").source) == ("sourced", "idle_w in models.yaml")


def answered_elsewhere(**own: object) -> Report:
    """Everything was answered at `far`; the router's own machine is `local`, whose intensity a source would say."""
    federation = with_site("far", url="http://10.0.0.5:11434", zone="DE", intensity_g_per_kwh=None)
    local = replace(federation.sites["local"], intensity_g_per_kwh=None, **own)  # type: ignore[arg-type]
    federation = replace(federation, sites={**federation.sites, "local": local})
    return report([turn(n, site="far") for n in (1, 2)], federation)


def test_a_router_that_answers_nothing_itself_takes_the_intensity_of_its_zone() -> None:
    found = answered_elsewhere(zone="DE")
    assert part(found, "router").operational_g == pytest.approx(2.0 * 360.0 / 3.6e6)
    assert "intensity of far" in part(found, "router").source
    assert found.marginal.g_per_request is not None


def test_a_router_in_a_zone_of_its_own_takes_the_figure_stated_for_when_nobody_tells() -> None:
    found = answered_elsewhere(zone="FR", intensity_fallback_g_per_kwh=50.0)
    assert part(found, "router").operational_g == pytest.approx(2.0 * 50.0 / 3.6e6)
    assert "intensity_fallback_g_per_kwh" in part(found, "router").source


def test_no_intensity_is_made_up_for_a_router_in_a_zone_nobody_tells_of() -> None:
    found = answered_elsewhere(zone="FR")
    assert part(found, "router").operational_g is None
    assert any("grid intensity at local" in text for text in found.marginal.unknown)
