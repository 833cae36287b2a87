"""A directive of one's own in models.yaml is measured alone by the next run, and enters the plan."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from router.api.explain import plan_json
from router.backends.scripted import ScriptedBackend
from router.carbon.fixed import FixedIntensity
from router.embed.hashed import HashedEmbedder
from router.journal.memory import MemoryJournal
from router.meters.none import NoMeter
from router.service.assembly import Parts, assemble
from router.service.engines import Engine
from router.service.snapshot import Snapshot
from router.service.wiring import read_federation
from router.store.importing import import_file
from router.store.memory import MemoryStore

FEDERATION = Path(__file__).parents[2] / "models.yaml"
ARGUMENTS = ["run", "--categories", "math,questions,sql", "--limit", "3", "--cool-down-c", "0", "--json"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, and a copy of the models.yaml that ships, its engine scripted."""
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROUTER_MODELS_FILE", str(tmp_path / "models.yaml"))
    text = FEDERATION.read_text(encoding="utf-8").replace("engine: auto", "engine: scripted")
    (tmp_path / "models.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def add_directive(home: Path) -> None:
    """What a user does: one line under ``directives:``."""
    file = home / "models.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count("\ndirectives:\n") == 1
    file.write_text(
        text.replace("\ndirectives:\n", '\ndirectives:\n  L3: "final answer only"\n'),
        encoding="utf-8",
    )


def bench_run() -> dict[str, Any]:
    done = CliRunner().invoke(app, ARGUMENTS)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def rows(home: Path) -> list[dict[str, Any]]:
    lines = (home / "measurements" / "local.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["outcomes"][0] for line in lines]


async def plan_of(home: Path) -> tuple[Snapshot, dict[str, Any]]:
    """What a router over these measurements plans."""
    federation = read_federation(home / "models.yaml")
    store, embedder = MemoryStore(), HashedEmbedder()
    import_file(home / "measurements" / "local.jsonl", store, embedder, origin="local")
    backend = ScriptedBackend(models=federation.models)
    service = assemble(
        federation,
        Parts(
            store=store,
            embedder=embedder,
            engines={"local": Engine(federation.sites["local"], backend, NoMeter())},
            journal=MemoryJournal(),
            sources={"local": FixedIntensity(385.0)},
        ),
    )
    await service.planner.refresh()
    await service.close()
    return service.planner.current, plan_json(service.planner.current)


def test_it_is_measured_alone_and_has_columns_in_the_plan(home: Path) -> None:
    federation = read_federation(home / "models.yaml")
    models, before = len(federation.models), set(federation.directives)
    assert bench_run()["measured"] == 9 * models * len(before)
    assert {row["directive"] for row in rows(home)} == before
    n_before = len(rows(home))

    add_directive(home)
    assert bench_run()["measured"] == 9 * models
    new = rows(home)[n_before:]
    assert {row["directive"] for row in new} == {"L3"}
    assert {row["model"] for row in new} == set(federation.models)
    assert bench_run()["measured"] == 0

    snapshot, plan = asyncio.run(plan_of(home))
    decider = snapshot.decider
    assert decider is not None, plan["notes"]
    assert {option.directive for option in decider.options} == {*before, "L3"}
    assert sum(option.directive == "L3" for option in decider.options) == models
    assert plan["plan"] is not None


def test_the_instruction_reaches_the_engine_word_for_word(home: Path) -> None:
    add_directive(home)
    assert read_federation(home / "models.yaml").directives["L3"].text == "final answer only"
    bench_run()
    runs = json.loads((home / "measurements" / "local.jsonl.runs.json").read_text(encoding="utf-8"))
    assert {entry["directives"]["L3"] for entry in runs.values()} == {"final answer only"}
