"""Who stays in memory: from sizes and loading to the terms of the plan and what the plan says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.api.explain import plan_json
from router.domain.catalogue import Catalogue
from router.domain.chat import Message
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.memory import J_PER_BYTE, Load, measured_loads
from router.service.planner import Memory, Planner
from tests.service import federation


def crowded(service: Service, memory_bytes: float | None) -> Catalogue:
    """large: 1e9 parameters, .9 GB loaded; small: 1e8, .09 GB."""
    sites = {name: replace(site, memory_bytes=memory_bytes) for name, site in service.catalogue.sites.items()}  # type: ignore[arg-type]
    return replace(service.catalogue, sites=sites)


def planner(service: Service, memory_bytes: float | None, load: Load | None = None) -> Planner:
    loads = {} if load is None else {("local", "small"): load, ("local", "large"): load}
    return Planner(
        crowded(service, memory_bytes),
        service.store,
        service.engines,
        service.sources,
        memory=Memory(loads=lambda: loads),
    )


@pytest.mark.parametrize("memory_bytes", [None, 2e9])
async def test_where_all_fit_nothing_is_said_or_charged(memory_bytes: float | None) -> None:
    service = federation.build()
    plans = planner(service, memory_bytes)
    await plans.refresh(force=True)
    assert plans.current.residents == ()
    assert plans.current.decider is not None
    assert plans.current.decider.terms.load_j is None
    await service.close()


async def test_dear_loading_keeps_the_reference_in_and_the_small_model_out() -> None:
    service = federation.build()
    plans = planner(service, 9.5e8, Load(1e6, 100.0, "measured"))
    await plans.refresh(force=True)
    states = {r.model: r.state for r in plans.current.residents}
    assert states == {"large": "stays", "small": "out"}
    shown = plan_json(plans.current)
    assert any("small is not used" in note and "large stays" in note for note in shown["notes"])
    assert {r["model"]: r["load_method"] for r in shown["residency"]} == {"large": "measured", "small": "measured"}
    decider = plans.current.decider
    assert decider is not None
    small = [o for o, option in enumerate(decider.options) if option.model == "small"]
    assert decider.plan is not None
    assert decider.plan.x[:, small].sum() == 0.0
    await service.close()


async def test_a_model_that_is_left_out_still_answers_those_who_ask_for_it() -> None:
    service = federation.build()
    plans = planner(service, 9.5e8, Load(1e6, 100.0, "measured"))
    await plans.refresh(force=True)
    service.chooser._planner = plans
    choice = await service.chooser.choose(Ask((Message("user", "Which river is it?"),), "small"), dry_run=True)
    assert choice.decision.option.model == "small"
    await service.close()


async def test_cheap_loading_is_charged_to_every_visit() -> None:
    service = federation.build()
    plans = planner(service, 9.5e8, Load(0.5, 0.1, "measured"))
    await plans.refresh(force=True)
    states = {r.model: r.state for r in plans.current.residents}
    assert "out" not in states.values()
    decider = plans.current.decider
    assert decider is not None
    assert decider.terms.load_j is not None
    visiting = np.array([states[option.model] == "visits" for option in decider.options])
    assert decider.terms.load_j.tolist() == np.where(visiting, 0.5, 0.0).tolist()
    await service.close()


async def test_what_nobody_measured_is_estimated_from_the_bytes_and_says_so() -> None:
    service = federation.build()
    plans = planner(service, 9.5e8)
    await plans.refresh(force=True)
    large = next(r for r in plans.current.residents if r.model == "large")
    assert large.load.energy_j == pytest.approx(0.75e9 * J_PER_BYTE)
    assert "estimated" in large.load.method
    await service.close()


async def test_a_reference_that_does_not_fit_is_said_and_memory_is_left_out() -> None:
    service = federation.build()
    plans = planner(service, 1e8)
    await plans.refresh(force=True)
    assert plans.current.decider is not None
    assert any("does not fit" in note and "memory_bytes" in note for note in plan_json(plans.current)["notes"])
    await service.close()


def test_runs_tell_what_loading_took_and_later_ones_win(tmp_path: Path) -> None:
    first, second, broken = (tmp_path / name for name in ("a.runs.json", "b.runs.json", "c.runs.json"))
    first.write_text(
        json.dumps({"r": {"load_energy_j": {"local/m:1b": 5.0, "local/n": None}, "load_s": {"local/m:1b": 1.0}}})
    )
    second.write_text(json.dumps({"r": {"load_energy_j": {"local/m:1b": 7.0}, "load_s": {"local/m:1b": 2.0}}, "s": {}}))
    broken.write_text("{")
    assert measured_loads([first, second, broken, tmp_path / "none"]) == {("local", "m:1b"): Load(7.0, 2.0, "measured")}
