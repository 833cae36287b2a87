"""Turns on their way to the journal: a journal that cannot be written delays them, and does not lose them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from router.domain.errors import JournalError, TurnRefusedError
from router.domain.ports import Journal
from router.domain.record import Turn

logger = logging.getLogger(__name__)
_MOST_WAITING = 10_000


class Ledger:
    """Writes turns in the order in which they come; keeps those that could not be written and tries them again.

    One thread of its own writes: a file that somebody holds locked blocks for half a minute, which neither the event
    loop nor the threads that everybody shares may spend on it.
    """

    def __init__(self, journal: Journal, count: Callable[[Turn], None] = lambda _: None) -> None:
        """Take the journal, and whom to tell of every turn."""
        self._journal = journal
        self._count = count
        self._waiting: deque[Turn] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "journal")
        self.trouble: str | None = None

    @property
    def waiting(self) -> int:
        """Turns not on disk yet."""
        return len(self._waiting)

    def write(self, turn: Turn) -> Future[None]:
        """Take the turn at once, which decides the order, and write it after whatever waits.

        Returns:
            Done when that was tried; an unwritable journal is logged once, and never raised.
        """
        self._count(turn)
        with self._lock:
            if len(self._waiting) == _MOST_WAITING:
                logger.error("a turn is lost: %d wait for the journal, and no more are kept", _MOST_WAITING)
            self._waiting.append(turn)
        return self._thread.submit(self._flush)

    def close(self) -> None:
        """Write what waits, a last time, and wait for that; what cannot be written is logged as lost."""
        self._thread.submit(self._flush).result()
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
        turn = self._waiting[0]
        try:
            self._journal.write(turn)
        except TurnRefusedError as error:
            logger.error("a turn is lost to the journal: %s", error)
        with self._lock:
            if self._waiting[0] is turn:  # else newer ones have pushed it out meanwhile
                self._waiting.popleft()
