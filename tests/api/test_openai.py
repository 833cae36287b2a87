"""OpenAI's dialect on the wire, line by line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from router.api.streams import total_carbon
from router.domain.chat import Delta, Finish, Usage, last_user_text
from router.domain.errors import BackendUnavailableError, RequestError
from tests.api.conftest import Running
from tests.api.in_process import asked
from tests.service.ledgers import turn

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "Which river flows through the capital of country number 3 near city 9"}]
CARBON_KEYS = {
    "model", "directive", "setting", "site", "category", "category_probability", "energy_j", "energy_method",
    "operational_g", "embodied_g", "intensity_g_per_kwh", "intensity_source", "intensity_age_s", "intensity_kind",
    "intensity_is_estimated", "intensity_is_stale", "reference_g",
    "saved_g", "policy", "floor", "overhead_ms", "router_energy_j", "fallback",
}  # fmt: skip
CALL_PIECES = (
    Delta("", ({"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": ""}},)),
    Delta("", ({"index": 0, "function": {"arguments": '{"a": 1,'}},)),
    Delta("", ({"index": 0, "function": {"arguments": ' "b": 2}'}},)),
    Delta("", ({"index": 1, "id": "call_b", "type": "function", "function": {"name": "now", "arguments": "{}"}},)),
    Finish("tool_calls", Usage(10, 5)),
)
TOKENS = (
    Delta("Yes", logprobs=({"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "Yes", "logprob": -0.1}]},)),
    Delta(".", logprobs=({"token": ".", "logprob": -0.2},)),
    Finish("stop", Usage(4, 2)),
)


def events(response: httpx.Response) -> list[Any]:
    """The data of every event; checks the framing on the way."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("\n\n")
    blocks = response.text.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [b if (b := block.removeprefix("data: ")) == "[DONE]" else json.loads(b) for block in blocks]


def test_an_answer_has_openai_s_form_and_the_carbon_object(http: httpx.Client) -> None:
    response = http.post(CHAT, json={"model": "auto", "messages": ASK})
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It is 42, of course."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"]["completion_tokens"] == 5
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 5
    assert set(body["carbon"]) == CARBON_KEYS
    assert body["carbon"]["model"] == body["model"] == response.headers["x-router-model"]


def test_a_stream_begins_with_the_role_and_ends_with_the_finish_the_carbon_object_and_done(http: httpx.Client) -> None:
    *chunks, done = events(http.post(CHAT, json={"messages": ASK, "stream": True}))
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "It is 42, of course."
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert set(chunks[-1]["carbon"]) == CARBON_KEYS
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert not any("usage" in c for c in chunks)


