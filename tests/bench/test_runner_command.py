"""``python -m bench`` from the outside, on a federation whose engine is scripted."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

FEDERATION = """
directives: {L0: "", L1: "Answer briefly."}
sites:
  local: {engine: scripted, watts_per_core: 4}
models:
  parrot: {parameters: 1e9}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "models.yaml").write_text(FEDERATION)
    return tmp_path


def bench(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROUTER_DATA_DIR": str(home), "ROUTER_MODELS_FILE": str(home / "models.yaml")}
    command: Sequence[str] = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=90, check=False)


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(home: Path) -> None:
    done = bench(home, "run", "--dry-run", "--limit", "2", "--categories", "math,questions", "--json")

    report = json.loads(done.stdout)
    assert report["jobs"] == 8
    assert report["seconds"] == pytest.approx(4 * (0.4 + 0.2) * (1024 + 512) / 2 * 1e9 / 4e10)
    assert report["energy_j"] == pytest.approx(2 * 4 * report["seconds"])
    assert report["from_rows"] == 0
    assert not (home / "measurements").exists()


def test_a_dry_run_over_an_interrupted_or_disturbed_file_says_what_the_run_would_do(home: Path) -> None:
    arguments = ["run", "--limit", "1", "--categories", "math", "--json"]
    assert bench(home, *arguments).returncode == 0
    file = home / "measurements" / "local.jsonl"
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    first["outcomes"][0].pop("busy_share", None)  # whatever this machine was doing
    second["outcomes"][0]["busy_share"] = 0.5
    file.write_text("".join(json.dumps(row) + "\n" for row in (first, second)))
    assert json.loads(bench(home, *arguments, "--dry-run").stdout)["jobs"] == 0
    assert json.loads(bench(home, *arguments, "--dry-run", "--redo-busy").stdout)["jobs"] == 1
    torn = json.dumps(first) + "\n" + json.dumps(second)[:40]
    file.write_text(torn)
    assert json.loads(bench(home, *arguments, "--dry-run").stdout)["jobs"] == 1
    assert file.read_text() == torn


def test_it_measures_then_finds_nothing_missing_then_only_what_is_new(home: Path) -> None:
    first = bench(home, "run", "--limit", "1", "--categories", "math,questions", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["measured"] == 4

    again = bench(home, "run", "--limit", "1", "--categories", "math,questions")
    assert again.stdout.startswith("nothing was missing")

    (home / "models.yaml").write_text(FEDERATION.replace('"Answer briefly."', '"Answer briefly.", L3: "Answer only."'))
    more = bench(home, "run", "--limit", "1", "--categories", "math,questions", "--json")
    assert json.loads(more.stdout)["measured"] == 2
    rows = [json.loads(line) for line in (home / "measurements" / "local.jsonl").read_text().splitlines()]
    assert [row["outcomes"][0]["directive"] for row in rows[4:]] == ["L3", "L3"]
    assert rows[0]["outcomes"][0]["method"] == "modelled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--models", "gpt-9"], "there is no model 'gpt-9'"),
        (["run", "--directives", "L9"], "there is no directive 'L9'"),
        (["run", "--categories", "poetry"], "no prompts of the category 'poetry'"),
        (["run", "--concurrency", "0"], "--concurrency takes whole numbers"),
        (["run", "--dataset", "glue", "--data", "."], "there is no public set 'glue'"),
        (["run", "--data", "/nowhere"], "there is no folder /nowhere"),
        (["run", "--prompts", "/nowhere"], "there are no prompts in /nowhere"),
        (["run", "--prompts", ".", "--data", "."], "--prompts are your own"),
        (["run", "--output", "rows.jsonl.gz"], "plain lines"),
    ],
)
def test_wrong_usage_is_one_sentence_with_what_to_do(home: Path, arguments: list[str], message: str) -> None:
    done = bench(home, *arguments)

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_tells_measuring_what_is_missing_from_measuring_everything(home: Path) -> None:
    text = bench(home, "run", "--help").stdout

    assert "what has no measurement at all" in text
    assert "--remeasure" in text


def test_prompts_of_ones_own_are_measured_graded_and_graded_again(home: Path) -> None:
    folder = home / "prompts"
    (folder / "databases").mkdir(parents=True)
    (folder / "databases" / "shop.sql").write_text("CREATE TABLE sold (item TEXT);")
    (folder / "recipes.jsonl").write_text(
        '{"id": "mine-1", "category": "recipes", "prompt": "Where do chips come from?", "grader": "aliases", '
        '"aliases": ["Belgium"]}\n'
    )
    (folder / "tables.jsonl").write_text(
        '{"id": "mine-2", "category": "tables", "prompt": "CREATE TABLE sold (item TEXT);\\nAll items?", '
        '"grader": "sql", "database": "shop", "query": "SELECT item FROM sold"}\n'
    )
    done = bench(home, "run", "--prompts", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured"] == 4
    file = home / "measurements" / "local.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(row["id"], row["category"]) for row in rows} == {("mine-1", "recipes"), ("mine-2", "tables")}
    assert all(row["outcomes"][0]["quality"] is not None for row in rows)

    answer = rows[0]["outcomes"][0]["answer"]
    (folder / "recipes.jsonl").write_text(
        json.dumps({**{k: rows[0][k] for k in ("id", "category", "prompt")}, "grader": "aliases", "aliases": [answer]})
    )
    again = bench(home, "regrade", str(file), "--prompts", str(folder), "--json")
    assert json.loads(again.stdout)["changed"] == 2, again.stderr


def test_what_was_measured_says_how_a_router_gets_it(home: Path) -> None:
    done = bench(home, "run", "--limit", "1", "--categories", "math")
    assert f"store import --origin local {home / 'measurements' / 'local.jsonl'}" in done.stdout
    assert "store import" not in bench(home, "run", "--limit", "1", "--categories", "math").stdout
