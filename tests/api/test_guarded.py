"""Whoever may not ask is told so by a running server, in the dialect's shape and with nothing generated."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from router.api.app import Access, create_app
from router.backends.scripted import ScriptedBackend
from router.config.keys import KeyFile
from tests.api.in_process import CHAT
from tests.api.server import serve, wait_until
from tests.live.router_process import ROOT, free_port
from tests.service import federation

PATHS = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/api/chat", "/api/generate"])
MOST_BYTES = 2000
START_S = 120.0


@dataclass(frozen=True)
class Guarded:
    """A running router that asks for keys, and what it generates with."""

    url: str
    token: str
    engine: ScriptedBackend


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    keys = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    token = keys.add("ada")
    engine = ScriptedBackend(models=("small", "large"))
    service = federation.build(measured=[], backend=engine)
    access = Access(keys=keys, hosts=("localhost", "127.0.0.1"), most_body_bytes=MOST_BYTES)
    with serve(create_app(service, access=access)) as url:
        yield Guarded(url, token, engine)


def assert_shape(path: str, response: httpx.Response, status: int, code: str) -> None:
    """The error in the dialect of the path, as JSON."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    if path.startswith("/api/"):
        assert isinstance(body["error"], str)
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert body["error"]["code"] == code


def post(guarded: Guarded, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {guarded.token}", **more.pop("headers", {})}
    given = {key: value for key, value in headers.items() if value is not None}
    if "content" not in more:
        more["json"] = {**CHAT, "prompt": "hello", "input": "hello"}
    return httpx.post(f"{guarded.url}{path}", headers=given, trust_env=False, timeout=20, **more)


@PATHS
@pytest.mark.parametrize("key", [None, "Bearer cr-wrong", "Basic YWRhOmFkYQ=="], ids=["none", "wrong", "no bearer"])
def test_without_the_right_key_nothing_is_generated(guarded: Guarded, path: str, key: str | None) -> None:
    before = len(guarded.engine.calls)
    response = post(guarded, path, headers={"Authorization": key})
    assert_shape(path, response, 401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert len(guarded.engine.calls) == before


@PATHS
def test_with_it_all_is_well(guarded: Guarded, path: str) -> None:
    assert post(guarded, path).status_code == 200


def test_the_document_s_every_call_needs_the_key_it_says(guarded: Guarded) -> None:
    headers = {"Authorization": f"Bearer {guarded.token}"}
    with httpx.Client(base_url=guarded.url, trust_env=False, timeout=20) as client:
        assert client.get("/openapi.json").status_code == client.get("/docs").status_code == 401
        document = client.get("/openapi.json", headers=headers).json()
        assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                is_open = operation.get("security", document["security"]) == []
                response = client.request(method, path.replace("{name}", "auto"))
                assert (response.status_code == 401) != is_open, path
                assert ("401" in operation["responses"]) != is_open, path


def test_the_openai_client_knows_what_is_the_matter(guarded: Guarded) -> None:
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"


@PATHS
def test_a_body_that_is_too_large_is_refused_before_it_is_read(guarded: Guarded, path: str) -> None:
    large = json.dumps({**CHAT, "prompt": "x" * MOST_BYTES, "input": "x" * MOST_BYTES}).encode()
    headers = {"Content-Type": "application/json"}
    assert_shape(path, post(guarded, path, content=large, headers=headers), 413, "request_too_large")
    in_pieces = (large[start : start + 500] for start in range(0, len(large), 500))
    assert_shape(path, post(guarded, path, content=in_pieces, headers=headers), 413, "request_too_large")
    # A gigabyte is announced, and not waited for.
    parts = urlsplit(guarded.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("POST", path)
    for name, value in (("Authorization", f"Bearer {guarded.token}"), ("Content-Length", str(2**30))):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@PATHS
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io:8000", "localhost.evil.example", "[::1"])
def test_under_another_host_name_nobody_is_answered(guarded: Guarded, path: str, host: str) -> None:
    assert_shape(path, post(guarded, path, headers={"Host": host}), 421, "misdirected_request")
    assert post(guarded, path, headers={"Host": "localhost:1234"}).status_code == 200


def test_a_flood_is_held_back_in_both_dialects_and_lookups_are_not() -> None:
    engine = ScriptedBackend(models=("small", "large"))
    service = federation.build(measured=[], backend=engine)
    with (
        serve(create_app(service, access=Access(rate_per_minute=30))) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
    ):
        statuses = [client.post("/v1/chat/completions", json=CHAT).status_code for _ in range(8)]
        assert statuses == [200] * 5 + [429] * 3  # ten seconds' worth at once
        for path in ("/v1/chat/completions", "/api/chat"):
            response = client.post(path, json=CHAT)
            assert_shape(path, response, 429, "overloaded")
            assert 1 <= int(response.headers["retry-after"]) <= 2
            assert response.headers["x-should-retry"] == "true"
        assert client.get("/api/tags").status_code == client.get("/v1/models").status_code == 200
        wait_until(lambda: client.post("/api/chat", json=CHAT).status_code == 200, 10.0)
    assert len(engine.calls) == 6


# What follows runs the program as its user does.


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    models = tmp_path / "models.yaml"
    models.write_text(
        "sites:\n  local: {engine: scripted, zone: DE, intensity_g_per_kwh: 385}\nmodels:\n  scripted: {}\n"
    )
    return {
        **os.environ,
        "ROUTER_DATA_DIR": str(tmp_path / "data"),
        "ROUTER_MODELS_FILE": str(models),
        "ROUTER_HOST": "0.0.0.0",
        "ROUTER_RATE_PER_MINUTE": "6",
    }


def program(home: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "router", *arguments]
    return subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True, timeout=START_S, check=False)


def test_on_every_address_it_serves_whoever_has_a_key_and_does_not_start_without_one(home: dict[str, str]) -> None:
    port = free_port()
    refused = program(home, "serve", "--port", str(port))
    assert refused.returncode != 0
    assert "refusing to bind 0.0.0.0 without API keys" in refused.stderr
    assert "carbon-router keys add" in refused.stderr
    assert "Traceback" not in refused.stderr
    added = program(home, "keys", "add", "ada")
    token = next(word for word in added.stdout.split() if word.startswith("cr-"))
    with subprocess.Popen(
        [sys.executable, "-m", "router", "serve", "--port", str(port)], cwd=ROOT, env=home
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
                began = time.monotonic()
                while not is_alive(client):
                    assert process.poll() is None
                    assert time.monotonic() - began < START_S
                    time.sleep(0.1)
                headers = {"Authorization": f"Bearer {token}"}
                for path in ("/v1/chat/completions", "/api/chat"):
                    assert_shape(path, client.post(path, json=CHAT), 401, "invalid_api_key")
                    answer = client.post(path, json={**CHAT, "stream": False}, headers=headers)
                    assert answer.status_code == (200 if path.startswith("/v1") else 429), "six a minute: one at once"
                by_name = client.get("/v1/models", headers={**headers, "Host": "router.example"})
                assert by_name.status_code == 200
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("0.0.0.0", port))
        finally:
            process.terminate()
            assert process.wait(30) in (0, -signal.SIGTERM)  # uvicorn ends by the signal it was sent


def is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False
