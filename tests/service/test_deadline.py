"""The deadline covers embedding and deciding: an embedder that hangs or fails costs the user time, not the answer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence

import httpx
import pytest

from router.api.app import create_app
from router.domain.chat import Message
from router.domain.errors import EmbedError
from router.domain.estimates import FloatArray
from router.embed.hashed import HashedEmbedder
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.limits import Limits
from router.service.progress import Done
from tests.service import federation

PROMPT = "marker-of-the-prompt: Which river flows through the capital"


class Moody(HashedEmbedder):
    """Embeds, hangs until it is let go, or fails with the prompt in its words."""

    def __init__(self) -> None:
        super().__init__()
        self.mood = "well"
        self.go = threading.Event()

    def embed(self, texts: Sequence[str]) -> FloatArray:
        if self.mood == "hangs":
            self.go.wait(30)
        if self.mood == "fails":
            try:
                raise ValueError(f"cannot tokenize {texts[0]!r}")
            except ValueError as error:
                raise EmbedError(f"the embedder failed: {error}") from error
        return super().embed(texts)


async def moody(deadline_s: float) -> tuple[Service, Moody]:
    embedder = Moody()
    limits = Limits(deadline_s=deadline_s, backoff_s=0.01, failures_to_open=100_000)
    service = federation.build(limits=limits, embedder=embedder)
    await service.planner.refresh(force=True)
    return service, embedder


async def answer(service: Service) -> Done:
    events = [event async for event in service.runner.run(Ask((Message("user", PROMPT),), "auto"))]
    assert isinstance(events[-1], Done)
    return events[-1]


async def test_a_hanging_embedder_leaves_the_answer_to_the_reference_within_the_deadline() -> None:
    service, embedder = await moody(deadline_s=2.0)
    assert (await answer(service)).turn.carbon.category == "questions"
    embedder.mood = "hangs"
    began = time.monotonic()
    carbon = (await answer(service)).turn.carbon
    assert 0.4 < time.monotonic() - began < 2.0
    assert (carbon.model, carbon.directive, carbon.category) == ("large", "L0", None)
    assert carbon.fallback == "the embedder did not answer within 0.5 s"
    embedder.go.set()
    embedder.mood = "well"
    assert (await answer(service)).turn.carbon.category == "questions"
    await service.close()


async def test_turns_reach_the_journal_while_the_embedder_hangs_many_times() -> None:
    service, embedder = await moody(deadline_s=0.8)
    embedder.mood = "hangs"
    for _ in range(8):
        await answer(service)
    assert len(list(service.journal.turns())) == 8
    embedder.go.set()
    await service.close()


async def test_what_a_failing_embedder_says_reaches_neither_log_nor_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    service, embedder = await moody(deadline_s=5.0)
    embedder.mood = "fails"
    carbon = (await answer(service)).turn.carbon
    assert carbon.model == "large"
    assert carbon.fallback == "the embedder failed: ValueError"
    assert "ValueError" in caplog.text
    assert "marker" not in caplog.text
    assert not any("marker" in str(turn) for turn in service.journal.turns())
    await service.close()


async def test_embeddings_that_hang_end_at_the_deadline_and_hold_up_no_answer() -> None:
    service, embedder = await moody(deadline_s=0.8)
    embedder.mood = "hangs"
    transport = httpx.ASGITransport(app=create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        asked = [asyncio.create_task(http.post("/v1/embeddings", json={"input": PROMPT})) for _ in range(40)]
        await asyncio.sleep(0.05)
        assert (await answer(service)).turn.status == "ok"
        assert {(await one).status_code for one in asked} == {504}
    assert len(list(service.journal.turns())) == 1
    embedder.go.set()
    await service.close()
