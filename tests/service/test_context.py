"""A turn that cannot stand alone takes the one before it along; a new topic goes alone."""

from __future__ import annotations

import pytest

from router.domain.chat import Message, Role
from router.service.context import LEANING, Leaning, routing_text, routing_texts


def talk(*texts: str) -> list[Message]:
    """User and assistant in turn, the user first."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return [Message(roles[i % 2], text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    "text", ["and now in German", "make it faster", "Danish?", "the second one, please", "What about 20 % instead?"]
)
def test_a_turn_that_continues_or_points_leans(text: str) -> None:
    assert LEANING(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of Peru?",
        "Who was the first woman in space?",
        "Implement bubble sort in Python.",
        "Write a function that says of each word of a text how often it occurs in the text as a whole.",
    ],
)
def test_a_turn_that_says_what_it_wants_stands_alone(text: str) -> None:
    assert not LEANING(text)


def test_a_single_turn_is_taken_as_it_is() -> None:
    assert routing_text(talk(" make it faster ")) == " make it faster "


def test_a_leaning_turn_takes_the_users_turn_before_and_no_answer() -> None:
    messages = [Message("system", "Be kind."), *talk("Translate: good night", "Bonne nuit", "and in Italian")]
    assert routing_text(messages) == "Translate: good night\nand in Italian"


def test_leaning_turns_are_followed_back_to_one_that_stands_but_not_for_ever() -> None:
    first = "Table pets(id, name): write a query that lists their names"
    assert routing_text(talk(first, "..", "sorted", "..", "and the other way round")).startswith(first)
    far = talk(first, "..", "sorted", "..", "descending", "..", "again")
    assert routing_text(far) == "sorted\ndescending\nagain"


def test_a_new_topic_leaves_the_history_behind() -> None:
    history = talk("Write a Python function that adds two numbers", "def f...", "What is the capital of Peru?")
    assert routing_text(history) == "What is the capital of Peru?"


def test_empty_turns_and_tool_answers_are_passed_over() -> None:
    messages = [*talk("Which river is the longest of Europe?", ""), Message("user", " "), Message("tool", "42")]
    assert routing_text(messages) == "Which river is the longest of Europe?"
    assert routing_text([Message("system", "x")]) == ""


def test_length_alone_can_be_the_rule() -> None:
    short = Leaning(most_words=5, opens=False, points=False)
    assert short("Implement bubble sort in Python.")
    assert not short("Please do implement bubble sort in Python.")


def test_a_short_turn_without_such_words_is_read_both_ways() -> None:
    query = "Table pets(id, name): write a query that lists their names"
    assert routing_texts(talk(query, "..", "ordered by year of birth")) == (
        "ordered by year of birth",
        f"{query}\nordered by year of birth",
    )
    assert routing_texts(talk(query, "..", "make it faster")) == (f"{query}\nmake it faster",)
    long = "Write a function that says of each word of a text how often it occurs in the text as a whole."
    assert routing_texts(talk(query, "..", long)) == (long,)
    assert routing_texts(talk("ordered by year of birth")) == ("ordered by year of birth",)
    assert routing_texts([Message("system", "x")]) == ()
