"""Ollama's administration: refused unless it is allowed, then handed on to the Ollama site as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from router.api.app import Access, create_app
from router.backends.auto import AutoBackend
from router.backends.ollama import OllamaBackend
from router.backends.scripted import ScriptedBackend
from router.config.keys import KeyFile
from router.domain.ports import Backend
from tests.api.server import serve, wait_until
from tests.backends.fake_servers import listening
from tests.service import federation

CAPABILITIES = {"small": ["completion"], "large": ["completion", "tools", "insert", "vision"]}


class Ollama:
    """As much of an Ollama as is administered; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.pulling = 0
        paths = [("/api/pull", "POST"), ("/api/create", "POST"), ("/api/push", "POST"), ("/api/blobs/{d}", "POST")]
        self.app = Starlette(
            routes=[
                Route("/api/tags", self.tags),
                Route("/api/show", self.show, methods=["POST"]),
                *(Route(path, self.progress, methods=[method]) for path, method in paths),
                Route("/api/copy", self.silence, methods=["POST"]),
                Route("/api/delete", self.silence, methods=["DELETE"]),
                Route("/api/blobs/{d}", self.silence, methods=["HEAD"]),
            ]
        )

    async def tags(self, _request: Request) -> Response:
        return JSONResponse({"models": [{"name": f"{n}:latest", "model": f"{n}:latest"} for n in CAPABILITIES]})

    async def show(self, request: Request) -> Response:
        name = (await request.json())["model"].removesuffix(":latest")
        if name == "small" and not CAPABILITIES["small"]:
            return JSONResponse({"error": "no"}, 500)
        return JSONResponse({"capabilities": CAPABILITIES[name], "model_info": {}, "details": {}})

    async def _note(self, request: Request) -> bytes:
        body = await request.body()
        self.asked.append((request.method, request.url.path, body))
        return body

    async def silence(self, request: Request) -> Response:
        body = await self._note(request)
        if b"nobody" in body:
            return JSONResponse({"error": "model 'nobody' not found"}, 404)
        return Response(status_code=200)

    async def progress(self, request: Request) -> Response:
        body = await self._note(request)
        if b"gone" in body:
            return JSONResponse({"error": "pull model manifest: file does not exist"}, 500)
        if b'"stream":false' in body.replace(b" ", b""):
            return JSONResponse({"status": "success"})

        async def lines() -> AsyncGenerator[bytes, None]:
            self.pulling += 1
            try:
                yield b'{"status": "pulling caf\xc3'  # cut in the middle of a character
                yield b'\xa9"}\n'
                if b"endless" in body:
                    await asyncio.Event().wait()
                yield b'{"status": "success"}\n'
            finally:
                self.pulling -= 1

        return StreamingResponse(lines(), media_type="application/x-ndjson")


@contextmanager
def administered(keys: KeyFile | None, backend: Backend | None = None, **more: Any) -> Iterator[tuple[str, Ollama]]:
    """A running router in front of a running Ollama."""
    engine = Ollama()
    with listening(engine.app) as url:
        service = federation.build(measured=[], backend=backend or OllamaBackend(url))
        with serve(create_app(service, access=Access(administrators=keys, **more))) as address:
            yield address, engine


@pytest.fixture
def no_keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def test_every_call_reaches_ollama_and_its_answer_the_client(no_keys: KeyFile) -> None:
    with administered(no_keys) as (url, engine), ollama.Client(host=url, trust_env=False) as client:
        assert [line.status for line in client.pull("tiny", stream=True)] == ["pulling caf\u00e9", "success"]
        assert client.pull("tiny").status == "success"
        assert client.push("me/tiny").status == "success"
        assert client.create("mine", from_="small").status == "success"
        client.copy("small", "other")
        client.delete("other")
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert http.head("/api/blobs/sha256:1").status_code == 200
            assert http.post("/api/blobs/sha256:1", content=b"\x00\xff").status_code == 200
    calls = [(method, path) for method, path, _ in engine.asked]
    assert calls == [
        ("POST", "/api/pull"), ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"),
        ("POST", "/api/copy"), ("DELETE", "/api/delete"), ("HEAD", "/api/blobs/sha256:1"),
        ("POST", "/api/blobs/sha256:1"),
    ]  # fmt: skip
    assert json.loads(engine.asked[4][2]) == {"source": "small", "destination": "other"}
    assert engine.asked[-1][2] == b"\x00\xff"


