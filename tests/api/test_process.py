"""A router as its user runs it, a process of its own on engines that are scripted: limits, reload, logs, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.config.keys import KeyFile
from tests.backends.fake_servers import ScriptedServer, listening
from tests.live.router_process import Running, router_process

WORDS = 12
SLOW = Pace(delay_s=0.15)
PROMPT = "marker-of-the-prompt"


def federation(engine: str, *models: str) -> str:
    """models.yaml of a federation whose one engine is a server of the test."""
    lines = [f"  local: {{engine: openai, url: '{engine}', zone: DE, intensity_g_per_kwh: 385, slots: 4}}", "models:"]
    return "\n".join(["sites:", *lines, *(f"  {name}: {{}}" for name in models)]) + "\n"


def chat(text: str = PROMPT, *, stream: bool = False) -> dict[str, Any]:
    return {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": text}]}


def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        time.sleep(0.02)


@dataclass
class World:
    """A router, its engine, what it is configured by, and who collects its traces."""

    router: Running
    engine: ScriptedBackend
    models_file: Path
    engine_url: str
    traces: list[bytes]

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.router.url}{path}", timeout=20, trust_env=False).json()

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.router.url}{path}", json=body, timeout=20, trust_env=False, **more)

    def log(self) -> list[dict[str, Any]]:
        """The lines so far; the last one may be half written."""
        return [json.loads(line) for line in self.router.log.read_text().splitlines(keepends=True) if line[-1] == "\n"]


@dataclass
class Collector:
    """Takes traces as an OpenTelemetry collector does."""

    bodies: list[bytes] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        return Response(b"", media_type="application/x-protobuf")


def world(folder: Path, **environment: str) -> Iterator[World]:
    script = ScriptedBackend(" ".join(f"word{i}" for i in range(WORDS)), models=("small", "large"), pace=SLOW)
    collector = Collector()
    collecting = Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])])
    models_file = folder / "models.yaml"
    with listening(ScriptedServer(script).app) as engine, listening(collecting) as otel:
        models_file.write_text(federation(engine, "small"))
        settings = {
            "ROUTER_LOG_FORMAT": "json",
            "ROUTER_MOST_BODY_BYTES": "5000",
            "OTEL_EXPORTER_OTLP_ENDPOINT": otel,
            **environment,
        }
        with router_process(folder / "data", "--models", str(models_file), "--verbose", **settings) as running:
            yield World(running, script, models_file, engine, collector.bodies)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router for everything but keys; starting one takes ten seconds, so the last test that uses it ends it."""
    yield from world(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    """A router that asks for keys and slows floods down, with the headers of who has a key; the last test ends it."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "data").mkdir()
    key = KeyFile(folder / "data" / "keys.json").add("tester")
    environment = {"ROUTER_REQUIRE_KEYS": "true", "ROUTER_RATE_PER_MINUTE": "18", "ROUTER_GRACE_S": "4"}
    for one in world(folder, **environment):
        yield one, {"Authorization": f"Bearer {key}"}


def test_pages_from_elsewhere_are_not_let_in_and_foreign_host_names_are_not_answered(served: World) -> None:
    preflight = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{served.router.url}/v1/chat/completions", headers=preflight, timeout=20, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers
    foreign = httpx.get(f"{served.router.url}/v1/models", headers={"Host": "evil.example"}, timeout=20, trust_env=False)
    assert foreign.status_code == 421


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_a_body_beyond_the_limit_is_refused_in_the_dialects_shape(served: World, path: str) -> None:
    answer = served.post(path, chat("x" * 6000))
    assert answer.status_code == 413
    assert "5000 bytes" in str(answer.json()["error"])
    in_pieces = httpx.post(
        f"{served.router.url}{path}",
        content=(b"x" * 1000 for _ in range(100)),
        headers={"Content-Type": "application/json"},
        timeout=20,
        trust_env=False,
    )
    assert in_pieces.status_code == 413


def test_the_log_is_json_lines_with_one_a_turn_and_without_prompts_and_the_trace_arrives(served: World) -> None:
    answer = served.post("/v1/chat/completions", chat()).json()
    turn_id = answer["id"].removeprefix("chatcmpl-")
    (line,) = [line for line in served.log() if line.get("id") == turn_id]
    assert line["status"] == "ok"
    assert line["option"] == "small@L0"
    assert {"grams", "energy_j", "duration_s", "category", "fallback", "error"} <= set(line)
    assert any("answers at" in line["message"] for line in served.log())
    until(lambda: any(turn_id.encode() in body for body in served.traces))
    assert not any(b"marker-of" in body or b"word1" in body for body in served.traces)
    assert "marker-of" not in served.router.log.read_text()
    assert "word1" not in served.router.log.read_text()


def test_models_yaml_is_taken_over_when_valid_and_kept_with_a_logged_reason_when_not(served: World) -> None:
    def names() -> set[str]:
        return {model["id"] for model in served.get("/v1/models")["data"]}

    def notes() -> str:
        return " ".join(served.get("/v1/plan")["notes"])

    served.models_file.write_text(federation(served.engine_url, "small", "large"))
    until(lambda: "large" in names())
    assert served.post("/v1/chat/completions", {**chat(), "model": "large"}).json()["model"] == "large"
    served.models_file.write_text(federation(served.engine_url, "small") + "  large: {parametres: 1e9}\n")
    until(lambda: "parametres" in notes())
    assert "large" in names()
    assert served.post("/v1/chat/completions", chat()).status_code == 200
    assert any(line["level"] == "error" and "parametres" in line["message"] for line in served.log())
    served.models_file.write_text(federation(served.engine_url, "small"))
    until(lambda: "large" not in names())
    assert "parametres" not in notes()


def test_asked_to_stop_it_ends_the_streams_under_way_whole_and_takes_no_more(served: World) -> None:
    seen: list[str] = []

    def read() -> None:
        with httpx.stream(
            "POST", f"{served.router.url}/v1/chat/completions", json=chat(stream=True), timeout=30, trust_env=False
        ) as answer:
            seen.extend(line for line in answer.iter_lines() if line)

    reading = threading.Thread(target=read)
    reading.start()
    until(lambda: served.engine.running)
    os.kill(served.router.process.pid, signal.SIGTERM)
    began = time.monotonic()

    def refuses() -> bool:
        try:
            served.get("/healthz")
        except httpx.HTTPError:
            return True
        return False

    until(refuses, within_s=5)
    assert reading.is_alive(), "the answer was over before the end began"
    reading.join(20)
    assert seen[-1] == "data: [DONE]"
    text = "".join(
        choice["delta"].get("content") or ""
        for line in seen[:-1]
        for choice in json.loads(line.removeprefix("data: "))["choices"]
    )
    assert text.split() == [f"word{i}" for i in range(WORDS)]
    assert served.router.process.wait(20) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 20
    turn_id = json.loads(seen[0].removeprefix("data: "))["id"].removeprefix("chatcmpl-")
    (turn,) = [line for line in served.log() if line.get("id") == turn_id]
    assert turn["status"] == "ok"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer cr-wrong"}], ids=["no key", "a wrong key"])
def test_without_a_key_nobody_is_answered_in_either_dialect(
    guarded: tuple[World, dict[str, str]], headers: dict[str, str]
) -> None:
    router, known = guarded
    openai = router.post("/v1/chat/completions", chat(), headers=headers)
    ollama = router.post("/api/chat", chat(), headers=headers)
    assert (openai.status_code, ollama.status_code) == (401, 401)
    assert openai.json()["error"]["code"] == "invalid_api_key"
    assert isinstance(ollama.json()["error"], str)
    assert known["Authorization"] not in router.router.log.read_text()


def test_an_answer_longer_than_the_grace_is_cut_and_a_flood_before_it_is_slowed_down(
    guarded: tuple[World, dict[str, str]],
) -> None:
    own, headers = guarded
    flood = [own.post("/v1/route", {"prompt": PROMPT}, headers=headers) for _ in range(6)]
    statuses = [answer.status_code for answer in flood]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert int(flood[-1].headers["retry-after"]) >= 1
    time.sleep(int(flood[-1].headers["retry-after"]) + 0.1)
    own.engine.faults["small"] = Fault("hang", after=2)

    def read() -> None:
        with contextlib.suppress(httpx.HTTPError):
            own.post("/v1/chat/completions", chat(), headers=headers)

    reading = threading.Thread(target=read)
    reading.start()
    until(lambda: own.engine.running)
    os.kill(own.router.process.pid, signal.SIGTERM)
    own.router.process.wait(20)
    reading.join(20)
    (turn,) = [line for line in own.log() if line["message"] == "turn"]
    assert turn["status"] == "cancelled"
