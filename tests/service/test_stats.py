"""Totals for whoever polls them: one reading at a time, shared, and never at the expense of those who write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from router.domain.errors import DeadlineError, JournalError, OverloadedError
from router.domain.record import Turn
from router.journal.memory import MemoryJournal
from router.service.stats import SharedTotals
from tests.service.held_journal import HeldJournal
from tests.service.ledgers import turn


class SlowJournal(MemoryJournal):
    """Each reading takes so many seconds of a clock that it holds itself."""

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self.now_s = 100.0
        self.takes_s = takes_s
        self.readings = 0

    def clock(self) -> float:
        return self.now_s

    def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterable[Turn]:
        self.readings += 1
        self.now_s += self.takes_s
        return super().turns(since=since, limit=limit)


async def test_who_asks_for_the_same_period_shares_its_reading_and_other_periods_wait_in_turn() -> None:
    journal = HeldJournal(reads=True)
    journal.write(turn(1))
    shared = SharedTotals(journal)
    polls = [asyncio.create_task(shared.since(since, within_s=10)) for since in (0.0, 0.0, 5.0, 0.0, 5.0)]
    await journal.until_held()
    await asyncio.sleep(0.05)
    journal.let_go.set()
    assert [found.turns for found in await asyncio.gather(*polls)] == [1, 1, 0, 1, 0]
    assert journal.readers == ["stats-0"] * 2
    assert journal.most_at_once == 1
    shared.close()


async def test_totals_that_took_long_are_given_out_for_as_long_again() -> None:
    journal = SlowJournal(takes_s=30.0)
    shared = SharedTotals(journal, clock=journal.clock)
    first = await shared.since(0.0, within_s=10)
    journal.now_s += 29.0
    assert await shared.since(0.0, within_s=10) is first
    journal.now_s += 2.0
    assert await shared.since(0.0, within_s=10) is not first
    assert journal.readings == 2
    shared.close()


async def test_a_short_journal_is_read_anew_each_time() -> None:
    journal = SlowJournal(takes_s=0.5)
    shared = SharedTotals(journal, clock=journal.clock)
    assert (await shared.since(0.0, within_s=10)).turns == 0
    journal.write(turn(1))
    assert (await shared.since(0.0, within_s=10)).turns == 1
    shared.close()


async def test_more_periods_than_a_few_at_once_are_refused() -> None:
    journal = HeldJournal(reads=True)
    shared = SharedTotals(journal)
    polls = [asyncio.create_task(shared.since(float(number), within_s=10)) for number in range(8)]
    await journal.until_held()
    with pytest.raises(OverloadedError):
        await shared.since(8.0, within_s=10)
    journal.let_go.set()
    await asyncio.gather(*polls)
    assert (await shared.since(8.0, within_s=10)).turns == 0
    shared.close()


async def test_a_failed_reading_is_told_and_tried_again() -> None:
    class ClosedOnce(SlowJournal):
        def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterable[Turn]:
            found = super().turns(since=since, limit=limit)
            if self.readings == 1:
                raise JournalError("locked")
            return found

    shared = SharedTotals(ClosedOnce(takes_s=30.0))
    with pytest.raises(JournalError):
        await shared.since(0.0, within_s=10)
    assert (await shared.since(0.0, within_s=10)).turns == 0
    shared.close()


async def test_a_journal_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    journal = HeldJournal(reads=True)
    shared = SharedTotals(journal)
    with pytest.raises(DeadlineError):
        await shared.since(0.0, within_s=0.05)
    journal.let_go.set()
    shared.close()
