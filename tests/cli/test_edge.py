"""Text that a terminal cannot show, or that is no UTF-8, ends no command halfway."""

from __future__ import annotations

import io
import json
import sys

import pytest
import typer

from router.cli.edge import run_app
from router.cli.output import print_json


def stream(content: bytes, encoding: str) -> io.TextIOWrapper:
    """A standard stream as Python opens it: strict."""
    return io.TextIOWrapper(io.BytesIO(content), encoding=encoding, write_through=True)


def shown(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> tuple[str, str]:
    """A text as a line, and in JSON, on a terminal of that encoding."""
    found = []
    for show in (typer.echo, lambda text: print_json({"text": text})):
        terminal = stream(b"", encoding)
        with monkeypatch.context() as showing:
            showing.setattr(sys, "stdout", terminal)
            run_app(lambda show=show: show(text))  # type: ignore[misc]
        found.append(terminal.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
    return found[0], found[1]


def test_what_the_terminal_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "caf\u00e9 \u2192 \U0001f600"
    line, as_json = shown(monkeypatch, "iso-8859-1", text)
    assert line == "caf\u00e9 \\u2192 \\U0001f600\n"
    assert json.loads(as_json) == {"text": text}


def test_half_a_pair_ends_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    line, as_json = shown(monkeypatch, "utf-8", "caf\udce9")
    assert line == "caf\\udce9\n"
    assert json.loads(as_json) == {"text": "caf\udce9"}


def test_a_terminal_that_shows_everything_gets_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    line, as_json = shown(monkeypatch, "utf-8", "caf\u00e9 \u2192")
    assert line == "caf\u00e9 \u2192\n"
    assert "caf\u00e9 \u2192" in as_json


def test_what_is_read_and_is_no_utf_8_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(sys, "stdin", stream(b"caf\xe9", "utf-8"))
    run_app(lambda: read.append(sys.stdin.read()))
    assert read == ["caf\ufffd"]
