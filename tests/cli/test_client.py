"""Asking a running server: with its key, at any address, and without falling over what else listens there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from router.cli.client import ask
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


def asked(monkeypatch: pytest.MonkeyPatch, server: Server) -> dict[str, Any]:
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
        (404, {"json": [1]}, "[1]"),
    ],
)
def test_whatever_refuses_is_told(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says.replace("[", r"\[")):
        asked(monkeypatch, Server(status, **answer))


@pytest.mark.parametrize("answer", [{"text": "<html>"}, {"json": [1, 2]}])
def test_what_is_no_router_is_named(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(RouterError, match="is not a carbon-router"):
        asked(monkeypatch, Server(200, **answer))
