"""Answers that hold what splits a line for some readers, or what UTF-8 cannot hold."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import pytest

from router.api.wire_json import to_json
from router.domain.chat import Delta, Finish, Usage
from router.domain.errors import RouterError
from tests.api.conftest import Running

SPLITTING = "one\u2028two\u2029three\x85four\x0bfive\x1csix"
HALF = "\ud83d"
BROKEN: list[Delta | Finish | RouterError | str] = [
    Delta(f"so {HALF}", thinking=HALF, logprobs=({"token": HALF, "logprob": -0.5},)),
    Delta("", ({"index": 0, "id": "c1", "function": {"name": f"add{HALF}", "arguments": '{"a": "\\ud83d"}'}},)),
    Finish("tool_calls", Usage(1, 2)),
]


def asked(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": prompt}], "logprobs": True, **more}


def text_of(line: dict[str, Any]) -> str:
    """The piece of text that a line of either dialect brings."""
    said = line["message"] if "message" in line else line["choices"][0]["delta"]
    return str(said.get("content", ""))


def test_every_text_is_one_line_of_json_to_whoever_splits_it() -> None:
    text = "".join(map(chr, range(0x3000)))  # every character that str.splitlines knows is among them
    line = to_json({"text": text})
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize(("path", "prefix"), [("/v1/chat/completions", "data: "), ("/api/chat", "")])
def test_a_stream_can_be_read_by_lines_as_httpx_splits_them(
    http: httpx.Client, running: Running, path: str, prefix: str
) -> None:
    running.stage.scenes["separators"] = [Delta(SPLITTING), Finish("stop", Usage())]
    with http.stream("POST", path, json=asked("separators", stream=True)) as response:
        lines = [line.removeprefix(prefix) for line in response.iter_lines() if line and "[DONE]" not in line]
    assert "".join(text_of(json.loads(line)) for line in lines) == SPLITTING


def test_ollama_s_own_client_reads_separators(running: Running) -> None:
    running.stage.scenes["separators"] = [Delta(SPLITTING), Finish("stop", Usage())]
    with ollama.Client(running.url, trust_env=False) as client:
        parts = client.chat("auto", [{"role": "user", "content": "separators"}], stream=True)
        assert "".join(part.message.content or "" for part in parts) == SPLITTING


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_halves_of_characters_in_texts_tokens_and_tool_calls_become_question_marks(
    http: httpx.Client, running: Running, path: str, stream: bool
) -> None:
    running.stage.scenes["halves"] = BROKEN
    response = http.post(path, json=asked("halves", stream=stream))
    assert response.status_code == 200
    assert "so ?" in response.text
    assert "add?" in response.text
    assert '"token": "?"' in response.text
    assert "error" not in response.text
    assert "carbon" in response.text  # to its end
