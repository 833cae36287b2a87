"""Bodies of any shape: every one gets an answer or an error of its dialect, none a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.api.app import create_app
from router.backends.ollama import OllamaBackend
from router.backends.openai_http import OpenAIBackend
from router.domain.ports import Backend
from tests.api.server import serve
from tests.api.stage import StageBackend
from tests.backends.fake_servers import ScriptedServer, listening
from tests.service import federation

TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        "auto",
        "large",
        "auto@L1",
        "auto:latest",
        "",
        "\x00",
        "\ud800",
        "json",
        "\u202e\ufeff",
        "e\u0301" * 9,
        "\U0001f9d1\u200d",
    ]
)
HUGE = st.sampled_from([10**400, -(10**25), 2**63, 2**64, 1e308, -1e-320])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | HUGE | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
CALL = st.fixed_dictionaries({}, optional={"id": JSON, "function": JSON | st.fixed_dictionaries({"arguments": JSON})})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | JSON, "content": TEXT | JSON},
    optional={"tool_calls": st.lists(CALL, max_size=3) | JSON, "images": JSON, "tool_name": JSON, "name": JSON},
)
FIELDS: dict[str, Any] = {
    "messages": st.lists(MESSAGE, max_size=3) | JSON, "stream": st.booleans() | JSON, "options": JSON,
    "prompt": TEXT | JSON, "input": TEXT | st.lists(TEXT, max_size=3) | JSON, "format": JSON, "tools": JSON,
    "temperature": SCALAR, "seed": SCALAR, "max_tokens": SCALAR, "stop": JSON, "keep_alive": JSON, "think": JSON,
    "directive": SCALAR, "logprobs": SCALAR, "top_logprobs": SCALAR, "n": st.integers(-1, 2) | TEXT,
    "stream_options": JSON, "response_format": JSON, "images": JSON, "context": JSON, "encoding_format": SCALAR,
    "system": TEXT | JSON, "suffix": JSON, "template": JSON, "raw": JSON, "truncate": SCALAR, "dimensions": SCALAR,
    "name": TEXT | JSON, "verbose": JSON, "top_p": SCALAR, "max_completion_tokens": SCALAR, "tool_choice": JSON,
}  # fmt: skip
RIGHT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "prompt": "hello", "input": "hello"}
# A right request with one or two fields gone wrong goes deeper than one in which everything is.
NEARLY = st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=2).flatmap(
    lambda keys: st.fixed_dictionaries({key: FIELDS[key] for key in keys}).map(lambda wrong: {**RIGHT, **wrong})
)
TALK = st.lists(MESSAGE, min_size=1, max_size=4).map(lambda messages: {**RIGHT, "messages": messages})
BODY = NEARLY | TALK | st.fixed_dictionaries({"model": SCALAR}, optional=FIELDS) | JSON
PATHS = [
    "/v1/chat/completions", "/v1/embeddings", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings",
    "/api/show", "/v1/route",
]  # fmt: skip
REFUSED = [
    ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"), ("POST", "/api/copy"),
    ("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:0"),
]  # fmt: skip
# What is nearly JSON: numbers it does not have, two objects, a byte order mark, a duplicate, depth without end.
ODD = {
    "NaN": '{"model": "auto", "options": {"temperature": NaN, "num_ctx": NaN}, %s}',
    "Infinity": '{"model": "auto", "options": {"top_p": -Infinity, "num_ctx": Infinity}, "temperature": Infinity, %s}',
    "a float as large as none": '{"model": "auto", "temperature": 1e999, "options": {"temperature": 1e999}, %s}',
    "an integer of a thousand digits": '{"model": "auto", "seed": 1' + "0" * 1000 + ", %s}",
    "an option of ten thousand digits": '{"model": "auto", "options": {"num_ctx": 1' + "0" * 10_000 + "}, %s}",
    "two lines": '{"model": "auto", %s}\n{"model": "auto"}\n',
    "a byte order mark": '\ufeff{"model": "auto", %s}',
    "the same key twice": '{"model": 5, "model": "auto", "messages": 5, "prompt": 5, "input": 5, %s}',
    "a comma too many": '{"model": "auto", %s,}',
    "depth in a field": '{"model": "auto", "format": ' + "[" * 5000 + "]" * 5000 + ", %s}",
    "depth in an option": '{"model": "auto", "options": ' + '{"a":' * 900 + "1" + "}" * 900 + ", %s}",
    "depth in a tool": '{"model": "auto", "tools": [' + '{"a":' * 900 + "1" + "}" * 900 + "], %s}",
    "depth as a schema": '{"model": "auto", "format": ' + '{"a":' * 900 + "1" + "}" * 900 + ", %s}",
    "many keys": '{"model": "auto", ' + ", ".join(f'"k{i}": {i}' for i in range(20_000)) + ", %s}",
}
PROMPT = '"messages": [{"role": "user", "content": "hello"}], "prompt": "hello", "input": "hello"'


@pytest.fixture(scope="module", params=["scripted", "openai", "ollama"])
def fuzzed(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A router in front of an engine of each kind: what it hands on, engines have to be able to take."""
    stage = StageBackend()
    with ExitStack() as stack:
        backend: Backend = stage
        if request.param != "scripted":
            url = stack.enter_context(listening(ScriptedServer(stage).app))
            backend = OpenAIBackend(url) if request.param == "openai" else OllamaBackend(url)
        address = stack.enter_context(serve(create_app(federation.build(backend=backend))))
        yield stack.enter_context(httpx.Client(base_url=address, timeout=10.0, trust_env=False))
    assert stage.running == 0


