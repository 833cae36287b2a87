"""The manifest has the framework's shape, and computing it by the plugins' formulas gives the report's score."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import yaml

from router.domain.catalogue import Catalogue
from router.domain.errors import RequestError
from router.domain.record import Turn
from router.service.benchmarks import BenchmarkEnergy
from router.service.manifest import manifest
from router.service.report import build_report
from router.service.report_figures import Period, Report
from router.service.tally import tally
from tests.service.federation import catalogue
from tests.service.ledgers import turn

MEASURED = BenchmarkEnergy(energy_j=5000.0, rows=10, runs=("a",), methods={"measured": 10})


def two_sites() -> Catalogue:
    federation = catalogue()
    site = federation.sites["local"]
    north = replace(site, name="north", pue=1.1, lifetime_s=9e7, resource_share=0.25)
    return replace(federation, sites={"local": site, "north": north})


TURNS = [
    turn(1),
    turn(2, energy_j=300.0, device_s=12.0, idle_j=120.0),
    turn(3, site="north", intensity_g_per_kwh=30.0, operational_g=100 * 30 * 1.1 / 3.6e6, pue=1.1,
         embodied_g=4 * 1000 * 0.25 / 9e7),
]  # fmt: skip


def report(turns: list[Turn] | None = None, federation: Catalogue | None = None) -> Report:
    return build_report(
        tally(TURNS if turns is None else turns), federation or two_sites(), Period(0.0, 3600.0), benchmarks=MEASURED
    )


def compute(data: dict[str, Any]) -> float:
    """The sum of the children's ``sci``, each plugin by its documented formula."""
    total = 0.0
    for child in data["tree"]["children"].values():
        (row,) = (dict(row) for row in child["inputs"])
        for name in child["pipeline"]["compute"]:
            plugin = data["initialize"]["plugins"][name]
            config = plugin["config"]
            if plugin["method"] == "Multiply":
                row[config["output-parameter"]] = math.prod(row[key] for key in config["input-parameters"])
            elif plugin["method"] == "Sum":
                row[config["output-parameter"]] = sum(row[key] for key in config["input-parameters"])
            elif plugin["method"] == "SciEmbodied":
                used = config["baseline-emissions"] * row["usage-ratio"] * (row["time"] / config["lifespan"])
                row[config["output-parameter"]] = used
            elif plugin["method"] == "Sci":
                row["sci"] = row["carbon"] / row[config["functional-unit"]]
            else:
                raise AssertionError(plugin["method"])
        total += float(row["sci"])
    return total


def check_shape(data: dict[str, Any]) -> None:
    """What the framework's own schema asks for."""
    assert set(data) <= {"name", "description", "tags", "initialize", "tree", "aggregation", "explainer"}
    assert isinstance(data["name"], str)
    assert set(data["tags"]) <= {"kind", "complexity", "category"}
    plugins = data["initialize"]["plugins"]
    for plugin in plugins.values():
        assert isinstance(plugin["path"], str)
        assert isinstance(plugin["method"], str)
        assert isinstance(plugin["config"], dict)
    for child in data["tree"]["children"].values():
        assert set(child["pipeline"]) <= {"observe", "regroup", "compute"}
        assert set(child["pipeline"]["compute"]) <= set(plugins)
        for row in child["inputs"]:
            assert row["timestamp"].endswith("Z")
            assert row["duration"] >= 1
            for name in ("energy", "pue", "grid/carbon-intensity", "time", "usage-ratio", "requests"):
                assert isinstance(row[name], int | float), name
            assert row["time"] > 0
            assert row["usage-ratio"] > 0


def test_the_score_computed_from_the_manifests_inputs_is_the_reports() -> None:
    found = report()
    data = yaml.safe_load(yaml.safe_dump(manifest(found, two_sites()), sort_keys=False))
    check_shape(data)
    assert set(data["tree"]["children"]) == {"local", "north"}
    assert compute(data) == pytest.approx(found.attributed.g_per_request, rel=1e-12)


def test_where_idle_is_unknown_the_manifest_is_of_the_marginal_score_and_says_so() -> None:
    found = report([replace(t, basis=replace(t.basis, idle_j=None)) for t in TURNS])
    assert found.attributed.g_per_request is None
    data = manifest(found, two_sites())
    check_shape(data)
    assert "idle power is not known" in data["description"]
    assert compute(data) == pytest.approx(found.marginal.g_per_request, rel=1e-12)


def test_the_routers_own_joules_are_in_it_where_no_request_ran_at_its_site() -> None:
    found = report([TURNS[2]])
    data = manifest(found, two_sites())
    check_shape(data)
    assert set(data["tree"]["children"]) == {"north", "local"}
    assert compute(data) == pytest.approx(found.attributed.g_per_request, rel=1e-12)


def test_without_a_score_there_is_no_manifest() -> None:
    with pytest.raises(RequestError, match="no score"):
        manifest(report([]), two_sites())
