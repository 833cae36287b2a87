"""Shipped rows measured again: same quality and seconds within a factor of two, or it says which are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.datasets.own import load_items
from bench.run_conditions import OFF
from bench.run_progress import SilentReporter
from bench.runner import Rig
from bench.verify import Drawn, again, compare, draw, drawable, reworded
from router.backends.scripted import ScriptedBackend
from router.domain.catalogue import Option
from router.domain.chat import Message
from router.domain.errors import MeasurementError
from router.domain.reading import Reading
from router.domain.record import Measurement, Outcome
from router.store.codec import write_measurements
from tests.bench.scripted_run import CATALOGUE, ITEMS, reply

FEDERATION = """
directives: {L0: "", L1: "Answer briefly."}
sites:
  local: {engine: scripted, watts_per_core: 4}
models:
  parrot: {parameters: 1e9}
"""


class TwoSeconds:
    """A meter whose every window takes two device seconds."""

    source = "two seconds"

    def start(self) -> TwoSeconds:
        return self

    def stop(self) -> Reading:
        return Reading(5.0, None, 2.0, "measured", self.source)


def shipped(quality: float | None = None, seconds: float | None = 2.0, **more: Any) -> list[Measurement]:
    """What the scripted models answer to the items, with other figures where a test wants them."""
    return [
        Measurement(
            item.id,
            item.prompt,
            item.category,
            tuple(
                Outcome(
                    model,
                    "L0",
                    (1.0 if model == "large" or number % 2 == 0 else 0.0) if quality is None else quality,
                    answer=reply(model, [Message("user", item.prompt)]),
                    duration_s=seconds,
                    **more,
                )
                for model in CATALOGUE.models
            ),
        )
        for number, item in enumerate(ITEMS[:8])
    ]


def drawn_from(measurements: Sequence[Measurement], n: int = 20, seed: int = 1) -> list[Drawn]:
    return draw(drawable(measurements, {i.id: i for i in ITEMS}, CATALOGUE.options()), n, seed)


async def verdicts(measurements: Sequence[Measurement], folder: Path, n: int = 20) -> list[Any]:
    backend = ScriptedBackend(
        lambda model, messages: "hello" if "hello" in messages[-1].content else reply(model, messages),
        models=CATALOGUE.models,
    )
    rig = Rig(CATALOGUE, {"local": backend}, {"local": TwoSeconds()})
    rows = drawn_from(measurements, n)
    return await again(rows, rig, folder, discipline=OFF, deadline_s=5.0, reporter=SilentReporter())


async def test_rows_that_repeat_are_ok(tmp_path: Path) -> None:
    found = await verdicts(shipped(), tmp_path)
    assert len(found) == 16
    assert all(v.ok and v.same_answer and v.ratio == pytest.approx(1.0) for v in found)


async def test_another_quality_is_told_and_not_ok(tmp_path: Path) -> None:
    found = await verdicts(shipped(quality=1.0), tmp_path)
    wrong = [v for v in found if not v.same_quality]
    assert {(v.quality_then, v.quality_now) for v in wrong} == {(1.0, 0.0)}
    assert len(wrong) == 4  # the small model is wrong on odd numbers
    assert not any(v.ok for v in wrong)


@pytest.mark.parametrize(("seconds", "ok"), [(1.0, True), (4.0, True), (0.99, False), (4.01, False), (None, None)])
async def test_seconds_may_differ_by_a_factor_of_two(tmp_path: Path, seconds: float | None, ok: bool | None) -> None:
    found = await verdicts(shipped(seconds=seconds), tmp_path, n=2)
    assert {v.seconds_ok for v in found} == {ok}
    assert all(v.ok is (ok is not False) for v in found)


def test_an_answer_may_differ_as_long_as_its_quality_does_not() -> None:
    row = drawn_from(shipped(), 1)[0]
    verdict = compare(row, replace(row.outcome, answer="otherwise worded"))
    assert verdict.same_answer is False
    assert verdict.ok


def test_a_refused_row_is_not_ok_and_disturbances_are_kept() -> None:
    row = drawn_from(shipped(), 1)[0]
    refused = compare(row, replace(row.outcome, quality=None, extra={"error": "too long", "busy_share": 0.4}))
    assert not refused.ok
    assert refused.error == "too long"
    assert refused.disturbed == {"busy_share": 0.4}


def test_drawn_are_rows_that_can_be_repeated_without_repetition_and_the_same_for_a_seed() -> None:
    rows = [
        *shipped(),
        Measurement("elsewhere-1", "not ours", "math", (Outcome("small", "L0", 1.0),)),
        Measurement("math-7", "another prompt under our id", "math", (Outcome("small", "L0", 1.0),)),
        Measurement(ITEMS[0].id, ITEMS[0].prompt, "math", (Outcome("gone", "L0", 1.0), Outcome("small", "L1", None))),
        Measurement(ITEMS[0].id, ITEMS[0].prompt, "math", (Outcome("small", "L1", 1.0, concurrency=4),)),
    ]
    possible = drawable(rows, {i.id: i for i in ITEMS}, CATALOGUE.options())
    assert len(possible) == 16
    first = draw(possible, 10, seed=3)
    assert first == draw(possible, 10, seed=3) != draw(possible, 10, seed=4)
    assert len({(row.item.id, row.outcome.option) for row in first}) == 10
    assert [row.outcome.model for row in first] == sorted(row.outcome.model for row in first)
    assert {row.outcome.option for row in possible} == {Option("small"), Option("large")}


def test_a_directive_that_was_reworded_since_is_named() -> None:
    rows = [Drawn(ITEMS[0], Outcome("small", "L1", 1.0, run="r"))]
    assert reworded({"r": {"directives": {"L1": "Answer briefly."}}}, rows, CATALOGUE) == []
    assert reworded({"r": {"directives": {"L1": "Be short."}}}, rows, CATALOGUE) == ["L1"]


async def test_a_model_no_engine_has_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    rig = Rig(CATALOGUE, {"local": ScriptedBackend(models=["large"])}, {"local": TwoSeconds()})
    with pytest.raises(MeasurementError, match="no engine has small"):
        await again(drawn_from(shipped()), rig, tmp_path, discipline=OFF, deadline_s=5.0, reporter=SilentReporter())


def written(folder: Path, quality: float) -> Path:
    """A file of what the scripted engine says to our own math prompts."""
    (folder / "models.yaml").write_text(FEDERATION)
    items = load_items(["math"], 6)
    outcome = Outcome("parrot", "L0", quality, answer="Paris is the capital of France.")
    write_measurements(folder / "rows.jsonl", [Measurement(i.id, i.prompt, "math", (outcome,)) for i in items])
    return folder / "rows.jsonl"


def test_the_command_passes_or_exits_with_1_and_counts(tmp_path: Path) -> None:
    arguments = ["--rows", "4", "--seed", "2", "--models-file", str(tmp_path / "models.yaml"), "--cool-down-c", "0"]
    good = CliRunner().invoke(app, ["verify", str(written(tmp_path, 0.0)), *arguments, "--json"])
    assert good.exit_code == 0, good.output
    report = json.loads(good.stdout)
    assert (report["rows"], report["ok"], report["same_answer"], report["seconds_unknown"]) == (4, 4, 4, 4)

    bad = CliRunner().invoke(app, ["verify", str(written(tmp_path, 1.0)), *arguments], env={"COLUMNS": "160"})
    assert bad.exit_code == 1
    assert "same quality: 0 of 4" in bad.output
    assert "other quality" in bad.output


def test_a_file_without_such_rows_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(FEDERATION)
    write_measurements(tmp_path / "rows.jsonl", [Measurement("x", "not ours", None, (Outcome("parrot", "L0", 1.0),))])
    answer = CliRunner().invoke(
        app, ["verify", str(tmp_path / "rows.jsonl"), "--models-file", str(tmp_path / "models.yaml")]
    )
    assert isinstance(answer.exception, MeasurementError)
    assert "no row can be measured again" in str(answer.exception)
