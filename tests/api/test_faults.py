"""A spoiled connection to the engine: every request ends in an answer or a proper error within its deadline.

Nothing is lost: each request is in the journal once, with the joules of what was started in vain.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from router.api.app import create_app
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.service.assembly import Service
from router.service.limits import Limits
from tests.api.fault_proxy import FaultProxy, Mode
from tests.api.in_process import CHAT, asked
from tests.api.server import serve, wait_until
from tests.backends.fake_servers import ScriptedServer, listening
from tests.service import federation

DEADLINE_S = 1.0
LIMITS = Limits(deadline_s=DEADLINE_S, backoff_s=0.01, failures_to_open=100_000)


@asynccontextmanager
async def behind_proxy() -> AsyncIterator[tuple[httpx.AsyncClient, Service, FaultProxy]]:
    with listening(ScriptedServer(ScriptedBackend("It is 42, of course.", models=("small", "large"))).app) as engine:
        port = urlsplit(engine).port
        assert port is not None
        async with (
            FaultProxy(port).listening() as proxy,
            asked(backend=OpenAIBackend(proxy.url), limits=LIMITS) as (http, service),
        ):
            yield http, service, proxy


def outcome(answer: httpx.Response, path: str) -> str:
    """What the client made of it: the text of an answer, or ``error``."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.strip() and "[DONE]" not in line]
    bodies = [json.loads(line) for line in lines]
    if any("error" in body for body in bodies):
        return "error"
    assert answer.status_code == 200
    if path == "/api/chat":
        return "".join(body["message"]["content"] for body in bodies)
    parts = [choice.get("delta", choice.get("message")) for body in bodies for choice in body["choices"]]
    return "".join(part.get("content") or "" for part in parts)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in one piece"])
async def test_every_fault_ends_in_a_proper_error_and_the_next_request_is_well(path: str, stream: bool) -> None:
    faults: list[tuple[Mode, int, set[int]]] = [
        ("refuse", 0, {503}),
        ("500", 0, {503}),
        ("garbage", 0, {502, 503}),
        ("delay", 0, {504}),
        ("cut", 0, {503}),
        ("cut", 60, {502, 503}),
        ("cut", 400, {200, 502, 503}),
        ("drip", 0, {200, 504}),
    ]
    async with behind_proxy() as (http, service, proxy):
        for number, (mode, after, statuses) in enumerate(faults):
            proxy.mode, proxy.after = mode, after
            began = time.monotonic()
            answer = await http.post(path, json={**CHAT, "stream": stream})
            assert time.monotonic() - began < DEADLINE_S + 1.0, mode
            assert answer.status_code in statuses, (mode, answer.status_code)
            assert outcome(answer, path) == "error", mode
            turns = list(service.journal.turns())
            assert len(turns) == number + 1
            assert turns[-1].status == "error"
            assert turns[-1].attempts >= 1
            # Every window of this meter is 5 J: each attempt is charged, the one router window is not part of it.
            assert turns[-1].carbon.energy_j == pytest.approx(5.0 * turns[-1].attempts)
        proxy.mode = "pass"
        assert outcome(await http.post(path, json={**CHAT, "stream": stream}), path) == "It is 42, of course."
        assert service.engines.gates["local"].idle


def test_a_server_that_is_stopped_finishes_its_streams() -> None:
    backend = ScriptedBackend("one two three four five six", models=("small", "large"), pace=Pace(delay_s=0.1))
    service = federation.build(measured=[], backend=backend)
    received: list[str] = []

    def read(url: str) -> None:
        body = {**CHAT, "stream": True}
        with httpx.Client(trust_env=False) as client, client.stream("POST", f"{url}/api/chat", json=body) as answer:
            received.extend(answer.iter_lines())

    with serve(create_app(service)) as url:
        reader = threading.Thread(target=read, args=(url,))
        reader.start()
        wait_until(lambda: backend.running == 1, 5.0)
    reader.join(5.0)
    assert json.loads(received[-1])["done"] is True
    assert "".join(json.loads(line)["message"]["content"] for line in received) == "one two three four five six"


def test_what_is_still_running_when_the_grace_ends_is_cancelled_and_journalled() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang", after=1)})
    service = federation.build(measured=[], backend=backend)

    def read(url: str) -> None:
        with httpx.Client(trust_env=False) as client, contextlib.suppress(httpx.HTTPError):
            client.post(f"{url}/api/chat", json=CHAT, timeout=20.0)

    with serve(create_app(service)) as url:  # its grace is two seconds
        reader = threading.Thread(target=read, args=(url,))
        reader.start()
        wait_until(lambda: backend.running == 1, 5.0)
    reader.join(5.0)
    assert backend.running == 0
    assert [turn.status for turn in service.journal.turns()] == ["cancelled"]
