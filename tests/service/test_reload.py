"""models.yaml changes while the router serves: good changes are taken over whole, bad ones change nothing."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from router.backends.scripted import Fault, ScriptedBackend
from router.carbon.fixed import FixedIntensity
from router.config.federation import load_catalogue
from router.config.settings import Settings
from router.domain.catalogue import Catalogue, Site
from router.domain.chat import Message
from router.domain.errors import ConfigError, StoreError
from router.domain.ports import IntensitySource
from router.meters.none import NoMeter
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.engines import Engine, Engines
from router.service.progress import Done
from router.service.reload import Reloader
from router.service.wiring import build_reloader
from tests.meters.sampled import Sampled
from tests.service import federation

BEGIN = """
directives: {L0: "", L1: "Be brief."}
sites: {local: {engine: scripted, intensity_g_per_kwh: 385}}
models:
  small: {parameters: 1e8}
"""
WITH_A_SECOND = BEGIN + "  large: {parameters: 1e9}\n"
WITH_A_SITE = """
sites:
  local: {engine: scripted, intensity_g_per_kwh: 385}
  other: {engine: scripted, intensity_g_per_kwh: 20}
models:
  small: {parameters: 1e8}
  large: {parameters: 1e9, sites: [other]}
"""


@dataclass
class World:
    file: Path
    service: Service = field(init=False)
    built: list[ScriptedBackend] = field(default_factory=list)
    closed: list[ScriptedBackend] = field(default_factory=list)

    def build_engine(self, site: Site, catalogue: Catalogue) -> Engine:
        if site.url == "http://no-key":
            raise ConfigError("the environment variable KEY is not set", key="sites.local.api_key_env")
        world = self

        class Closing(ScriptedBackend):
            async def close(self) -> None:
                world.closed.append(self)

        backend = Closing(models=[name for name, model in catalogue.models.items() if site.name in model.sites])
        self.built.append(backend)
        return Engine(site, backend, NoMeter())

    def write(self, text: str) -> None:
        replacement = self.file.with_suffix(".new")
        replacement.write_text(text)
        os.replace(replacement, self.file)

    async def models(self) -> set[str]:
        await self.service.planner.refresh()
        return {option.model for option in self.service.planner.current.available}

    async def answer(self, model: str) -> str:
        events = [event async for event in self.service.runner.run(Ask((Message("user", "hello"),), model))]
        assert isinstance(events[-1], Done)
        return events[-1].turn.carbon.site


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    here = World(tmp_path / "models.yaml")
    here.write(BEGIN)
    reloader = Reloader(here.file, load_catalogue, here.build_engine, lambda site: FixedIntensity(20.0))
    here.service = federation.build(measured=[], models=("small",), reloader=reloader)
    await here.service.planner.refresh(force=True)
    yield here
    await here.service.close()


async def test_a_model_that_is_added_answers_without_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert await here.models() == {"small"}
        here.write(WITH_A_SECOND)
        assert await here.models() == {"small", "large"}
        assert await here.answer("large") == "local"
        assert "large" in here.service.catalogue.models


async def test_a_site_that_is_added_gets_an_engine_and_its_own_intensity(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.write(WITH_A_SITE)
        await here.models()
        assert await here.answer("large") == "other"
        assert here.service.planner.current.intensities["other"].g_per_kwh == 20.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("models: [", "not valid YAML"),
        ("", "empty"),
        (WITH_A_SECOND.replace("parameters: 1e9", "parametres: 1e9"), "parametres"),
        (WITH_A_SECOND + "embedding_model: another\n", "restart the server"),
        (WITH_A_SECOND.replace("engine: scripted", "engine: scripted, url: 'http://no-key'"), "KEY is not set"),
    ],
)
async def test_a_bad_file_changes_nothing_and_the_reason_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    async with world(tmp_path) as here:
        before = here.service.catalogue
        here.write(text)
        assert await here.models() == {"small"}
        assert here.service.catalogue is before
        assert why in (here.service.planner.current.trouble or "")
        assert why in caplog.text
        assert await here.answer("small") == "local"
        here.write(WITH_A_SECOND)
        assert await here.models() == {"small", "large"}
        assert here.service.planner.current.trouble is None


def unasked(site: Site) -> IntensitySource:
    pytest.fail(f"nobody asks for the intensity of {site.name}")


async def test_a_change_while_the_server_starts_is_not_missed_and_no_change_is_none(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(BEGIN)
    at_start = load_catalogue(file)
    reloader = Reloader(file, load_catalogue, lambda site, catalogue: pytest.fail(site.name), unasked)
    assert reloader.poll(at_start, {}, {"local": FixedIntensity(1.0)}) is None
    file.touch()
    assert reloader.poll(at_start, {}, {"local": FixedIntensity(1.0)}) is None
    file.write_text(WITH_A_SECOND)
    begun = Reloader(file, load_catalogue, lambda site, catalogue: Engine(site, ScriptedBackend(), NoMeter()), unasked)
    reloaded = begun.poll(at_start, {}, {"local": FixedIntensity(1.0)})
    assert reloaded is not None
    assert "large" in reloaded.catalogue.models


def test_another_meter_is_used_at_the_next_start_and_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    text = BEGIN.replace(
        "intensity_g_per_kwh: 385", "intensity_g_per_kwh: 385, watts_per_core: {watts}, slots: {slots}"
    )

    def write(watts: int, slots: int) -> None:
        file.write_text(text.replace("{watts}", str(watts)).replace("{slots}", str(slots)))

    write(4, 1)
    catalogue, meter = load_catalogue(file), NoMeter()
    engines: Mapping[str, Engine] = {"local": Engine(catalogue.sites["local"], ScriptedBackend(), meter)}
    sources: Mapping[str, IntensitySource] = {"local": FixedIntensity(1.0)}
    reloader = Reloader(
        file,
        load_catalogue,
        lambda site, catalogue: Engine(site, ScriptedBackend(), meter),
        lambda site: sources["local"],
    )
    for watts, slots, is_said in ((4, 2, False), (8, 2, True), (8, 3, True), (4, 3, False)):
        write(watts, slots)
        reloaded = reloader.poll(catalogue, engines, sources)
        assert reloaded is not None
        catalogue, engines, sources = reloaded.catalogue, reloaded.engines, reloaded.sources
        assert ("when the server starts again" in (reloader.trouble or "")) is is_said


def test_an_edit_that_leaves_the_grid_alone_keeps_what_its_source_remembers(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    sites = "sites: {{a: {{engine: scripted, zone: {zone}, slots: {slots}}}, b: {{engine: scripted, zone: DE}}}}\n"
    models = "models: {small: {sites: [a, b]}}\n"
    file.write_text(sites.format(zone="DE", slots=1) + models)
    before = load_catalogue(file)
    source, other = FixedIntensity(1.0), FixedIntensity(2.0)
    reloader = Reloader(
        file, load_catalogue, lambda site, catalogue: Engine(site, ScriptedBackend(), NoMeter()), lambda site: other
    )
    engines = {name: Engine(before.sites[name], ScriptedBackend(), NoMeter()) for name in "ab"}
    file.write_text(sites.format(zone="DE", slots=4) + models)
    reloaded = reloader.poll(before, engines, {"a": source, "b": source})
    assert reloaded is not None
    assert reloaded.sources == {"a": source, "b": source}
    file.write_text(sites.format(zone="FR", slots=4) + models)
    moved = reloader.poll(reloaded.catalogue, reloaded.engines, reloaded.sources)
    assert moved is not None
    assert moved.sources == {"a": other, "b": source}


async def test_a_file_that_vanishes_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.file.unlink()
        assert await here.models() == {"small"}
        assert "no such file" in (here.service.planner.current.trouble or "")


async def test_a_bad_change_that_is_undone_is_no_trouble_any_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.write("models: [")
        await here.models()
        here.write(BEGIN)
        await here.models()
        assert here.service.planner.current.trouble is None


async def test_an_engine_whose_site_stayed_the_same_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.write(WITH_A_SECOND)
        await here.models()
        engine = here.service.engines.engine("local")
        here.write(WITH_A_SECOND + "floor: .9\n")
        await here.models()
        assert here.service.engines.engine("local") is engine
        assert str(here.service.planner.current.catalogue.floor) == "0.9"


async def test_an_answer_under_way_ends_on_the_old_engine_which_is_closed_afterwards(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.write(WITH_A_SECOND)
        await here.models()
        old = here.built[-1]
        old.faults["small"] = Fault("hang", after=1, times=1)
        task = asyncio.create_task(here.answer("small"))
        while not old.running:
            await asyncio.sleep(0.01)
        here.write(BEGIN)
        assert await here.models() == {"small"}
        assert old.running == 1
        assert old not in here.closed
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await here.service.engines.refresh(force=True)
        assert old in here.closed


async def test_a_change_that_was_read_is_used_although_that_refresh_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as here:
        here.write(BEGIN + "floor: .8\n")
        await here.models()
        here.write(BEGIN + "floor: .9\n")  # nothing else that a plan rests on changes with it
        planner = here.service.planner

        def fail(*_: object) -> None:
            raise StoreError("something went wrong")

        monkeypatch.setattr(planner, "_plan", fail)
        with pytest.raises(StoreError):
            await planner.refresh()
        monkeypatch.undo()
        assert str(here.service.catalogue.floor) == "0.8"
        assert await planner.refresh(), "the file has not changed again, but its change is still due"
        assert str(here.service.catalogue.floor) == "0.9"
        assert not await planner.refresh()


async def test_an_engine_that_is_replaced_takes_its_own_meter_along_and_leaves_that_of_this_machine() -> None:
    counters = {"far": Sampled(), "near": Sampled()}
    sites = {"far": Site("far", url="http://10.0.0.7:11434"), "near": Site("near")}
    engines = Engines(
        {name: Engine(sites[name], ScriptedBackend(), SharedMeter(counters[name])) for name in ("far", "near")}
    )
    engines.exchange({})
    await engines.refresh()
    assert counters["far"].is_closed
    assert not counters["near"].is_closed


def samplers() -> int:
    return sum(thread.name == "power samples" for thread in threading.enumerate())


LAB = """
sites:
  local: {engine: scripted, intensity_g_per_kwh: 385}
  lab: {engine: ollama, url: "http://10.0.0.7:11434", intensity_g_per_kwh: 20, wall: {url: "http://127.0.0.1:9/x"}}
