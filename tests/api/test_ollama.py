"""Ollama's dialect on the wire, line by line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from router.domain.chat import Delta, Finish, Usage
from router.domain.errors import BackendUnavailableError, RequestError
from tests.api.conftest import Running
from tests.api.in_process import asked
from tests.api.test_openai import CALL_PIECES, CARBON_KEYS, TOKENS

CHAT = "/api/chat"
GENERATE = "/api/generate"
PROMPT = "Which river flows through the capital of country number 3 near city 9"
ASK = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
DURATIONS = ("total_duration", "prompt_eval_duration", "eval_duration")


def lines(response: httpx.Response) -> list[Any]:
    """Every line; checks the framing on the way."""
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.removesuffix("\n").split("\n")]


def test_a_chat_streams_lines_unless_told_otherwise(http: httpx.Client) -> None:
    response = http.post(CHAT, json=ASK)
    *pieces, last = lines(response)
    assert "".join(line["message"]["content"] for line in pieces) == "It is 42, of course."
    assert all(line["message"]["role"] == "assistant" and line["done"] is False for line in pieces)
    assert all(datetime.fromisoformat(line["created_at"]).tzinfo for line in [*pieces, last])
    assert last["done"] is True
    assert last["done_reason"] == "stop"
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["eval_count"] == 5
    assert last["prompt_eval_count"] >= 13
    assert all(type(last[key]) is int and last[key] > 0 for key in DURATIONS)
    assert set(last["carbon"]) == CARBON_KEYS
    assert response.headers["x-router-model"] == last["model"]


def test_a_chat_in_one_piece_says_the_same(http: httpx.Client) -> None:
    response = http.post(CHAT, json={**ASK, "stream": False})
    body = response.json()
    assert body["message"] == {"role": "assistant", "content": "It is 42, of course."}
    assert (body["done"], body["done_reason"], body["eval_count"]) == (True, "stop", 5)
    assert set(body["carbon"]) == CARBON_KEYS
    assert float(response.headers["x-router-energy-j"]) == pytest.approx(body["carbon"]["energy_j"], rel=1e-4)


def test_what_the_engine_does_not_report_is_left_out(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["uncounted"] = [Delta("ok"), Finish("length", Usage())]
    body = http.post(GENERATE, json={"model": "auto", "prompt": "uncounted", "stream": False}).json()
    assert not {"eval_count", "prompt_eval_count", "eval_duration", "load_duration"} & set(body)
    assert body["done_reason"] == "length"


def test_a_prompt_is_generated_for(http: httpx.Client, running: Running) -> None:
    body = {"model": "large@L0", "prompt": "generate this", "system": "Be kind.", "context": [], "raw": False}
    *pieces, last = lines(http.post(GENERATE, json=body))
    assert "".join(line["response"] for line in pieces) == "It is 42, of course."
    assert last["response"] == ""
    assert last["done"] is True
    messages = running.stage.last("generate this").messages
    assert [(m.role, m.content) for m in messages] == [("system", "Be kind."), ("user", "generate this")]


@pytest.mark.parametrize(
    "change", [{"raw": True}, {"template": "{{ .Prompt }}"}, {"suffix": "end"}, {"context": [1, 2]}], ids=str
)
def test_what_generate_cannot_do_is_refused_by_name(http: httpx.Client, change: dict[str, Any]) -> None:
    response = http.post(GENERATE, json={"model": "auto", "prompt": "x", **change})
    assert response.status_code == 400
    assert next(iter(change)) in response.json()["error"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "auto", "messages": []}),
        (CHAT, {"model": "auto:latest"}),
        (GENERATE, {"model": "auto"}),
        (GENERATE, {"model": "large", "prompt": ""}),
    ],
)
def test_no_prompt_asks_for_loading_and_is_answered_at_once(
    http: httpx.Client, running: Running, path: str, body: dict[str, Any], stream: bool
) -> None:
    before = len(running.stage.calls)
    response = http.post(path, json={**body, "stream": stream})
    said = lines(response)[0] if stream else response.json()
    assert (said["done"], said["done_reason"]) == (True, "load")
    assert len(running.stage.calls) == before


def test_loading_what_nobody_has_is_an_error_and_unloading_is_refused(http: httpx.Client) -> None:
    assert http.post(GENERATE, json={"model": "nobody"}).status_code == 404
    response = http.post(GENERATE, json={"model": "auto", "keep_alive": 0})
    assert response.status_code == 403
    assert "unloading" in response.json()["error"]


def test_options_tools_and_format_reach_the_engine(http: httpx.Client, running: Running) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": schema}}]
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "pass it on", "images": []}],
        "stream": False,
        "options": {
            "num_predict": 3, "temperature": 0.2, "seed": 11, "top_p": 0.8, "stop": ["END"],
            "top_k": 30, "num_ctx": 2048, "repeat_penalty": None,
        },
        "keep_alive": "5m",
        "format": schema,
        "tools": tools,
        "think": False,
        "truncate": True,
    }  # fmt: skip
    assert http.post(CHAT, json=body).json()["done_reason"] == "length"
    generation = running.stage.last("pass it on")
    sampling = generation.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.seed, sampling.top_p, sampling.stop) == (
        3, 0.2, 11, 0.8, ("END",),
    )  # fmt: skip
    assert generation.extra == {
        "top_k": 30,
        "options": {"num_ctx": 2048},
        "tools": tools,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "keep_alive": "5m",
        "think": False,
    }
    assert not any("images" in message.extra for message in generation.messages)


def test_no_limit_and_a_random_seed_are_ollama_s_negative_numbers(http: httpx.Client, running: Running) -> None:
    body = {"model": "auto", "prompt": "no limit", "options": {"num_predict": -1, "seed": -1}, "format": "json"}
    assert http.post(GENERATE, json=body).status_code == 200
    generation = running.stage.last("no limit")
    assert (generation.sampling.max_tokens, generation.sampling.seed) == (None, None)
    assert generation.extra == {"response_format": {"type": "json_object"}}


def test_tool_calls_come_whole_with_their_arguments_as_an_object(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["call tools"] = CALL_PIECES
    body = {"model": "auto", "messages": [{"role": "user", "content": "call tools"}]}
    expected = [{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "now", "arguments": {}}]
    whole = http.post(CHAT, json={**body, "stream": False}).json()
    assert [call["function"] for call in whole["message"]["tool_calls"]] == expected
    assert whole["done_reason"] == "stop"
    calls, last = lines(http.post(CHAT, json=body))
    assert [call["function"] for call in calls["message"]["tool_calls"]] == expected
    assert calls["done"] is False
    assert "tool_calls" not in last["message"]


def test_arguments_that_are_no_object_are_an_error(http: httpx.Client, running: Running) -> None:
    piece = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": '}}
    running.stage.scenes["bad call"] = [Delta("", (piece,)), Finish("tool_calls", Usage(1, 1))]
    body = {"model": "auto", "messages": [{"role": "user", "content": "bad call"}]}
    assert http.post(CHAT, json={**body, "stream": False}).status_code == 502
    assert "no JSON object" in lines(http.post(CHAT, json=body))[-1]["error"]


def test_a_tool_conversation_reaches_the_engine_in_openai_s_form(http: httpx.Client, running: Running) -> None:
    calls = [{"function": {"name": name, "arguments": {"x": 1}}} for name in ("first", "second")]
    messages = [
        {"role": "user", "content": "tool conversation of ollama"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_name": "second", "content": "2"},
        {"role": "tool", "content": "1"},
    ]
    assert http.post(CHAT, json={"model": "large@L0", "messages": messages}).status_code == 200
    _, assistant, second, one = running.stage.last("tool conversation of ollama").messages
    assert [call["function"]["arguments"] for call in assistant.extra["tool_calls"]] == ['{"x": 1}'] * 2
    ids = {call["function"]["name"]: call["id"] for call in assistant.extra["tool_calls"]}
    assert second.extra["tool_call_id"] == ids["second"]
    assert one.extra["tool_call_id"] == ids["first"]


def test_thinking_and_log_probabilities_come_in_their_fields(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["think"] = [Delta("", thinking="Hm. "), Delta("Yes"), Finish("stop", Usage(1, 2))]
    body = {"model": "auto", "prompt": "think", "think": True}
    assert http.post(GENERATE, json={**body, "stream": False}).json()["thinking"] == "Hm. "
    assert lines(http.post(GENERATE, json=body))[0]["thinking"] == "Hm. "
    running.stage.scenes["sure?"] = TOKENS
    body = {"model": "auto", "prompt": "sure?", "logprobs": True}
    whole = http.post(GENERATE, json={**body, "stream": False}).json()
    assert [(t["token"], t["logprob"]) for t in whole["logprobs"]] == [("Yes", -0.1), (".", -0.2)]
    streamed = lines(http.post(GENERATE, json=body))
    assert [t["token"] for line in streamed for t in line.get("logprobs", [])] == ["Yes", "."]


def test_a_failure_in_a_stream_is_a_last_line_under_status_200(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["breaks"] = [Delta("so far"), BackendUnavailableError("the engine broke off")]
    response = http.post(CHAT, json={"model": "auto", "messages": [{"role": "user", "content": "breaks"}]})
    first, last = lines(response)
    assert response.status_code == 200
    assert first["message"]["content"] == "so far"
    assert last == {"error": "the engine broke off"}


def test_a_failure_before_the_first_byte_keeps_its_status(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["refused"] = [RequestError("too long for its context")]
    for stream in (True, False):
        response = http.post(GENERATE, json={"model": "auto", "prompt": "refused", "stream": stream})
        assert response.status_code == 400
        assert response.json() == {"error": "too long for its context"}


def test_a_directive_is_pinned_by_field_or_name_with_or_without_a_tag(http: httpx.Client) -> None:
    for change in ({"directive": "L1"}, {"model": "auto@L1"}, {"model": "auto@L1:latest"}):
        body = {"model": "auto", "prompt": PROMPT, "stream": False, **change}
        assert http.post(GENERATE, json=body).json()["carbon"]["directive"] == "L1"


def test_tags_hold_auto_every_model_and_every_alias_each_with_a_tag(http: httpx.Client) -> None:
    models = http.get("/api/tags").json()["models"]
    assert [entry["name"] for entry in models] == ["auto:latest", "small:latest", "large:latest", "gpt-4o:latest"]
    for entry in models:
        assert entry["model"] == entry["name"]
        assert datetime.fromisoformat(entry["modified_at"]).tzinfo
        assert len(entry["digest"]) >= 12
        assert {"format", "family", "families", "parameter_size", "quantization_level"} <= set(entry["details"])
    assert models[2]["details"]["parameter_size"] == "1.0B"
    assert (models[0]["size"], models[1]["size"]) == (0, None)


def test_every_listed_name_can_be_asked_and_shown(http: httpx.Client) -> None:
    for entry in http.get("/api/tags").json()["models"]:
        body = {"model": entry["name"], "prompt": PROMPT, "stream": False}
        assert http.post(GENERATE, json=body).status_code == 200
        shown = http.post("/api/show", json={"model": entry["name"]}).json()
        assert shown["capabilities"] == ["completion"]  # the scripted engine does not say what else it can
        architecture = shown["model_info"]["general.architecture"]
        assert shown["model_info"][f"{architecture}.context_length"] == 4096


def test_show_takes_the_older_field_and_knows_only_what_there_is(http: httpx.Client) -> None:
    assert http.post("/api/show", json={"name": "large"}).json()["details"]["parameter_size"] == "1.0B"
    assert http.post("/api/show", json={}).status_code == 400
    missing = http.post("/api/show", json={"model": "nobody"})
    assert missing.status_code == 404
    assert "nobody" in missing.json()["error"]


async def test_a_model_whose_site_has_just_been_taken_out_can_still_be_shown() -> None:
    async with asked() as (client, service):
        service.engines.exchange({})
        shown = await client.post("/api/show", json={"model": "large"})
        assert (shown.status_code, shown.json()["capabilities"]) == (200, ["completion"])


async def test_auto_shows_the_smallest_window_of_those_that_could_answer_now() -> None:
    for served, window in ((["small", "large"], 512), (["large"], 4096)):
        async with asked(contexts={"small": 512}, served=served) as (client, _):
            shown = (await client.post("/api/show", json={"model": "auto"})).json()["model_info"]
            assert shown[f"{shown['general.architecture']}.context_length"] == window


def test_ps_lists_what_answered_lately(http: httpx.Client) -> None:
    http.post(GENERATE, json={"model": "large", "prompt": PROMPT, "stream": False})
    entry = next(e for e in http.get("/api/ps").json()["models"] if e["name"] == "large:latest")
    assert datetime.fromisoformat(entry["expires_at"]).timestamp() > datetime.now().timestamp()  # noqa: DTZ005
    assert entry["context_length"] == 4096


def test_somebody_is_there(http: httpx.Client) -> None:
    assert http.get("/").text == "carbon-router is running"
    assert http.head("/").status_code == 200
    assert http.get("/api/version").json()["version"].count(".") == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"), ("POST", "/api/copy"),
        ("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:abc"),
    ],
)  # fmt: skip
def test_administration_is_refused_with_a_reason(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path, json={"model": "x"})
    assert response.status_code == 403
    assert "models.yaml" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, {**ASK, "model": "nobody"}, 404),
        (CHAT, {"messages": ASK["messages"]}, 400),
        (CHAT, {**ASK, "model": ""}, 400),
        (CHAT, {**ASK, "directive": "L9"}, 400),
        (CHAT, {**ASK, "messages": "hello"}, 400),
        (CHAT, {**ASK, "messages": [{"role": "user", "content": " "}]}, 400),
        (CHAT, {**ASK, "messages": [{"role": "user", "content": "a\x00b"}]}, 400),
        (CHAT, {**ASK, "messages": [{"role": "nobody", "content": "x"}]}, 400),
        (CHAT, {**ASK, "messages": [{"role": "user", "content": "x", "tool_calls": ["no"]}]}, 400),
        (CHAT, {**ASK, "options": {"temperature": "hot"}}, 400),
        (CHAT, {**ASK, "options": {"num_predict": 10**30}}, 400),
        (CHAT, {**ASK, "options": []}, 400),
        (CHAT, {**ASK, "format": "xml"}, 400),
        (GENERATE, {"model": "auto", "prompt": 5}, 400),
        (GENERATE, {"model": "auto", "prompt": "a\x00b"}, 400),
        ("/api/nothing", {}, 404),
        ("/api/tags", {}, 405),
    ],
)
def test_every_error_is_one_text_in_json(http: httpx.Client, path: str, body: dict[str, Any], status: int) -> None:
    response = http.post(path, json=body)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(
    "content", [b"{", b"", b"[]", b"\xff\xfe", b"[" * 100_000], ids=["cut", "empty", "a list", "no utf-8", "deep"]
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, content: bytes) -> None:
    response = http.post(CHAT, content=content)
    assert response.status_code == 400
    assert isinstance(response.json()["error"], str)


def test_a_body_needs_no_content_type_unless_it_comes_from_another_site_s_page(http: httpx.Client) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    content = json.dumps({**ASK, "stream": False})
    assert http.post(CHAT, content=content, headers=form).status_code == 200
    assert http.post(CHAT, content=content, headers={**form, "origin": "http://localhost:3000"}).status_code == 200
    assert http.post(CHAT, content=content, headers={**form, "origin": "https://elsewhere.example"}).status_code == 400


def test_a_hundred_thousand_characters_and_unknown_fields_are_answered(http: httpx.Client) -> None:
    body = {"model": "auto", "prompt": "word " * 20_000, "stream": False, "frobnicate": [1]}
    assert http.post(GENERATE, json=body).status_code == 200
