"""Side requests are recognised by what a client says, else by their shape; people's questions are not mistaken."""

from __future__ import annotations

import pytest

from router.domain.chat import Message
from router.service.ask import Ask
from router.service.side import KINDS, is_plain, shape_of, side_of
from tests.service.test_context import talk

# Written for these tests in the form that Open WebUI's task prompts have: a task, guidelines, an output, the chat.
CHAT = "### Chat History:\n<chat_history>\nUSER: how do I bake bread?\nASSISTANT: With flour.\n</chat_history>"
JSON = '### Output:\nJSON format: {{ "{key}": ... }}\n'


def task(words: str, key: str, chat: str = CHAT) -> str:
    return f"### Task:\n{words}\n### Guidelines:\n- Be clear.\n{JSON.format(key=key)}{chat}"


SHAPES = [
    (task("Find a title of a few words, with an emoji, for the chat.", "title"), "title"),
    (task("Name some broad tags for the themes of the chat.", "tags"), "tags"),
    (task("Suggest 3 follow-up questions the user might ask.", "follow_ups"), "follow_ups"),
    (task("Decide whether search queries are needed and write them.", "queries"), "queries"),
    (task("Describe an image for this chat.", "prompt"), "image_prompt"),
    (
        f"### Task:\nYou are an autocompletion system.\n### Context:\n{CHAT}\n<text>how do</text>\n#### Output:\n",
        "autocomplete",
    ),
    (
        "Here is the query:\nhow do I bake bread?\n\nCreate a concise, 3-5 word phrase as a title. "
        "RESPOND ONLY WITH THE TITLE TEXT.",
        "title",
    ),
]


@pytest.mark.parametrize(("prompt", "kind"), SHAPES)
def test_task_prompts_are_known_by_their_shape(prompt: str, kind: str) -> None:
    assert shape_of([Message("user", prompt)]) == kind
    assert shape_of([Message("system", "You are kind."), Message("user", prompt)]) == kind


@pytest.mark.parametrize(
    "prompt",
    [
        "Give my essay a title: ...",
        "### Task:\nWrite a function that adds numbers.\n### Output:\nPython code",
        "How can I improve this prompt?\n\n" + SHAPES[0][0],
        "Explain what <chat_history> tags are for, and name some tags.",
        SHAPES[0][0] + "\n\nWhy does this prompt not work with my model?",
        "### Task:\nAnswer the user's question from the chat.\n### Output:\ntext\n" + CHAT,
        "",
    ],
)
def test_people_are_not_taken_for_tasks(prompt: str) -> None:
    assert shape_of([Message("user", prompt)]) is None


def test_a_task_prompt_within_a_conversation_is_a_persons() -> None:
    assert shape_of(talk("hello", "Hi!", SHAPES[0][0])) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("title_generation", "title"),
        ("tags_generation", "tags"),
        ("follow_up_generation", "follow_ups"),
        ("Title", "title"),
        ("something of mine", "other"),
        ("yes", "other"),
        ("", None),
        ("no", None),
        ("moa_response_generation", None),
        ("function_calling", None),
    ],
)
def test_a_header_says_what_a_request_is(said: str, kind: str | None) -> None:
    assert side_of(Ask((Message("user", "hello"),), side=said)) == kind
    assert kind is None or kind in KINDS


def test_a_header_that_says_no_wins_over_the_shape() -> None:
    assert side_of(Ask((Message("user", SHAPES[0][0]),), side="")) is None
    assert side_of(Ask((Message("user", SHAPES[0][0]),))) == "title"


def test_a_model_name_says_it_too() -> None:
    assert side_of(Ask((Message("user", "hello"),)), is_side_model=True) == "other"
    assert side_of(Ask((Message("user", SHAPES[1][0]),)), is_side_model=True) == "tags"


def test_a_form_that_a_program_reads_forbids_brevity() -> None:
    free = Ask((Message("user", "name this chat"),))
    assert is_plain(free, "title")
    assert not is_plain(free, "other")
    assert is_plain(Ask((Message("user", "name this chat as JSON"),)), "other")
    assert is_plain(Ask(free.messages, extra={"response_format": {"type": "json_object"}}), "other")


def test_a_prompt_of_nothing_but_tags_is_looked_at_once() -> None:
    assert shape_of(talk("### Task:\nName a title.\n" + "<chat_history>" * 200_000)) is None
    assert shape_of(talk("### Task:\nName a title.\n### Output:\n" + CHAT + "\n#" + " " * 200_000 + "\nx")) is None


def test_a_chat_that_quotes_the_tags_is_one_chat() -> None:
    quoting = CHAT.replace("With flour.", "Write </chat_history> and <chat_history>.")
    assert shape_of(talk(task("Find a title of a few words for the chat.", "title", quoting))) == "title"
