"""Conversations and side requests over the wire, in both dialects, as Open WebUI sends them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Running
from tests.service.test_side import SHAPES

CHAT = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}
CODE = "Write a Python function called work5 that returns item 16 of a list"
QUESTION = "Which river flows through the capital of country number 3 near city 10"


def say(
    http: httpx.Client, dialect: str, *texts: str, headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    body = {"model": "auto", "messages": messages, "stream": False, **more}
    answer = http.post(CHAT[dialect], json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def last(running: Running) -> Any:
    return list(running.service.journal.turns())[-1]


@pytest.mark.parametrize("dialect", CHAT)
@pytest.mark.parametrize("name", ["X-OpenWebUI-Chat-Id", "X-Router-Conversation"])
def test_a_chat_id_keeps_a_conversation_and_escalates_a_regeneration(
    http: httpx.Client, running: Running, dialect: str, name: str
) -> None:
    chat = {name: f"{dialect}-{name}"}
    say(http, dialect, QUESTION, headers=chat)
    assert last(running).conversation is None
    say(http, dialect, QUESTION, headers=chat)
    assert last(running).conversation == "escalated"
    say(http, dialect, QUESTION, "The Rhine.", "and how long is it?", headers=chat)
    assert last(running).conversation in ("kept", "switched")


@pytest.mark.parametrize("dialect", CHAT)
def test_without_a_header_the_history_says_it(http: httpx.Client, running: Running, dialect: str) -> None:
    for _ in range(2):
        say(http, dialect, f"{CODE} for {dialect}")
        assert last(running).conversation is None
    answered = say(http, dialect, f"{CODE} for {dialect}", "It is 42, of course.", "and the last item, too")
    assert last(running).conversation == "kept"
    assert answered["carbon"]["model"] == "large"


def test_two_keys_do_not_share_a_conversation(http: httpx.Client, running: Running) -> None:
    for key in ("one", "two"):
        say(http, "openai", QUESTION, headers={"X-Router-Conversation": "1", "Authorization": f"Bearer {key}"})
        assert last(running).conversation is None


def test_n_answers_of_one_request_are_no_regenerations(http: httpx.Client, running: Running) -> None:
    say(http, "openai", QUESTION, headers={"X-Router-Conversation": "many"}, n=3)
    assert [turn.conversation for turn in list(running.service.journal.turns())[-3:]] == [None] * 3


@pytest.mark.parametrize("dialect", CHAT)
def test_side_requests_are_recognised_and_leave_the_conversation_alone(
    http: httpx.Client, running: Running, dialect: str
) -> None:
    chat = {"X-OpenWebUI-Chat-Id": f"side-{dialect}"}
    say(http, dialect, CODE, headers=chat)
    for prompt, kind in SHAPES[:3]:
        say(http, dialect, prompt, headers=chat)
        assert (last(running).side, last(running).carbon.directive) == (kind, "L0")
    say(http, dialect, "Name it", headers={**chat, "X-Router-Side-Request": "tags_generation"})
    assert last(running).side == "tags"
    say(
        http,
        dialect,
        CODE,
        "It is 42, of course.",
        "and the last item, too",
        headers={**chat, "X-Router-Side-Request": ""},
    )
    assert (last(running).side, last(running).conversation) == (None, "kept")
    side = http.get("/v1/stats").json()["side_requests"]
    assert side["turns"] >= 4
    assert 'carbon_router_side_requests_total{kind="tags"}' in http.get("/metrics").text


def test_the_dry_run_says_what_it_would_do_and_why(http: httpx.Client) -> None:
    found = http.post("/v1/route", json={"prompt": SHAPES[0][0]}).json()
    assert (found["side"], found["conversation"], found["category"]) == ("title", None, None)
    assert "side request" in found["reason"]
    say(http, "openai", QUESTION, headers={"X-Router-Conversation": "dry"})
    for _ in range(2):
        again = http.post("/v1/route", json={"prompt": QUESTION}, headers={"X-Router-Conversation": "dry"}).json()
        assert again["conversation"] == "escalated"
        assert "asked again" in again["reason"]