def assert_proper(response: httpx.Response, path: str) -> None:
    """An answer, whole and in its form, or an error in the form of the dialect, and no trace of the program."""
    assert response.status_code < 500, response.text
    assert "Traceback" not in response.text
    assert "site-packages" not in response.text
    if response.status_code >= 400:
        assert list(response.json()) == ["error"]
        sent = response.request.url.path  # clients resolve the dots of a path such as /api/. before they send it
        assert isinstance(response.json()["error"], str if sent.startswith("/api/") else dict)
    elif response.headers["content-type"] == "application/x-ndjson":
        assert json.loads(response.text.splitlines()[-1])["done"] is True
    elif response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n")
    else:
        assert isinstance(json.loads(response.text, parse_constant=not_json), dict)


def not_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODY)
def test_any_body_gets_an_answer_or_an_error_of_its_dialect(fuzzed: httpx.Client, path: str, body: Any) -> None:
    response = fuzzed.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert_proper(response, path)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60))
def test_any_bytes_get_an_error_of_their_dialect(fuzzed: httpx.Client, path: str, content: bytes) -> None:
    response = fuzzed.post(path, content=content, headers={"content-type": "application/json"})
    assert response.status_code in (400, 404)
    assert response.json()["error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_what_is_nearly_json_gets_the_same(fuzzed: httpx.Client, path: str, text: str) -> None:
    prompt = PROMPT if path != "/v1/route" else '"prompt": "hello"'
    content = (text % prompt).encode()
    assert_proper(fuzzed.post(path, content=content, headers={"content-type": "application/json"}), path)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=NEARLY, cut=st.integers(0, 400), put=st.sampled_from(["", "\n", "}", '"', "\\ud800", ",", "NaN", "[", "\x00"])
)
def test_a_body_that_was_damaged_on_its_way_gets_the_same(
    fuzzed: httpx.Client, path: str, body: Any, cut: int, put: str
) -> None:
    text = json.dumps(body)
    content = (text[:cut] + put + text[cut + 1 :]).encode()
    assert_proper(fuzzed.post(path, content=content, headers={"content-type": "application/json"}), path)


@pytest.mark.parametrize(("method", "path"), REFUSED)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_administration_is_refused_whatever_it_says(
    fuzzed: httpx.Client, method: str, path: str, content: bytes
) -> None:
    response = fuzzed.request(method, path, content=content)
    assert response.status_code == 403
    assert "models.yaml" in response.json()["error"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    path=st.sampled_from([*PATHS, "/api/tags", "/api/ps", "/api/version", "/api/", "/api/x", "/api/blobs/%00"])
    | st.text(st.characters(categories=("L", "N", "P", "S")), max_size=10).map(lambda text: f"/api/{quote(text)}"),
    query=st.text(max_size=10).map(lambda text: quote(text, errors="replace")),
)
def test_any_path_and_method_gets_an_answer_or_an_error_of_its_dialect(
    fuzzed: httpx.Client, method: str, path: str, query: str
) -> None:
    response = fuzzed.request(method, f"{path}?{query}")
    if "/../" in path or path.endswith("/.."):
        return  # the client itself takes it for another path
    assert_proper(response, path)
