"""Blocking work that may hang, run where it can do no harm: on threads of its own, waited for so long and no longer.

A thread cannot be stopped. What hangs keeps its thread, so such work has threads apart from those that write the
journal, whoever comes later is told at once instead of waiting in turn, and the process ends without it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class Worker:
    """A few threads for one kind of work; they start with the first job and never keep the process alive."""

    def __init__(self, name: str, *, threads: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what to call the threads, how many there are, and a clock in seconds."""
        self._name = name
        self._threads = threads
        self._clock = clock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._is_started = False

    def is_stuck(self, after_s: float) -> bool:
        """Whether every thread has been at its job for longer than this."""
        with self._lock:
            since = list(self._since.values())
        return len(since) == self._threads and self._clock() - max(since) > after_s

    async def run(self, work: Callable[[], T], *, within_s: float) -> T:
        """The result of the work.

        Raises:
            TimeoutError: If it is not there in time, or nothing could begin on it.
        """
        if self.is_stuck(within_s):
            raise TimeoutError
        self._start()
        future: Future[T] = Future()
        self._jobs.put((future, work))
        # The timeout cancels the future: a job that has not begun by then never does.
        return await asyncio.wait_for(asyncio.wrap_future(future), within_s)

    def close(self) -> None:
        """Let the threads end that are not stuck."""
        with self._lock:
            started, self._is_started = self._is_started, False
        for _ in range(self._threads if started else 0):
            self._jobs.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
        for number in range(self._threads):
            threading.Thread(target=self._work, args=(number,), name=f"{self._name}-{number}", daemon=True).start()

    def _work(self, number: int) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            with self._lock:
                self._since[number] = self._clock()
            try:
                result = work()
            except BaseException as error:  # handed on whole to who waits; the thread goes on
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                with self._lock:
                    del self._since[number]
