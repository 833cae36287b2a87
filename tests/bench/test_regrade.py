"""Answers that were measured are graded again by today's graders, and what they took is counted once."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from bench.cli import app
from bench.datasets.own import load_items
from bench.regrade import regraded
from router.domain.record import Measurement, Outcome
from router.service.benchmarks import read_benchmarks
from router.store.codec import read_measurements

(ITEM, *_) = load_items(["math"])


def row(answer: str, quality: float | None, **more: object) -> str:
    outcome = {"model": "m", "directive": "L0", "quality": quality, "answer": answer, "energy_j": 5.0, **more}
    line = {"id": ITEM.id, "prompt": ITEM.prompt, "category": "math", "outcomes": [outcome]}
    return json.dumps(line) + "\n"


def test_a_grade_that_is_another_one_now_is_appended_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "local.jsonl"
    file.write_text(row(str(ITEM.expected["answer"]), 0.0) + row("no idea", 0.0, directive="L1"))
    done = CliRunner().invoke(app, ["regrade", str(file), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["answers"], found["changed"]) == (2, 1)
    assert found["by_grader"] == [{"grader": "number", "grade": "0 -> 1", "answers": 1}]
    (measurement,) = read_measurements(file)
    assert [outcome.quality for outcome in measurement.outcomes] == [1.0, 0.0]
    assert read_benchmarks(tmp_path).energy_j == 10.0, "the copy took nothing"
    again = CliRunner().invoke(app, ["regrade", str(file), "--json"])
    assert json.loads(again.stdout)["changed"] == 0
    assert len(file.read_text().splitlines()) == 3


def test_what_is_unknown_changed_or_has_no_answer_is_left() -> None:
    right = Outcome("m", "L0", 0.0, answer=str(ITEM.expected["answer"]))
    silent = Outcome("m", "L1", 0.0)
    rows = [
        Measurement("not-ours", ITEM.prompt, outcomes=(right,)),
        Measurement(ITEM.id, "another prompt", outcomes=(right,)),
        Measurement(ITEM.id, ITEM.prompt, outcomes=(silent,)),
    ]
    assert list(regraded([ITEM], rows)) == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["regrade", str(tmp_path / "gone.jsonl")])
    assert "there is no" in str(done.exception)
