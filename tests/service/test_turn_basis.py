"""What a served turn leaves for reports: wasted joules, device seconds, coefficients and the baseline."""

from __future__ import annotations

import pytest

from router.backends.scripted import Fault
from router.domain.chat import Message
from router.domain.record import Turn
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.progress import Done
from tests.service.federation import build

PROMPT = "Write a Python function called work3 that returns item 4 of a list"


async def answered(service: Service, *earlier: Message) -> Turn:
    await service.planner.refresh(force=True)
    ask = Ask((*earlier, Message("user", PROMPT)))
    (done,) = [event async for event in service.runner.run(ask) if isinstance(event, Done)]
    await service.close()
    return done.turn


async def test_a_turn_at_first_try_wasted_nothing_and_has_its_baseline() -> None:
    turn = await answered(build())
    basis = turn.basis
    assert (basis.wasted_j, basis.pue, turn.carbon.intensity_kind) == (0.0, 1.0, "average")
    assert basis.device_s is not None
    assert basis.reference == "large@L0"
    assert basis.reference_energy_j == pytest.approx(120.0, rel=0.3)
    assert basis.reference_operational_g == pytest.approx((basis.reference_energy_j or 0.0) * 385 / 3.6e6)
    assert basis.idle_j is None, "its meter has no idle watts"
    assert basis.earlier_answers == 0


async def test_what_a_failed_attempt_took_is_told_apart_within_the_joules() -> None:
    first = (await answered(build())).carbon.model
    turn = await answered(build(faults={first: Fault("refuse", times=1)}))
    assert turn.attempts == 2
    assert turn.basis.wasted_j is not None
    assert turn.carbon.energy_j is not None
    assert 0 < turn.basis.wasted_j < turn.carbon.energy_j


async def test_a_request_that_brings_answers_along_does_not_open_a_conversation() -> None:
    turn = await answered(build(), Message("user", "hello"), Message("assistant", "hi"))
    assert turn.basis.earlier_answers == 1
