"""Cascades on a real engine: its own log-probabilities decide, both runs are charged, nothing is shown too early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from router.backends.embedded import EmbeddedBackend
from router.backends.weights import fetch
from router.config.settings import load_settings
from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.chat import Delta, Message, Sampling
from router.domain.record import Turn
from router.meters.none import NoMeter
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.breaker import Breakers
from router.service.limits import Limits
from router.service.progress import Done, Event, Started
from router.service.turn import TurnRunner
from tests.backends.smollm2 import SMOLLM2
from tests.service import federation
from tests.service.test_cascade import Decided

pytestmark = [pytest.mark.live, pytest.mark.smollm2]

PLAIN, BRIEF = Option(SMOLLM2.name), Option(SMOLLM2.name, "L1")
QUESTION = "What is the capital of France?"


@pytest.fixture
async def real() -> AsyncIterator[Service]:
    cache_dir = load_settings().cache_dir
    assert SMOLLM2.weights is not None
    fetch(SMOLLM2.name, SMOLLM2.weights, cache_dir)
    engine = EmbeddedBackend({SMOLLM2.name: SMOLLM2}, cache_dir)
    service = federation.build(measured=[], models=(SMOLLM2.name,), backend=engine)
    await service.start()
    yield service
    await service.stop()


async def run(service: Service, cascade: Cascade, text: str = QUESTION) -> list[Event]:
    ask = Ask((Message("user", text),), sampling=Sampling(max_tokens=24, temperature=0.0, seed=1))
    choice = await service.chooser.choose(ask)
    decided: Any = Decided(
        replace(choice, decision=replace(choice.decision, option=cascade, fallback=None), order=(cascade, BRIEF))
    )
    runner = TurnRunner(decided, service.engines, service.ledger, NoMeter(), Limits(), Breakers())
    return [event async for event in runner.run(ask)]


def turn(events: list[Event]) -> Turn:
    assert isinstance(events[-1], Done)
    return events[-1].turn


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def test_its_own_log_probability_decides_on_either_side_of_the_threshold(real: Service) -> None:
    sure = await run(real, Cascade(SMOLLM2.name, then=BRIEF, signal="logprob", threshold=-100.0))
    first = turn(sure)
    assert first.mean_logprob is not None
    assert -20.0 < first.mean_logprob < 0.0
    assert (first.carbon.directive, first.attempts, first.escalations) == ("L0", 1, 0)
    assert text_of(sure)
    # the same answer (greedy, one seed) under a threshold just above and just below its own log-probability
    just_under = Cascade(SMOLLM2.name, then=BRIEF, signal="logprob", threshold=first.mean_logprob - 0.01)
    just_over = Cascade(SMOLLM2.name, then=BRIEF, signal="logprob", threshold=first.mean_logprob + 0.01)
    stands, sent_on = await run(real, just_under), await run(real, just_over)
    assert text_of(stands) == text_of(sure)
    assert turn(stands).escalations == 0
    again = turn(sent_on)
    assert (again.carbon.directive, again.attempts, again.escalations) == ("L1", 2, 1)
    assert isinstance(sent_on[0], Started)
    assert sent_on[0].option == BRIEF
    assert again.carbon.energy_j == pytest.approx(10.0)  # every reading of the made-up meter is 5 J
    assert "log-probability" in (again.carbon.fallback or "")


async def test_code_that_does_not_parse_is_sent_on(real: Service) -> None:
    asked = "Write a Python function called area that takes a radius. Reply with code only."
    events = await run(real, Cascade(SMOLLM2.name, then=BRIEF, signal="checks"), asked)
    got = turn(events)
    # 24 tokens seldom make a whole function; either way the verdict and the number of runs go together
    assert got.attempts == 1 + got.escalations
    assert (got.carbon.directive == "L1") == (got.escalations == 1)
    assert text_of(events)
