"""A cascade while it is served: held back, judged, handed on or replaced; every run is charged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.chat import Delta, Finish, Generation, Message
from router.domain.errors import BackendUnavailableError, DeadlineError
from router.domain.record import Measurement, Outcome, Turn
from router.meters.none import NoMeter
from router.service.ask import Ask, Target
from router.service.assembly import Service
from router.service.breaker import Breakers
from router.service.chooser import Choice
from router.service.limits import Limits
from router.service.progress import Done, Event, Started
from router.service.turn import TurnRunner
from tests.service import federation

QUESTION = "Which river flows through the capital of country number 3 near city 10"
SMALL, LARGE = Option("small"), Option("large")
BY_LOGPROB = Cascade("small", then=LARGE, signal="logprob", threshold=-0.8)
BY_CHECKS = Cascade("small", then=LARGE, signal="checks")
BY_AGREEMENT = Cascade("small", then=LARGE, signal="agreement", beside=Option("small", "L1"))


@dataclass
class Decided:
    """A chooser that has made up its mind."""

    choice: Choice

    async def choose(self, ask: Ask, **_: Any) -> Choice:
        return self.choice

    def answered(self, choice: Choice, option: Option) -> None:
        self.last = option


def backend(text: str = "It is 42.", logprob: float | None = -0.1, **others: Any) -> ScriptedBackend:
    """Says something else for every model and directive, so that one can tell who answered."""

    def reply(model: str, messages: tuple[Message, ...]) -> str:
        return text if model == "small" else "The large one says 43."

    return ScriptedBackend(
        reply, models=("small", "large"), pace=Pace(mean_logprob=logprob, delay_s=others.pop("delay_s", 0.0)), **others
    )


@asynccontextmanager
async def running(
    engine: ScriptedBackend, cascade: Cascade, **limits: Any
) -> AsyncIterator[tuple[Service, TurnRunner]]:
    service = federation.build(measured=[], backend=engine)
    await service.start()
    try:
        choice = await service.chooser.choose(Ask((Message("user", QUESTION),)))
        fixed = replace(
            choice, decision=replace(choice.decision, option=cascade, fallback=None), order=(cascade, LARGE)
        )
        asked = Limits(backoff_s=0.01, **limits)
        engine.calls.clear()
        decided: Any = Decided(fixed)
        runner = TurnRunner(decided, service.engines, service.ledger, NoMeter(), asked, Breakers(failures_to_open=100))
        yield service, runner
    finally:
        await service.stop()


async def run(runner: TurnRunner, **others: Any) -> list[Event]:
    return [event async for event in runner.run(Ask((Message("user", QUESTION),), **others))]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def turn(events: list[Event]) -> Turn:
    assert isinstance(events[-1], Done)
    return events[-1].turn


def journalled(service: Service) -> list[Turn]:
    return list(service.journal.turns())


async def test_a_first_answer_that_is_sure_of_itself_stands() -> None:
    engine = backend()
    async with running(engine, BY_LOGPROB) as (service, runner):
        events = await run(runner)
        assert isinstance(events[0], Started)
        assert events[0].option == SMALL
        assert text(events) == "It is 42."
        assert [call.model for call in engine.calls] == ["small"]
        assert engine.calls[0].logprobs
        got = turn(events)
        assert (got.carbon.model, got.escalations, got.attempts, got.carbon.fallback) == ("small", 0, 1, None)
        assert got.carbon.energy_j == pytest.approx(5.0)
        assert journalled(service) == [got]


async def test_one_that_is_not_is_replaced_and_both_runs_are_charged() -> None:
    engine = backend(logprob=-1.3)
    async with running(engine, BY_LOGPROB) as (service, runner):
        events = await run(runner)
        assert text(events) == "The large one says 43."
        assert isinstance(events[0], Started)
        assert events[0].option == LARGE
        got = turn(events)
        assert got.carbon.fallback == "escalated: mean log-probability -1.30 under -0.80"
        assert (got.carbon.model, got.escalations, got.attempts) == ("large", 1, 2)
        assert got.carbon.energy_j == pytest.approx(10.0)
        assert got.basis.wasted_j == pytest.approx(5.0)
        assert [t.escalations for t in journalled(service)] == [1]


@pytest.mark.parametrize(
    ("cascade", "logprob"), list(itertools.product([BY_LOGPROB, BY_CHECKS, BY_AGREEMENT], [-0.1, -1.3, None]))
)
async def test_what_is_charged_is_the_sum_of_all_that_ran(cascade: Cascade, logprob: float | None) -> None:
    engine = backend(logprob=logprob)
    async with running(engine, cascade) as (_, runner):
        got = turn(await run(runner))
    assert got.attempts == len(engine.calls)
    assert got.carbon.energy_j == pytest.approx(5.0 * len(engine.calls))
    assert got.carbon.operational_g == pytest.approx(5.0 * len(engine.calls) * 385.0 / 3.6e6)


async def test_without_log_probabilities_a_prompt_goes_on() -> None:
    async with running(backend(logprob=None), BY_LOGPROB) as (_, runner):
        assert turn(await run(runner)).carbon.fallback == "escalated: the engine gave no log-probabilities"


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ("```python\ndef f(x):\n    return x\n```", "small"),
        ("```python\ndef f(x:\n    return x\n```", "large"),
        ("The Rhine.", "small"),
    ],
)
async def test_broken_code_is_replaced_and_its_words_are_not_journalled(answer: str, who: str) -> None:
    async with running(backend(answer), BY_CHECKS) as (_, runner):
        got = turn(await run(runner))
    assert got.carbon.model == who
    assert got.carbon.fallback == (None if who == "small" else "escalated: its code or SQL is broken")


@pytest.mark.parametrize("agree", [True, False])
async def test_a_second_cheap_answer_is_asked_and_charged(agree: bool) -> None:
    def reply(model: str, messages: tuple[Message, ...]) -> str:
        if model == "large":
            return "Rhine, surely."
        return "The Seine." if messages[0].role == "system" and not agree else "It is the seine"  # L1 says otherwise

    def plain(model: str, messages: tuple[Message, ...]) -> str:
        said = reply(model, messages)
        return said.replace("It is the seine", "the Seine.") if agree else said

    engine = ScriptedBackend(plain, models=("small", "large"))
    async with running(engine, BY_AGREEMENT) as (_, runner):
        events = await run(runner)
    got = turn(events)
    assert got.carbon.model == ("small" if agree else "large")
    assert got.carbon.directive == "L0"
    assert got.attempts == (2 if agree else 3)
    assert got.carbon.energy_j == pytest.approx(10.0 if agree else 15.0)
    assert (got.carbon.fallback is None) == agree


async def test_nothing_is_sent_before_it_is_decided() -> None:
    engine = backend("one two three four five", logprob=-2.0, delay_s=0.02)
    async with running(engine, BY_LOGPROB) as (_, runner):
        events = await run(runner)
    got = turn(events)
    assert got.first_token_s is not None
    assert got.first_token_s > 5 * 0.02
    assert "two" not in text(events)


async def test_log_probabilities_reach_only_clients_that_asked_for_them() -> None:
    class Telling(ScriptedBackend):
        async def stream(self, generation: Generation) -> AsyncIterator[Delta | Finish]:  # type: ignore[override]
            async for piece in super().stream(generation):
                yield replace(piece, logprobs=({"token": "x", "logprob": -0.1},)) if isinstance(piece, Delta) else piece

    for wanted in (False, True):
        async with running(Telling("Yes.", models=("small", "large")), BY_LOGPROB) as (_, runner):
            events = await run(runner, logprobs=wanted)
        assert [bool(event.logprobs) for event in events if isinstance(event, Delta)] == [wanted]


async def test_a_first_option_that_fails_escalates() -> None:
    engine = backend(faults={"small": Fault("refuse")})
    async with running(engine, BY_LOGPROB) as (_, runner):
        got = turn(await run(runner))
    assert got.carbon.model == "large"
    assert got.carbon.fallback == "escalated: small@L0 failed: backend_unavailable"
    assert got.carbon.energy_j == pytest.approx(10.0)


async def test_where_the_escalation_fails_the_first_answer_stands_and_is_named() -> None:
    engine = backend(logprob=-2.0, faults={"large": Fault("refuse")})
    async with running(engine, BY_LOGPROB) as (_, runner):
        events = await run(runner)
    got = turn(events)
    assert text(events) == "It is 42."
    assert got.carbon.model == "small"
    assert got.carbon.fallback is not None
    assert got.carbon.fallback.endswith("large@L0 failed: backend_unavailable, so the first answer stands")
    assert got.carbon.energy_j == pytest.approx(10.0)
    assert got.basis.wasted_j == pytest.approx(5.0)


async def test_a_break_after_the_escalations_first_byte_ends_the_stream() -> None:
    engine = backend(logprob=-2.0, faults={"large": Fault("break", after=2)})
    async with running(engine, BY_LOGPROB) as (service, runner):
        with pytest.raises(BackendUnavailableError):
            await run(runner)
        assert [(t.status, t.escalations, t.attempts) for t in journalled(service)] == [("error", 1, 2)]


async def test_where_both_fail_the_others_are_tried() -> None:
    engine = backend(faults={"small": Fault("refuse", times=1), "large": Fault("refuse", times=1)})
    async with running(engine, BY_LOGPROB) as (_, runner):
        got = turn(await run(runner))
    assert got.status == "ok"
    assert got.carbon.energy_j == pytest.approx(5.0 * got.attempts)


@pytest.mark.parametrize("model", ["small", "large"])
async def test_a_deadline_holds_in_both_phases(model: str) -> None:
    engine = backend(logprob=-2.0, faults={model: Fault("hang", after=1)})
    async with running(engine, BY_LOGPROB, deadline_s=0.15) as (service, runner):
        with pytest.raises(DeadlineError):
            await run(runner)
        assert engine.running == 0
        (got,) = journalled(service)
    assert (got.status, got.error) == ("error", "deadline_exceeded")
    assert got.attempts == (1 if model == "small" else 2)
    assert got.carbon.energy_j == pytest.approx(5.0 * got.attempts)


async def test_an_engine_that_wrote_for_too_long_is_not_taken_for_one_that_is_down() -> None:
    engine = backend("word " * 100, delay_s=0.02)
    async with running(engine, BY_LOGPROB, deadline_s=0.2) as (_, runner):
        with pytest.raises(DeadlineError):
            await run(runner)
        assert set(runner._breakers.states().values()) <= {"closed"}


@pytest.mark.parametrize("model", ["small", "large"])
async def test_a_client_that_leaves_stops_the_engine_in_both_phases(model: str) -> None:
    engine = backend(logprob=-2.0, faults={model: Fault("hang", after=1)})
    async with running(engine, BY_LOGPROB) as (service, runner):
        task = asyncio.create_task(run(runner))
        while not (engine.running and engine.calls[-1].model == model):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.running == 0
        (got,) = journalled(service)
    assert got.status == "cancelled"
    assert got.carbon.energy_j == pytest.approx(5.0 if model == "small" else 10.0)


def telling(n: int = 60) -> list[Measurement]:
    """The small model is right on every second prompt, and its log-probability says on which."""
    rows = []
    for i in range(n):
        right = float(i % 2)
        outcomes = (
            Outcome(
                "small", "L0", right, energy_j=4.0, duration_s=0.2, mean_logprob=-1.6 + 1.4 * right, method="measured"
            ),
            Outcome("large", "L0", 1.0, energy_j=100.0, duration_s=5.0, mean_logprob=-0.1, method="measured"),
        )
        prompt = federation.TEXTS["questions"].format(i=i, j=i * 3 + 1)
        rows.append(Measurement(f"q{i}", prompt, "questions", outcomes, origin="local"))
    return rows


@asynccontextmanager
async def planned() -> AsyncIterator[tuple[Service, ScriptedBackend]]:
    engine = backend(logprob=-1.5)
    service = federation.build(measured=telling(), backend=engine)
    await service.start()
    try:
        yield service, engine
    finally:
        await service.stop()


async def test_where_it_pays_the_plan_has_a_cascade_and_the_router_runs_it() -> None:
    async with planned() as (service, engine):
        assert any(note.startswith("cascade in: small@L0, then large@L0") for note in service.planner.current.notes)
        turns = [
            turn([event async for event in service.runner.run(Ask((Message("user", QUESTION + f" {i}"),)))])
            for i in range(8)
        ]
        assert sum(t.escalations for t in turns) >= 5
        assert {t.attempts for t in turns if t.escalations} == {2}
        assert all(call.logprobs for call in engine.calls if call.model == "small") or len(engine.calls) < 16


@pytest.mark.parametrize(
    "ask",
    [
        Ask((Message("user", QUESTION),), "large"),
        Ask((Message("user", QUESTION),), "auto@L0"),
        Ask((Message("user", QUESTION),), extra={"tools": [{"type": "function", "function": {"name": "f"}}]}),
        Ask((Message("user", QUESTION),), extra={"response_format": {"type": "json_object"}}),
        Ask((Message("user", "Hello"), Message("assistant", "Hi"), Message("user", QUESTION))),
    ],
)
async def test_pins_forms_and_conversations_never_cascade(ask: Ask) -> None:
    async with planned() as (service, _):
        choice = await service.chooser.choose(ask)
        assert not any(isinstance(option, Cascade) for option in (choice.decision.option, *choice.order))
        events = [event async for event in service.runner.run(ask)]
        assert turn(events).escalations == 0


async def test_a_first_answer_also_stands_where_the_next_engine_refuses_the_request() -> None:
    engine = backend(logprob=-2.0, faults={"large": Fault("reject")})
    async with running(engine, BY_LOGPROB) as (_, runner):
        events = await run(runner)
    assert text(events) == "It is 42."
    assert turn(events).carbon.model == "small"


@pytest.mark.parametrize("unable", [SMALL, LARGE])
def test_a_cascade_can_do_what_all_its_options_can(unable: Option) -> None:
    assert Target(unable=frozenset({Option("other")})).allows(BY_LOGPROB)
    assert not Target(unable=frozenset({unable})).allows(BY_LOGPROB)
