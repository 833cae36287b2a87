"""What goes into the package: whole prompts only, with the entries of their runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.ship import complete
from router.domain.catalogue import Option
from router.domain.errors import ConfigError
from router.domain.record import Measurement, Outcome
from router.store.codec import read_measurements

FEDERATION = "models:\n  a:1b:\n    parameters: 1e9\n  b:1b:\n    parameters: 1e9\ndirectives: {L0: ''}\n"


def row(name: str, *models: str) -> dict[str, object]:
    outcomes = [{"model": model, "directive": "L0", "quality": 1.0, "run": f"run-{model}"} for model in models]
    return {"id": name, "prompt": f"prompt {name}", "outcomes": outcomes}


def written(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "models.yaml").write_text(FEDERATION)
    file = folder / "run.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in rows))
    (folder / "run.jsonl.runs.json").write_text(json.dumps({"run-a:1b": {"seed": 1}, "run-z": {"seed": 2}}))
    return file


def test_a_prompt_is_complete_when_every_option_answered_it() -> None:
    whole = Measurement("x", "p", outcomes=(Outcome("a", "L0", 1.0), Outcome("b", "L0", None)))
    half = Measurement("y", "q", outcomes=(Outcome("a", "L0", 1.0),))
    assert complete([whole, half], [Option("a"), Option("b")]) == [whole]


@pytest.mark.parametrize(
    "other",
    [
        Outcome("b", "L0", None, grader="code"),
        Outcome("b", "L0", None, extra={"error": "too long"}),
        Outcome("b", "L0", 1.0, concurrency=16),
    ],
)
def test_an_option_that_was_refused_not_graded_or_one_of_many_has_not_answered(other: Outcome) -> None:
    half = Measurement("x", "p", outcomes=(Outcome("a", "L0", 1.0), other))
    assert complete([half], [Option("a"), Option("b")]) == []


def test_a_prompt_that_waits_for_a_judge_is_complete() -> None:
    waits = Measurement("x", "p", outcomes=tuple(Outcome(m, "L0", None, grader="judge") for m in "ab"))
    assert complete([waits], [Option("a"), Option("b")]) == [waits]


def test_incomplete_prompts_and_unused_runs_stay_behind(tmp_path: Path) -> None:
    file = written(tmp_path, row("x", "a:1b", "b:1b"), row("y", "a:1b"))
    target = tmp_path / "package" / "default.jsonl.gz"
    arguments = ["ship", str(file), "--to", str(target), "--models-file", str(tmp_path / "models.yaml")]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert [measurement.id for measurement in read_measurements(target)] == ["x"]
    assert json.loads((target.parent / "default.jsonl.runs.json").read_text()) == {"run-a:1b": {"seed": 1}}


def test_a_run_without_one_whole_prompt_replaces_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, row("y", "a:1b"))
    target = tmp_path / "default.jsonl.gz"
    arguments = ["ship", str(file), "--to", str(target), "--models-file", str(tmp_path / "models.yaml")]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, ConfigError)
    assert not target.exists()
