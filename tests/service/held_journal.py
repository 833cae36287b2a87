"""A journal that holds up whoever writes or reads, as a locked file or a year of turns does, until it is let go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

from router.domain.record import Turn
from router.journal.memory import MemoryJournal

_MOST_S = 5.0


class HeldJournal(MemoryJournal):
    """Counts who is held up; who holds up the event loop itself is never let go, and runs out of time."""

    def __init__(self, *, writes: bool = False, reads: bool = False) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.readers: list[str] = []
        self.ran_out = 0
        self.most_at_once = 0
        self._holds_writes, self._holds_reads = writes, reads
        self._held = 0
        self._counting = threading.Lock()

    async def until_held(self) -> None:
        """Wait until somebody is held up."""
        while not self._held and not self.ran_out:
            await asyncio.sleep(0.005)

    def write(self, turn: Turn) -> None:
        if self._holds_writes:
            self._hold()
        super().write(turn)

    def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterable[Turn]:
        if self._holds_reads:
            self.readers.append(threading.current_thread().name)
            self._hold()
        return super().turns(since=since, limit=limit)

    def _hold(self) -> None:
        with self._counting:
            self._held += 1
            self.most_at_once = max(self.most_at_once, self._held)
        if not self.let_go.wait(_MOST_S):
            self.ran_out += 1
        with self._counting:
            self._held -= 1
