"""What the HTTP adapters do with servers that misbehave, and what they send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from router.backends.ollama import OllamaBackend, with_tag
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import Fault, Phase, ScriptedBackend
from router.domain.chat import Delta, Finish, Generation, Message, Sampling
from router.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelMissingError,
    RequestError,
)
from router.domain.ports import Backend
from tests.backends.fake_servers import ScriptedServer, listening

TEXT = "The sky is blüe today."


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[ScriptedServer, str]]:
    server = ScriptedServer(ScriptedBackend(TEXT, models=["sky"]))
    with listening(server.app) as url:
        yield server, url


@pytest.fixture
def server(shared: tuple[ScriptedServer, str]) -> Iterator[ScriptedServer]:
    made = shared[0]
    yield made
    made.reply_with = None
    made.timings = False
    made.script.faults.clear()
    made.requests.clear()


@pytest.fixture(params=[OllamaBackend, OpenAIBackend])
async def backend(
    request: pytest.FixtureRequest, shared: tuple[ScriptedServer, str], server: ScriptedServer
) -> AsyncIterator[Backend]:
    made: Backend = request.param(shared[1], silence_s=0.5, api_key="secret")
    yield made
    await made.close()


@pytest.fixture
async def ollama(shared: tuple[ScriptedServer, str], server: ScriptedServer) -> AsyncIterator[OllamaBackend]:
    made = OllamaBackend(shared[1], options={"num_ctx": 2048, "seed": 9})
    yield made
    await made.close()


@pytest.fixture
async def openai(shared: tuple[ScriptedServer, str], server: ScriptedServer) -> AsyncIterator[OpenAIBackend]:
    made = OpenAIBackend(shared[1] + "/v1/")
    yield made
    await made.close()


def ask(*messages: Message, **more: Any) -> Generation:
    return Generation("sky", messages or (Message("user", "How is the sky?"),), **more)


async def collect(backend: Backend, generation: Generation) -> tuple[list[Delta], Finish]:
    items = [item async for item in backend.stream(generation)]
    assert isinstance(items[-1], Finish)
    return [item for item in items if isinstance(item, Delta)], items[-1]


async def keep(got: list[Delta | Finish], stream: AsyncIterator[Delta | Finish]) -> None:
    async for item in stream:
        got.append(item)


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.mark.parametrize(
    ("phase", "after", "error"),
    [
        ("missing", 0, ModelMissingError),
        ("reject", 0, RequestError),
        ("break", 2, BackendUnavailableError),
        ("garbage", 2, BackendProtocolError),
        ("hang", 0, BackendTimeoutError),
        ("hang", 2, BackendUnavailableError),
    ],
)
async def test_each_way_of_failing_has_its_error(
    backend: Backend, server: ScriptedServer, phase: Phase, after: int, error: type[Exception]
) -> None:
    server.script.faults["*"] = Fault(phase, after)
    got: list[Delta | Finish] = []
    with pytest.raises(error) as caught:
        await keep(got, backend.stream(ask()))
    assert type(caught.value) is error
    assert text_of([item for item in got if isinstance(item, Delta)]) == " ".join(TEXT.split()[:after])
    assert not any(isinstance(item, Finish) for item in got)


async def test_it_is_well_again_after_a_fault(backend: Backend, server: ScriptedServer) -> None:
    server.script.faults["*"] = Fault("break", 1, times=1)
    with pytest.raises(BackendUnavailableError):
        await collect(backend, ask())
    assert text_of((await collect(backend, ask()))[0]) == TEXT


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (lambda: JSONResponse({"error": "overloaded"}, 503), BackendUnavailableError, "overloaded"),
        (lambda: JSONResponse({"error": {"message": "busy"}}, 429), BackendUnavailableError, "busy"),
        (lambda: PlainTextResponse("no key", 401), BackendError, "api_key_env"),
        (lambda: PlainTextResponse("404 page not found", 404), BackendProtocolError, "really there"),
        (lambda: PlainTextResponse("<html>hello</html>"), BackendProtocolError, "Ollama|OpenAI"),
        (lambda: JSONResponse([1, 2]), BackendProtocolError, "Ollama|OpenAI"),
        (lambda: Response(status_code=302, headers={"location": "/login"}), BackendProtocolError, "Ollama|OpenAI"),
        (lambda: PlainTextResponse(""), BackendError, "Ollama|OpenAI"),
        (lambda: Response(b"\xff\xfe\x00\n\n", 500), BackendUnavailableError, "500"),
    ],
)
async def test_strange_answers_are_errors_that_say_what_to_do(
    backend: Backend, server: ScriptedServer, reply: Callable[[], Response], error: type[Exception], says: str
) -> None:
    server.reply_with = reply
    with pytest.raises(error, match=says):
        await collect(backend, ask())
    with pytest.raises(BackendError):
        await backend.models()


async def test_the_key_is_sent_as_bearer_token(backend: Backend, server: ScriptedServer) -> None:
    await collect(backend, ask())
    assert server.headers["authorization"] == "Bearer secret"


async def test_half_a_character_is_sent_as_a_question_mark(backend: Backend, server: ScriptedServer) -> None:
    await collect(backend, ask(Message("user", "a\ud83db")))
    assert server.requests[-1]["messages"][0]["content"] == "a?b"


async def test_half_a_character_elsewhere_is_the_callers_fault(backend: Backend) -> None:
    with pytest.raises(RequestError, match="UTF-8"):
        await collect(backend, ask(extra={"stop": ["\ud83d"]}))


async def test_errors_within_a_stream_end_it(ollama: OllamaBackend, server: ScriptedServer) -> None:
    lines = b'{"message": {"role": "assistant", "content": "The"}, "done": false}\n{"error": "runner died"}\n'
    server.reply_with = lambda: Response(lines, media_type="application/x-ndjson")
    with pytest.raises(BackendUnavailableError, match="runner died"):
        await collect(ollama, ask())


async def test_ollama_gets_sampling_as_options_and_the_requests_own_win(
    ollama: OllamaBackend, server: ScriptedServer
) -> None:
    sampling = Sampling(max_tokens=3, temperature=0.5, top_p=0.9, stop=("x",))
    extra = {"keep_alive": "5m", "top_k": 7, "options": {"num_ctx": 4096}, "user": "someone", "think": False}
    await collect(ollama, ask(sampling=sampling, extra=extra))
    sent = server.requests[-1]
    assert sent["options"] == {
        "num_ctx": 4096,
        "seed": 9,
        "num_predict": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "top_k": 7,
    }
    assert (sent["keep_alive"], sent["think"], sent["stream"]) == ("5m", False, True)
    assert "user" not in sent


async def test_ollama_durations_become_seconds(ollama: OllamaBackend) -> None:
    _deltas, finish = await collect(ollama, ask(logprobs=True))
    usage = finish.usage
    assert usage.prefill_s == pytest.approx(0.004)
    assert usage.decode_s == pytest.approx(0.05)
    assert usage.load_s == 0.25
    assert usage.mean_logprob == pytest.approx(-0.1)


async def test_an_image_that_names_a_local_file_is_never_read(ollama: OllamaBackend, tmp_path: Any) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    with pytest.raises(RequestError, match="base64"):
        await collect(ollama, ask(Message("user", "Look.", {"images": [str(secret)]})))


async def test_an_image_arrives_as_it_was(ollama: OllamaBackend, server: ScriptedServer) -> None:
    await collect(ollama, ask(Message("user", "Look.", {"images": ["aGVsbG8=", "data:image/png;base64,aGVsbG8="]})))
    assert server.requests[-1]["messages"][0]["images"] == ["aGVsbG8=", "aGVsbG8="]


async def test_ollama_tool_calls_are_translated_both_ways(ollama: OllamaBackend, server: ScriptedServer) -> None:
    call = '{"function": {"name": "weather", "arguments": {"city": "Köln"}}}'
    lines = (
        '{"message": {"role": "assistant", "content": "", "tool_calls": [' + call + ", " + call + ']}, "done": false}\n'
        '{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop", "eval_count": 5}\n'
    )
    server.reply_with = lambda: Response(lines.encode(), media_type="application/x-ndjson")
    asked = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    conversation = ask(
        Message("user", "Weather?"),
        Message("assistant", "", {"tool_calls": [asked, {**asked, "id": "c2", "function": {"name": "time"}}]}),
        Message("tool", "noon", {"tool_call_id": "c2"}),  # as the stock clients send it: in any order, by id alone
        Message("tool", "rain", {"tool_call_id": "c1"}),
        Message("tool", "snow", {"tool_call_id": "c1", "name": "own"}),
        Message("tool", "hail", {"tool_call_id": "c9"}),
        extra={"tools": tools},
    )
    deltas, finish = await collect(ollama, conversation)
    assert finish.reason == "tool_calls"
    assert finish.usage.prefill_s is None, "what was not reported stays unknown"
    calls = deltas[0].tool_calls
    assert [item["index"] for item in calls] == [0, 1]
    assert calls[0]["function"] == {"name": "weather", "arguments": '{"city": "K\\u00f6ln"}'}
    assert calls[0]["id"] != calls[1]["id"]
    sent = server.requests[-1]
    assert sent["messages"][1]["tool_calls"][0] == {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    assert [message.get("tool_name") for message in sent["messages"][2:]] == ["time", "weather", "own", None]
    assert sent["tools"][0]["function"]["name"] == "weather"


TOOL = {
    "type": "function",
    "function": {
        "name": "book",
        "strict": True,
        "parameters": {
            "type": "object",
            "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string", "minLength": 1}}}},
            "properties": {
                "to": {"$ref": "#/$defs/Place"},
                "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
                "guests": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}},
                },
            },
            "required": ["to"],
            "additionalProperties": False,
        },
    },
}


async def test_a_tool_reaches_either_engine_as_it_came(backend: Backend, server: ScriptedServer) -> None:
    odd = {"function": {"name": "odd", "parameters": {"type": ["object", "null"], "oneOf": []}}}
    await collect(backend, ask(extra={"tools": [TOOL, odd]}))
    assert server.requests[-1]["tools"] == [TOOL, odd]


async def test_a_line_may_be_cut_anywhere_and_hold_a_line_separator(
    ollama: OllamaBackend, server: ScriptedServer
) -> None:
    line = '{"message": {"role": "assistant", "content": "blüe\u2028sky"}, "done": false}\n'.encode()
    end = b'{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}'

    async def bytewise() -> AsyncIterator[bytes]:
        for byte in line + end:
            yield bytes([byte])

    server.reply_with = lambda: StreamingResponse(bytewise(), media_type="application/x-ndjson")
    deltas, finish = await collect(ollama, ask())
    assert (text_of(deltas), finish.reason) == ("blüe\u2028sky", "stop")


async def test_a_tool_call_with_broken_arguments_is_the_callers_fault(ollama: OllamaBackend) -> None:
    call = {"function": {"name": "weather", "arguments": "{"}}
    with pytest.raises(RequestError, match="not JSON"):
        await collect(ollama, ask(Message("assistant", "", {"tool_calls": [call]})))


@pytest.mark.parametrize(
    ("wanted", "format_"),
    [
        ({"response_format": {"type": "json_object"}}, "json"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            {"type": "object"},
        ),
        ({"format": "json"}, "json"),
        ({"response_format": {"type": "text"}}, None),
    ],
)
async def test_openais_response_format_becomes_ollamas(
    ollama: OllamaBackend, server: ScriptedServer, wanted: dict[str, Any], format_: Any
) -> None:
    await collect(ollama, ask(extra=wanted))
    assert server.requests[-1].get("format") == format_


async def test_ollamas_latest_is_listed_without_its_tag_too(ollama: OllamaBackend) -> None:
    served = await ollama.models()
    assert [(model.name, model.digest, model.bytes) for model in served] == [
        ("sky:latest", "scripted-sky", 100),
        ("sky", "scripted-sky", 100),
    ]


def test_a_name_without_a_tag_means_latest_and_a_port_is_no_tag() -> None:
    assert with_tag("llama3") == "llama3:latest"
    assert with_tag("llama3:8b") == "llama3:8b"
    assert with_tag("host:5000/me/llama3") == "host:5000/me/llama3:latest"


async def test_openai_gets_what_it_knows_and_the_rest_untouched(openai: OpenAIBackend, server: ScriptedServer) -> None:
    sampling = Sampling(max_tokens=3, seed=4, stop=("x",))
    message = Message("user", "Hi.", {"name": "ann"})
    extra = {"presence_penalty": 0.1, "model": "other", "stream": False, "n": 5}
    await collect(openai, ask(message, sampling=sampling, cache_prompt=False, extra=extra))
    assert server.requests[-1] == {
        "model": "sky",
        "messages": [{"role": "user", "content": "Hi.", "name": "ann"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 3,
        "seed": 4,
        "stop": ["x"],
        "cache_prompt": False,
        "presence_penalty": 0.1,
    }


async def test_openai_timings_are_the_servers_where_it_tells_them(
    openai: OpenAIBackend, server: ScriptedServer
) -> None:
    server.timings = True
    _deltas, finish = await collect(openai, ask())
    assert finish.usage.prefill_s == pytest.approx(0.004)
    assert finish.usage.decode_s == pytest.approx(0.05)


async def test_openai_timings_are_measured_where_it_does_not(openai: OpenAIBackend, server: ScriptedServer) -> None:
    async def slow() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.2)
        yield b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
        await asyncio.sleep(0.3)
        yield b'data: {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}\n\ndata: [DONE]'

    server.reply_with = lambda: StreamingResponse(slow(), media_type="text/event-stream")
    deltas, finish = await collect(openai, ask())
    assert text_of(deltas) == "ab"
    assert finish.usage.prefill_s == pytest.approx(0.2, abs=0.15)
    assert finish.usage.decode_s == pytest.approx(0.3, abs=0.15)
    assert finish.usage.output_tokens is None, "what was not reported stays unknown"


async def test_openai_tool_call_pieces_pass_through(openai: OpenAIBackend, server: ScriptedServer) -> None:
    piece = '{"index": 0, "function": {"arguments": "{"}}'
    events = (
        'data: {"choices": [{"delta": {"tool_calls": [' + piece + "]}}]}\n\n"
        'data: {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}\n\ndata: [DONE]\n\n'
    )
    server.reply_with = lambda: Response(events.encode(), media_type="text/event-stream")
    deltas, finish = await collect(openai, ask())
    assert deltas == [Delta("", ({"index": 0, "function": {"arguments": "{"}},))]
    assert finish.reason == "tool_calls"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ('{"message": "out of memory", "type": "server_error"}', BackendUnavailableError),
        ('{"message": "5031 tokens exceed 2048", "type": "exceed_context_size_error"}', RequestError),
    ],
)
async def test_openai_errors_within_a_stream_say_whose_fault_it_is(
    openai: OpenAIBackend, server: ScriptedServer, error: str, expected: type[Exception]
) -> None:
    events = 'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"error": ' + error + "}\n\n"
    server.reply_with = lambda: Response(events.encode(), media_type="text/event-stream")
    with pytest.raises(expected):
        await collect(openai, ask())


async def test_an_openai_stream_without_its_end_broke_off(openai: OpenAIBackend, server: ScriptedServer) -> None:
    event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    server.reply_with = lambda: Response(event, media_type="text/event-stream")
    with pytest.raises(BackendUnavailableError, match="broke off"):
        await collect(openai, ask())
