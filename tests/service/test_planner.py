"""The plan follows what it rests on: measurements, engines, intensity."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

from router.api.explain import plan_json
from router.backends.scripted import ScriptedBackend
from router.carbon.fixed import FixedIntensity
from router.domain.errors import StoreError
from router.domain.ports import IntensitySource
from router.domain.reading import Intensity
from router.service.assembly import Service
from router.service.planner import Memory, Planner
from router.service.traffic import Traffic
from router.store.memory import MemoryStore
from tests.service import federation


class Dial:
    """An intensity that a test can turn."""

    def __init__(self) -> None:
        self.value: float | None = 385.0

    async def intensity(self, zone: str | None) -> Intensity | None:
        return None if self.value is None else Intensity(self.value, zone, "dial")


async def test_nothing_changed_means_no_new_plan() -> None:
    service = federation.build()
    assert await service.planner.refresh()
    first = service.planner.current
    assert not await service.planner.refresh()
    assert service.planner.current is first
    await service.close()


async def test_new_measurements_are_planned_with() -> None:
    service = federation.build(measured=[])
    await service.planner.refresh()
    assert service.planner.current.decider is None
    rows = federation.measurements()
    service.store.add(rows, service.embedder.embed([row.prompt for row in rows]))
    assert await service.planner.refresh()
    assert service.planner.current.decider is not None
    await service.close()


async def test_a_model_that_arrives_joins_the_plan() -> None:
    backend = ScriptedBackend(models=("small",))
    service = federation.build(backend=backend)
    await service.planner.refresh()
    assert {option.model for option in service.planner.current.available} == {"small"}
    assert any("large" in note for note in service.planner.current.notes)
    backend._models = ("small", "large")
    assert await service.planner.refresh(force=True)
    assert {option.model for option in service.planner.current.available} == {"small", "large"}
    await service.close()


async def test_a_change_of_intensity_resolves_without_fitting_again() -> None:
    service = federation.build()
    dial = Dial()
    planner = Planner(service.catalogue, service.store, service.engines, {"local": dial})
    await planner.refresh()
    before = planner.current
    dial.value = 38.5
    assert await planner.refresh()
    after = planner.current
    assert before.decider is not None
    assert after.decider is not None
    assert after.decider.estimator is before.decider.estimator
    assert after.decider.plan is not None
    assert before.decider.plan is not None
    assert after.decider.plan.expected_g < before.decider.plan.expected_g
    await service.close()


async def test_without_any_intensity_there_is_no_plan_and_a_note_says_why() -> None:
    service = federation.build()
    dial = Dial()
    dial.value = None
    planner = Planner(service.catalogue, service.store, service.engines, {"local": dial})
    await planner.refresh()
    assert planner.current.decider is None
    assert planner.current.reference is not None
    assert any("no plan" in note for note in planner.current.notes)
    await service.close()


async def test_an_intensity_that_goes_leaves_the_old_plan_and_one_that_comes_makes_one() -> None:
    service = federation.build()
    dial = Dial()
    planner = Planner(service.catalogue, service.store, service.engines, {"local": dial})
    dial.value = None
    await planner.refresh()
    assert plan_json(planner.current)["plan"] is None
    dial.value = 385.0
    assert await planner.refresh()
    plan = planner.current.decider
    assert plan is not None
    dial.value = None
    assert await planner.refresh()
    assert planner.current.decider is plan
    assert any("an older one" in note for note in plan_json(planner.current)["notes"])
    assert not await planner.refresh(), "said once, and not tried every second"
    dial.value = 300.0
    assert await planner.refresh()
    assert not any("an older one" in note for note in plan_json(planner.current)["notes"])
    await service.close()


async def test_a_change_while_the_intensity_is_unknown_is_planned_with_the_last_known_one() -> None:
    service = federation.build()
    dial = Dial()
    planner = Planner(service.catalogue, service.store, service.engines, {"local": dial})
    await planner.refresh()
    dial.value = None
    await planner.refresh()
    service.store.add(more := federation.measurements(16)[15:16], service.embedder.embed([more[0].prompt]))
    assert await planner.refresh()
    assert planner.current.decider is not None
    assert len(planner.current.prompts) == len(federation.measurements()) + 1
    assert planner.current.intensities == {}, "records still say that it is not known"
    assert any("last known grid intensity at local" in note for note in plan_json(planner.current)["notes"])
    dial.value = 300.0
    assert await planner.refresh()
    assert not any("last known" in note for note in plan_json(planner.current)["notes"])
    await service.close()


async def test_what_traffic_there_was_is_written_when_the_service_closes(tmp_path: Path) -> None:
    file = tmp_path / "traffic.json"
    service = federation.build()
    memory = Memory(traffic=Traffic(file))
    service.planner = Planner(service.catalogue, service.store, service.engines, service.sources, memory=memory)
    service.planner.traffic.arrived()
    await service.close()
    assert json.loads(file.read_text())["rate_sum"] > 0.0


async def test_validation_prompts_stay_held_out() -> None:
    rows = [replace(row, split="validation" if i % 2 else "known") for i, row in enumerate(federation.measurements())]
    service = federation.build(measured=rows)
    await service.planner.refresh()
    decider = service.planner.current.decider
    assert decider is not None
    assert len(decider.estimator.known.ids) == sum(row.split == "known" for row in rows)
    await service.close()


async def test_the_fixed_source_ships_as_the_default() -> None:
    assert (await FixedIntensity(385.0).intensity("DE")) is not None


class Away(MemoryStore):
    """A store that cannot be asked while it is away; it says on which threads it was."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.threads: set[threading.Thread] = set()

    @property
    def generation(self) -> int:
        self.threads.add(threading.current_thread())
        if self.is_away:
            raise StoreError("the server does not answer")
        return super().generation


