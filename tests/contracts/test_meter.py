"""What every meter keeps to, whatever instrument is behind it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.domain.ports import Meter
from router.meters.combined import CombinedCounter
from router.meters.discipline import IdleKnown
from router.meters.modelled import BusyCoreCounter
from router.meters.none import NoMeter
from router.meters.nvml import NvmlCounter
from router.meters.rapl import RaplCounter
from router.meters.recording import RecordedGpu, RecordedTree, Recording, ReplayClock
from router.meters.replay import ReplayCounter
from router.meters.wall import HttpPower, WallCounter
from router.meters.window import EnergyCounter, SharedMeter

RECORDINGS = Path(__file__).parents[2] / "bench" / "recordings"


def gpu(folder: Path) -> EnergyCounter:
    recorded = RecordedGpu(Recording.load(RECORDINGS / "synthetic-nvml.jsonl"), ReplayClock())
    return NvmlCounter([recorded], sample_in_background=False)


def processor(folder: Path) -> EnergyCounter:
    RecordedTree(Recording.load(RECORDINGS / "synthetic-rapl-wrap.jsonl"), folder, ReplayClock())
    return RaplCounter(folder, keep_up=False)


def replay(folder: Path) -> EnergyCounter:
    return ReplayCounter([float(n) for n in range(1000)])


def silent_plug(folder: Path) -> EnergyCounter:
    return WallCounter(HttpPower("http://127.0.0.1:9/x", timeout_s=0.1))


def busy_cores(folder: Path) -> EnergyCounter:
    return BusyCoreCounter(3.9)


METERS: dict[str, Callable[[Path], EnergyCounter | None]] = {
    "nothing": lambda folder: None,
    "gpu": gpu,
    "processor": processor,
    "busy cores": busy_cores,
    "recording": replay,
    "a plug that does not answer": silent_plug,
    "a sum": lambda folder: CombinedCounter({"gpu": gpu(folder), "cpu": busy_cores(folder)}),
    "with known idle watts": lambda folder: IdleKnown(replay(folder), 5.0),
    "a counter that fails": lambda folder: ReplayCounter([None]),
}


@pytest.fixture(params=list(METERS))
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meter]:
    counter = METERS[request.param](tmp_path)
    yield NoMeter() if counter is None else SharedMeter(counter)
    if (close := getattr(counter, "close", None)) is not None:
        close()


def test_it_names_its_instrument(meter: Meter) -> None:
    assert meter.source.strip()


def test_a_window_reads_once_and_joules_are_a_figure_or_unknown(meter: Meter) -> None:
    window = meter.start()
    time.sleep(0.01)
    reading = window.stop()
    assert window.stop() is reading
    assert reading.method in ("measured", "modelled", "sourced")
    assert reading.source == meter.source
    assert reading.energy_j is None or math.isfinite(reading.energy_j)
    assert reading.idle_j is None or reading.idle_j >= 0.0
    assert not (reading.holds_idle and reading.idle_j is not None)


def test_windows_that_overlap_share_the_time_of_the_device(meter: Meter) -> None:
    began = time.monotonic()
    windows = [meter.start() for _ in range(8)]
    time.sleep(0.05)
    readings = [window.stop() for window in windows]
    elapsed_s = time.monotonic() - began
    shared_s = [reading.device_s for reading in readings if reading.device_s is not None]
    assert len(shared_s) == 8
    assert 0.04 < math.fsum(shared_s) <= elapsed_s
