"""The door of one site: as many generations at a time as it has slots, a bounded number waiting, no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from router.domain.errors import DeadlineError, OverloadedError

_MEMORY = 0.2  # weight of the newest generation in the mean duration
_LONGEST_RETRY_S = 60.0


class Gate:
    """Counts who generates and who waits."""

    def __init__(self, site: str, slots: int, most_waiting: int) -> None:
        """Take the site's name, its slots, and how many may wait for one."""
        self._site = site
        self._slots = slots
        self._most_waiting = most_waiting
        self._semaphore = asyncio.Semaphore(slots)
        self._mean_s = 1.0
        self.running = 0
        self.waiting = 0
        self._worked_s = (0.0, 0.0)
        self._counted_at = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether nobody generates or waits."""
        return self.running == 0 and self.waiting == 0

    @asynccontextmanager
    async def hold(self, deadline_at: float) -> AsyncGenerator[None, None]:
        """A slot, waited for until the deadline (seconds of the event loop's clock).

        Raises:
            OverloadedError: If too many wait already.
            DeadlineError: If none became free in time.
        """
        await self._enter(deadline_at)
        self._count(+1)
        began = time.monotonic()
        try:
            yield
        finally:
            self._count(-1)
            self._mean_s += _MEMORY * (time.monotonic() - began - self._mean_s)
            self._semaphore.release()

    def worked_s(self) -> tuple[float, float]:
        """Integrals over time, so far, of the generations in flight and of their square, in seconds."""
        self._count(0)
        return self._worked_s

    def _count(self, change: int) -> None:
        now = time.monotonic()
        elapsed_s, self._counted_at = now - self._counted_at, now
        linear_s, square_s = self._worked_s
        self._worked_s = (linear_s + self.running * elapsed_s, square_s + self.running**2 * elapsed_s)
        self.running += change

    async def _enter(self, deadline_at: float) -> None:
        if self._semaphore.locked() and self.waiting >= self._most_waiting:
            wait_s = min(_LONGEST_RETRY_S, self._mean_s * (self.waiting + 1) / self._slots)
            raise OverloadedError(
                f"{self.waiting} requests wait for the site {self._site} already",
                retry_after_s=wait_s,
                hint="try again later; ROUTER_QUEUE sets how many may wait, `slots` in models.yaml how many run",
            )
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline_at):
                await self._semaphore.acquire()
        except TimeoutError:
            raise DeadlineError(
                f"no slot of the site {self._site} became free in time",
                hint="try again later, or raise ROUTER_DEADLINE_S",
            ) from None
        finally:
            self.waiting -= 1
