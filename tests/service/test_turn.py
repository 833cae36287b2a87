"""The life of a request on fakes: routed, metered, journalled; failures fall back before the first byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.domain.catalogue import Floor
from router.domain.chat import Delta, Message
from router.domain.errors import BackendUnavailableError, RequestError
from router.domain.record import Turn
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.progress import Done, Event, Started
from tests.service import federation

MATH = "Add the numbers 4 and 13 and say how much the sum is"
QUESTION = "Which river flows through the capital of country number 3 near city 10"


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest.fixture
async def routed() -> AsyncIterator[Service]:
    """One router for tests that only look at decisions."""
    async with running(federation.build()) as service:
        yield service


def ask(text: str, model: str = "auto") -> Ask:
    return Ask((Message("user", text),), model)


async def run(service: Service, request: Ask) -> list[Event]:
    return [event async for event in service.runner.run(request)]


def journalled(service: Service) -> list[Turn]:
    return list(service.journal.turns())


async def test_an_answer_is_started_streamed_and_done_with_its_carbon_record() -> None:
    async with running(federation.build()) as service:
        events = await run(service, ask(MATH))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "It is 42, of course."
    carbon = events[-1].turn.carbon
    assert (carbon.model, carbon.category) == ("large", "math")
    assert carbon.energy_j is not None
    assert carbon.energy_j > 0
    assert carbon.operational_g == pytest.approx(carbon.energy_j * 385.0 / 3.6e6)
    assert carbon.reference_g is not None
    assert carbon.energy_method == "measured"
    assert carbon.fallback is None


async def test_categories_go_to_different_options() -> None:
    async with running(federation.build()) as service:
        small = (await run(service, ask(QUESTION)))[-1]
        large = (await run(service, ask(MATH)))[-1]
    assert isinstance(small, Done)
    assert isinstance(large, Done)
    assert small.turn.carbon.model == "small"
    assert large.turn.carbon.model == "large"


async def test_every_turn_is_in_the_journal_before_its_end_is_sent() -> None:
    async with running(federation.build()) as service:
        async for event in service.runner.run(ask(MATH)):
            if isinstance(event, Done):
                assert [turn.id for turn in journalled(service)] == [event.turn.id]
        turn = journalled(service)[0]
        assert turn.status == "ok"
        assert turn.output_tokens == 5
        assert turn.duration_s is not None


async def test_a_model_that_fails_before_the_first_byte_is_replaced_and_its_joules_are_charged() -> None:
    service = federation.build(faults={"large": Fault("refuse")})
    async with running(service):
        done = (await run(service, ask(MATH)))[-1]
    assert isinstance(done, Done)
    assert done.turn.carbon.model == "small"
    assert done.turn.attempts == 2
    assert done.turn.carbon.fallback is not None
    assert "backend_unavailable" in done.turn.carbon.fallback
    assert done.turn.carbon.energy_j == pytest.approx(10.0)  # two windows of 5 J each


async def test_a_failure_after_the_first_byte_ends_the_stream_and_is_journalled() -> None:
    service = federation.build(faults={"large": Fault("break", after=2)})
    async with running(service):
        with pytest.raises(BackendUnavailableError):
            await run(service, ask(MATH))
        turn = journalled(service)[0]
    assert turn.status == "error"
    assert turn.error == "backend_unavailable"
    assert turn.carbon.energy_j is not None


async def test_when_every_engine_is_down_the_error_says_so_and_the_journal_has_it() -> None:
    service = federation.build()
    async with running(service):
        backend = service.engines.engine("local").backend
        assert isinstance(backend, ScriptedBackend)
        backend.faults["*"] = Fault("refuse")
        with pytest.raises(BackendUnavailableError):
            await run(service, ask(MATH))
        assert [turn.status for turn in journalled(service)] == ["error"]


async def test_a_client_that_leaves_stops_the_engine_and_is_charged() -> None:
    backend = ScriptedBackend("one two three four five six", models=("small", "large"), pace=Pace(delay_s=0.01))
    service = federation.build(backend=backend)
    async with running(service):
        events = service.runner.run(ask(MATH))
        assert isinstance(await anext(events), Started)
        await events.aclose()
        assert backend.stopped == 1
        assert backend.running == 0
        turn = journalled(service)[0]
        assert turn.status == "cancelled"
        assert turn.carbon.energy_j is not None


async def test_a_cancelled_task_stops_the_engine_too() -> None:
    backend = ScriptedBackend("one two three", models=("small", "large"), faults={"*": Fault("hang", after=1)})
    service = federation.build(backend=backend)
    async with running(service):
        task = asyncio.create_task(run(service, ask(MATH)))
        while not backend.running:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.running == 0
        assert [turn.status for turn in journalled(service)] == ["cancelled"]


async def test_an_empty_store_sends_everything_to_the_largest_model_and_says_so() -> None:
    async with running(federation.build(measured=[])) as service:
        done = (await run(service, ask(QUESTION)))[-1]
    assert isinstance(done, Done)
    assert (done.turn.carbon.model, done.turn.carbon.directive) == ("large", "L0")
    assert done.turn.carbon.fallback == "no measured prompts to decide on"
    assert done.turn.carbon.reference_g is None


async def test_a_model_without_measurements_is_available_by_name_and_never_routed_to() -> None:
    async with running(federation.build(models=("small", "large", "new"))) as service:
        chosen = {(await run(service, ask(text)))[-1] for text in (MATH, QUESTION)}
        assert {event.turn.carbon.model for event in chosen if isinstance(event, Done)} == {"small", "large"}
        pinned = (await run(service, ask(MATH, "new")))[-1]
        assert isinstance(pinned, Done)
        assert (pinned.turn.carbon.model, pinned.turn.carbon.directive) == ("new", "L0")
        assert any("not measured yet" in note and "new" in note for note in service.planner.current.notes)


async def test_a_pinned_model_keeps_a_free_directive() -> None:
    code = "Write a Python function called work5 that returns item 16 of a list"
    async with running(federation.build()) as service:
        done = (await run(service, ask(code, "large")))[-1]
        plain = (await run(service, ask(code, "large@L0")))[-1]
    assert isinstance(done, Done)
    assert isinstance(plain, Done)
    assert (done.turn.carbon.model, done.turn.carbon.directive) == ("large", "L1")
    assert plain.turn.carbon.directive == "L0"


async def test_the_directive_reaches_the_engine_as_system_instruction() -> None:
    backend = ScriptedBackend("Done.", models=("small", "large"))
    async with running(federation.build(backend=backend)) as service:
        await run(service, ask(MATH, "large@L1"))
    assert backend.calls[-1].messages[0] == Message("system", "Be brief.")


async def test_a_request_the_engine_refuses_is_the_clients_error() -> None:
    service = federation.build(faults={"*": Fault("reject")})
    async with running(service):
        with pytest.raises(RequestError):
            await run(service, ask(MATH))


async def test_a_prompt_unlike_anything_measured_takes_the_reference() -> None:
    strange = "zxqv wvut plok mnbv qazw sxed crfv tgby hnuj mikl olpp " * 3
    async with running(federation.build()) as service:
        done = (await run(service, ask(strange)))[-1]
    assert isinstance(done, Done)
    assert (done.turn.carbon.model, done.turn.carbon.directive) == ("large", "L0")
    assert done.turn.carbon.fallback == "unlike anything measured"


@pytest.mark.parametrize(
    ("extra", "directive"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "L0"),
        ({"response_format": {"type": "json_object"}}, "L0"),
        ({"response_format": {"type": "text"}}, "L1"),
        ({"tools": []}, "L1"),
    ],
)
async def test_tools_and_formats_are_answered_without_a_directive(
    routed: Service, extra: dict[str, object], directive: str
) -> None:
    code = "Write a Python function called work5 that returns item 16 of a list"
    choice = await routed.chooser.choose(Ask((Message("user", code),), extra=extra))
    assert (choice.decision.option.model, choice.decision.option.directive) == ("large", directive)
    assert all(option.directive == "L0" for option in choice.order) or directive == "L1"
    assert ("no brevity" in choice.decision.reason) == (directive == "L0")


async def test_a_directive_that_is_pinned_stays_with_tools(routed: Service) -> None:
    choice = await routed.chooser.choose(Ask((Message("user", MATH),), "auto@L1", extra={"tools": [{}]}))
    assert choice.decision.option.directive == "L1"


async def test_joules_of_routing_a_request_that_was_refused_are_carried_by_the_next_turn() -> None:
    async with running(federation.build()) as service:
        service.runner._router_meter = SharedMeter(ReplayCounter([0.0, 2.0, 2.0, 5.0, 5.0, 6.0]))
        with pytest.raises(RequestError):
            await run(service, ask(MATH, model="nobody"))
        await run(service, ask(MATH))
        await run(service, ask(MATH))
    assert [turn.carbon.router_energy_j for turn in journalled(service)] == [5.0, 1.0]


async def test_what_stands_in_for_a_failing_model_is_not_brief_either_where_the_prompt_forbids_it() -> None:
    prompt = MATH + ". Explain every step in detail, at least 500 words."
    async with running(federation.build(faults={"large": Fault("refuse")})) as service:
        choice = await service.chooser.choose(ask(prompt))
        assert {option.directive for option in choice.order} == {"L0"}
        done = (await run(service, ask(prompt)))[-1]
    assert isinstance(done, Done)
    assert (done.turn.carbon.model, done.turn.carbon.directive) == ("small", "L0")


async def test_where_the_floor_is_out_of_reach_the_most_accurate_stand_in_comes_first() -> None:
    async with running(federation.build(floor=Floor(0.999, absolute=True))) as service:
        plan = service.planner.current.decider.plan if service.planner.current.decider else None
        assert plan is not None
        assert (plan.feasible, plan.price_of_quality_g) == (False, None)
        choice = await service.chooser.choose(ask(MATH))
    # Of every ten math prompts large@L0 answers nine right, large@L1 four, the small ones one and none.
    assert [str(option) for option in choice.order[:2]] == ["large@L0", "large@L1"]


async def test_a_conversation_goes_to_who_can_hold_it() -> None:
    question = "Which river flows through the capital of country number 3 near city 10"
    history = Message("user", "word " * 3000), Message("assistant", "Noted.")
    long = Ask((*history, Message("user", question)))
    async with running(federation.build(contexts={"small": 2048, "large": 32768})) as service:
        assert (await service.chooser.choose(ask(question))).decision.option.model == "small"
        choice = await service.chooser.choose(long)
        assert {option.model for option in choice.order} == {"large"}
        assert {(await service.chooser.choose(replace(long, model="small"))).decision.option.model} == {"small"}
    async with running(federation.build(contexts={"small": None, "large": 32768})) as service:
        assert "small" in {option.model for option in (await service.chooser.choose(long)).order}
    async with running(federation.build(contexts={"small": 1024, "large": 2048})) as service:
        order = (await service.chooser.choose(long)).order
        assert {option.model for option in order} == {"large"}, "nobody can: the widest window comes nearest"


async def test_a_side_request_is_held_against_the_reference_like_any_other() -> None:
    async with running(federation.build()) as service:
        request = Ask((Message("user", QUESTION),), side="title")
        decision = (await service.chooser.choose(request)).decision
        done = (await run(service, request))[-1]
        decider = service.planner.current.decider
    assert isinstance(done, Done)
    assert decider is not None
    assert (decision.side, decision.is_embodied_priced) == ("title", decider.is_embodied_priced)
    # Equal shares of math (100 J), code (120 J) and questions (40 J), and the title's few tokens.
    assert done.turn.basis.reference_energy_j == pytest.approx(260 / 3, rel=0.1)
    assert done.turn.basis.reference_device_s == pytest.approx(260 / 3 / 20, rel=0.1)
    assert done.turn.basis.reference_operational_g is not None
