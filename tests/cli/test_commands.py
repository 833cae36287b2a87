"""The commands as a person types them: help, errors that say what to do, exit codes, JSON for programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the commands of this file share."""
    return tmp_path_factory.mktemp("data")


def command(
    home: Path, *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command the way a shell does; a port nobody listens on keeps a running server out of it."""
    return subprocess.run(
        [sys.executable, "-m", "router", *arguments],
        cwd=ROOT,
        env={**os.environ, "ROUTER_DATA_DIR": str(home), "ROUTER_PORT": "9", "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        input=stdin,
        timeout=150,
        check=False,
    )


def test_help_lists_every_command_with_a_sentence(home: Path) -> None:
    answer = command(home, "--help")
    assert answer.returncode == 0
    for name in ("serve", "route", "plan", "models", "store", "doctor"):
        assert f"  {name} " in answer.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, router.cli.main; "
        "heavy = ('torch', 'chromadb', 'fastapi', 'sklearn', 'xllamacpp', 'opentelemetry', 'pynvml'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_an_unknown_command_is_wrong_usage(home: Path) -> None:
    assert command(home, "fly").returncode == 2


def test_check_counts_the_federation(home: Path) -> None:
    answer = command(home, "models", "check")
    assert answer.returncode == 0
    assert "3 models x 3 directives" in answer.stdout


def test_a_mistake_in_models_yaml_is_told_with_file_line_and_key(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("floor: .95\nmodels:\n  a:1b:\n    parametres: 1e9\n")
    answer = command(home, "models", "check", "--models", str(file))
    assert answer.returncode == 1
    assert f"{file}:4" in answer.stderr
    assert "parametres" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_federation_file_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    answer = command(home, "plan", "--models", str(tmp_path / "none.yaml"))
    assert answer.returncode == 1
    assert "none.yaml" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_wrong_setting_names_its_variable(home: Path) -> None:
    answer = command(home, "models", "check", ROUTER_PORT="eighty")
    assert answer.returncode == 1
    assert "ROUTER_PORT" in answer.stderr


def test_the_plan_is_json_for_programs_and_promises_the_floor(home: Path) -> None:
    answer = command(home, "plan", "--json")
    assert answer.returncode == 0, answer.stderr
    plan = json.loads(answer.stdout)
    assert plan["plan"]["expected_quality"] >= plan["plan"]["floor_quality"] - 1e-9
    assert plan["measured_prompts"] > 0


def test_a_policy_without_a_plan_is_not_taken_for_nothing_measured(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(Path("models.yaml").read_text().replace("policy: joint", "policy: nearest"))
    assert "policy: nearest" in file.read_text()
    answer = command(home, "plan", "--models", str(file))
    assert answer.returncode == 0, answer.stderr
    assert "nearest decides prompt by prompt" in answer.stdout
    assert "every prompt takes the reference" not in answer.stdout


def test_route_explains_one_prompt(home: Path) -> None:
    answer = command(home, "route", "-", "--json", stdin="What is the capital of Peru?")
    assert answer.returncode == 0, answer.stderr
    decision = json.loads(answer.stdout)
    assert decision["model"]
    assert decision["reason"]
    assert abs(sum(option["weight"] for option in decision["options"]) - 1.0) < 1e-9


def test_an_empty_prompt_is_refused_with_a_sentence(home: Path) -> None:
    answer = command(home, "route", "  ")
    assert answer.returncode == 1
    assert "empty" in answer.stderr


def test_the_store_is_exported_imported_and_counted(home: Path, tmp_path: Path) -> None:
    exported = tmp_path / "out.jsonl.gz"
    assert command(home, "store", "export", str(exported)).returncode == 0
    again = command(home, "store", "export", str(exported))
    assert again.returncode == 1
    assert "--force" in again.stderr
    report = command(home, "store", "import", str(exported), "--json")
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)["added"] == 0
    counted = command(home, "store", "stats", "--json")
    assert json.loads(counted.stdout)["prompts"] > 0


def test_a_measurements_file_with_a_bad_value_is_refused_with_its_line_and_changes_nothing(
    home: Path, tmp_path: Path
) -> None:
    before = json.loads(command(home, "store", "stats", "--json").stdout)["outcomes"]
    file = tmp_path / "bad.jsonl"
    good = {"id": "x", "prompt": "p", "outcomes": [{"model": "m", "directive": "L0", "quality": 1.0}]}
    bad = {"id": "y", "prompt": "q", "outcomes": [{"model": "m", "directive": "L0", "quality": 7}]}
    file.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    answer = command(home, "store", "import", str(file))
    assert answer.returncode == 1
    assert f"{file}:2" in answer.stderr
    assert json.loads(command(home, "store", "stats", "--json").stdout)["outcomes"] == before


def test_pulling_an_unknown_model_lists_the_known_ones(home: Path) -> None:
    answer = command(home, "models", "pull", "gpt-9")
    assert answer.returncode == 1
    assert "smollm2:135m" in answer.stderr


def test_binding_beyond_loopback_is_refused(home: Path) -> None:
    answer = command(home, "serve", "--host", "0.0.0.0")
    assert answer.returncode == 1
    assert "refusing to bind" in answer.stderr


def test_a_port_that_is_taken_is_told_at_once(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = command(home, "serve", "--port", str(taken.getsockname()[1]))
    assert answer.returncode == 1
    assert "cannot listen on 127.0.0.1" in answer.stderr
    assert "--port" in answer.stderr


def test_doctor_says_in_plain_words_what_is_there_and_what_is_missing(home: Path) -> None:
    answer = command(home, "doctor", "--json")
    findings = {finding["part"]: finding for finding in json.loads(answer.stdout)}
    assert findings["federation"]["state"] == "ok"
    assert findings["embedder"]["state"] == "ok"
    assert "385" in findings["intensity at local"]["text"]
    assert "modelled" in findings["meter at local"]["todo"]
    assert any(part.startswith("model ") for part in findings)


def test_check_looks_into_a_sites_trace(home: Path, tmp_path: Path) -> None:
    file, trace = tmp_path / "models.yaml", tmp_path / "grid.csv"
    file.write_text("sites:\n  local: {zone: FR, intensity_trace: grid.csv}\nmodels:\n  a:1b: {}\n")
    missing = command(home, "models", "check", "--models", str(file))
    assert missing.returncode == 1
    assert str(trace) in missing.stderr
    trace.write_text("datetime_utc,DE\n2026-01-01 00:00:00,300\n")
    without_the_zone = command(home, "models", "check", "--models", str(file))
    assert without_the_zone.returncode == 1
    assert "no zone FR" in without_the_zone.stderr
    trace.write_text("datetime_utc,FR\n2026-01-01 00:00:00,30\n")
    assert command(home, "models", "check", "--models", str(file)).returncode == 0


def test_doctor_tells_how_old_and_of_what_kind_the_intensity_is(home: Path, tmp_path: Path) -> None:
    trace, file = tmp_path / "grid.csv", tmp_path / "models.yaml"
    recent = datetime.now(UTC) - timedelta(minutes=30)
    rows = [f"{when:%Y-%m-%d %H:%M:%S}" for when in (recent - timedelta(hours=2), recent)]
    trace.write_text(f"datetime_utc,FR,DE\n{rows[0]},,300\n{rows[1]},30,\n")
    site = "engine: scripted, intensity_trace: grid.csv, intensity_kind: marginal"
    sites = f"sites:\n  fresh: {{zone: FR, {site}}}\n  old: {{zone: DE, {site}}}\n"
    file.write_text(f"{sites}models:\n  a:1b: {{sites: [fresh, old]}}\n")
    answer = command(home, "doctor", "--json", "--models", str(file))
    findings = {finding["part"]: finding for finding in json.loads(answer.stdout)}
    fresh, old = findings["intensity at fresh"], findings["intensity at old"]
    assert (fresh["state"], old["state"]) == ("ok", "warning")
    assert "30 g/kWh, grid.csv (marginal, 0.5 h old)" in fresh["text"]
    assert "300 g/kWh, grid.csv (marginal, 2.5 h old, not current)" in old["text"]
    assert "last value is 2.5 h old" in old["text"]


def test_check_refuses_what_serve_would_refuse(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("policy: jiont\nmodels:\n  a:1b: {}\n")
    answer = command(home, "models", "check", "--models", str(file))
    assert answer.returncode == 1
    assert "unknown policy 'jiont'" in answer.stderr
    file.write_text(f"models:\n  mine:\n    weights: {{path: {tmp_path}/absent.gguf}}\n")
    for name in ("check", "pull"):
        answer = command(home, "models", name, "--models", str(file))
        assert answer.returncode == 1, name
        assert "absent.gguf" in answer.stderr
        assert "weights.path" in answer.stderr
