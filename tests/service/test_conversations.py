"""Conversations in a whole router on fakes: kept, switched, escalated; side requests apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest

from router.backends.scripted import Fault, ScriptedBackend
from router.domain.chat import Message
from router.domain.errors import BackendUnavailableError
from router.domain.record import Measurement, Turn
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.progress import Done, Started
from router.service.stats import totals
from tests.service import federation
from tests.service.test_context import talk
from tests.service.test_side import SHAPES

MATH = "Add the numbers 4 and 13 and say how much the sum is"
CODE = "Write a Python function called work5 that returns item 16 of a list"
QUESTION = "Which river flows through the capital of country number 3 near city 10"


@pytest.fixture
async def router() -> AsyncIterator[Service]:
    service = federation.build()
    await service.start()
    yield service
    await service.stop()


def ask(*texts: str, chat: str | None = "chat-1", model: str = "auto", side: str | None = None) -> Ask:
    return Ask(tuple(talk(*texts)), model, conversation=chat, side=side)


async def turn(service: Service, request: Ask) -> Turn:
    events = [event async for event in service.runner.run(request)]
    assert isinstance(events[-1], Done)
    return events[-1].turn


async def reason(service: Service, request: Ask) -> str:
    return (await service.chooser.choose(request, dry_run=True)).decision.reason


async def test_a_first_turn_is_no_follow_up(router: Service) -> None:
    first = await turn(router, ask(QUESTION))
    assert (first.carbon.model, first.conversation) == ("small", None)


async def test_a_follow_up_that_the_plan_would_send_elsewhere_for_quality_is_switched(router: Service) -> None:
    await turn(router, ask(QUESTION))
    follow_up = ask(QUESTION, "The Seine.", MATH)
    assert "switched from small" in await reason(router, follow_up)
    switched = await turn(router, follow_up)
    assert (switched.carbon.model, switched.conversation) == ("large", "switched")


def measured_by_length() -> list[Measurement]:
    """The usual measurements, as if reading took half a joule a token and prompts differed in length."""
    return [
        replace(
            row,
            prompt=f"{row.prompt}{'.' * (40 * (i % 5))}",
            outcomes=tuple(
                replace(o, prompt_tokens=20 + 10 * (i % 5), energy_j=(o.energy_j or 0.0) + 0.5 * (20 + 10 * (i % 5)))
                for o in row.outcomes
            ),
        )
        for i, row in enumerate(federation.measurements())
    ]


async def test_a_long_history_in_the_cache_keeps_a_follow_up_that_a_short_one_lets_go() -> None:
    service = federation.build(measured=measured_by_length())
    await service.start()
    try:
        for chat in ("short", "long"):
            assert (await turn(service, ask(MATH, chat=chat))).carbon.model == "large"
        short = await turn(service, ask(MATH, "It is 17.", QUESTION, chat="short"))
        assert (short.carbon.model, short.conversation) == ("small", "switched")
        follow_up = ask(MATH, "It is 17. " * 2000, QUESTION, chat="long")
        assert "kept on large: a switch would cost" in await reason(service, follow_up)
        long = await turn(service, follow_up)
        assert (long.carbon.model, long.conversation) == ("large", "kept")
    finally:
        await service.stop()


async def test_a_follow_up_of_the_same_kind_stays_and_says_so(router: Service) -> None:
    for chat in ("chat-1", None):
        first = ask(CODE, chat=chat)
        assert (await turn(router, first)).carbon.model == "large"
        follow_up = ask(CODE, "def work5...", "and the last item, too", chat=chat)
        assert "kept on large" in await reason(router, follow_up)
        kept = await turn(router, follow_up)
        assert (kept.carbon.model, kept.conversation) == ("large", "kept")


async def test_an_elliptical_follow_up_is_of_its_predecessors_category(router: Service) -> None:
    await turn(router, ask(MATH))
    assert (await turn(router, ask(MATH, "It is 17.", "and now doubled"))).carbon.category == "math"


async def test_a_regenerated_answer_goes_up_in_quality_until_the_best(router: Service) -> None:
    request = ask(QUESTION)
    before = await router.chooser.choose(request)
    quality = {c.option: c.expected_quality for c in before.decision.candidates}
    seen = []
    for _ in range(5):
        choice = await router.chooser.choose(request)
        seen.append((choice.decision.option, choice.decision.conversation))
        await turn(router, request)
    first, *again = seen
    assert first[1] is None
    levels = [quality[option] or 0.0 for option, _ in seen]
    assert all(later >= earlier for earlier, later in pairwise(levels))
    assert again[0][1] == "escalated"
    assert levels[1] > levels[0]
    assert seen[-1][1] == "kept", "nothing is better than the best"
    assert levels[-1] == pytest.approx(max(q for q in quality.values() if q is not None))
    assert "asked again" in await reason(router, request)


async def test_one_question_of_many_users_is_never_escalated(router: Service) -> None:
    turns = [await turn(router, ask(QUESTION, chat=None)) for _ in range(5)]
    assert {t.conversation for t in turns} == {None}
    assert {t.carbon.model for t in turns} == {"small"}


async def test_a_stopped_answer_counts_as_one_that_did_not_please(router: Service) -> None:
    events = router.runner.run(ask(QUESTION))
    assert isinstance(await anext(events), Started)
    await events.aclose()
    assert (await turn(router, ask(QUESTION))).conversation == "escalated"


@pytest.mark.parametrize("fault", [Fault("refuse"), Fault("break", after=2)])
async def test_an_answer_that_failed_leaves_no_trace(fault: Fault) -> None:
    backend = ScriptedBackend("Yes.", models=("small", "large"))
    service = federation.build(backend=backend)
    await service.start()
    try:
        backend.faults["*"] = fault
        with pytest.raises(BackendUnavailableError):
            await turn(service, ask(QUESTION))
        backend.faults.clear()
        assert (await turn(service, ask(QUESTION))).conversation is None, "a retry is no regeneration"
    finally:
        await service.stop()


async def test_the_conversation_follows_the_model_that_really_answered() -> None:
    service = federation.build(faults={"large": Fault("refuse", times=1)})
    await service.start()
    try:
        assert (await turn(service, ask(CODE))).carbon.model == "small"
        place = service.chooser._conversations.find(ask(CODE, "..", "more"))
        assert place.seat is not None
        assert place.seat.option.model == "small"
    finally:
        await service.stop()


async def test_a_pinned_model_stays_pinned_and_its_n_answers_are_no_regenerations(router: Service) -> None:
    await turn(router, ask(CODE))
    pinned = await turn(router, ask(CODE, "ok", QUESTION, model="large"))
    assert (pinned.carbon.model, pinned.conversation) == ("large", None)
    fixed = ask(QUESTION, chat="n", model="large@L0")
    assert [(await turn(router, fixed)).conversation for _ in range(3)] == [None, None, None]


async def test_a_dry_run_leaves_no_trace(router: Service) -> None:
    for _ in range(2):
        choice = await router.chooser.choose(ask(QUESTION), dry_run=True)
        assert choice.decision.conversation is None


@pytest.mark.parametrize(("prompt", "kind"), SHAPES)
async def test_side_requests_go_to_the_cheapest_that_is_not_hopeless_and_touch_no_conversation(
    router: Service, prompt: str, kind: str
) -> None:
    await turn(router, ask(CODE))
    side = await turn(router, ask(prompt))
    assert (side.side, side.conversation, side.carbon.category) == (kind, None, None)
    assert side.carbon.directive == "L0"
    decision = (await router.chooser.choose(ask(prompt))).decision
    assert "side request" in decision.reason
    kept = await turn(router, ask(CODE, "def work5...", "and the last item, too"))
    assert (kept.carbon.model, kept.conversation) == ("large", "kept")
    # the same again is what clients do, not somebody who was not pleased
    assert (await turn(router, ask(prompt))).carbon.model == side.carbon.model


async def test_a_hopeless_option_answers_no_side_request() -> None:
    # right in one of three kinds is under half of the reference
    service = federation.build()
    await service.start()
    try:
        decider = service.planner.current.decider
        assert decider is not None
        g, q = decider.typical()
        reference = decider.options.index(decider.reference)
        chosen = (await service.chooser.choose(ask("hello", side="title"))).decision.option
        sane = [o for o in range(len(g)) if q[o] >= 0.5 * q[reference] and decider.options[o].directive == "L0"]
        assert decider.options.index(chosen) == min(sane, key=lambda o: g[o])
        assert len(sane) < len([o for o in decider.options if o.directive == "L0"])
    finally:
        await service.stop()


async def test_a_side_request_may_be_brief_where_no_form_is_fixed(router: Service) -> None:
    free = await turn(router, ask("Give this chat a name", side="yes"))
    assert free.side == "other"
    assert free.carbon.directive == "L1"
    formed = replace(ask("Give this chat a name", side="yes"), extra={"format": "json"})
    assert (await turn(router, formed)).carbon.directive == "L0"


async def test_an_alias_of_auto_side_and_the_name_itself_do_it_too(router: Service) -> None:
    for name in ("auto-side", "auto-side:latest"):
        assert (await turn(router, ask("Name this chat", model=name))).side == "other"


async def test_without_measurements_the_smallest_model_answers_side_requests() -> None:
    service = federation.build(measured=[])
    await service.start()
    try:
        side = await turn(service, ask("Name this chat", side="title"))
        assert (side.carbon.model, side.side, side.carbon.fallback) == ("small", "title", None)
        assert (await turn(service, ask(QUESTION))).carbon.model == "large"
    finally:
        await service.stop()


async def test_side_requests_and_outcomes_are_counted_apart(router: Service) -> None:
    await turn(router, ask(CODE))
    await turn(router, ask(CODE, "def work5...", "and the last item, too"))
    side = [await turn(router, ask(prompt)) for prompt, _ in SHAPES[:3]]
    found = totals(router.journal.turns())
    assert found.turns == 5
    assert found.by["side"] == {"title": 1, "tags": 1, "follow_ups": 1}
    assert found.by["conversation"] == {"kept": 1}
    apart = found.side_requests()
    assert apart["turns"] == 3
    assert apart["energy_j"] == pytest.approx(sum(t.carbon.energy_j or 0.0 for t in side))
    metrics = router.metrics
    assert sum(metrics.side.values()) == 3
    assert metrics.side_energy_j.value == pytest.approx(apart["energy_j"])
    assert metrics.conversations[(("outcome", "kept"),)] == 1


@pytest.mark.parametrize("form", ["in at least 300 words", "as a JSON object", "step by step, and show all your work"])
async def test_a_request_for_length_or_form_gets_no_brevity_even_on_a_pinned_model(router: Service, form: str) -> None:
    choice = await router.chooser.choose(ask(f"{CODE} {form}", model="large"))
    assert choice.decision.option.directive == "L0"
    assert "no brevity" in choice.decision.reason


async def test_the_directive_joins_the_users_own_system_message() -> None:
    backend = ScriptedBackend("Done.", models=("small", "large"))
    service = federation.build(backend=backend)
    await service.start()
    try:
        messages = (Message("system", "Speak Latin."), *talk(CODE))
        await turn(service, Ask(messages, "large@L1"))
        assert backend.calls[-1].messages[0] == Message("system", "Speak Latin.\n\nBe brief.")
        await turn(service, Ask(messages, "large", extra={"tools": [{"type": "function"}]}))
        assert backend.calls[-1].messages == messages
    finally:
        await service.stop()
