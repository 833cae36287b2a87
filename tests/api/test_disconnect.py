"""A client that goes away stops the generation, whatever it was waiting for."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from router.api.app import create_app
from router.domain.chat import Delta
from tests.api.conftest import Running
from tests.api.server import serve, wait_until
from tests.api.stage import HANG
from tests.service import federation
from tests.service.test_embedding import OneAtATime as SlowEmbedder

WITHIN_S = 0.5


def connect(url: str, path: str, body: dict[str, Any]) -> socket.socket:
    """Send a request by hand, so that the connection can be dropped at any moment."""
    parts = urlsplit(url)
    content = json.dumps(body).encode()
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10.0)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def chat(path: str, prompt: str, **more: Any) -> dict[str, Any]:
    if path == "/api/generate":
        return {"model": "auto", "prompt": prompt, **more}
    return {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}


DIALECTS = pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/api/generate"])


@DIALECTS
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in one piece"])
def test_while_it_waits_for_the_first_byte(running: Running, path: str, stream: bool) -> None:
    running.stage.scenes["wait"] = [HANG]
    stopped = running.stage.stopped
    with connect(running.url, path, chat(path, "wait", stream=stream)):
        wait_until(lambda: running.stage.running == 1, 5.0)
    assert wait_until(lambda: running.stage.running == 0, WITHIN_S) < WITHIN_S
    assert running.stage.stopped == stopped + 1


@DIALECTS
def test_in_the_middle_of_a_silent_stream(running: Running, path: str) -> None:
    running.stage.scenes["pause"] = [Delta("so far so good"), HANG]
    with connect(running.url, path, chat(path, "pause", stream=True)) as connection:
        received = b""
        while b"so far so good" not in received:
            received += connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 200")
        assert running.stage.running == 1
    wait_until(lambda: running.stage.running == 0, WITHIN_S)
    wait_until(lambda: "cancelled" in {turn.status for turn in running.service.journal.turns()}, WITHIN_S)


@DIALECTS
def test_in_the_middle_of_a_stream_that_nobody_reads(running: Running, path: str) -> None:
    # More than the sockets' buffers hold: the server waits in the middle of a send.
    running.stage.scenes["flood"] = [Delta("x" * 100_000)] * 500
    with connect(running.url, path, chat(path, "flood", stream=True)) as connection:
        connection.recv(4096)
        wait_until(lambda: running.stage.running == 1, 5.0)
    wait_until(lambda: running.stage.running == 0, WITHIN_S)


def test_all_of_n_answers_are_stopped(running: Running) -> None:
    running.stage.scenes["n pauses"] = [Delta("so far"), HANG]
    path = "/v1/chat/completions"
    with connect(running.url, path, chat(path, "n pauses", n=3, stream=True)):
        wait_until(lambda: running.stage.running == 3, 5.0)
    wait_until(lambda: running.stage.running == 0, WITHIN_S)


def test_others_go_on_meanwhile(running: Running) -> None:
    """A stream that goes on beside one that is dropped ends as it should."""
    gate = threading.Event()
    running.stage.scenes["pause"] = [Delta("so far so good"), HANG]
    bodies: list[bytes] = []

    def read() -> None:
        with connect(running.url, "/api/generate", chat("/api/generate", "hello there", stream=False)) as connection:
            gate.wait(5.0)
            bodies.append(connection.recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    with connect(running.url, "/api/chat", chat("/api/chat", "pause", stream=True)):
        wait_until(lambda: running.stage.running == 1, 5.0)
    gate.set()
    reader.join(10.0)
    assert b'"done":true' in bodies[0].replace(b" ", b"")
    wait_until(lambda: running.stage.running == 0, WITHIN_S)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", {"model": "auto"}), ("/api/embed", {"model": "auto"})],
)
def test_texts_that_nobody_waits_for_are_not_embedded(path: str, body: dict[str, Any]) -> None:
    embedder = SlowEmbedder()
    service = federation.build(embedder=embedder)
    embedder.is_slow = True
    with serve(create_app(service)) as url:
        with connect(url, path, {**body, "input": ["a text"] * 2000}):
            wait_until(lambda: len(embedder.sizes) > 1, 5.0)
        seen = len(embedder.sizes)
        with httpx.Client(base_url=url, timeout=20.0, trust_env=False) as http:
            assert http.post(path, json={**body, "input": "another"}).status_code == 200
        assert sum(embedder.sizes) < 1000
        assert len(embedder.sizes) <= seen + 3


@DIALECTS
def test_leaving_upon_the_last_line_cancels_nothing(running: Running, path: str) -> None:
    known = {turn.id for turn in running.service.journal.turns()}
    with connect(running.url, path, chat(path, "to the end", stream=True)) as connection:
        received = b""
        while b'"carbon"' not in received:
            received += connection.recv(65536)
    wait_until(lambda: running.stage.running == 0, WITHIN_S)
    assert [turn.status for turn in running.service.journal.turns() if turn.id not in known] == ["ok"]
    assert running.service.ledger.trouble is None
