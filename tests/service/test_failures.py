"""Deadlines, retries, queues and circuits: every request ends in an answer or a proper error, and is journalled.

The store is empty here: everything goes to the largest model first, then to the small one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.domain.chat import Delta, Message
from router.domain.errors import BackendUnavailableError, DeadlineError, OverloadedError, RouterError
from router.domain.record import Turn
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.limits import Limits
from router.service.progress import Done, Event, Started
from tests.service import federation


@asynccontextmanager
async def running(**parts: Any) -> AsyncIterator[Service]:
    service = federation.build(measured=[], **parts)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def run(service: Service, model: str = "auto") -> list[Event]:
    return [event async for event in service.runner.run(Ask((Message("user", "hello"),), model))]


def turns(service: Service) -> Sequence[Turn]:
    return list(service.journal.turns())


def done(events: list[Event]) -> Turn:
    assert isinstance(events[-1], Done)
    return events[-1].turn


async def test_a_failure_that_passes_is_retried_where_nobody_else_can_answer() -> None:
    async with running(faults={"large": Fault("refuse", times=1)}) as service:
        turn = done(await run(service, "large"))
    assert (turn.status, turn.attempts, turn.carbon.model) == ("ok", 2, "large")
    assert turn.carbon.energy_j == pytest.approx(10.0)  # the wasted window of 5 J and the one that answered


async def test_a_failure_that_will_not_pass_is_not_retried() -> None:
    async with running(faults={"large": Fault("garbage")}) as service:
        with pytest.raises(RouterError):
            await run(service, "large")
        assert [(turn.status, turn.attempts) for turn in turns(service)] == [("error", 1)]


async def test_retries_come_to_an_end() -> None:
    async with running(faults={"large": Fault("refuse"), "small": Fault("refuse")}) as service:
        with pytest.raises(BackendUnavailableError):
            await run(service)
        assert turns(service)[0].attempts == 4
        assert turns(service)[0].carbon.energy_j == pytest.approx(20.0)


async def test_nothing_is_retried_after_the_first_byte() -> None:
    async with running(faults={"large": Fault("break", after=1)}) as service:
        with pytest.raises(BackendUnavailableError):
            await run(service)
        assert [(turn.status, turn.attempts) for turn in turns(service)] == [("error", 1)]


async def test_an_engine_that_says_nothing_is_given_up_at_the_deadline() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang")})
    async with running(backend=backend, limits=Limits(deadline_s=0.1)) as service:
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            await run(service)
        assert time.monotonic() - began < 2.0
        assert backend.running == 0
        assert [(turn.error, turn.attempts) for turn in turns(service)] == [("deadline_exceeded", 1)]
        assert turns(service)[0].carbon.energy_j is not None


async def test_an_answer_that_takes_too_long_is_ended_at_the_deadline() -> None:
    backend = ScriptedBackend("word " * 100, models=("small", "large"), pace=Pace(delay_s=0.02))
    async with running(backend=backend, limits=Limits(deadline_s=0.2)) as service:
        events: list[Event] = []
        with pytest.raises(DeadlineError):  # noqa: PT012
            async for event in service.runner.run(Ask((Message("user", "hello"),))):
                events.append(event)
        assert isinstance(events[0], Started)
        assert any(isinstance(event, Delta) for event in events)
        assert backend.running == 0
        assert turns(service)[0].error == "deadline_exceeded"
        assert set(service.breakers.states().values()) <= {"closed"}


async def test_the_deadline_does_not_strike_while_the_client_reads() -> None:
    async with running(limits=Limits(deadline_s=0.2)) as service:
        stream = service.runner.run(Ask((Message("user", "hello"),)))
        await anext(stream)
        await asyncio.sleep(0.3)  # would be cancelled here if the timeout spanned the yield
        with pytest.raises(DeadlineError):
            async for _ in stream:
                pass


async def test_those_who_find_the_queue_full_are_told_when_to_come_back() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"*": Fault("hang", after=1)})
    async with running(backend=backend, slots=1, limits=Limits(queue=2, deadline_s=30.0)) as service:
        held = [asyncio.create_task(run(service)) for _ in range(3)]
        gate = service.engines.gates["local"]
        while not (gate.running == 1 and gate.waiting == 2):
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as refusal:
            await run(service)
        assert refusal.value.retry_after_s > 0
        assert turns(service)[0].error == "overloaded"
        assert turns(service)[0].carbon.energy_j is None
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        assert gate.idle
        assert sorted(turn.status for turn in turns(service)) == ["cancelled"] * 3 + ["error"]


async def test_whoever_waits_past_the_deadline_is_told() -> None:
    async with running(slots=1, limits=Limits(deadline_s=0.1)) as service:
        async with service.engines.hold("local", float("inf")):
            with pytest.raises(DeadlineError):
                await run(service)
        assert service.engines.gates["local"].idle
        assert done(await run(service)).status == "ok"
        assert [(turn.status, turn.attempts) for turn in turns(service)] == [("error", 0), ("ok", 1)]


async def test_a_model_that_keeps_failing_is_left_alone_and_the_next_one_answers_at_once() -> None:
    backend = ScriptedBackend(models=("small", "large"), faults={"large": Fault("refuse")})
    async with running(backend=backend, limits=Limits()) as service:
        for _ in range(8):
            assert done(await run(service)).carbon.model == "small"
        asked = [call.model for call in backend.calls]
        assert asked.count("large") == 5
        assert service.breakers.states()[("local", "large")] == "open"
        turn = turns(service)[-1]
        assert turn.attempts == 1
        assert turn.carbon.fallback is not None
        with pytest.raises(BackendUnavailableError, match="left alone"):
            await run(service, "large")


async def test_mixed_traffic_leaves_no_slot_taken_and_every_request_in_the_journal() -> None:
    phases = ("refuse", "break", "garbage", "timeout", "reject")
    backend = ScriptedBackend("It is 42, of course.", models=("small", "large"))
    async with running(backend=backend, slots=2, limits=Limits(queue=8, backoff_s=0.001)) as service:
        outcomes: list[str] = []

        async def client(number: int) -> None:
            if number % 20 == 0:
                backend.faults["large"] = Fault(phases[number // 20 % 5], after=number % 3, times=1)  # type: ignore[arg-type]
            try:
                done(await run(service))
                outcomes.append("ok")
            except RouterError:
                outcomes.append("error")

        for start in range(0, 200, 5):
            await asyncio.gather(*(client(number) for number in range(start, start + 5)))
        assert len(outcomes) == 200
        assert sorted(turn.status for turn in turns(service)) == sorted(outcomes)
        assert outcomes.count("error") > 0
        assert backend.running == 0
        assert service.engines.gates["local"].idle