def kept_by(store: Away, service: Service, source: IntensitySource) -> Planner:
    """A planner of the service's federation over this store, with all of its rows."""
    rows = federation.measurements()
    store.add(rows, service.embedder.embed([row.prompt for row in rows]))
    return Planner(service.catalogue, store, service.engines, {"local": source})


async def test_while_the_store_is_away_everything_else_is_followed_and_the_notes_say_so() -> None:
    backend = ScriptedBackend(models=("small", "large"))
    service, store, dial = federation.build(backend=backend), Away(), Dial()
    planner = kept_by(store, service, dial)
    await planner.refresh()
    store.is_away, dial.value = True, 38.5
    backend._models = ("large",)
    assert await planner.refresh(force=True)
    assert planner.current.intensities["local"].g_per_kwh == 38.5
    assert {option.model for option in planner.current.available} == {"large"}
    assert planner.current.decider is not None, "planned with the rows that were read last"
    assert any("cannot be read, those read last stay" in note for note in plan_json(planner.current)["notes"])
    assert not await planner.refresh(), "said once, and not planned anew every second"
    store.is_away = False
    assert await planner.refresh()
    assert planner.current.trouble is None
    await service.close()


async def test_a_store_that_is_away_from_the_start_leaves_every_prompt_to_the_reference() -> None:
    service, store = federation.build(), Away()
    planner = kept_by(store, service, Dial())
    store.is_away = True
    await planner.refresh()
    assert planner.current.decider is None
    assert planner.current.reference is not None
    assert any("every prompt takes the reference" in note for note in plan_json(planner.current)["notes"])
    assert not any("the store is empty" in note for note in planner.current.notes)
    store.is_away = False
    assert await planner.refresh()
    assert planner.current.decider is not None
    await service.close()


async def test_the_event_loop_never_waits_for_the_store() -> None:
    service, store = federation.build(), Away()
    planner = kept_by(store, service, Dial())
    store.threads.clear()
    await planner.refresh()
    await planner.refresh()
    assert store.threads
    assert threading.current_thread() not in store.threads
    await service.close()
