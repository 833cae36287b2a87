"""What a stranger does: start the router, ask it things through the clients they have, and see why it answered."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

from router.backends.weights import cached_path
from tests.backends.smollm2 import CACHE_DIR, SMOLLM2
from tests.live.router_process import ROOT, Running, router_process

pytestmark = pytest.mark.live

QUESTIONS = {
    "code": "Write a Python function `count_vowels(text)` that returns how many vowels a string has.",
    "math": "A baker sells 14 loaves an hour for 6 hours and throws 9 away. How many loaves did she bake?",
    "questions": "What is the capital of Mongolia?",
    "sql": "SQLite table boats(id, name, length_m). Write a query that returns the name of the longest boat.",
    "translation": "Translate into German: The train to Hamburg leaves at nine.",
}


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with router_process(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def client(router: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{router.url}/v1", api_key="unused", max_retries=0, timeout=300) as client:
        yield client


def test_one_prompt_of_each_category_gets_an_option_of_its_own_kind_and_a_whole_carbon_record(client: OpenAI) -> None:
    options = set()
    for category, prompt in QUESTIONS.items():
        answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": prompt}])
        carbon = answer.model_dump()["carbon"]
        assert answer.choices[0].message.content
        assert carbon["category"] == category
        assert carbon["energy_method"] == "modelled"
        for known in ("model", "directive", "energy_j", "operational_g", "embodied_g", "reference_g"):
            assert carbon[known] is not None, known
        assert carbon["energy_j"] > 0
        options.add((carbon["model"], carbon["directive"]))
    assert len(options) > 1, "one option answered everything"


def test_a_stream_ends_with_the_record_and_the_usage(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": QUESTIONS["questions"]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk.model_dump() for chunk in stream]
    text = "".join(choice["delta"]["content"] or "" for chunk in chunks for choice in chunk["choices"])
    assert text
    assert any(chunk.get("carbon") for chunk in chunks)
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_a_dry_run_explains_without_generating(router: Running) -> None:
    answer = httpx.post(f"{router.url}/v1/route", json={"prompt": QUESTIONS["sql"]}, timeout=60, trust_env=False)
    decision = answer.json()
    assert decision["category"] == "sql"
    assert decision["neighbours"]
    assert sum(option["weight"] for option in decision["options"]) == pytest.approx(1.0)


def test_the_plan_keeps_its_floor(router: Running) -> None:
    plan = httpx.get(f"{router.url}/v1/plan", timeout=60, trust_env=False).json()["plan"]
    assert plan["expected_quality"] >= plan["floor_quality"] - 1e-9
    assert plan["expected_g"] <= plan["reference_g"]
    # The questions above may be more than a slow machine carries: then its capacity gives way, never the floor.
    assert {row["row"] for row in plan["rows"] if row["exceeded_by"]} <= {"capacity of local"}
    assert plan["feasible"] or any(row["exceeded_by"] for row in plan["rows"])


def test_bad_requests_get_their_status_and_the_router_lives_on(router: Running, client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="no model is called"):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(BadRequestError, match="empty"):
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": ""}])
    with pytest.raises(BadRequestError, match="null character"):
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "a\x00b"}])
    broken = httpx.post(f"{router.url}/v1/chat/completions", content=b'{"messages": [', timeout=60, trust_env=False)
    assert broken.status_code == 400
    assert "JSON" in broken.json()["error"]["message"]
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "long " * 20_000}])
    assert caught.value.status_code == 400
    assert httpx.get(f"{router.url}/readyz", timeout=60, trust_env=False).status_code == 200


def test_every_turn_is_on_disk_even_after_a_kill(tmp_path: Path) -> None:
    with router_process(tmp_path) as running:
        ask = {"model": "smollm2:135m", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi there"}]}
        ids = []
        for _ in range(3):
            answer = httpx.post(f"{running.url}/v1/chat/completions", json=ask, timeout=120, trust_env=False)
            ids.append(answer.json()["id"].removeprefix("chatcmpl-"))
        running.process.kill()
        running.process.wait()
    with sqlite3.connect(tmp_path / "journal.sqlite3") as journal:
        kept = {row[0] for row in journal.execute("SELECT id FROM turns")}
        assert set(ids) <= kept
        columns = [row[1] for row in journal.execute("PRAGMA table_info(turns)")]
    assert not {"prompt", "messages", "answer", "text"} & set(columns)
    with router_process(tmp_path) as again:
        assert httpx.get(f"{again.url}/healthz", timeout=60, trust_env=False).status_code == 200


def test_a_fourth_model_is_listed_never_routed_to_and_measured_alone(tmp_path: Path) -> None:
    federation = tmp_path / "models.yaml"
    gguf = cached_path(SMOLLM2, CACHE_DIR)
    federation.write_text(
        (ROOT / "models.yaml").read_text()
        + "\n  newcomer:135m:\n    parameters: 1.35e8\n    context: 8192\n    sites: [local]\n"
        + f"    weights: {{path: {gguf}}}\n"
    )
    with router_process(tmp_path / "data", "--models", str(federation)) as running:
        listed = httpx.get(f"{running.url}/v1/models", timeout=60, trust_env=False).json()["data"]
        newcomer = next(model for model in listed if model["id"] == "newcomer:135m")
        assert newcomer["available"]
        assert not newcomer["measured"]
        for prompt in QUESTIONS.values():
            answer = httpx.post(f"{running.url}/v1/route", json={"prompt": prompt}, timeout=60, trust_env=False)
            assert all(o["weight"] == 0 for o in answer.json()["options"] if o["model"] == "newcomer:135m")
        notes = httpx.get(f"{running.url}/v1/plan", timeout=60, trust_env=False).json()["notes"]
        assert any("newcomer:135m" in note for note in notes)
    rows = tmp_path / "rows.jsonl"
    arguments = ["--models-file", str(federation), "--limit", "1", "--categories", "questions", "--output", str(rows)]
    subprocess.run([sys.executable, "-m", "bench", "run", *arguments], cwd=ROOT, check=True, capture_output=True)
    measured = [outcome for line in rows.read_text().splitlines() for outcome in json.loads(line)["outcomes"]]
    assert {outcome["model"] for outcome in measured} == {"newcomer:135m"}
    assert {outcome["directive"] for outcome in measured} == {"L0", "L1", "L2"}


def test_the_openapi_document_names_every_route(router: Running) -> None:
    document = httpx.get(f"{router.url}/openapi.json", timeout=60, trust_env=False).json()
    for path in ("/v1/chat/completions", "/v1/models", "/v1/route", "/v1/plan", "/healthz", "/readyz"):
        assert path in document["paths"], json.dumps(list(document["paths"]))