models:
  small: {parameters: 1e8}
"""


async def test_a_reload_opens_one_meter_and_it_keeps_the_idle_watts_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    here = World(tmp_path / "models.yaml")
    settings = Settings(data_dir=tmp_path, models_file=here.file)
    settings.measurements_dir.mkdir(parents=True)
    phase = {"lab": {"idle_w": 60.0, "source": "wall: http://127.0.0.1:9/x (apower)"}}
    (settings.measurements_dir / "a.runs.json").write_text(json.dumps({"a": {"baseline": phase}}))
    here.write(LAB)
    before = load_catalogue(here.file)
    shared = SharedMeter(ReplayCounter([0.0]))
    engines = {name: Engine(site, ScriptedBackend(), shared) for name, site in before.sites.items()}
    sources = {name: FixedIntensity(20.0) for name in before.sites}
    reloader, were = build_reloader(settings, shared, None), samplers()

    here.write(LAB + "  large: {parameters: 1e9, sites: [local, lab]}\n")
    reloaded = reloader.poll(before, engines, sources)
    assert reloaded is not None
    meters = {name: engine.meter for name, engine in reloaded.engines.items()}
    assert meters["local"] is shared
    assert isinstance(meters["lab"], SharedMeter)
    assert meters["lab"].counter.idle_w == 60.0
    assert samplers() == were + 1
    await reloaded.engines["lab"].close()
    assert samplers() == were

    refused = "  locked: {engine: ollama, url: 'http://10.0.0.8:1', intensity_g_per_kwh: 20, api_key_env: MISSING}\n"
    here.write(LAB.replace("models:", refused + "models:") + "  huge: {parameters: 1e10, sites: [local, lab]}\n")
    assert reloader.poll(before, engines, sources) is None
    assert "MISSING" in (reloader.trouble or "")
    assert samplers() == were, "a change that is refused leaves nothing running"
