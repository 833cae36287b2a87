"""GPU joules, on the synthetic recordings of ``bench/recordings`` (no hardware was metered for them)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.recordings.synthetic import BEGINS_S, ENDS_S, IDLE_W, gpu_rows, recordings, true_j
from router.domain.errors import AbsentMeterError, MeterError
from router.domain.reading import Reading
from router.meters.discipline import IdleKnown, baseline, cool_down
from router.meters.nvml import NvmlCounter, open_gpus
from router.meters.recording import RecordedGpu, Recording, ReplayClock
from router.meters.sampling import PERIOD_S
from router.meters.window import SharedMeter

FOLDER = Path(__file__).parents[2] / "bench" / "recordings"


class Bench:
    """A GPU played back, sampled as the thread would."""

    def __init__(self, name: str, *, idle_w: float | None = None) -> None:
        self.clock = ReplayClock()
        self.gpu = RecordedGpu(Recording.load(FOLDER / name), self.clock)
        self.counter = NvmlCounter([self.gpu], idle_w=idle_w, clock=self.clock, sample_in_background=False)
        self.meter = SharedMeter(self.counter, clock=self.clock)

    def until(self, at_s: float) -> None:
        while self.clock.now_s < at_s - 1e-9:
            self.clock.sleep(min(PERIOD_S, at_s - self.clock.now_s))
            self.counter.sample()

    def window(self, from_s: float, until_s: float) -> Reading:
        self.until(from_s)
        window = self.meter.start()
        self.until(until_s)
        return window.stop()


@pytest.mark.parametrize("name", ["synthetic-nvml.jsonl", "synthetic-nvml-power-only.jsonl"])
def test_a_long_generation_is_within_2_percent_of_what_was_drawn(name: str) -> None:
    reading = Bench(name).window(BEGINS_S, ENDS_S)
    assert reading.energy_j == pytest.approx(true_j(BEGINS_S, ENDS_S), rel=0.02)
    assert reading.method == "measured"


def test_counter_and_sampled_power_agree_over_the_same_window() -> None:
    counted = Bench("synthetic-nvml.jsonl").window(6.0, 24.0).energy_j
    sampled = Bench("synthetic-nvml-power-only.jsonl").window(6.0, 24.0).energy_j
    assert counted is not None
    assert counted == pytest.approx(sampled, rel=0.02)


def test_the_source_says_how_each_gpu_is_read() -> None:
    assert "energy counter" in Bench("synthetic-nvml.jsonl").counter.source
    assert "power every 99 ms" in Bench("synthetic-nvml-power-only.jsonl").counter.source


def test_the_idle_watts_of_a_baseline_phase_tell_idle_from_marginal_joules() -> None:
    bench = Bench("synthetic-nvml.jsonl")
    phase = baseline(bench.counter, duration_s=4.0, period_s=0.5, clock=bench.clock, sleep=bench.clock.sleep)
    assert phase.idle_w == pytest.approx(IDLE_W, rel=0.03)
    assert phase.duration_s == pytest.approx(4.0)
    meter = SharedMeter(IdleKnown(bench.counter, phase.idle_w), clock=bench.clock)
    bench.until(10.0)
    window = meter.start()
    bench.until(20.0)
    reading = window.stop()
    assert reading.idle_j == pytest.approx(10 * IDLE_W, rel=0.03)
    assert reading.energy_j == pytest.approx(true_j(10, 20) - 10 * IDLE_W, rel=0.03)
    assert f"idle {phase.idle_w:.1f} W" in reading.source


def test_answers_that_overlap_on_the_gpu_sum_to_what_it_drew() -> None:
    bench = Bench("synthetic-nvml.jsonl", idle_w=IDLE_W)
    bench.until(6.0)
    first = bench.meter.start()
    bench.until(9.0)
    second = bench.meter.start()
    bench.until(15.0)
    readings = [first.stop()]
    bench.until(22.0)
    readings.append(second.stop())
    assert sum((r.energy_j or 0) + (r.idle_j or 0) for r in readings) == pytest.approx(true_j(6, 22), rel=0.02)
    assert sum(r.device_s or 0 for r in readings) == pytest.approx(16.0)


def test_a_gpu_lost_within_a_window_makes_its_joules_unknown_and_the_next_window_is_known_again() -> None:
    bench = Bench("synthetic-nvml-lost.jsonl")
    lost = bench.window(10.0, 20.0)
    assert lost.energy_j is None
    assert lost.device_s == pytest.approx(10.0)
    assert bench.window(21.0, 24.0).energy_j == pytest.approx(true_j(21, 24), rel=0.03)
    assert bench.counter.problem is None


def test_while_it_is_lost_the_problem_says_so() -> None:
    bench = Bench("synthetic-nvml-lost.jsonl")
    bench.until(13.0)
    assert bench.counter.read_j() is None
    assert "lost" in (bench.counter.problem or "")
    assert bench.counter.temperature_c() is None


def test_a_counter_that_stood_still_inside_a_window_is_noticed_although_it_moves_at_both_ends() -> None:
    bench = Bench("synthetic-nvml-still.jsonl")
    assert bench.window(10.0, 22.0).energy_j is None
    still = Bench("synthetic-nvml-still.jsonl")
    still.until(15.0)
    assert still.counter.read_j() is None
    assert "stands still" in (still.counter.problem or "")


def test_a_counter_between_two_of_its_own_refreshes_is_not_called_broken() -> None:
    bench = Bench("synthetic-nvml.jsonl")
    bench.until(8.0)
    assert bench.counter.read_j() == bench.counter.read_j()


def test_a_counter_that_goes_back_is_unknown_once_and_counts_on() -> None:
    rows = gpu_rows()
    back = [row | {"energy_mj": row["energy_mj"] - 7_123_456_000} if row["t_s"] >= 12 else row for row in rows]
    clock = ReplayClock()
    gpu = RecordedGpu(Recording({"device": "gpu", "synthetic": True}, tuple(back)), clock)
    counter = NvmlCounter([gpu], clock=clock, sample_in_background=False)
    clock.now_s = 11.0
    assert counter.read_j() is not None
    clock.now_s = 13.0
    assert counter.read_j() is None
    assert "driver" in (counter.problem or "")
    clock.now_s = 14.0
    assert counter.read_j() is not None


def test_what_was_missed_while_nobody_looked_does_not_taint_who_opens_a_window_now() -> None:
    bench = Bench("synthetic-nvml-power-only.jsonl")
    bench.counter.read_j()
    bench.clock.now_s = 10.0  # ten seconds without a sample
    window = bench.meter.start()
    bench.until(12.0)
    assert window.stop().energy_j == pytest.approx(true_j(10, 12), rel=0.03)


def test_several_gpus_are_summed_and_kept_apart_and_one_lost_takes_the_sum_with_it() -> None:
    clock = ReplayClock()
    good = RecordedGpu(Recording.load(FOLDER / "synthetic-nvml.jsonl"), clock, name="a")
    bad = RecordedGpu(Recording.load(FOLDER / "synthetic-nvml-lost.jsonl"), clock, name="b")
    counter = NvmlCounter([good, bad], clock=clock, sample_in_background=False)
    parts = counter.read_parts_j()
    assert parts["a"] == parts["b"]
    assert counter.read_j() == pytest.approx(2 * (parts["a"] or 0))
    clock.now_s = 13.0
    assert counter.read_j() is None
    parts = counter.read_parts_j()
    assert parts["a"] is not None
    assert parts["b"] is None


def test_under_mig_the_source_says_that_it_is_the_whole_gpus() -> None:
    clock = ReplayClock()
    recording = Recording.load(FOLDER / "synthetic-nvml.jsonl")
    gpu = RecordedGpu(Recording({**recording.header, "mig": True}, recording.rows), clock)
    assert "MIG is on" in NvmlCounter([gpu], clock=clock, sample_in_background=False).source


def test_a_gpu_that_says_neither_energy_nor_power_is_refused_with_a_way_out() -> None:
    rows = tuple({"t_s": row["t_s"]} for row in gpu_rows())
    gpu = RecordedGpu(Recording({"device": "gpu", "synthetic": True}, rows), ReplayClock())
    with pytest.raises(MeterError, match="at the wall"):
        NvmlCounter([gpu], sample_in_background=False)
    with pytest.raises(MeterError, match="nvidia-smi"):
        NvmlCounter([])


def test_a_warm_gpu_is_waited_for_until_it_is_cool() -> None:
    bench = Bench("synthetic-nvml.jsonl")
    assert cool_down(bench.counter.temperature_c, clock=bench.clock, sleep=bench.clock.sleep).cool is True
    bench.clock.now_s = 29.0
    hot = cool_down(bench.counter.temperature_c, longest_s=5.0, clock=bench.clock, sleep=bench.clock.sleep)
    assert hot.cool is False
    assert hot.temperature_c == pytest.approx(62.0)


def test_in_the_background_it_samples_by_itself() -> None:
    rows = tuple({"t_s": float(t), "power_mw": 100_000} for t in range(2))
    gpu = RecordedGpu(Recording({"device": "gpu", "synthetic": True}, rows), lambda: 0.0)
    counter = NvmlCounter([gpu])
    try:
        window = SharedMeter(counter).start()
        time.sleep(0.5)
        reading = window.stop()
    finally:
        counter.close()
    assert reading.device_s is not None
    assert reading.energy_j == pytest.approx(100.0 * reading.device_s, rel=0.1)


def test_the_recordings_kept_are_those_that_their_program_makes_and_say_that_they_are_synthetic() -> None:
    for name, (header, rows) in recordings().items():
        kept = Recording.load(FOLDER / name)
        assert kept.header == header
        assert list(kept.rows) == rows
        assert kept.header["synthetic"] is True
    assert {path.name for path in FOLDER.glob("synthetic-*.jsonl")} == set(recordings())


def test_every_other_recording_names_its_hardware() -> None:
    for path in FOLDER.glob("*.jsonl"):
        header = Recording.load(path).header
        if not path.name.startswith("synthetic-"):
            assert header["synthetic"] is False
            assert header["hardware"] not in ("", "none")


class FakeNvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


def library(**functions: Any) -> SimpleNamespace:
    """What stands in for pynvml: two GPUs that count, unless a function is replaced."""
    usual: dict[str, Any] = {
        "NVMLError": FakeNvmlError,
        "NVML_ERROR_NOT_SUPPORTED": 3,
        "NVML_ERROR_NO_PERMISSION": 4,
        "NVML_ERROR_DRIVER_NOT_LOADED": 9,
        "NVML_ERROR_LIBRARY_NOT_FOUND": 12,
        "NVML_ERROR_FUNCTION_NOT_FOUND": 13,
        "NVML_ERROR_GPU_IS_LOST": 15,
        "NVML_TEMPERATURE_GPU": 0,
        "NVML_DEVICE_MIG_ENABLE": 1,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: b"Old GPU" if handle else "New GPU",
        "nvmlDeviceGetMigMode": failing(3),
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 1000 * (handle + 1),
        "nvmlDeviceGetPowerUsage": lambda handle: 50_000,
        "nvmlDeviceGetTemperature": lambda handle, kind: 40 + handle,
    }
    return SimpleNamespace(**(usual | functions))


def failing(code: int) -> Any:
    def fail(*_: Any) -> Any:
        raise FakeNvmlError(code)

    return fail


def test_all_gpus_of_the_driver_are_opened_or_those_named() -> None:
    assert [gpu.name for gpu in open_gpus(library=library())] == ["New GPU #0", "Old GPU #1"]
    (gpu,) = open_gpus([1], library=library())
    assert (gpu.energy_mj(), gpu.power_mw(), gpu.temperature_c(), gpu.mig) == (2000, 50_000, 41.0, False)
    with pytest.raises(MeterError, match="sees 2"):
        open_gpus([2], library=library())


def test_a_driver_without_the_energy_counter_is_sampled() -> None:
    gpus = open_gpus([0], library=library(nvmlDeviceGetTotalEnergyConsumption=failing(3)))
    assert "power every 99 ms" in NvmlCounter(gpus, sample_in_background=False).source


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ({"nvmlInit": failing(12)}, "nvidia-smi"),
        ({"nvmlInit": failing(4)}, "--gpus all"),
        ({"nvmlDeviceGetHandleByIndex": failing(4)}, "--gpus all"),
        ({"nvmlDeviceGetHandleByIndex": failing(15)}, "reset or reboot"),
    ],
)
def test_a_driver_that_refuses_says_what_to_do(functions: dict[str, Any], says: str) -> None:
    with pytest.raises(MeterError, match=says):
        open_gpus(library=library(**functions))


@pytest.mark.parametrize(("code", "is_absent"), [(12, True), (9, True), (4, False), (999, False)])
def test_a_gpu_that_is_not_here_is_told_from_one_that_refuses(code: int, is_absent: bool) -> None:
    with pytest.raises(MeterError) as caught:
        open_gpus(library=library(nvmlInit=failing(code)))
    assert isinstance(caught.value, AbsentMeterError) is is_absent


def test_mig_is_told_by_the_driver() -> None:
    (gpu,) = open_gpus([0], library=library(nvmlDeviceGetMigMode=lambda handle: [1, 1]))
    assert gpu.mig


def test_why_a_clock_is_held_down_is_asked_by_either_name_and_a_power_cap_is_no_disturbance() -> None:
    for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
        (gpu,) = open_gpus([0], library=library(**{name: lambda handle: 0x04 | 0x20 | 0x40}))
        assert gpu.throttle_reasons() == ("software thermal slowdown", "hardware thermal slowdown")
    old = library(
        nvmlDeviceGetCurrentClocksEventReasons=failing(13),
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x20,
    )
    (gpu,) = open_gpus([0], library=old)
    assert gpu.throttle_reasons() == ("software thermal slowdown",), "a driver that knows the old name only"
    (silent,) = open_gpus([0], library=library())
    with pytest.raises(MeterError, match="held down"):
        silent.throttle_reasons()


def test_throttling_seen_at_any_look_is_told_once() -> None:
    recording = Recording.load(FOLDER / "synthetic-nvml.jsonl")
    slowed = tuple({**row, "throttle": ["power brake"]} if 10 < row["t_s"] < 11 else row for row in recording.rows)
    clock = ReplayClock()
    gpu = RecordedGpu(Recording(recording.header, slowed), clock)
    counter = NvmlCounter([gpu], clock=clock, sample_in_background=False)
    assert counter.throttling() == ()
    clock.now_s = 10.5
    counter.sample()
    clock.now_s = 15.0
    assert counter.throttling() == ("recorded GPU #0: power brake",)
    assert counter.throttling() == ()


def test_a_gpu_that_does_not_say_why_it_is_slow_is_metered_all_the_same() -> None:
    counter = NvmlCounter(open_gpus([0], library=library()), sample_in_background=False)
    assert counter.throttling() == ()
    assert counter.read_j() == 1.0


def test_a_refused_reading_in_the_middle_is_unknown_and_says_what_to_do() -> None:
    readings: Iterator[int | FakeNvmlError] = iter([1000, 2000, FakeNvmlError(4), FakeNvmlError(4), 5000, 6000])

    def energy(handle: int) -> int:
        value = next(readings)
        if isinstance(value, FakeNvmlError):
            raise value
        return value

    counter = NvmlCounter(
        open_gpus([0], library=library(nvmlDeviceGetTotalEnergyConsumption=energy)), sample_in_background=False
    )
    assert counter.read_j() == 2.0  # the first reading told that there is a counter
    assert counter.read_j() is None
    assert "--gpus all" in (counter.problem or "")
    assert counter.read_j() is None
    assert counter.read_j() is not None
    assert counter.problem is None
