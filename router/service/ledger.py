"""Turns on their way to the journal: a journal that cannot be written delays them, and does not lose them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from router.domain.errors import JournalError, TurnRefusedError
from router.domain.ports import Journal
from router.domain.record import Turn

logger = logging.getLogger(__name__)
_MOST_WAITING = 10_000


class Ledger:
    """Writes turns in order; keeps those that could not be written and tries them again before the next one."""

    def __init__(self, journal: Journal, count: Callable[[Turn], None] = lambda _: None) -> None:
        """Take the journal, and whom to tell of every turn."""
        self._journal = journal
        self._count = count
        self._waiting: deque[Turn] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self.trouble: str | None = None

    @property
    def waiting(self) -> int:
        """Turns not on disk yet."""
        return len(self._waiting)

    def write(self, turn: Turn) -> None:
        """Write the turn, and first whatever waits; an unwritable journal is logged once, and never raised."""
        self._count(turn)
        with self._lock:
            if len(self._waiting) == _MOST_WAITING:
                logger.error("a turn is lost: %d wait for the journal, and no more are kept", _MOST_WAITING)
            self._waiting.append(turn)
            self._flush()

    def close(self) -> None:
        """Write what waits, a last time; what cannot be written is logged as lost."""
        with self._lock:
            self._flush()
            if self._waiting:
                logger.error("%d turns are lost: the journal cannot be written: %s", len(self._waiting), self.trouble)

    def _flush(self) -> None:
        """Write whatever waits, oldest first."""
        try:
            while self._waiting:
                self._write_first()
        except JournalError as error:
            if self.trouble is None:
                logger.error("turns are kept in memory, the journal cannot be written: %s", error)
            self.trouble = str(error)
        else:
            if self.trouble is not None:
                logger.info("the journal can be written again")
            self.trouble = None

    def _write_first(self) -> None:
        """Write the oldest turn; one that can never be written is logged and does not hold up the others."""
        try:
            self._journal.write(self._waiting[0])
        except TurnRefusedError as error:
            logger.error("a turn is lost to the journal: %s", error)
        self._waiting.popleft()
