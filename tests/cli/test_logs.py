"""What a server logs: one line a turn, JSON for programs, and no word of what users write or models answer."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from starlette.responses import JSONResponse, Response

from router.backends.ollama import OllamaBackend
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import Fault, ScriptedBackend
from router.cli.logs import configure
from router.domain.ports import Backend
from router.service.turnlog import TurnLog
from tests.api.in_process import CHAT, asked
from tests.backends.fake_servers import ScriptedServer, listening

PROMPT = "marker-of-the-prompt"
ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
STYLES: tuple[Literal["text", "json"], ...] = ("text", "json")


@contextmanager
def logged(style: Literal["text", "json"], *, prompts: bool = False) -> Iterator[io.StringIO]:
    """The log of a server at its most talkative; the process's own logging is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    root.handlers = []
    try:
        configure(style, "debug", prompts=prompts, stream=stream)
        yield stream
    finally:
        root.handlers, root.level = before, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_turn_is_one_json_line_with_what_it_cost_and_how_it_ended() -> None:
    backend = ScriptedBackend("It is 42.", models=("small", "large"))
    with logged("json") as stream:
        async with asked(backend=backend, observers=(TurnLog(),)) as (http, service):
            answer = (await http.post("/v1/chat/completions", json=CHAT)).json()
            backend.faults["large"] = Fault("refuse", times=1)
            await http.post("/api/chat", json={**CHAT, "stream": False})
            backend.faults |= {"large": Fault("garbage"), "small": Fault("garbage")}
            await http.post("/v1/chat/completions", json=CHAT)
            journal = list(service.journal.turns())
    turns = [line for line in lines(stream) if line["logger"] == "router.service.turnlog"]
    assert [turn["id"] for turn in turns] == [turn.id for turn in journal]
    assert [turn["status"] for turn in turns] == ["ok", "ok", "error"]
    assert [turn["level"] for turn in turns] == ["info", "info", "warning"]
    first = turns[0]
    assert first["option"] == f"{answer['carbon']['model']}@{answer['carbon']['directive']}"
    assert first["energy_j"] == pytest.approx(answer["carbon"]["energy_j"])
    assert first["grams"] == pytest.approx(answer["carbon"]["operational_g"] + answer["carbon"]["embodied_g"])
    assert first["duration_s"] > 0
    assert (first["fallback"], first["error"]) == ("no measured prompts to decide on", None)
    assert "large@L0 failed: backend_unavailable" in turns[1]["fallback"]
    assert turns[2]["error"] == "backend_protocol"
    assert "category" in first


async def test_the_text_says_the_same_in_a_line_for_people() -> None:
    with logged("text") as stream:
        async with asked(observers=(TurnLog(),)) as (http, service):
            await http.post("/v1/chat/completions", json=CHAT)
            (turn,) = service.journal.turns()
    (line,) = [line for line in stream.getvalue().splitlines() if "router.service.turnlog" in line]
    assert f"INFO router.service.turnlog: turn id={turn.id} status=ok option=large@L0" in line
    assert " J " in line


async def test_prompts_are_logged_where_that_is_asked_for_and_the_log_warns_of_it() -> None:
    with logged("json", prompts=True) as stream:
        async with asked(observers=(TurnLog(prompts=True),)) as (http, _):
            await http.post("/v1/chat/completions", json=ASKED)
    told = lines(stream)
    assert "ROUTER_LOG_PROMPTS" in told[0]["message"]
    assert told[0]["level"] == "warning"
    assert [line["prompt"] for line in told if "prompt" in line] == [PROMPT]


def echo(_: Any = None) -> Response:
    """An engine that fails with the request in its words."""
    return JSONResponse({"error": f"cannot do {PROMPT}"}, status_code=500)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("client", [OpenAIBackend, OllamaBackend], ids=["openai", "ollama"])
@pytest.mark.parametrize(
    "fails", [None, echo, lambda: JSONResponse({"error": PROMPT}, 400)], ids=["well", "500", "400"]
)
async def test_no_prompt_is_logged_at_debug_level_whatever_engine_and_client_say(
    style: Literal["text", "json"], client: Callable[[str], Backend], fails: Callable[[], Response] | None
) -> None:
    script = ScriptedBackend("marker-of-the-answer", models=("small", "large"))
    server = ScriptedServer(script)
    with listening(server.app) as url, logged(style) as stream:
        async with asked(backend=client(url), observers=(TurnLog(),)) as (http, service):
            server.reply_with = fails
            statuses = [
                (await http.post("/v1/chat/completions", json={**ASKED, "stream": streams})).status_code
                for streams in (False, True)
            ]
            await http.post("/api/generate", json={"model": "auto", "prompt": PROMPT, "stream": False})
            turns = list(service.journal.turns())
    assert len(turns) == 3
    assert (statuses == [200, 200]) == (fails is None)
    assert "router.service.turnlog" in stream.getvalue()
    assert "marker-of" not in stream.getvalue()
    assert not any("marker-of" in str(turn) for turn in turns)


@pytest.mark.parametrize("style", STYLES)
async def test_a_mistake_of_ours_is_logged_with_its_place_and_without_its_words(style: Literal["text", "json"]) -> None:
    class Mistaken(ScriptedBackend):
        async def stream(self, generation: Any) -> Any:
            raise ZeroDivisionError(f"while answering {generation.messages[-1].content}")
            yield

    with logged(style) as stream:
        async with asked(backend=Mistaken(models=("small", "large"))) as (http, _):
            assert (await http.post("/v1/chat/completions", json=ASKED)).status_code == 500
    assert "ZeroDivisionError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert "marker-of" not in stream.getvalue()


@pytest.mark.parametrize("style", STYLES)
async def test_of_libraries_only_warnings_come_through_and_no_exceptions_words(style: Literal["text", "json"]) -> None:
    with logged(style) as stream:
        for name in ("httpx", "httpcore.http11", "chromadb", "ollama", "openai._base_client"):
            logging.getLogger(name).debug("sending %s", PROMPT)
            logging.getLogger(name).info("sending %s", PROMPT)
        logging.getLogger("httpx").warning("slow")
        loop = asyncio.get_running_loop()
        failed = loop.create_future()
        loop.default_exception_handler(
            {"message": "never retrieved", "exception": ValueError(PROMPT), "future": failed}
        )
        failed.cancel()
    assert "slow" in stream.getvalue()
    assert "never retrieved" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "marker-of" not in stream.getvalue()


def test_an_exception_away_from_prompts_keeps_its_words() -> None:
    with logged("json") as stream:
        try:
            raise RuntimeError("the disk is full")
        except RuntimeError:
            logging.getLogger("router.service.planner").exception("no plan")
    (line,) = lines(stream)
    assert line["exception"][0] == "builtins.RuntimeError: the disk is full"
    assert line["level"] == "error"
