"""Field by field: what a client asks for reaches the engine, and what cannot be had is said with the right header."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from router.domain.chat import Sampling
from router.domain.errors import (
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelMissingError,
    OverloadedError,
    RequestError,
    RouterError,
)
from tests.api.conftest import Running

CHAT = "/v1/chat/completions"


def ask(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Sampling()),
        ({"max_tokens": 7}, Sampling(max_tokens=7)),
        ({"max_completion_tokens": 8}, Sampling(max_tokens=8)),
        ({"max_tokens": 7, "max_completion_tokens": 8}, Sampling(max_tokens=8)),
        ({"max_tokens": 7, "max_completion_tokens": 0}, Sampling(max_tokens=None)),
        ({"max_tokens": 0}, Sampling()),
        ({"max_tokens": None, "temperature": None, "stop": None, "seed": None}, Sampling()),
        ({"stop": "END"}, Sampling(stop=("END",))),
        ({"stop": ["a", "", "b"]}, Sampling(stop=("a", "b"))),
        ({"seed": -3}, Sampling(seed=-3)),
        ({"temperature": 0, "top_p": 1}, Sampling(temperature=0.0, top_p=1.0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [True, False])
def test_how_tokens_are_drawn(
    http: httpx.Client, running: Running, fields: dict[str, Any], expected: Sampling, stream: bool
) -> None:
    prompt = f"draw by {fields} {stream}"
    assert http.post(CHAT, json=ask(prompt, stream=stream, **fields)).status_code == 200
    assert running.stage.last(prompt).sampling == expected


def test_a_stop_text_ends_the_answer(http: httpx.Client) -> None:
    choice = http.post(CHAT, json=ask("stop it", stop=" of")).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It is 42,", "stop")


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "add", "strict": True}}], "tool_choice": "required",
         "parallel_tool_calls": False},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
        {"frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {"7": 1}},
        {"reasoning_effort": "low", "verbosity": "low"},
    ],
    ids=lambda fields: ", ".join(fields),
)  # fmt: skip
def test_what_the_router_does_not_read_is_handed_on_untouched(
    http: httpx.Client, running: Running, fields: dict[str, Any]
) -> None:
    prompt = f"hand on {sorted(fields)}"
    assert http.post(CHAT, json=ask(prompt, **fields)).status_code == 200
    assert running.stage.last(prompt).extra == fields


def test_n_beyond_what_is_served_is_refused_by_name(http: httpx.Client) -> None:
    for n in (0, -1, 129):
        response = http.post(CHAT, json=ask("n", n=n))
        assert (response.status_code, response.json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (RequestError("too long"), 400, "false"),
        (OverloadedError("full", retry_after_s=3.2), 429, "true"),
        (BackendProtocolError("nonsense"), 502, "false"),
        (BackendUnavailableError("down"), 503, "true"),
        (ModelMissingError("not there"), 503, "false"),
        (BackendTimeoutError("slow"), 504, "true"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RouterError) else "",
)
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_failure_says_whether_another_try_is_worth_it(
    http: httpx.Client, running: Running, error: RouterError, status: int, retry: str, path: str, stream: bool
) -> None:
    prompt = f"fails with {error.code}"
    running.stage.scenes[prompt] = [error]
    response = http.post(path, json=ask(prompt, stream=stream))
    assert response.status_code == status
    assert response.headers["x-should-retry"] == retry
    assert (response.headers.get("retry-after") == "4") == (status == 429)
    assert response.json()["error"]


def test_what_is_not_there_is_not_worth_another_try(http: httpx.Client) -> None:
    for response in (http.post(CHAT, json=ask("x", model="nobody")), http.get("/v1/x"), http.get(CHAT)):
        assert response.headers["x-should-retry"] == "false"
    assert http.get(CHAT).headers["allow"] == "POST"
    assert http.get("/v1/models/auto@L9").status_code == 404, "no model has that name"
