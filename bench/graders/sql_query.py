"""Running one query a model wrote: found in its answer, confined to reading, limited in time and rows."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from router.estimate.sql_copies import MOST_COPIES, copies

MAX_ROWS = 20_000
MAX_BYTES = 50_000_000
"""Of all rows together."""
MAX_VALUE_BYTES = 50_000
"""Of one value: a function over a longer one could run for hours before anybody can stop it."""
TIME_LIMIT_S = 5.0
_OPCODES_BETWEEN_CHECKS = 500

Row = tuple[object, ...]

_FENCE = re.compile(r"```[ \t]*(\w*)[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]*\b(?:select|with)\b[^`\n]*)`", re.IGNORECASE)
_START = re.compile(r"^[ \t>*]*((?:select|with)\b)", re.IGNORECASE | re.MULTILINE)
_ANYWHERE = re.compile(r"\b(select\s|with\s+(?:recursive\s+)?\w+\s*(?:\([^)]*\)\s*)?as\b)", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_REFUSED_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


class QueryError(Exception):
    """A query could not be found, was refused, or failed; the message is for people."""


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a query.

    Attributes:
        rows: As SQLite returned them.
        columns: How many columns they have.
    """

    rows: tuple[Row, ...]
    columns: int


def _statements(text: str) -> list[str]:
    """The statements of a script, split where SQLite says one is complete."""
    found, current = [], ""
    for piece in re.split(r"(?<=;)", text):
        current += piece
        if sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if current.strip():
        found.append(current.strip())
    return [statement for statement in found if _COMMENT.sub("", statement).strip(" \n\t;")]


def extract_query(answer: str) -> str:
    """The one SELECT of an answer: from a fence, else from the text.

    Raises:
        QueryError: If there is none, or the fence holds more than one statement.
    """
    fences = [body for language, body in _FENCE.findall(answer) if language.lower() in ("", "sql", "sqlite", "sqlite3")]
    for body in fences:
        statements = _statements(body)
        if not statements or not _ANYWHERE.search(body):
            continue
        if len(statements) > 1:
            raise QueryError("more than one statement")
        return statements[0]
    if fences:
        raise QueryError("no SELECT in the code block")
    inline = _INLINE.search(answer)
    if inline and _ANYWHERE.match(inline[1].strip()):
        return inline[1].strip()
    start = _START.search(answer) or _ANYWHERE.search(answer)
    if start is None:
        raise QueryError("no SELECT found")
    text = answer[start.start(1) :]
    statements = _statements(text)
    if not statements:
        raise QueryError("no SELECT found")
    # Without a fence, prose may follow the query: it ends at its semicolon, else at the first empty line.
    if statements[0].endswith(";"):
        return statements[0]
    return re.split(r"\n\s*\n|```", text, maxsplit=1)[0].strip()


def _only_reading(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action not in _READING:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def build_database(script: Path) -> sqlite3.Connection:
    """A fresh database in memory; its dates relative to now are as old as they should be.

    Raises:
        OSError: If the script cannot be read.
        sqlite3.Error: If it is not valid.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script.read_text(encoding="utf-8"))
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def run_queries(
    script: Path, queries: Sequence[str], *, time_limit_s: float = TIME_LIMIT_S
) -> list[Result | QueryError]:
    """Run each query on the same fresh, read-only database; one that fails gives its error instead of rows.

    Args:
        script: SQL that builds the database.
        queries: One statement each.
        time_limit_s: For each query.
    """
    results: list[Result | QueryError] = []
    with closing(build_database(script)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA temp_store = FILE")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_authorizer(_only_reading)
        for query in queries:
            try:
                results.append(_run(connection, query, time_limit_s))
            except QueryError as error:
                results.append(error)
    return results


def _run(connection: sqlite3.Connection, query: str, time_limit_s: float) -> Result:
    if copies(query) > MOST_COPIES:
        raise QueryError(f"its common tables would be written out more than {MOST_COPIES:,} times")
    deadline = time.monotonic() + time_limit_s
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _OPCODES_BETWEEN_CHECKS)
    try:
        with closing(connection.execute(query)) as cursor:
            if cursor.description is None:
                raise QueryError("not a query that returns rows")
            rows, bytes_ = [], 0
            for row in cursor:
                rows.append(row)
                bytes_ += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
                if len(rows) > MAX_ROWS:
                    raise QueryError(f"more than {MAX_ROWS} rows")
                if bytes_ > MAX_BYTES:
                    raise QueryError(f"rows of more than {MAX_BYTES:,} bytes")
            columns = len(cursor.description)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        if time.monotonic() > deadline:
            raise QueryError(f"stopped after {time_limit_s:g} s") from error
        raise QueryError(str(error)) from error
    finally:
        connection.set_progress_handler(None, 0)
    return Result(tuple(rows), columns)
