"""A run on a machine that is cool, idle before it begins, and watched; meters are played back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.recordings.synthetic import IDLE_W
from bench.run_conditions import DISTURBED, OFF, Conditions, Discipline
from bench.run_generate import Bounds
from bench.run_jobs import Present, Selection, missing_jobs
from bench.run_machine import Business, Watch
from bench.run_output import Output, read_present, read_runs, runs_file
from bench.runner import Rig, Runner
from router.backends.scripted import Pace, ScriptedBackend
from router.domain.ports import Meter
from router.domain.reading import Reading
from router.domain.record import Measurement
from router.meters.combined import CombinedCounter
from router.meters.modelled import BusyCoreCounter
from router.meters.nvml import NvmlCounter
from router.meters.recording import RecordedGpu, Recording, ReplayClock
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from tests.bench.scripted_run import CATALOGUE, ITEMS, reply

FOLDER = Path(__file__).parents[2] / "bench" / "recordings"
QUICK = Bounds(deadline_s=5.0, backoff_s=(0.0, 0.0))
ONE = Selection(models=["small"], directives=["L0"])


class Alone(Watch):
    """A machine whose other processes do what the test says."""

    def __init__(self, others: float = 0.0, steal: float = 0.0) -> None:
        super().__init__()
        self.business = Business(others, steal)

    def lap(self) -> Business:
        return self.business

    def summary(self) -> dict[str, Any]:
        return {"flags": []}


def conditions(clock: ReplayClock, discipline: Discipline = OFF, **more: Any) -> Conditions:
    usual: dict[str, Any] = {
        "watch": Alone(),
        "processor_c": lambda: None,
        "processor_throttled": lambda: None,
        "clock": clock,
        "sleep": clock.sleep,
    }
    return Conditions(discipline, **(usual | more))


async def run(path: Path, kept: Conditions, meter: Meter, *, selection: Selection = ONE, n: int = 3) -> Runner:
    backend = ScriptedBackend(
        lambda model, messages: "hello" if "hello" in messages[-1].content else reply(model, messages),
        models=CATALOGUE.models,
    )
    with Output(path) as output:
        jobs = missing_jobs(ITEMS[:n], selection.options(CATALOGUE), selection, [Present()], CATALOGUE, {})
        runner = Runner(Rig(CATALOGUE, {"local": backend}, {"local": meter}), output, bounds=QUICK, conditions=kept)
        await runner.run(jobs)
    return runner


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line)["outcomes"][0] for line in path.read_text(encoding="utf-8").splitlines()]


def entry(path: Path) -> Mapping[str, Any]:
    (found,) = read_runs(path).values()
    return found


def gpu(clock: ReplayClock, name: str = "synthetic-nvml.jsonl") -> NvmlCounter:
    recorded = RecordedGpu(Recording.load(FOLDER / name), clock)
    return NvmlCounter([recorded], clock=clock, sample_in_background=False)


async def test_idle_watts_are_measured_before_anything_is_loaded_and_rows_tell_idle_joules(tmp_path: Path) -> None:
    clock = ReplayClock()
    path = tmp_path / "out.jsonl"
    meter = SharedMeter(gpu(clock), clock=clock)
    await run(path, conditions(clock, Discipline(0.0, 4.0)), meter)

    found = entry(path)["baseline"]["local"]
    assert found["idle_w"] == pytest.approx(IDLE_W, rel=0.03)
    assert found["duration_s"] == pytest.approx(4.0)
    assert all(row["idle_j"] is not None for row in rows(path))
    assert entry(path)["meters"]["local"] == "nvml: recorded GPU #0 (energy counter)"


async def test_a_baseline_is_taken_once_although_a_run_has_several_parts() -> None:
    clock = ReplayClock()
    kept = conditions(clock, Discipline(0.0, 4.0))
    meter = SharedMeter(gpu(clock), clock=clock)
    first, _ = await kept.begin({"local": meter, "twin": meter})
    second, entry_of_second = await kept.begin({"local": meter})

    assert clock.now_s == pytest.approx(4.0)
    assert first["local"] is first["twin"] is second["local"]
    assert entry_of_second["local"]["idle_w"] is not None


async def test_a_modelled_meter_has_no_idle_joules_and_the_run_says_why() -> None:
    clock = ReplayClock()
    meter = SharedMeter(BusyCoreCounter(4.0), clock=clock)
    meters, found = await conditions(clock, Discipline(0.0, 4.0)).begin({"local": meter})

    assert clock.now_s == 0.0
    assert meters["local"] is meter
    assert found["local"]["idle_w"] is None
    assert "busy work only" in found["local"]["why"]


async def test_of_a_measured_and_a_modelled_part_the_measured_ones_idle_is_known() -> None:
    clock = ReplayClock()
    meter = SharedMeter(CombinedCounter({"gpu": gpu(clock), "cpu": BusyCoreCounter(0.0)}), clock=clock)
    _, found = await conditions(clock, Discipline(0.0, 4.0)).begin({"local": meter})

    assert found["local"]["idle_w"] == pytest.approx(IDLE_W, rel=0.03)


async def test_a_meter_that_fails_in_the_baseline_phase_leaves_idle_unknown_with_the_reason() -> None:
    clock = ReplayClock()
    meter = SharedMeter(gpu(clock, "synthetic-nvml-lost.jsonl"), clock=clock)
    clock.now_s = 11.0
    meters, found = await conditions(clock, Discipline(0.0, 4.0)).begin({"local": meter})

    assert found["local"]["idle_w"] is None
    assert "lost" in found["local"]["why"]
    assert meters["local"] is meter


async def test_a_busy_machine_in_the_baseline_phase_is_told() -> None:
    clock = ReplayClock()
    said: list[str] = []
    kept = conditions(clock, Discipline(0.0, 4.0), watch=Alone(others=0.4), say=said.append)
    _, found = await kept.begin({"local": SharedMeter(gpu(clock), clock=clock)})

    assert found["local"]["busy_share"] == 0.4
    assert any("40% of this machine in the baseline phase" in text for text in said)


def cooling(clock: ReplayClock, from_c: float, per_s: float) -> Callable[[], float]:
    return lambda: from_c - per_s * clock.now_s


async def test_a_warm_machine_is_waited_for_before_a_row() -> None:
    clock = ReplayClock()
    kept = conditions(clock, Discipline(60.0, 0.0), processor_c=cooling(clock, 75.0, 0.5))
    await kept.before_row()

    assert clock.now_s == pytest.approx(30.0)
    assert kept.after_row() == {}
    assert kept.summary()["cool_down"] == {"limit_c": 60.0, "waits": 1, "waited_s": 30.0, "hottest_c": 75.0}


async def test_zero_degrees_means_that_nobody_waits() -> None:
    clock = ReplayClock()
    kept = conditions(clock, OFF, processor_c=lambda: 95.0)
    await kept.before_row()

    assert clock.now_s == 0.0
    assert kept.after_row() == {}


async def test_a_room_that_never_cools_is_waited_for_once_and_rows_say_how_hot_they_began() -> None:
    clock = ReplayClock()
    said: list[str] = []
    degrees = [80.0]
    kept = conditions(
        clock, Discipline(60.0, 0.0, longest_wait_s=20.0), processor_c=lambda: degrees[0], say=said.append
    )
    for _ in range(3):
        await kept.before_row()
        assert kept.after_row() == {"hot_c": 80.0}
    assert clock.now_s == pytest.approx(20.0)
    assert len(said) == 1

    degrees[0] = 50.0
    await kept.before_row()
    assert kept.after_row() == {}
    degrees[0] = 80.0
    await kept.before_row()
    assert clock.now_s == pytest.approx(40.0)


async def test_a_gpu_says_its_own_temperature() -> None:
    clock = ReplayClock()
    kept = conditions(clock, Discipline(60.0, 0.0, longest_wait_s=5.0))
    await kept.begin({"local": SharedMeter(gpu(clock), clock=clock)})
    clock.now_s = 24.9
    await kept.before_row()

    assert kept.after_row() == {"hot_c": 62.0}


async def test_a_throttled_gpu_flags_the_row_and_the_run() -> None:
    clock = ReplayClock()
    recording = Recording.load(FOLDER / "synthetic-nvml.jsonl")
    slowed = tuple(
        {**row, "throttle": ["software thermal slowdown"]} if row["t_s"] > 10 else row for row in recording.rows
    )
    counter = NvmlCounter(
        [RecordedGpu(Recording(recording.header, slowed), clock)], clock=clock, sample_in_background=False
    )
    kept = conditions(clock)
    await kept.begin({"local": SharedMeter(counter, clock=clock)})
    await kept.before_row()
    assert kept.after_row() == {}
    await kept.before_row()
    clock.now_s = 12.0
    assert kept.after_row() == {"throttled": ["recorded GPU #0: software thermal slowdown"]}
    assert kept.summary()["flags"] == ["throttled"]


async def test_a_processor_that_was_throttled_meanwhile_flags_the_row() -> None:
    count = [7]
    kept = conditions(ReplayClock(), processor_throttled=lambda: count[0])
    await kept.before_row()
    count[0] = 9
    assert kept.after_row() == {"throttled": ["processor: thermal"]}


async def test_busy_rows_are_flagged_and_only_those_are_redone(tmp_path: Path) -> None:
    path, clock = tmp_path / "out.jsonl", ReplayClock()
    watch = Alone(others=0.4, steal=0.2)
    runner = await run(path, conditions(clock, watch=watch), SharedMeter(ReplayCounter([1.0]), clock=clock), n=2)
    assert [(row["busy_share"], row["steal_share"]) for row in rows(path)] == [(0.4, 0.2)] * 2
    assert runner.summary.busy == 2

    options = ONE.options(CATALOGUE)
    assert missing_jobs(ITEMS[:2], options, ONE, [read_present(path)], CATALOGUE, {}) == []
    again = missing_jobs(ITEMS[:2], options, ONE, [read_present(path, DISTURBED)], CATALOGUE, {})
    assert len(again) == 2
    shipped = replace(read_present(path), measurements=[undisturbed(m) for m in read_present(path).measurements])
    both = [read_present(path, DISTURBED), shipped]
    assert len(missing_jobs(ITEMS[:2], options, ONE, both, CATALOGUE, {})) == 2  # though another machine's are fine

    watch.business = Business(0.0, 0.0)
    await run(path, conditions(clock, watch=watch), SharedMeter(ReplayCounter([1.0]), clock=clock), n=2)
    kept = read_present(path, DISTURBED)
    assert all(not set(DISTURBED) & set(o.extra) for m in kept.measurements for o in m.outcomes)
    assert missing_jobs(ITEMS[:2], options, ONE, [kept], CATALOGUE, {}) == []


def undisturbed(measurement: Measurement) -> Measurement:
    return replace(measurement, outcomes=tuple(replace(o, extra={}) for o in measurement.outcomes))


class Inspector:
    """A meter that looks at our files when a window opens and when it closes."""

    source = "inspector"

    def __init__(self, path: Path) -> None:
        self._files = (path, runs_file(path))
        self.windows = 0
        self.written: list[str] = []
        self._open: list[tuple[float, ...]] = []

    def start(self) -> Inspector:
        self.windows += 1
        self._open.append(self._state())
        return self

    def stop(self) -> Reading:
        if self._open.pop() != self._state():
            self.written.append(f"window {self.windows}")
        return Reading(1.0, None, 1.0, "measured", self.source)

    def _state(self) -> tuple[float, ...]:
        return tuple(value for file in self._files if file.exists() for value in _stat(file))


def _stat(file: Path) -> tuple[float, ...]:
    found = file.stat()
    return (found.st_size, found.st_mtime_ns, found.st_ino)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_nothing_of_ours_is_written_while_a_generation_is_metered(tmp_path: Path, concurrency: int) -> None:
    path = tmp_path / "out.jsonl"
    inspector = Inspector(path)
    selection = replace(ONE, concurrency=(concurrency,))
    await run(path, conditions(ReplayClock()), inspector, selection=selection, n=9)

    assert inspector.windows == 10  # the warm-up and nine rows
    assert len(rows(path)) == 9
    assert inspector.written == []


async def test_each_row_is_on_disk_before_the_next_generation_begins(tmp_path: Path) -> None:
    path, seen = tmp_path / "out.jsonl", []

    class Counting(Inspector):
        def start(self) -> Inspector:
            seen.append(len(rows(path)) if path.exists() else 0)
            return super().start()

    await run(path, conditions(ReplayClock()), Counting(path), n=4)
    assert seen == [0, 0, 1, 2, 3]


async def test_loading_is_apart_from_the_rows(tmp_path: Path) -> None:
    path, clock = tmp_path / "out.jsonl", ReplayClock()
    backend = ScriptedBackend("1", models=CATALOGUE.models, pace=Pace(load_s=0.75))
    counter = ReplayCounter([0.0, 90.0, 90.0, 95.0, 95.0, 100.0, 100.0])
    jobs = missing_jobs(ITEMS[:2], ONE.options(CATALOGUE), ONE, [], CATALOGUE, {})
    with Output(path) as output:
        meter = SharedMeter(counter, clock=clock)
        await Runner(
            Rig(CATALOGUE, {"local": backend}, {"local": meter}), output, bounds=QUICK, conditions=conditions(clock)
        ).run(jobs)
    assert entry(path)["load_energy_j"] == {"local/small": 90.0}
    assert entry(path)["load_s"] == {"local/small": 0.75}
    assert [row["energy_j"] for row in rows(path)] == [5.0, 5.0]