def test_usage_comes_on_a_last_chunk_of_its_own_if_asked_for(http: httpx.Client) -> None:
    body = {"messages": ASK, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, _ = events(http.post(CHAT, json=body))
    assert all(c["usage"] is None for c in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert usage["carbon"] == chunks[-1]["carbon"]


def test_usage_is_null_where_the_engine_does_not_count(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["uncounted"] = [Delta("ok"), Finish("stop", Usage(output_tokens=1))]
    assert http.post(CHAT, json={"messages": [{"role": "user", "content": "uncounted"}]}).json()["usage"] is None


@pytest.mark.parametrize(
    "content",
    ["parts", [{"type": "text", "text": "parts"}], ["parts"], [{"type": "input_text", "text": "parts"}]],
    ids=["string", "part", "bare string", "input_text"],
)
def test_content_may_be_a_string_or_parts(http: httpx.Client, running: Running, content: Any) -> None:
    assert http.post(CHAT, json={"messages": [{"role": "user", "content": content}]}).status_code == 200
    assert last_user_text(running.stage.calls[-1].messages) == "parts"


def test_images_reach_the_engine_as_data_and_are_never_fetched(http: httpx.Client, running: Running) -> None:
    def post(url: str) -> httpx.Response:
        parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": url}}]
        return http.post(CHAT, json={"messages": [{"role": "user", "content": parts}]})

    assert post("data:image/png;base64,AAAA").status_code == 200
    assert running.stage.last("see").messages[-1].extra["images"] == ["data:image/png;base64,AAAA"]
    refused = post("http://127.0.0.1:1/secret.png")
    assert refused.status_code == 400
    assert "data URL" in refused.json()["error"]["message"]


def test_a_whole_tool_conversation_with_null_content_reaches_the_engine(http: httpx.Client, running: Running) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": "tool conversation"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "2"}]},
    ]
    assert http.post(CHAT, json={"messages": messages, "model": "large@L0"}).status_code == 200
    system, user, assistant, tool = running.stage.last("tool conversation").messages
    assert (system.role, system.content) == ("system", "Use tools.")
    assert user.role == "user"
    assert (assistant.content, assistant.extra["tool_calls"]) == ("", [call])
    assert (tool.role, tool.content, tool.extra["tool_call_id"]) == ("tool", "2", "call_1")


def test_what_shapes_the_answer_reaches_the_engine(http: httpx.Client, running: Running) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    body = {
        "messages": [{"role": "user", "content": "pass this on"}],
        "tools": tools,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "seed": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "max_completion_tokens": 3,
        "max_tokens": 99,
        "top_k": 40,
        "user": "somebody",
    }
    answer = http.post(CHAT, json=body).json()
    generation = running.stage.last("pass this on")
    assert generation.extra == {
        "tools": tools, "tool_choice": "auto", "response_format": {"type": "json_object"}, "top_k": 40,
    }  # fmt: skip
    sampling = generation.sampling
    assert (sampling.seed, sampling.temperature, sampling.top_p, sampling.stop, sampling.max_tokens) == (
        7, 0.5, 0.9, ("END",), 3,
    )  # fmt: skip
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [0, -1, -2])
def test_no_limit_is_what_other_servers_write_for_it(
    http: httpx.Client, running: Running, field: str, limit: int
) -> None:
    assert http.post(CHAT, json={"messages": ASK, field: limit}).status_code == 200
    assert running.stage.calls[-1].sampling.max_tokens is None


def test_tool_calls_are_joined(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["call tools"] = CALL_PIECES
    choice = http.post(CHAT, json={"messages": [{"role": "user", "content": "call tools"}]}).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}},
            {"id": "call_b", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    }


def test_tool_calls_stream_in_pieces_each_with_its_index(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["call tools"] = CALL_PIECES
    body = {"messages": [{"role": "user", "content": "call tools"}], "stream": True}
    *chunks, _ = events(http.post(CHAT, json=body))
    pieces = [piece for c in chunks for piece in c["choices"][0]["delta"].get("tool_calls", [])]
    assert [piece["index"] for piece in pieces] == [0, 0, 0, 1]
    assert "".join(p["function"]["arguments"] for p in pieces[:3]) == '{"a": 1, "b": 2}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_n_answers_come_from_one_option_and_are_charged_together(http: httpx.Client, running: Running) -> None:
    one = http.post(CHAT, json={"messages": ASK, "seed": 5}).json()
    before = len(running.stage.calls)
    known = {turn.id for turn in running.service.journal.turns()}
    three = http.post(CHAT, json={"messages": ASK, "n": 3, "seed": 5}).json()
    calls = running.stage.calls[before:]
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]
    assert sorted(call.sampling.seed or 0 for call in calls) == [5, 6, 7]
    assert len({(call.model, repr(call.messages)) for call in calls}) == 1
    energies = [turn.carbon.energy_j for turn in running.service.journal.turns() if turn.id not in known]
    assert len(energies) == 3
    assert three["carbon"]["energy_j"] == pytest.approx(sum(e for e in energies if e is not None))
    assert three["carbon"]["energy_j"] > 0


