"""What every Journal promises."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from router.domain.errors import JournalError
from router.domain.ports import Journal
from router.domain.record import Basis, CarbonRecord, Turn
from router.journal.memory import MemoryJournal
from router.journal.sqlite import SqliteJournal

FULL = CarbonRecord(
    model="qwen2.5-coder:1.5b",
    directive="L1",
    setting="default",
    site="local",
    category="math",
    category_probability=0.9,
    energy_j=12.5,
    energy_method="modelled",
    operational_g=0.001,
    embodied_g=0.002,
    intensity_g_per_kwh=385.0,
    intensity_source="fixed",
    intensity_age_s=1.5,
    reference_g=0.01,
    saved_g=0.007,
    policy="joint",
    floor="0.95",
    overhead_ms=3.25,
    router_energy_j=0.1,
    fallback="empty store",
    intensity_kind="average",
    intensity_is_estimated=True,
    intensity_is_stale=False,
)
UNKNOWN = replace(
    FULL,
    category=None,
    category_probability=None,
    energy_j=None,
    energy_method=None,
    operational_g=None,
    embodied_g=None,
    intensity_g_per_kwh=None,
    intensity_source=None,
    intensity_age_s=None,
    reference_g=None,
    saved_g=None,
    router_energy_j=None,
    fallback=None,
    intensity_kind=None,
    intensity_is_estimated=None,
    intensity_is_stale=None,
)


def turn(number: int, started_at: float | None = None) -> Turn:
    return Turn(f"turn-{number}", float(number) if started_at is None else started_at, "ok", UNKNOWN)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made: Journal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "data" / "journal.sqlite3")
    )
    yield made
    made.close()


def test_an_empty_journal_has_no_turns(journal: Journal) -> None:
    assert list(journal.turns()) == []


def test_a_turn_comes_back_as_it_was_and_the_unknown_stays_unknown(journal: Journal) -> None:
    full = Turn("a", 1.5, "error", FULL, 37, 80, 2.5, 0.25, "length", -0.2, "backend_error", 2)
    bare = Turn("b ü\0", 2.5, "cancelled", UNKNOWN)
    journal.write(full)
    journal.write(bare)
    assert list(journal.turns()) == [full, bare]


def test_what_reports_rest_on_comes_back_as_it_was(journal: Journal) -> None:
    basis = Basis(2.5, 1.25, 0.5, "busy cores", 1.1, "big@L0", 50.0, 4.0, 0.005, 0, True)
    journal.write(Turn("a", 1.5, "ok", FULL, basis=basis))
    journal.write(Turn("b", 2.5, "ok", FULL))
    assert [t.basis for t in journal.turns()] == [basis, Basis()]


def test_turns_come_oldest_first_whatever_the_order_they_ended_in(journal: Journal) -> None:
    for number in (3, 1, 2):
        journal.write(turn(number))
    journal.write(turn(4, started_at=2.0))
    assert [t.id for t in journal.turns()] == ["turn-1", "turn-2", "turn-4", "turn-3"]


def test_since_is_included_and_the_limit_counts_from_there(journal: Journal) -> None:
    for number in range(10):
        journal.write(turn(number))
    assert [t.started_at for t in journal.turns(since=4.0)] == [4, 5, 6, 7, 8, 9]
    assert [t.started_at for t in journal.turns(since=4.5, limit=2)] == [5, 6]
    assert list(journal.turns(limit=0)) == []
    assert list(journal.turns(since=100.0)) == []


def test_a_long_journal_is_read_whole_and_once(journal: Journal) -> None:
    for number in range(612):
        journal.write(turn(number, started_at=float(number // 505)))
    assert [t.id for t in journal.turns()] == [f"turn-{number}" for number in range(612)]
    assert len(list(journal.turns(limit=601))) == 601


def test_the_same_turn_is_not_written_twice(journal: Journal) -> None:
    journal.write(turn(1))
    with pytest.raises(JournalError, match="already"):
        journal.write(turn(1))
    assert len(list(journal.turns())) == 1


def test_threads_write_and_read_at_once(journal: Journal) -> None:
    def write_and_read(number: int) -> list[str]:
        journal.write(turn(number))
        return [t.id for t in journal.turns()]

    with ThreadPoolExecutor(8) as threads:
        for number, seen in enumerate(threads.map(write_and_read, range(120))):
            assert f"turn-{number}" in seen
    assert len(list(journal.turns())) == 120


def test_a_closed_journal_takes_nothing_and_closes_again(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.write(turn(1))
