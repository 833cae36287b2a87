"""Embedding for clients: never long in the way of deciding, over at the deadline, and on the router's own account."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from router.domain.chat import Message
from router.domain.estimates import FloatArray
from router.embed.hashed import HashedEmbedder
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.embedding import SLICE
from router.service.limits import Limits
from router.service.progress import Done
from tests.service import federation

PROMPT = "Which river flows through the capital"
TEXT_S = 0.004


class OneAtATime(HashedEmbedder):
    """Slow, and locked while it works, like the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = False
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> FloatArray:
        with self._lock:
            if self.is_slow:
                self.sizes.append(len(texts))
                time.sleep(TEXT_S * len(texts))
            return super().embed(texts)


async def slow(*, deadline_s: float = 30.0) -> tuple[Service, OneAtATime]:
    embedder = OneAtATime()
    service = federation.build(embedder=embedder, limits=Limits(deadline_s=deadline_s))
    await service.planner.refresh(force=True)
    embedder.is_slow = True
    return service, embedder


async def answer(service: Service) -> Done:
    events = [event async for event in service.runner.run(Ask((Message("user", PROMPT),), "auto"))]
    assert isinstance(events[-1], Done)
    return events[-1]


async def router_energy_j(service: Service) -> float | None:
    return (await answer(service)).turn.carbon.router_energy_j


async def test_a_chat_is_decided_while_a_long_list_is_embedded() -> None:
    service, embedder = await slow()
    bulk = asyncio.create_task(service.embed([f"text {i}" for i in range(25 * SLICE)]))
    await asyncio.sleep(2 * TEXT_S * SLICE)
    carbon = (await answer(service)).turn.carbon
    assert not bulk.done()
    assert carbon.category == "questions"  # None where the embedder keeps the decision waiting
    await bulk
    assert embedder.sizes == [*[SLICE] * embedder.sizes.index(1), 1, *[SLICE] * (25 - embedder.sizes.index(1))]
    await service.close()


async def test_requests_take_turns_so_a_short_one_does_not_wait_for_a_long_one() -> None:
    service, _ = await slow()
    bulk = asyncio.create_task(service.embed(["text"] * 25 * SLICE))
    await asyncio.sleep(0)
    await service.embed(["another"])
    assert not bulk.done()
    await bulk
    await service.close()


@pytest.mark.parametrize("n", [0, 1, SLICE, SLICE + 1, 3 * SLICE])
async def test_vectors_in_slices_are_those_of_the_whole(n: int) -> None:
    service = federation.build(measured=[])
    texts = [f"text number {i}" for i in range(n)]
    np.testing.assert_array_equal(await service.embed(texts), HashedEmbedder().embed(texts))
    await service.close()


async def test_no_slice_is_begun_once_the_deadline_has_passed() -> None:
    service, embedder = await slow(deadline_s=2.5 * TEXT_S * SLICE)
    with pytest.raises(TimeoutError):
        await service.embed(["text"] * 25 * SLICE)
    begun = sum(embedder.sizes)
    await asyncio.sleep(4 * TEXT_S * SLICE)
    assert sum(embedder.sizes) == begun <= 3 * SLICE
    await service.close()


async def test_joules_of_embedding_are_the_router_s_and_the_next_turn_carries_them() -> None:
    service = federation.build()
    await service.planner.refresh(force=True)
    await service.embed(["text"] * (SLICE + 1))  # two windows of 5 J
    assert await router_energy_j(service) == 15.0
    assert await router_energy_j(service) == 5.0
    await service.close()


async def test_a_generation_beside_shares_the_joules_with_the_embedding() -> None:
    service = federation.build()
    await service.planner.refresh(force=True)
    generation = service.engines.engine("local").meter.start()
    await service.embed(["text"])
    reading = generation.stop()  # 5 J before, half of 5 J meanwhile, 5 J after
    assert reading.energy_j == 12.5
    assert await router_energy_j(service) == 5.0 + 2.5
    await service.close()


async def test_what_is_spent_on_an_embedding_that_fails_or_is_late_is_carried_too() -> None:
    service, embedder = await slow(deadline_s=0.5 * TEXT_S * SLICE)
    with pytest.raises(TimeoutError):
        await service.embed(["text"] * SLICE)
    embedder.is_slow = False
    assert await router_energy_j(service) == 10.0
    await service.close()


async def test_loading_the_embedder_is_charged_to_nobody() -> None:
    service = federation.build()
    await service.start()
    assert await router_energy_j(service) == 5.0
    await service.stop()
