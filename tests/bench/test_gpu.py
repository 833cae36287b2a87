"""The harness for recordings of a real GPU, on a processor and a driver that is made up: sums, format and refusals.

No GPU was metered for these tests; what they show is that the harness would say so, and that its arithmetic is right.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu.command import conclusion, main, record, slug
from bench.gpu.networks import SHAPES, TINY, Decoder, Encoder, fits
from bench.gpu.session import Bounds, Session, thermometer
from bench.gpu.trace import Trace, counter_j, idle_w, integral_j
from bench.recordings.synthetic import BEGINS_S, ENDS_S, IDLE_W, gpu_rows, true_j
from router.domain.errors import MeterError
from router.meters.nvml import Gpu, NvmlCounter, UnsupportedError, open_gpus
from router.meters.recording import RecordedGpu, Recording, ReplayClock
from router.meters.window import SharedMeter
from tests.meters.test_nvml import failing, library

QUICK = Bounds(idle_s=0.3, long_s=0.5, cell_s=0.2, cool_s=0.0, budget_s=60.0, margin_s=0.3, answer_tokens=8)


def test_counter_and_integral_of_the_same_stretch_are_what_was_drawn() -> None:
    rows = gpu_rows()
    for from_s, until_s in ((BEGINS_S, ENDS_S), (6.37, 21.01), (1.0, 4.0)):
        assert counter_j(rows, from_s, until_s) == pytest.approx(true_j(from_s, until_s), rel=0.003)
        assert integral_j(rows, from_s, until_s) == pytest.approx(true_j(from_s, until_s), rel=0.01)
    assert idle_w(rows, 0.5, 4.5) == pytest.approx(IDLE_W, rel=0.01)


def test_a_straight_course_is_integrated_exactly_between_samples_too() -> None:
    rows = [
        {"t_s": t, "power_mw": 1000 * (10 + 2 * t), "energy_mj": 1000 * (10 * t + t * t)} for t in np.arange(0, 5.0)
    ]
    assert integral_j(rows, 0.5, 3.25) == pytest.approx(10 * 2.75 + 3.25**2 - 0.5**2)


@pytest.mark.parametrize(
    ("from_s", "until_s"),
    [(-1.0, 5.0), (5.0, 40.0), (11.0, 13.0), (12.5, 15.0)],
    ids=["before it began", "after it ended", "into a loss", "within a loss"],
)
def test_a_stretch_that_was_not_sampled_throughout_is_unknown(from_s: float, until_s: float) -> None:
    rows = [{"t_s": r["t_s"], "error": "lost"} if 12 <= r["t_s"] < 16 else r for r in gpu_rows()]
    assert counter_j(rows, from_s, until_s) is None
    assert integral_j(rows, from_s, until_s) is None


def test_a_counter_that_goes_back_is_unknown_and_the_integral_is_not() -> None:
    rows = [{**r, "energy_mj": r["energy_mj"] - 10**9} if r["t_s"] > 12 else r for r in gpu_rows()]
    assert counter_j(rows, 10.0, 14.0) is None
    assert integral_j(rows, 10.0, 14.0) is not None


def steady(watts: float = 200.0, **functions: Any) -> Gpu:
    """A driver whose counter and power both say so many watts, by the real clock."""
    began = time.monotonic()
    usual = {
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: int(1000 * watts * (time.monotonic() - began)),
        "nvmlDeviceGetPowerUsage": lambda handle: int(1000 * watts),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0,
    }
    (gpu,) = open_gpus([0], library=library(**(usual | functions)))
    return gpu


def run(folder: Path, gpu: Gpu, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "say": lambda text: None,
        "free": lambda: 1 << 40,
        "shapes": [TINY],
        "long_shape": TINY,
        "batches": (1, 2),
        "encoder_layers": 1,
    }
    return record(gpu, "cpu", QUICK, folder, **(usual | more))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recordings")
    return folder, run(folder, steady())


def test_it_compares_counter_and_integral_over_one_window(recorded: tuple[Path, dict[str, Any]]) -> None:
    results = recorded[1]
    long = results["long_generation"]
    assert results["agree"] is True
    assert long["counter_j"] == pytest.approx(200.0 * long["window_s"], rel=0.03)
    assert long["window_s"] >= long["generation_s"] + 0.6
    assert long["output_tokens"] % (8 * 8) == 0
    assert "within 5%" in conclusion(results)


def test_joules_per_token_are_joules_over_tokens_idle_apart(recorded: tuple[Path, dict[str, Any]]) -> None:
    results = recorded[1]
    assert [(cell["name"], cell["batch"]) for cell in results["cells"]] == [("tiny", 1), ("tiny", 2)]
    for cell in [*results["cells"], *results["embedder"]]:
        assert cell["joules_per_unit"] == pytest.approx(cell["counter_j"] / cell["units"])
        assert cell["counter_j"] == pytest.approx(200.0 * cell["duration_s"], rel=0.15)
        assert abs(cell["marginal_joules_per_unit"]) < 0.2 * cell["joules_per_unit"]  # it draws the same at idle
    assert results["idle_w"] == pytest.approx(200.0, rel=0.1)


def test_the_recording_is_one_that_the_meters_replay(recorded: tuple[Path, dict[str, Any]]) -> None:
    recording = Recording.load(recorded[0] / "nvml-new-gpu.jsonl")
    assert recording.header["hardware"] == "New GPU"
    assert recording.header["synthetic"] is False
    assert recording.rows[0]["t_s"] == 0.0
    (phase,) = recording.header["phases"]

    clock = ReplayClock()
    counter = NvmlCounter([RecordedGpu(recording, clock)], clock=clock, sample_in_background=False)
    meter = SharedMeter(counter, clock=clock)
    clock.now_s = phase["from_s"]
    window = meter.start()
    while clock.now_s < phase["until_s"]:
        clock.sleep(0.1)
        counter.sample()
    assert window.stop().energy_j == pytest.approx(200.0 * (phase["until_s"] - phase["from_s"]), rel=0.35)
    assert json.loads((recorded[0] / "nvml-new-gpu.json").read_text())["weights"].startswith("random")


def test_instruments_that_disagree_are_told(tmp_path: Path) -> None:
    results = run(tmp_path, steady(nvmlDeviceGetPowerUsage=lambda handle: 240_000), batches=(1,))
    assert results["agree"] is False
    assert results["long_generation"]["difference"] == pytest.approx(0.2, abs=0.02)
    assert "OUTSIDE" in conclusion(results)


def test_a_gpu_without_a_counter_is_integrated_and_compared_with_nothing(tmp_path: Path) -> None:
    results = run(tmp_path, steady(nvmlDeviceGetTotalEnergyConsumption=failing(3)), batches=(1,))
    assert results["agree"] is None
    assert results["cells"][0]["counter_j"] is None
    assert results["cells"][0]["joules_per_unit"] == pytest.approx(
        results["cells"][0]["integral_j"] / results["cells"][0]["units"]
    )
    assert "cannot be compared" in conclusion(results)


def test_what_does_not_fit_in_memory_or_time_is_left_out_and_named() -> None:
    session = Session(
        Trace(steady()), lambda: None, "cpu", Bounds(budget_s=0.0), free_bytes=lambda: 2 << 30, say=lambda text: None
    )
    assert session.cells([TINY, SHAPES[-1]]) == []
    assert session.left_out == [
        "tiny: no time was left",
        "like Llama-3.1-8B: does not fit in the memory that is free",
    ]


def test_a_lost_gpu_is_a_row_that_says_so() -> None:
    clock = ReplayClock()
    trace = Trace(
        steady(nvmlDeviceGetTotalEnergyConsumption=failing(15), nvmlDeviceGetPowerUsage=failing(15)), clock=clock
    )
    trace.sample()
    assert trace.rows == [{"t_s": 0.0, "error": "lost"}]


def test_a_thermometer_that_fails_is_unknown() -> None:
    def lost() -> float:
        raise UnsupportedError("no sensor")

    assert thermometer(lost)() is None


@pytest.mark.parametrize("shape", [*SHAPES, TINY], ids=lambda shape: shape.name)
def test_shapes_have_the_sizes_their_names_say(shape: Any) -> None:
    published: dict[str, float | None] = {
        "like SmolLM2-135M": 134.5e6,
        "like Qwen2.5-0.5B": 494e6,
        "like Qwen2.5-1.5B": 1.54e9,
    }
    published |= {"like Llama-3.2-3B": 3.21e9, "like Llama-3.1-8B": 7.5e9, "tiny": None}
    if published[shape.name] is not None:
        assert shape.parameters == pytest.approx(published[shape.name], rel=0.01)
    else:
        assert Decoder(shape, "cpu").parameters == shape.parameters


def test_at_least_four_sizes_fit_on_a_gpu_of_24_gigabytes() -> None:
    assert sum(fits(shape, 24 << 30) for shape in SHAPES) >= 4


def test_every_answer_of_a_batch_is_equally_long() -> None:
    assert Decoder(TINY, "cpu").generate(3, prompt_tokens=5, answer_tokens=7) == 21
    assert Encoder("cpu", layers=1, hidden=24).embed(4, prompt_tokens=6) == 4


def test_names_of_files_are_plain() -> None:
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_without_a_gpu_it_says_so_and_exits_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    try:
        open_gpus()
    except MeterError:
        assert main(["--output", str(tmp_path / "none")]) == 2
        assert "nothing to record: no NVIDIA driver answers" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def test_it_loads_no_more_than_a_bare_machine_has() -> None:
    code = (
        "import sys, bench.gpu.command\n"
        "heavy = {'torch', 'transformers', 'typer', 'rich', 'psutil', 'httpx', 'yaml', 'pydantic', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
