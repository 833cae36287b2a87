"""Asking a running server: with its key, at any address, and without falling over what else listens there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from router.cli import client
from router.cli.client import ask
from router.cli.route import route
from router.domain.errors import RequestError, RouterError


async def here(service: Any) -> dict[str, Any]:
    raise AssertionError("nothing is to be built in this process")


class Server:
    """Answers every request alike and remembers the last one."""

    def __init__(self, status: int, **answer: Any) -> None:
        self.answer = httpx.Response(status, **answer)
        self.url = ""
        self.headers: dict[str, str] = {}

    def __call__(self, method: str, url: str, *, headers: dict[str, str], **rest: Any) -> httpx.Response:
        self.url, self.headers = url, headers
        self.answer.request = httpx.Request(method, url)
        return self.answer


def asked(monkeypatch: pytest.MonkeyPatch, server: Any) -> dict[str, Any]:
    monkeypatch.setattr(httpx, "request", server)
    return ask("GET", "/v1/plan", None, models_file=None, local=here)


def test_the_key_of_the_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(200, json={"a": 1})
    monkeypatch.delenv("ROUTER_API_KEY", raising=False)
    assert asked(monkeypatch, server) == {"a": 1}
    assert server.headers == {}
    monkeypatch.setenv("ROUTER_API_KEY", "cr-1")
    asked(monkeypatch, server)
    assert server.headers == {"Authorization": "Bearer cr-1"}


def test_an_address_of_the_new_kind_is_put_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(200, json={})
    monkeypatch.setenv("ROUTER_HOST", "::1")
    asked(monkeypatch, server)
    assert server.url.startswith("http://[::1]:")


def test_a_missing_key_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError) as caught:
        asked(monkeypatch, Server(401, json={"error": {"message": "an API key is required"}}))
    assert "ROUTER_API_KEY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (400, {"json": {"error": {"message": "no such model"}}}, "no such model"),
        (404, {"json": {"error": "Not Found"}}, "Not Found"),
        (500, {"json": {"error": None}}, "error"),
    ],
)
def test_whatever_refuses_is_told(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        asked(monkeypatch, Server(status, **answer))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"text": "<html>"}),
        (200, {"json": [1, 2]}),
        (404, {"json": [1]}),
        (404, {"json": {"detail": "Not Found"}}),
        (401, {"json": {"detail": "Not authenticated"}}),
    ],
)
def test_what_is_no_router_is_named(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any) -> None:
    with pytest.raises(RouterError, match="is not a carbon-router") as caught:
        asked(monkeypatch, Server(status, **answer))
    assert "ROUTER_PORT" in (caught.value.hint or "")


def failing(error: Exception) -> Any:
    def request(method: str, url: str, **rest: Any) -> httpx.Response:
        raise error

    return request


def test_what_is_computed_here_for_lack_of_a_server_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def local(settings: Any, ask: Any) -> dict[str, Any]:
        return {"from": "here"}

    monkeypatch.setattr(client, "_locally", local)
    monkeypatch.setenv("ROUTER_PORT", "8123")
    for error in (httpx.ConnectError("refused"), httpx.ConnectTimeout("nobody")):
        assert asked(monkeypatch, failing(error)) == {"from": "here"}
        told = capsys.readouterr()
        assert "no router answers at 127.0.0.1:8123; computed here" in told.err
        assert told.out == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (httpx.ReadTimeout("slow"), "did not answer within 60 s"),
        (httpx.RemoteProtocolError("no HTTP"), "broke off"),
        (httpx.ReadError("reset"), "broke off"),
    ],
)
def test_a_server_that_listens_and_does_not_answer_is_an_error_and_no_second_router_is_built(
    monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    with pytest.raises(RouterError, match=says) as caught:
        asked(monkeypatch, failing(error))
    assert "ROUTER_PORT" in (caught.value.hint or "")


def test_an_argument_that_is_no_utf_8_reaches_the_server_with_the_bad_bytes_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[bytes] = []

    def request(method: str, url: str, *, json: Any, **rest: Any) -> httpx.Response:
        sent.append(httpx.Request(method, url, json=json).read())
        return httpx.Response(200, json={"model": "small"}, request=httpx.Request(method, url))

    monkeypatch.setattr(httpx, "request", request)
    route("caf\udce9 \udcc3\udca9", model="auto\udcff", as_json=True)
    assert '"caf\ufffd \u00e9"' in sent[0].decode()
    assert '"small"' in capsys.readouterr().out
