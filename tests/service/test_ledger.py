"""A journal that cannot be written for a while delays turns and loses none."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from router.domain.errors import JournalError, TurnRefusedError
from router.domain.record import CarbonRecord, Turn
from router.service.ledger import Ledger


class FlakyJournal:
    """Refuses while ``full`` is set."""

    def __init__(self) -> None:
        self.full = False
        self.written: list[str] = []

    def write(self, turn: Turn) -> None:
        if self.full:
            raise JournalError("no space left")
        if turn.id in self.written:
            raise TurnRefusedError("already there")
        self.written.append(turn.id)

    def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterable[Turn]:
        return ()

    def close(self) -> None:
        pass


def turn(name: str) -> Turn:
    carbon = CarbonRecord(
        "m", "L0", "default", "local", None, None, None, None, None, None, None, None, None, None, None, "joint", ".95",
        1.0, None, None,
    )  # fmt: skip
    return Turn(name, 0.0, "ok", carbon)


def test_turns_wait_while_the_disk_is_full_and_are_written_in_order_after() -> None:
    journal = FlakyJournal()
    ledger = Ledger(journal)
    ledger.write(turn("a")).result()
    journal.full = True
    ledger.write(turn("b")).result()
    ledger.write(turn("c")).result()
    assert ledger.waiting == 2
    assert ledger.trouble == "no space left"
    journal.full = False
    ledger.write(turn("d")).result()
    assert journal.written == ["a", "b", "c", "d"]
    assert ledger.waiting == 0
    assert ledger.trouble is None


def test_a_turn_that_can_never_be_written_does_not_hold_up_the_next() -> None:
    journal = FlakyJournal()
    ledger = Ledger(journal)
    for name in ("a", "a", "b"):
        ledger.write(turn(name)).result()
    assert journal.written == ["a", "b"]
    assert ledger.waiting == 0
    assert ledger.trouble is None


def test_at_the_end_what_waits_is_written_and_what_cannot_be_is_told(caplog: pytest.LogCaptureFixture) -> None:
    journal = FlakyJournal()
    ledger = Ledger(journal)
    journal.full = True
    ledger.write(turn("a")).result()
    ledger.close()
    assert "1 turns are lost" in caplog.text
    journal.full = False
    ledger.close()
    assert journal.written == ["a"]


def test_while_the_disk_blocks_turns_are_taken_at_once_and_in_the_end_written_in_order() -> None:
    release = threading.Event()

    class BlockedJournal(FlakyJournal):
        def write(self, turn: Turn) -> None:
            assert release.wait(10.0)
            super().write(turn)

    journal = BlockedJournal()
    ledger = Ledger(journal)
    names = [f"turn-{number}" for number in range(20)]
    for name in names:
        ledger.write(turn(name))
    assert (ledger.waiting, journal.written) == (20, [])
    release.set()
    ledger.close()
    assert (ledger.waiting, journal.written) == (0, names)
