"""Which conversation a request belongs to, found by hashes alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from router.domain.catalogue import Option
from router.domain.chat import Message, Sampling
from router.service.ask import Ask
from router.service.conversation import Conversations, earlier_characters
from tests.service.test_context import talk

SMALL, LARGE = Option("small", "L0"), Option("large", "L0")


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> Conversations:
    return Conversations(clock=clock)


def ask(*texts: str, chat: str | None = None, **more: object) -> Ask:
    return replace(Ask(tuple(talk(*texts)), conversation=chat), **more)  # type: ignore[arg-type]


def answer(memory: Conversations, request: Ask, option: Option) -> None:
    memory.note(memory.find(request), option)


def test_without_an_id_the_turns_before_say_who_answered(memory: Conversations) -> None:
    answer(memory, ask("hello"), SMALL)
    answer(memory, ask("hello", "Hi!", "tell me a joke"), LARGE)
    assert memory.find(ask("hello", "Hi!", "and why?")).seat.option == SMALL  # type: ignore[union-attr]
    follow_up = memory.find(ask("hello", "Hi!", "tell me a joke", "Knock knock.", "who's there?"))
    assert follow_up.seat is not None
    assert follow_up.seat.option == LARGE
    assert not follow_up.is_regeneration


def test_answers_that_the_client_trimmed_or_cut_change_nothing(memory: Conversations) -> None:
    answer(memory, ask("hello"), SMALL)
    assert memory.find(ask("hello", "<think>hm</think> Hi!  ", "and now?")).seat is not None
    assert memory.find(ask("hello ", "Hi", "and now?")).seat is not None


def test_an_opening_question_belongs_to_no_conversation_and_is_never_a_regeneration(memory: Conversations) -> None:
    for _ in range(3):
        place = memory.find(ask("hello"))
        assert place.seat is None
        assert not place.is_regeneration
        memory.note(place, SMALL)


def test_examples_in_a_prompt_are_no_conversation(memory: Conversations) -> None:
    for question in ("3 + 3", "4 + 4"):
        place = memory.find(ask("1 + 1", "2", "2 + 2", "4", question))
        assert place.seat is None
        memory.note(place, SMALL)


def test_steps_of_a_tool_loop_stay_together(memory: Conversations) -> None:
    answer(memory, ask("what is the weather?"), LARGE)
    call = Message("assistant", "", {"tool_calls": [{"id": "x"}]})
    after = Ask((Message("user", "what is the weather?"), call, Message("tool", "rain", {"tool_call_id": "x"})))
    assert memory.find(after).seat is not None
    answer(memory, after, LARGE)
    more = Ask((*after.messages, Message("assistant", "It rains."), Message("user", "and tomorrow?")))
    assert memory.find(more).seat is not None


def test_an_id_finds_the_conversation_whatever_became_of_its_history(memory: Conversations) -> None:
    answer(memory, ask("hello", chat="a"), SMALL)
    assert memory.find(ask("something else", chat="a")).seat is not None
    assert memory.find(ask("hello", chat="b")).seat is None
    assert memory.find(ask("hello", "Hi!", "and now?")).seat is None, "an id's conversation is found by it alone"


def test_with_an_id_the_same_messages_again_are_a_regeneration(memory: Conversations, clock: Clock) -> None:
    first = ask("hello", chat="a")
    answer(memory, first, SMALL)
    clock.now_s = 1000.0
    assert memory.find(first).is_regeneration
    assert not memory.find(ask("hello", "Hi!", "hello", chat="a")).is_regeneration
    answer(memory, ask("other", chat="a"), SMALL)
    assert not memory.find(first).is_regeneration, "only the latest turn can be generated again"


def test_requests_under_way_together_are_no_regenerations(memory: Conversations) -> None:
    both = [memory.find(ask("hello", chat="a")) for _ in range(2)]
    for place in both:
        memory.note(place, SMALL)
    assert not any(place.is_regeneration for place in both)


def test_without_an_id_a_regeneration_has_an_answer_before_it_and_comes_soon(
    memory: Conversations, clock: Clock
) -> None:
    again = ask("hello", "Hi!", "tell me a joke")
    answer(memory, ask("hello"), SMALL)
    answer(memory, again, LARGE)
    clock.now_s = 60.0
    place = memory.find(again)
    assert place.is_regeneration
    assert place.seat is not None
    assert place.seat.option == LARGE, "who gave the answer that did not please, not who answered the turn before"
    clock.now_s = 200.0
    assert not memory.find(again).is_regeneration


@pytest.mark.parametrize("sampling", [Sampling(seed=1), Sampling(temperature=0.0)])
def test_who_fixes_the_draw_wants_the_same_again(memory: Conversations, sampling: Sampling) -> None:
    again = ask("hello", "Hi!", "tell me a joke", sampling=sampling)
    answer(memory, again, LARGE)
    assert not memory.find(again).is_regeneration
    with_id = replace(again, conversation="a")
    answer(memory, with_id, LARGE)
    assert memory.find(with_id).is_regeneration, "a person pressed the button: the same model would say the same"


def test_other_images_are_another_question(memory: Conversations) -> None:
    one, other = (
        Ask((Message("user", "what is this?", {"images": [image]}),), conversation="a") for image in ("AAAA", "BBBB")
    )
    answer(memory, one, SMALL)
    assert memory.find(one).is_regeneration
    assert not memory.find(other).is_regeneration


def test_a_conversation_that_rests_is_forgotten(clock: Clock) -> None:
    memory = Conversations(idle_s=100.0, clock=clock)
    answer(memory, ask("hello", chat="a"), SMALL)
    clock.now_s = 101.0
    assert memory.find(ask("more", chat="a")).seat is None
    answer(memory, ask("hello", chat="b"), SMALL)
    assert len(memory) == 1


def test_the_memory_is_bounded_and_forgets_the_longest_unused(clock: Clock) -> None:
    memory = Conversations(most=3, clock=clock)
    for name in "abc":
        answer(memory, ask("hello", chat=name), SMALL)
    answer(memory, ask("again", chat="a"), LARGE)
    answer(memory, ask("hello", chat="d"), SMALL)
    assert len(memory) == 3
    assert memory.find(ask("x", chat="b")).seat is None
    assert memory.find(ask("x", chat="a")).seat is not None


def test_nothing_that_was_said_is_kept_and_hashes_say_nothing_elsewhere() -> None:
    one, other = Conversations(), Conversations()
    request = ask("my secret", "is safe", "is it?", chat="secret chat")
    answer(one, request, SMALL)
    kept = repr(one._seats)
    assert not any(word in kept for word in ("my secret", "is safe", "is it?", "secret chat"))
    assert one.find(request).key != other.find(request).key


def test_what_an_engine_has_read_ends_with_its_last_answer() -> None:
    assert earlier_characters(talk("12345", "678", "90")) == 8
    assert earlier_characters(talk("12345")) == 0
