"""How a server logs: text or JSON lines on stderr, and nothing in them that users write or models answer.

Our own lines hold no such text. What others say cannot be vouched for, so of libraries only warnings come through,
their first line, and exceptions that pass through a request are shown by type and place, without their words: a
validation error, for one, repeats its input. ``ROUTER_LOG_PROMPTS=1`` lifts all of that.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from router.service.turnlog import FIELDS

Format = Literal["text", "json"]
_OURS = ("router", "bench", "uvicorn")
_NEAR_PROMPTS = ("router.api", "uvicorn")  # their exceptions come from requests


def configure(style: Format, level: str, *, prompts: bool = False, stream: TextIO | None = None) -> None:
    """Set the process's logging up, once, at its start.

    Args:
        style: ``text`` or ``json``.
        level: Least severe level of our own lines.
        prompts: Whether texts of users may be logged.
        stream: Where to; stderr where it is None.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter(prompts=prompts) if style == "json" else TextFormatter(prompts=prompts))
    handler.addFilter(wanted)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if prompts:
        logging.getLogger(__name__).warning("ROUTER_LOG_PROMPTS is on: what users ask is written to this log")


def wanted(record: logging.LogRecord) -> bool:
    """Whether a record is shown: all of ours, and others' warnings."""
    return record.levelno >= logging.WARNING or _is_from(record, _OURS)


class TextFormatter(logging.Formatter):
    """A line for people."""

    def __init__(self, *, prompts: bool = False) -> None:
        """Take whether texts of users may be in it."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the places of an exception."""
        lines = [f"{self.formatTime(record)} {record.levelname} {record.name}: {_message(record, self._prompts)}"]
        error = _error(record)
        if error is not None:
            lines += [f"  {line}" for line in _told(error, with_words=_may_quote(record, self._prompts))]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, message, the fields of a turn, and an exception's places."""

    def __init__(self, *, prompts: bool = False) -> None:
        """Take whether texts of users may be in it."""
        super().__init__()
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        turn = getattr(record, FIELDS, None)
        # A turn's sentence would only repeat its fields.
        entry |= {"message": _message(record, self._prompts)} if turn is None else {"message": "turn", **turn}
        error = _error(record)
        if error is not None:
            entry["exception"] = _told(error, with_words=_may_quote(record, self._prompts))
        return json.dumps(entry, ensure_ascii=False, default=str)


def _message(record: logging.LogRecord, prompts: bool) -> str:
    text = record.getMessage()
    # asyncio, for one, appends the exception's words to its first line.
    return text if prompts or _is_from(record, _OURS) else text.partition("\n")[0]


def _may_quote(record: logging.LogRecord, prompts: bool) -> bool:
    return prompts or (_is_from(record, _OURS) and not _is_from(record, _NEAR_PROMPTS))


def _is_from(record: logging.LogRecord, roots: tuple[str, ...]) -> bool:
    return any(record.name == root or record.name.startswith(f"{root}.") for root in roots)


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _told(error: BaseException, *, with_words: bool) -> list[str]:
    """An exception and what led to it, in lines: type and places, and its words where they may be shown."""
    told: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        words = f": {link}" if with_words and str(link) else ""
        told.append(f"{'from ' if told else ''}{type(link).__module__}.{type(link).__qualname__}{words}")
        told += [f"  {at.filename}:{at.lineno} in {at.name}" for at in traceback.extract_tb(link.__traceback__)]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return told
