"""What a file says of each option: shares with Wilson's interval, unknown stays unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.report import spread, summarise, wilson
from router.domain.record import Measurement, Outcome
from router.store.codec import write_measurements


def prompt(name: str, *outcomes: Outcome, category: str = "math") -> Measurement:
    return Measurement(name, f"prompt {name}", category, outcomes)


def test_wilsons_interval_is_the_published_one() -> None:
    # 7 of 10: the textbook interval to three digits
    low, high = wilson(7, 10)
    assert low == pytest.approx(0.397, abs=5e-4)
    assert high == pytest.approx(0.892, abs=5e-4)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)


def test_repeats_count_as_one_prompt() -> None:
    line = summarise([prompt("a", Outcome("m", "L0", 1.0, repeat=0), Outcome("m", "L0", 0.0, repeat=1))])[0]
    assert (line.n, line.quality) == (1, 0.5)


def test_one_unknown_joule_makes_the_mean_unknown() -> None:
    rows = [prompt("a", Outcome("m", "L0", 1.0, energy_j=5.0)), prompt("b", Outcome("m", "L0", 1.0))]
    line = summarise(rows)[0]
    assert line.energy_j is None
    assert line.energy_low_j is None
    assert line.quality == 1.0


def test_ungraded_outcomes_and_other_categories_are_left_out() -> None:
    rows = [
        prompt("a", Outcome("m", "L0", 1.0)),
        prompt("b", Outcome("m", "L0", None)),
        prompt("c", Outcome("m", "L0", 0.0), category="sql"),
    ]
    assert summarise(rows)[0].n == 2
    assert summarise(rows, ["math"])[0].quality == 1.0


def test_the_command_prints_the_shipped_measurements() -> None:
    shipped = Path(__file__).resolve().parents[2] / "router" / "data" / "measurements" / "default.jsonl.gz"
    answer = CliRunner().invoke(app, ["report", str(shipped)], env={"COLUMNS": "160"})
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("modelled") == 9


def test_how_far_repeats_lie_apart_is_their_pooled_coefficient_of_variation() -> None:
    # 9 and 11 J: s = sqrt(2), mean 10; 20 J three times: no spread. (2/100 + 0) / (1 + 2) degrees of freedom.
    assert spread([[9.0, 11.0], [20.0, 20.0, 20.0]]) == pytest.approx((0.02 / 3) ** 0.5)
    assert spread([[9.0], [11.0]]) is None
    assert spread([[9.0, None]]) is None


def test_repeats_tell_their_spread_and_idle_joules_stand_beside() -> None:
    rows = [
        prompt(
            "a",
            Outcome("m", "L0", 1.0, energy_j=9.0, idle_j=1.0, duration_s=2.0, repeat=0),
            Outcome("m", "L0", 1.0, energy_j=11.0, idle_j=3.0, duration_s=2.0, repeat=1, extra={"busy_share": 0.5}),
        )
    ]
    line = summarise(rows)[0]
    assert (line.repeats, line.energy_j, line.idle_j, line.duration_spread) == (2, 10.0, 2.0, 0.0)
    assert line.energy_spread == pytest.approx(2**0.5 / 10)
    assert line.disturbed == 1


def at_once(concurrency: int, joules: float, tokens: int, seconds: float | None = 1.0) -> Outcome:
    return Outcome(
        "m", "L0", 1.0, energy_j=joules, output_tokens=tokens, duration_s=seconds, concurrency=concurrency,
        method="measured",
    )  # fmt: skip


def test_joules_per_token_of_each_level_are_sums_over_sums_and_compared_on_shared_prompts() -> None:
    rows = [
        prompt("a", at_once(1, 100.0, 10), at_once(4, 30.0, 10, 0.5)),
        prompt("b", at_once(1, 300.0, 30), at_once(4, 90.0, 30, 0.5)),
        prompt("c", at_once(1, 900.0, 10)),  # only ever alone: it must not count in the comparison
    ]
    alone, four = summarise(rows)[0].levels
    assert (alone.concurrency, alone.n, alone.ratio) == (1, 3, None)
    assert alone.joules_per_token == pytest.approx(1300 / 50)
    assert (four.concurrency, four.n, four.n_shared) == (4, 2, 2)
    assert four.joules_per_token == pytest.approx(3.0)
    assert four.tokens_per_s == pytest.approx(40.0)
    assert four.ratio == pytest.approx(0.3)
    assert four.ratio_low == pytest.approx(0.3)


def test_levels_with_unknown_joules_are_left_out_and_unknown_seconds_stay_unknown() -> None:
    rows = [
        prompt("a", at_once(1, 100.0, 10), at_once(4, 30.0, 10, None)),
        prompt("b", at_once(1, 100.0, 10), Outcome("m", "L0", 1.0, concurrency=16)),
    ]
    assert [(level.concurrency, level.tokens_per_s) for level in summarise(rows)[0].levels] == [(1, 10.0), (4, None)]


def test_one_level_alone_needs_no_second_table() -> None:
    assert summarise([prompt("a", at_once(1, 100.0, 10))])[0].levels == ()


def test_the_command_shows_levels_spread_and_disturbed_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    twice = replace(at_once(1, 120.0, 10), repeat=1, extra={"hot_c": 80.0})
    write_measurements(file, [prompt("a", at_once(1, 100.0, 10), twice, at_once(4, 30.0, 10))])
    answer = CliRunner().invoke(app, ["report", str(file)], env={"COLUMNS": "160"})
    assert answer.exit_code == 0, answer.output
    assert "13%" in answer.output  # 100 and 120: s = 14.1, mean 110
    assert "at a time" in answer.output
    assert "0.27 (n 1)" in answer.output
    assert "1 rows were taken on a busy" in answer.output
    (line,) = json.loads(CliRunner().invoke(app, ["report", str(file), "--json"]).output)
    assert [level["concurrency"] for level in line["levels"]] == [1, 4]