def test_ollama_s_own_errors_keep_their_status_and_text(no_keys: KeyFile) -> None:
    with administered(no_keys) as (url, _), ollama.Client(host=url, trust_env=False) as client:
        with pytest.raises(ollama.ResponseError, match="'nobody' not found") as missing:
            client.delete("nobody")
        assert missing.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="manifest"):
            client.pull("gone")


def test_a_client_that_goes_ends_the_pull(no_keys: KeyFile) -> None:
    with administered(no_keys) as (url, engine), httpx.Client(base_url=url, trust_env=False) as http:
        with http.stream("POST", "/api/pull", json={"model": "endless"}) as response:
            lines = response.iter_lines()  # dropped, it would close the response
            assert next(lines) == '{"status": "pulling caf\u00e9"}'
            assert engine.pulling == 1
        wait_until(lambda: engine.pulling == 0, 2.0)


def test_a_key_is_needed_as_soon_as_there_is_one(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    with administered(keys) as (url, engine), httpx.Client(base_url=url, trust_env=False) as http:
        assert http.request("DELETE", "/api/delete", json={"model": "other"}).status_code == 200
        token = keys.add("ada")
        refused = http.request("DELETE", "/api/delete", json={"model": "other"})
        assert refused.status_code == 401
        assert isinstance(refused.json()["error"], str)
        assert http.post("/api/generate", json={"model": "auto"}).status_code == 200, "only administration needs one"
        headers = {"Authorization": f"Bearer {token}"}
        assert http.request("DELETE", "/api/delete", json={"model": "other"}, headers=headers).status_code == 200
        (tmp_path / "keys.json").write_text("[{")
        assert http.request("DELETE", "/api/delete", json={"model": "other"}, headers=headers).status_code == 401
    assert len(engine.asked) == 2


def test_pages_from_elsewhere_administer_nothing(no_keys: KeyFile) -> None:
    with administered(no_keys) as (url, engine), httpx.Client(base_url=url, trust_env=False) as http:
        for origin in ("https://elsewhere.example", "null", "http://[::1"):
            response = http.post("/api/copy", content="{}", headers={"Origin": origin, "Content-Type": "text/plain"})
            assert response.status_code == 403
    assert engine.asked == []


def test_a_site_without_ollama_cannot_be_administered(no_keys: KeyFile) -> None:
    scripted = ScriptedBackend(models=("small", "large"))
    with administered(no_keys, scripted) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        response = http.post("/api/pull", json={"model": "tiny"})
        assert response.status_code == 400
        assert "no site runs Ollama" in response.json()["error"]
    with administered(no_keys) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        assert http.post("/api/pull", json={}, headers={"X-Router-Site": "local"}).status_code == 200
        assert http.post("/api/pull", json={}, headers={"X-Router-Site": "moon"}).status_code == 400


def test_an_ollama_that_is_down_is_told_so(no_keys: KeyFile) -> None:
    backend = AutoBackend(OllamaBackend("http://127.0.0.1:9"), ScriptedBackend(models=("small", "large")))
    with administered(no_keys, backend) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        response = http.post("/api/pull", json={"model": "tiny"})
    assert response.status_code == 503
    assert "cannot be reached" in response.json()["error"]


def test_show_claims_what_the_engine_says_and_of_auto_what_requests_are_routed_by(no_keys: KeyFile) -> None:
    def capabilities(http: httpx.Client, model: str) -> list[str]:
        found: list[str] = http.post("/api/show", json={"model": model}).json()["capabilities"]
        return found

    with administered(no_keys) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        # Filling in the middle is the engine's, but not served by the router.
        assert capabilities(http, "large") == ["completion", "tools", "vision"]
        assert capabilities(http, "small") == ["completion"]
        # Requests with tools or images go to the model that takes them; thinking has to be everybody's.
        assert capabilities(http, "auto") == ["completion", "tools", "vision"]


def test_what_requests_are_not_routed_by_auto_claims_only_if_all_can(
    no_keys: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPABILITIES, "large", ["completion", "thinking"])
    with administered(no_keys) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        assert http.post("/api/show", json={"model": "auto"}).json()["capabilities"] == ["completion"]
        monkeypatch.setitem(CAPABILITIES, "small", ["completion", "thinking"])
        assert http.post("/api/show", json={"model": "auto"}).json()["capabilities"] == ["completion", "thinking"]
