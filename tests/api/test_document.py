"""The OpenAPI document is true, and whatever it allows or forbids is answered as it says: schemathesis tries it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Running

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 10
# What a schema cannot say (a prompt that is not empty, fields that exclude each other) makes a request that fits it
# wrong all the same: 400 is an answer to those too. And some that do not fit it are read in the only sense they can
# have, such as a number written as a text.
CONFIG = f"""
seed = 1
request-timeout = {LONGEST_S}

[generation]
database = "none"
deterministic = true

[checks]
max_response_time = {LONGEST_S}

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "403", "404"]

[checks.negative_data_rejection]
enabled = false
"""


def tried(folder: Path, url: str, examples: int) -> str:
    """The report of schemathesis, which has found nothing."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG, "utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json"]
    done = subprocess.run(
        [*command, "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing", "--no-color"],
        cwd=folder,  # where it leaves what it keeps between runs
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_every_call_answers_as_the_document_says(running: Running, tmp_path: Path) -> None:
    report = tried(tmp_path, running.url, 10)
    operations = re.search(r"Tested: (\d+)", report)
    generated = re.search(r"(\d+) generated", report)
    assert operations, report
    assert generated, report
    assert int(operations[1]) >= 19
    assert int(generated[1]) >= 500
    assert running.stage.running == 0


@pytest.mark.live
def test_it_does_so_for_many_more_requests(running: Running, tmp_path: Path) -> None:
    report = tried(tmp_path, running.url, 400)
    assert int(re.findall(r"(\d+) generated", report)[0]) >= 5000


def test_every_route_but_administration_is_in_the_document(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path in (
        "/", "/v1/chat/completions", "/v1/models", "/v1/models/{name}", "/v1/embeddings", "/v1/route", "/v1/plan",
        "/v1/stats", "/metrics", "/healthz", "/readyz", "/api/chat", "/api/generate", "/api/embed",
        "/api/embeddings", "/api/show", "/api/tags", "/api/ps", "/api/version",
    ):  # fmt: skip
        assert path in document["paths"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            statuses = set(operation["responses"])
            assert "200" in statuses
            assert not statuses & {"422", "500"}
            errors = [operation["responses"][s]["content"]["application/json"] for s in statuses - {"200"}]
            shapes = {e["schema"]["$ref"].rpartition("/")[2] for e in errors} - {"Readiness"}
            assert shapes == {"OllamaError" if path.startswith("/api/") else "OpenAIError"}
