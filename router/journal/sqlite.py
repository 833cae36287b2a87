"""The journal on disk: SQLite in WAL mode, one row a turn, on the disk before ``write`` returns.

Prompts and answers are no part of a turn, so they cannot leak from here. The schema's version is SQLite's
``user_version``: the number of steps of :data:`MIGRATIONS` that a file has been through.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from router.domain.errors import JournalError, TurnRefusedError
from router.domain.record import Basis, CarbonRecord, Turn

# Steps are never changed once released; a new field of Turn or CarbonRecord is a new step.
MIGRATIONS = (
    """
    CREATE TABLE turns (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        started_at REAL NOT NULL,
        status TEXT NOT NULL,
        prompt_tokens INTEGER,
        output_tokens INTEGER,
        duration_s REAL,
        first_token_s REAL,
        finish_reason TEXT,
        mean_logprob REAL,
        error TEXT,
        attempts INTEGER NOT NULL,
        model TEXT NOT NULL,
        directive TEXT NOT NULL,
        setting TEXT NOT NULL,
        site TEXT NOT NULL,
        category TEXT,
        category_probability REAL,
        energy_j REAL,
        energy_method TEXT,
        operational_g REAL,
        embodied_g REAL,
        intensity_g_per_kwh REAL,
        intensity_source TEXT,
        intensity_age_s REAL,
        reference_g REAL,
        saved_g REAL,
        policy TEXT NOT NULL,
        floor TEXT NOT NULL,
        overhead_ms REAL NOT NULL,
        router_energy_j REAL,
        fallback TEXT
    );
    CREATE INDEX turns_by_time ON turns (started_at, seq);
    """,
    """
    ALTER TABLE turns ADD COLUMN side TEXT;
    ALTER TABLE turns ADD COLUMN conversation TEXT;
    """,
    """
    ALTER TABLE turns ADD COLUMN device_s REAL;
    ALTER TABLE turns ADD COLUMN idle_j REAL;
    ALTER TABLE turns ADD COLUMN wasted_j REAL;
    ALTER TABLE turns ADD COLUMN energy_source TEXT;
    ALTER TABLE turns ADD COLUMN pue REAL;
    ALTER TABLE turns ADD COLUMN intensity_kind TEXT;
    ALTER TABLE turns ADD COLUMN intensity_is_estimated INTEGER;
    ALTER TABLE turns ADD COLUMN intensity_is_stale INTEGER;
    ALTER TABLE turns ADD COLUMN reference TEXT;
    ALTER TABLE turns ADD COLUMN reference_energy_j REAL;
    ALTER TABLE turns ADD COLUMN reference_device_s REAL;
    ALTER TABLE turns ADD COLUMN reference_operational_g REAL;
    ALTER TABLE turns ADD COLUMN earlier_answers INTEGER;
    """,
    """
    ALTER TABLE turns ADD COLUMN escalations INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE turns ADD COLUMN holds_idle INTEGER;
    """,
)

_TURN_COLUMNS = tuple(field.name for field in fields(Turn) if field.name not in ("carbon", "basis"))
_CARBON_COLUMNS = tuple(field.name for field in fields(CarbonRecord))
_BASIS_COLUMNS = tuple(field.name for field in fields(Basis))
_YES_OR_NO = ("intensity_is_estimated", "intensity_is_stale", "holds_idle")  # integers in SQLite
_COLUMNS = _TURN_COLUMNS + _CARBON_COLUMNS + _BASIS_COLUMNS
_INSERT = f"INSERT INTO turns ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_PAGE = f"""
    SELECT seq, {", ".join(_COLUMNS)} FROM turns
    WHERE (started_at, seq) > (?, ?) ORDER BY started_at, seq LIMIT ?
"""
_PAGE_SIZE = 500


class SqliteJournal:
    """Turns in one SQLite file; may be used from any thread, and read by other processes meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file, made where it is missing and brought up to date where it is old.

        Raises:
            JournalError: If it cannot be opened, is damaged, or was written by a later version.
        """
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with self._translated("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: each INSERT is a transaction of its own.
            connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated("opened"):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # a turn survives a power cut, not only a crash
                self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def write(self, turn: Turn) -> None:
        """Append one turn; it is on the disk when this returns.

        Raises:
            JournalError: If it cannot be written; what was written before stays.
        """
        values = [getattr(turn, name) for name in _TURN_COLUMNS]
        values += [getattr(turn.carbon, name) for name in _CARBON_COLUMNS]
        values += [getattr(turn.basis, name) for name in _BASIS_COLUMNS]
        with self._lock, self._translated("written"):
            try:
                self._open().execute(_INSERT, values)
            except sqlite3.IntegrityError as error:
                if "turns.id" in str(error):
                    raise TurnRefusedError(f"the turn {turn.id!r} is already in the journal") from error
                raise
            except (OverflowError, UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
                # Figures no column can hold: it is the turn that is wrong, and it must not hold up the others.
                raise TurnRefusedError(f"the turn {turn.id!r} cannot be written: {error}") from error

    def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterator[Turn]:
        """Turns from ``since`` (Unix seconds) on, oldest first; at most ``limit``.

        Read page by page, so that a long journal neither fills the memory nor holds up the writer.

        Raises:
            JournalError: If it cannot be read.
        """
        position: tuple[float, int] = (since if math.isfinite(since) else math.copysign(1e300, since), -1)
        remaining = limit
        while remaining is None or remaining > 0:
            size = _PAGE_SIZE if remaining is None else min(remaining, _PAGE_SIZE)
            with self._lock, self._translated("read"):
                page = self._open().execute(_PAGE, (*position, size)).fetchall()
            for row in page:
                yield _turn(row)
            if len(page) < size:
                return
            # The columns begin with seq, id, started_at.
            position = (page[-1][2], page[-1][0])
            remaining = None if remaining is None else remaining - len(page)

    def close(self) -> None:
        """Flush and release the file; a second call does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with self._translated("closed"):
                    connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError("the journal is closed")
        return self._connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")  # two processes that start together must not both create the table
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise JournalError(
                    f"the journal {self._path} was written by a later version of carbon-router (schema {version})",
                    hint="upgrade carbon-router, or set ROUTER_DATA_DIR to another folder",
                )
            for step in MIGRATIONS[version:]:
                for statement in step.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"the journal {self._path} cannot be {what}: {error}", hint=_hint(error, self._path)
            ) from error


def _turn(row: tuple[Any, ...]) -> Turn:
    values = dict(zip(_COLUMNS, row[1:], strict=True))
    for name in _YES_OR_NO:
        values[name] = None if values[name] is None else bool(values[name])
    return Turn(
        **{name: values[name] for name in _TURN_COLUMNS},
        carbon=CarbonRecord(**{name: values[name] for name in _CARBON_COLUMNS}),
        basis=Basis(**{name: values[name] for name in _BASIS_COLUMNS}),
    )


def _hint(error: Exception, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its details
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "free some space on the disk; what was written before is safe"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"it is damaged: move it away and start again, a new one is made: mv {path} {path}.damaged"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another process is writing to it: try again"
    return "set ROUTER_DATA_DIR to a folder you may write to"