def test_n_answers_stream_side_by_side(http: httpx.Client) -> None:
    body = {"messages": ASK, "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, done = events(http.post(CHAT, json=body))
    choices = [c["choices"][0] for c in chunks]
    for index in (0, 1):
        own = [c for c in choices if c["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content", "") for c in own) == "It is 42, of course."
        assert [c["finish_reason"] for c in own].count("stop") == 1
    assert [("carbon" in c) for c in chunks].count(True) == 1
    assert usage["usage"]["completion_tokens"] == 10
    assert done == "[DONE]"


def test_many_answers_of_one_request_take_turns(http: httpx.Client, running: Running) -> None:
    answer = http.post(CHAT, json={"messages": ASK, "n": 100}).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["It is 42, of course."] * 100
    assert running.stage.running == 0


def test_an_error_of_one_of_n_answers_ends_them_all(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["n breaks"] = [Delta("a"), BackendUnavailableError("lost")]
    body = {"messages": [{"role": "user", "content": "n breaks"}], "n": 3}
    assert http.post(CHAT, json=body).status_code == 503
    assert running.stage.running == 0


def test_log_probabilities_come_as_far_as_the_engine_gives_them(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["sure?"] = TOKENS
    body = {"messages": [{"role": "user", "content": "sure?"}], "logprobs": True, "top_logprobs": 1}
    content = http.post(CHAT, json=body).json()["choices"][0]["logprobs"]["content"]
    assert [(t["token"], t["logprob"], t["bytes"]) for t in content] == [
        ("Yes", -0.1, [89, 101, 115]),
        (".", -0.2, [46]),
    ]
    assert content[0]["top_logprobs"] == [{"token": "Yes", "logprob": -0.1}]
    assert running.stage.last("sure?").extra["top_logprobs"] == 1
    *chunks, _ = events(http.post(CHAT, json={**body, "stream": True}))
    streamed = [t["token"] for c in chunks for t in (c["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert streamed == ["Yes", "."]
    without = http.post(CHAT, json={"messages": body["messages"]}).json()
    assert without["choices"][0]["logprobs"] is None
    from_none = http.post(CHAT, json={"messages": ASK, "logprobs": True}).json()
    assert from_none["choices"][0]["logprobs"] is None


def test_reasoning_comes_apart_from_the_answer(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["think"] = [Delta("", thinking="Hm. "), Delta("Yes"), Finish("stop", Usage(1, 2))]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "think"}]}
    message = http.post(CHAT, json=body).json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Yes", "reasoning_content": "Hm. "}
    *chunks, _ = events(http.post(CHAT, json={**body, "stream": True}))
    assert [c["choices"][0]["delta"].get("reasoning_content") for c in chunks][1] == "Hm. "


def test_a_failure_in_a_stream_is_an_error_event_and_its_end(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["breaks"] = [Delta("so far"), BackendUnavailableError("the engine broke off")]
    response = http.post(CHAT, json={"messages": [{"role": "user", "content": "breaks"}], "stream": True})
    *_, last = events(response)
    assert response.status_code == 200
    assert last["error"]["message"] == "the engine broke off"
    assert set(last["error"]) == {"message", "type", "param", "code"}


def test_a_failure_before_the_first_byte_keeps_its_status(http: httpx.Client, running: Running) -> None:
    running.stage.scenes["refused"] = [RequestError("too long for its context")]
    for stream in (True, False):
        response = http.post(CHAT, json={"messages": [{"role": "user", "content": "refused"}], "stream": stream})
        assert response.status_code == 400
        assert response.headers["x-should-retry"] == "false"
    running.stage.scenes["nobody"] = [BackendUnavailableError("down")]
    response = http.post(CHAT, json={"messages": [{"role": "user", "content": "nobody"}], "stream": True})
    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": " \n"}]}, 400, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "messages.0.content"),
        ({"messages": "hello"}, 400, "messages"),
        ({"model": "gpt-17"}, 404, "model"),
        ({"model": ""}, 404, "model"),
        ({"model": "auto@L9"}, 400, "directive"),
        ({"directive": "L9"}, 400, "directive"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"temperature": 3}, 400, "temperature"),
        ({"max_tokens": -(10**30)}, 400, "max_tokens"),
        ({"n": 0}, 400, "n"),
        ({"n": 1000}, 400, "n"),
        ({"seed": 10**30}, 400, "seed"),
        ({"top_logprobs": 3}, 400, "top_logprobs"),
        ({"messages": [{"role": "assistant", "content": "x", "tool_calls": "no"}]}, 400, "messages.0.tool_calls"),
        ({"messages": [{"role": "user", "content": "x", "images": 5}]}, 400, "messages.0.images"),
        ({"tools": "add"}, 400, "tools"),
        ({"response_format": "json"}, 400, "response_format"),
        ({"modalities": ["text", "audio"]}, 400, "modalities"),
        ({"stream": "perhaps"}, 400, "stream"),
    ],
)
def test_a_wrong_request_says_which_field_is_at_fault(
    http: httpx.Client, change: dict[str, Any], status: int, param: str
) -> None:
    response = http.post(CHAT, json={"messages": ASK, **change})
    error = response.json()["error"]
    assert response.status_code == status
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000],
    ids=["cut", "empty", "a list", "null", "no utf-8", "deep"],
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, content: bytes) -> None:
    response = http.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_half_a_character_is_mended_as_ollama_does_and_a_whole_one_kept(http: httpx.Client, running: Running) -> None:
    content = b'{"messages": [{"role": "user", "content": "mend \\ud83d \\ud83d\\ude00"}]}'
    assert http.post(CHAT, content=content, headers={"content-type": "application/json"}).status_code == 200
    assert running.stage.calls[-1].messages[-1].content == "mend \ufffd \U0001f600"
    content = b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}'
    assert http.post(CHAT, content=content, headers={"content-type": "application/json"}).status_code == 404


