"""Bodies, rates, hosts, origins and queues have limits; beyond them the right status comes in the dialect's shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from router.api.app import Access
from router.api.limits import RateLimit
from router.backends.scripted import Fault, ScriptedBackend
from router.service.limits import Limits
from tests.api.in_process import CHAT, asked

LARGE = {"model": "auto", "messages": [{"role": "user", "content": "x" * 2000}]}
LOCAL = ("localhost", "127.0.0.1", "::1")


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/api/generate", "/v1/embeddings", "/v1/route"])
@pytest.mark.parametrize("stated", [True, False], ids=["length stated", "in pieces"])
async def test_a_body_that_is_too_large_is_refused(path: str, stated: bool) -> None:
    body = json.dumps(LARGE).encode()
    headers = {"Content-Type": "application/json"}
    async with asked(Access(most_body_bytes=1000)) as (http, service):
        answer = await http.post(path, content=body if stated else in_pieces(body), headers=headers)
        assert list(service.journal.turns()) == []
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert "1000 bytes" in (error if path.startswith("/api/") else error["message"])
    if not path.startswith("/api/"):
        assert error["code"] == "request_too_large"


async def test_a_body_within_the_limit_is_read_whole() -> None:
    async with asked(Access(most_body_bytes=3000)) as (http, _):
        assert (await http.post("/v1/chat/completions", json=LARGE)).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "box.lan"]
)
async def test_known_hosts_are_answered(host: str) -> None:
    async with asked(Access(hosts=(*LOCAL, "box.lan"))) as (http, _):
        assert (await http.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "[::1", "127.0.0.1.nip.io"]
)
async def test_other_hosts_are_not(host: str) -> None:
    async with asked(Access(hosts=LOCAL)) as (http, _):
        openai = await http.get("/v1/models", headers={"Host": host})
        ollama = await http.get("/api/tags", headers={"Host": host})
    assert openai.status_code == ollama.status_code == 421
    assert openai.json()["error"]["code"] == "misdirected_request"
    assert isinstance(ollama.json()["error"], str)


async def test_a_flood_is_slowed_down_and_told_when_to_come_back() -> None:
    async with asked(Access(rate_per_minute=12)) as (http, service):
        statuses = [(await http.post("/api/chat", json={**CHAT, "stream": False})).status_code for _ in range(4)]
        refused = await http.post("/v1/chat/completions", json=CHAT)
        assert (await http.get("/v1/models")).status_code == 200
        assert len(list(service.journal.turns())) == 2
    assert statuses == [200, 200, 429, 429]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "overloaded"
    assert 1 <= int(refused.headers["retry-after"]) <= 5


def test_a_bucket_fills_again_and_clients_do_not_share_one() -> None:
    now = [0.0]
    limit = RateLimit(lambda *_: asyncio.sleep(0), per_minute=60, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(10)] == [0.0] * 10
    assert limit.take("a") == pytest.approx(1.0)
    assert limit.take("b") == 0.0
    now[0] = 1.0
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0.0


def test_many_clients_take_bounded_memory() -> None:
    limit = RateLimit(lambda *_: asyncio.sleep(0), per_minute=60, clock=lambda: 0.0)
    for number in range(20_000):
        limit.take(str(number))
    assert len(limit._buckets) == 10_000


async def test_a_full_queue_answers_429_in_both_dialects() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang", after=1)})
    async with asked(backend=backend, slots=1, limits=Limits(queue=0, deadline_s=30.0)) as (http, _):
        held = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT))
        while not backend.running:
            await asyncio.sleep(0.01)
        openai = await http.post("/v1/chat/completions", json=CHAT)
        ollama = await http.post("/api/chat", json=CHAT)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    assert openai.status_code == ollama.status_code == 429
    assert int(openai.headers["retry-after"]) >= 1
    assert openai.headers["x-should-retry"] == "true"
    assert isinstance(ollama.json()["error"], str)


async def test_a_deadline_answers_504_in_both_dialects() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang")})
    async with asked(backend=backend, limits=Limits(deadline_s=0.1)) as (http, _):
        openai = await http.post("/v1/chat/completions", json=CHAT)
        ollama = await http.post("/api/chat", json=CHAT)
    assert openai.status_code == ollama.status_code == 504
    assert openai.json()["error"]["code"] == "deadline_exceeded"
    assert openai.headers["x-should-retry"] == "false"
    assert isinstance(ollama.json()["error"], str)


async def test_pages_from_elsewhere_may_call_only_where_they_are_named() -> None:
    preflight = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
    async with asked() as (http, _):
        assert "access-control-allow-origin" not in (await http.options("/api/chat", headers=preflight)).headers
    async with asked(Access(cors_origins=("https://chat.example",))) as (http, _):
        allowed = await http.options("/api/chat", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://chat.example"
        answer = await http.post("/v1/chat/completions", json=CHAT, headers={"Origin": "https://chat.example"})
        shown = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {name for name in answer.headers if name.startswith("x-router-")} <= shown
        assert {"x-router-model", "x-router-overhead-ms", "retry-after"} <= shown
        other = await http.options("/api/chat", headers={**preflight, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
