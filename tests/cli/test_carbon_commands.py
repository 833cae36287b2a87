"""report, estimate and models rank as a person types them: figures, JSON for programs, and bad input refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from router.journal.sqlite import SqliteJournal
from tests.cli.test_commands import command
from tests.service.ledgers import turn
from tests.service.test_manifest import check_shape, compute


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a journal of an hour."""
    folder = tmp_path_factory.mktemp("data")
    journal = SqliteJournal(folder / "journal.sqlite3")
    now = time.time()
    for i in range(10):
        status = "error" if i == 3 else "ok"
        journal.write(turn(i, started_at=now - 3600 + 60 * i, status=status, wasted_j=100.0 if i == 3 else 0.0))
    journal.close()
    return folder


def test_the_report_has_both_scores_both_savings_and_every_coefficient(home: Path) -> None:
    answer = command(home, "report", "--json", "--utilisation", ".3")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["requests"]["answered"] == 9
    assert found["requests"]["failed"] == 1
    assert found["wasted_j"] == 100.0
    for name in ("attributed", "marginal"):
        score = found[name]
        assert score["g_per_request"] == pytest.approx(
            score["operational_g_per_request"] + score["embodied_g_per_request"]
        )
    assert found["attributed"]["g_per_request"] > found["marginal"]["g_per_request"]
    assert 0 < found["saving_of_site"]["share"] < found["saving_of_requests"]["share"]
    assert found["saving_of_site"]["utilisation"] == 0.3
    assert found["coefficients"]["local"]["embodied_source"]
    assert found["versions"]["carbon-router"]


def test_the_report_is_readable_and_says_what_is_left_out(home: Path) -> None:
    text = command(home, "report").stdout
    for words in ("attributed score", "marginal score", "training", "saved, requests alone", "the whole site", "PUE"):
        assert words in text


def test_a_period_leaves_out_what_lies_outside(home: Path) -> None:
    found = json.loads(command(home, "report", "--json", "--since", "2h", "--until", "55m").stdout)
    assert 0 < found["requests"]["all"] < 10


def test_the_manifest_computes_to_the_reports_score(home: Path) -> None:
    until = "2099-01-01"
    answer = command(home, "report", "--format", "impact-framework", "--until", until)
    assert answer.returncode == 0, answer.stderr
    data = yaml.safe_load(answer.stdout)
    check_shape(data)
    found = json.loads(command(home, "report", "--json", "--until", until).stdout)
    assert compute(data) == pytest.approx(found["attributed"]["g_per_request"], rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "tomorrow"), "2026-11-01"),
        (("--until", "1970-01-02"), "before it begins"),
        (("--idle-watts", "much"), "local=12"),
        (("--idle-watts", "mars=3"), "known are local"),
        (("--utilisation", "3"), "share"),
    ],
)
def test_a_report_that_cannot_be_says_what_to_give(home: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = command(home, "report", *arguments)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_estimate_has_an_interval_its_calibration_and_rices_parts(home: Path) -> None:
    asked = ("--parameters", "7e9", "--prompt-tokens", "192", "--output-tokens", "250")
    answer = command(home, "estimate", *asked, "--pue", "1.3", "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    for name in ("energy_j", "duration_s", "grams"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["calibration"]["kind"] == "shipped"
    assert found["extrapolated"]
    parts = found["rice"]["parts"]
    assert (parts["pue"]["value"], parts["pue"]["origin"]) == (1.3, "stated")
    assert (parts["intensity_g_per_kwh"]["value"], parts["intensity_g_per_kwh"]["origin"]) == (385.0, "source")
    assert parts["devices"]["origin"] == "default"
    text = command(home, "estimate", *asked).stdout
    assert "extrapolated" in text
    assert "R-ICE" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--parameters", "7"), "7e9"),
        ((), "--model"),
        (("--model", "gpt-9"), "smollm2:135m"),
        (("--parameters", "7e9", "--site", "mars"), "local"),
        (("--parameters", "7e9", "--pue", "0.5"), "from 1"),
    ],
)
def test_an_estimate_of_what_cannot_be_says_what_to_give(home: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = command(home, "estimate", *arguments, "--prompt-tokens", "192", "--output-tokens", "250")
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_models_are_ranked_and_one_never_run_is_marked_as_estimated(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    own = (Path(__file__).resolve().parents[2] / "models.yaml").read_text()
    file.write_text(f"{own}\n  llama3.2:3b:\n    parameters: 3.21e9\n    context: 131072\n    sites: [local]\n")
    rows = json.loads(command(home, "models", "rank", "--json", "--models", str(file)).stdout)
    new = [row for row in rows if row["model"] == "llama3.2:3b"]
    assert [(row["basis"], row["n"]) for row in new] == [("estimate", 0)]
    measured = [row for row in rows if row["basis"] == "measured"]
    assert all(row["g_low"] <= row["g_per_1000"] <= row["g_high"] for row in measured)
    assert {"overall", "math"} <= {row["category"] for row in measured}
    wrong = command(home, "models", "rank", "--category", "poetry")
    assert wrong.returncode == 1
    assert "math" in wrong.stderr


def test_a_report_in_two_formats_at_once_is_refused(home: Path) -> None:
    answer = command(home, "report", "--format", "impact-framework", "--json")
    assert answer.returncode == 1
    assert "two formats" in answer.stderr


def test_a_report_of_a_journal_that_is_not_there_is_refused_and_makes_none(tmp_path: Path) -> None:
    answer = command(tmp_path, "report")
    assert answer.returncode == 1
    assert f"there is no journal {tmp_path / 'journal.sqlite3'}" in answer.stderr
    assert "ROUTER_DATA_DIR" in answer.stderr
    assert list(tmp_path.iterdir()) == []