def test_a_body_without_its_content_type_is_told_so(http: httpx.Client) -> None:
    response = http.post(CHAT, content=json.dumps({"messages": ASK}))
    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json()["error"]["message"]


def test_a_hundred_thousand_characters_are_answered(http: httpx.Client) -> None:
    response = http.post(CHAT, json={"messages": [{"role": "user", "content": "word " * 20_000}]})
    assert response.status_code == 200


def test_unknown_fields_are_no_error(http: httpx.Client) -> None:
    assert http.post(CHAT, json={"messages": ASK, "frobnicate": {"a": 1}}).status_code == 200


def test_models_are_listed_with_auto_and_aliases(http: httpx.Client) -> None:
    body = http.get("/v1/models").json()
    assert body["object"] == "list"
    assert [entry["id"] for entry in body["data"]] == ["auto", "small", "large", "gpt-4o"]
    assert all(entry["object"] == "model" and isinstance(entry["created"], int) for entry in body["data"])
    assert http.get("/v1/models/large").json()["context_length"] == 4096
    assert http.get("/v1/models/gpt-4o").json()["alias_of"] == "auto"
    missing = http.get("/v1/models/none/such")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


async def test_a_model_was_measured_whether_or_not_its_engine_runs() -> None:
    async with asked(served=["large"], measured=None) as (client, _):
        assert (await client.get("/v1/models/small")).json()["measured"] is True
    async with asked(measured=[]) as (client, _):
        assert (await client.get("/v1/models/small")).json()["measured"] is False


def test_a_sum_over_answers_is_as_good_as_its_weakest_part() -> None:
    first, second = turn(1).carbon, turn(2, energy_method="modelled").carbon
    assert total_carbon([first, first]).energy_method == "measured"
    assert total_carbon([first, second]).energy_method == total_carbon([second, first]).energy_method == "modelled"
    unknown = replace(first, energy_j=None, energy_method=None)
    assert (total_carbon([first, unknown]).energy_j, total_carbon([first, unknown]).energy_method) == (None, None)


def test_an_unknown_path_and_method_are_errors_of_openai_s_form(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert http.get(CHAT).status_code == 405
    assert http.get(CHAT).json()["error"]["code"] == "method_not_allowed"
