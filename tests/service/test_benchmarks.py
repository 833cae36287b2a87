"""Joules of benchmark runs: every row and load counts, an unknown one makes the sum unknown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from router.domain.errors import MeasurementError
from router.service.benchmarks import BenchmarkEnergy, read_benchmarks


def line(energy_j: float | None, **more: Any) -> str:
    outcome = {"model": "m", "directive": "L0", "quality": 1.0, "energy_j": energy_j, "method": "measured", **more}
    return json.dumps({"id": "x", "prompt": "p", "outcomes": [outcome]}) + "\n"


def test_every_row_ever_measured_counts_also_one_that_was_replaced(tmp_path: Path) -> None:
    (tmp_path / "local.jsonl").write_text(line(5.0) + line(7.0))
    with gzip.open(tmp_path / "more.jsonl.gz", "wt") as file:
        file.write(line(1.0))
    runs = {"a": {"date": "2026-01-02", "load_energy_j": {"local/m": 10.0}, "baseline": {"local": {"idle_w": 21.5}}},
            "b": {"date": "2026-01-01", "load_energy_j": {}, "baseline": {"local": {"idle_w": 99.0}}}}  # fmt: skip
    (tmp_path / "local.jsonl.runs.json").write_text(json.dumps(runs))
    found = read_benchmarks(tmp_path)
    assert (found.energy_j, found.load_j, found.rows) == (23.0, 10.0, 3)
    assert found.idle_w == {"local": 21.5}, "of the latest run"
    assert found.methods == {"measured": 3}


def test_a_row_of_unknown_joules_is_counted_and_a_refused_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "local.jsonl").write_text(line(5.0) + line(None, error="too long"))
    assert read_benchmarks(tmp_path).energy_j == 5.0
    (tmp_path / "local.jsonl").write_text(line(5.0) + line(None))
    assert (read_benchmarks(tmp_path).energy_j, read_benchmarks(tmp_path).unknown) == (5.0, 1)
    (tmp_path / "local.jsonl").write_text(line(None))
    assert (read_benchmarks(tmp_path).energy_j, read_benchmarks(tmp_path).unknown) == (None, 1)


def test_no_folder_is_no_benchmark(tmp_path: Path) -> None:
    assert read_benchmarks(tmp_path / "none") == BenchmarkEnergy()


def test_a_line_a_run_is_writing_is_left_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.jsonl").write_text(line(5.0) + line(7.0)[:40])
    assert read_benchmarks(tmp_path).energy_j == 5.0
    (tmp_path / "local.jsonl").write_text(line(5.0) + "{nonsense\n" + line(7.0))
    with pytest.raises(MeasurementError, match=r"local\.jsonl:2"):
        read_benchmarks(tmp_path)


def test_a_row_that_was_graded_again_took_its_joules_once(tmp_path: Path) -> None:
    (tmp_path / "local.jsonl").write_text(line(5.0, quality=None) + line(5.0, regraded=True))
    found = read_benchmarks(tmp_path)
    assert (found.energy_j, found.rows) == (5.0, 1)
