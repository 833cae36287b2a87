"""Server-sent events, parsed as their bytes come in.

The bytes may be cut anywhere, inside a character or a line end too. Lines are decoded whole, so a character never
is. Server-sent events follow the WHATWG standard but for their end: an event that the stream ends without a blank
line after is kept, since some servers close right after ``data: [DONE]``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from router.domain.errors import BackendProtocolError

DONE = "[DONE]"
LONGEST_LINE_BYTES = 64 << 20  # a server that never ends its line must not fill the memory
SSE_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One server-sent event.

    Attributes:
        data: Its data lines, joined by line feeds.
        event: Its type.
    """

    data: str
    event: str = "message"

    @property
    def is_done(self) -> bool:
        """Whether it is OpenAI's end marker."""
        return self.data.strip() == DONE


class LineSplitter:
    """Cuts a stream of bytes into lines without their ends."""

    def __init__(self) -> None:
        """Begin a stream."""
        self._rest = bytearray()
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF cut in two
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        first, *others = SSE_LINE_END.split(chunk)
        self._rest += first
        if len(self._rest) > LONGEST_LINE_BYTES:
            raise BackendProtocolError(f"a line of the answer is longer than {LONGEST_LINE_BYTES:,} bytes")
        if not others:
            return []
        lines = [bytes(self._rest), *others[:-1]]
        self._rest = bytearray(others[-1])
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where the stream does not end with a line end."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [rest] if rest else []


class SseParser:
    """Server-sent events from chunks of bytes."""

    def __init__(self) -> None:
        """Begin a stream."""
        self._lines = LineSplitter()
        self._at_start = True
        self._data: list[str] = []
        self._event = ""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes."""
        return self._take(self._lines.feed(chunk))

    def finish(self) -> list[SseEvent]:
        """The last event, where the stream ends without a blank line."""
        return self._take([*self._lines.finish(), b""])

    def _take(self, lines: list[bytes]) -> list[SseEvent]:
        events = []
        for raw in lines:
            line = raw.decode("utf-8", errors="replace")
            if self._at_start:
                line, self._at_start = line.removeprefix("\ufeff"), False
            if line:
                self._field(line)
            elif self._data:
                events.append(SseEvent("\n".join(self._data), self._event or "message"))
            if not line:
                self._data, self._event = [], ""
        return events

    def _field(self, line: str) -> None:
        name, _colon, value = line.partition(":")  # a comment's name is empty
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value


def parse_json(text: bytes | str) -> Any:
    """A JSON value.

    Raises:
        BackendProtocolError: If the text is none; shows its beginning.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackendProtocolError(f"the engine sent something that is not JSON: {text[:80]!r}") from error
