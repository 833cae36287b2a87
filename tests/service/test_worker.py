"""Blocking work that may hang: waited for so long and no longer, and never in the way of what comes later."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from router.service.worker import Worker


async def test_a_result_and_an_error_come_back_as_they_are() -> None:
    worker = Worker("test")
    assert await worker.run(lambda: 42, within_s=5) == 42
    with pytest.raises(ValueError, match="gone"):
        await worker.run(lambda: int("gone"), within_s=5)
    assert await worker.run(lambda: 43, within_s=5) == 43
    worker.close()


async def test_who_waits_is_let_go_in_time_and_when_all_threads_are_stuck_at_once() -> None:
    worker, release = Worker("test", threads=2), threading.Event()
    stuck = [asyncio.create_task(worker.run(release.wait, within_s=0.2)) for _ in range(2)]
    for outcome in await asyncio.gather(*stuck, return_exceptions=True):
        assert isinstance(outcome, TimeoutError)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await worker.run(lambda: 1, within_s=0.1)
    assert time.monotonic() - began < 0.09  # not waited for at all
    release.set()
    while worker.is_stuck(0.0):
        await asyncio.sleep(0.001)
    assert await worker.run(lambda: 2, within_s=5) == 2
    worker.close()


async def test_what_has_not_begun_in_time_never_does() -> None:
    worker, release, done = Worker("test", threads=1), threading.Event(), list[str]()
    first = asyncio.create_task(worker.run(release.wait, within_s=5))
    await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: done.append("late"), within_s=0.1)
    release.set()
    await first
    await worker.run(lambda: done.append("next"), within_s=5)
    assert done == ["next"]
    worker.close()


async def test_closing_ends_the_threads() -> None:
    worker = Worker("ends", threads=3)
    await worker.run(lambda: None, within_s=5)
    assert sum(thread.name.startswith("ends-") for thread in threading.enumerate()) == 3
    worker.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ends-"):
            thread.join(5)
            assert not thread.is_alive()
