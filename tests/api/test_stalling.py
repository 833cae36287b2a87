"""A client that stays and reads nothing, and what else must not hold an engine for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from router.api import streams
from router.api.ollama_models import running_json
from router.service.assembly import Service
from router.service.limits import Limits
from tests.api.in_process import CHAT, asked


async def test_a_client_that_takes_nothing_is_taken_to_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALL_S", 0.05)
    closed = asyncio.Event()

    async def lines() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "data: x\n\n"
        finally:
            closed.set()

    async def never_reads(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def stays() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    answer = streams.LineStream(lines(), media_type="text/event-stream", headers={})
    await asyncio.wait_for(answer({"type": "http"}, stays, never_reads), 10.0)
    assert closed.is_set()


@pytest.mark.parametrize("n", [2, 4])
async def test_n_answers_take_no_more_slots_than_the_site_has(n: int) -> None:
    async with asked(slots=1, limits=Limits(queue=0)) as (client, _):
        answer = await client.post("/v1/chat/completions", json={**CHAT, "n": n})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == n


async def test_a_model_that_was_taken_out_no_longer_runs() -> None:
    async with asked() as (_, service):
        assert running_json(service, {"gone": 2e9}) == {"models": []}


async def test_a_response_the_router_failed_to_give_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asked() as (client, service):

        def broken(_: Service) -> None:
            raise RuntimeError("unforeseen")

        monkeypatch.setattr(Service, "readiness", broken)
        assert (await client.get("/readyz")).status_code == 500
        assert service.metrics.responses[(("status", "500"),)] == 1
