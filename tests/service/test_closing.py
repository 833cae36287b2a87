"""How turns end: each is journalled once, and the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.backends.scripted import Fault, ScriptedBackend
from router.domain.chat import Message
from router.domain.errors import BackendError
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.progress import Event
from tests.service import federation
from tests.service.held_journal import HeldJournal


@asynccontextmanager
async def running(journal: HeldJournal, **parts: Any) -> AsyncIterator[Service]:
    service = federation.build(measured=[], journal=journal, **parts)
    await service.start()
    try:
        yield service
    finally:
        journal.let_go.set()
        await service.stop()


async def run(service: Service) -> list[Event]:
    return [event async for event in service.runner.run(Ask((Message("user", "hello"),)))]


def statuses(service: Service) -> list[str]:
    return [turn.status for turn in service.journal.turns()]


async def test_a_failed_turn_on_a_locked_journal_holds_up_nobody_else() -> None:
    journal = HeldJournal(writes=True)
    async with running(journal, faults={"*": Fault("garbage")}) as service:
        task = asyncio.create_task(run(service))
        await journal.until_held()  # the event loop goes on
        assert not task.done()
        journal.let_go.set()
        with pytest.raises(BackendError):
            await task
        assert statuses(service) == ["error"], "in the journal before the client is told"
    assert journal.ran_out == 0


async def test_a_cancelled_turn_that_cannot_be_written_yet_is_not_lost_when_the_router_stops() -> None:
    journal = HeldJournal(writes=True)
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang", after=1)})
    async with running(journal, backend=backend) as service:
        task = asyncio.create_task(run(service))
        while not backend.running:
            await asyncio.sleep(0.005)
        task.cancel()
        await journal.until_held()
        task.cancel()  # who cancels twice waits no longer
        with pytest.raises(asyncio.CancelledError):
            await task
        assert statuses(service) == []
        stopping = asyncio.create_task(service.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        journal.let_go.set()
        await stopping
        assert statuses(service) == ["cancelled"]
    assert journal.ran_out == 0


async def test_who_leaves_while_the_end_is_being_journalled_is_journalled_and_observed_once() -> None:
    seen: list[str] = []
    journal = HeldJournal(writes=True)
    observers = (lambda turn, ask, steps: seen.append(turn.status),)
    async with running(journal, observers=observers) as service:
        task = asyncio.create_task(run(service))
        await journal.until_held()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        journal.let_go.set()
    assert statuses(service) == seen == ["ok"]
