"""What only a journal on disk can suffer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from router.domain.errors import JournalError, TurnRefusedError
from router.domain.record import Basis, CarbonRecord, Turn
from router.journal.sqlite import MIGRATIONS, SqliteJournal
from tests.contracts.test_journal import turn

WRITER = """
    import dataclasses, resource, sys
    from pathlib import Path
    from router.domain.errors import JournalError
    from router.journal.sqlite import SqliteJournal
    from tests.contracts.test_journal import turn
    journal = SqliteJournal(Path(sys.argv[1]))
"""


def writer(path: Path, code: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER) + textwrap.dedent(code), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=root,
    )


def ids(path: Path) -> list[str]:
    journal = SqliteJournal(path)
    found = [t.id for t in journal.turns()]
    journal.close()
    return found


def test_every_turn_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    for round_ in range(3):
        process = writer(
            path,
            f"""
            for number in range(10**6):
                t = turn({round_} * 10**6 + number)
                journal.write(t)
                print(t.id, flush=True)
            """,
        )
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [
            line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
        ]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        found = ids(path)
        assert acknowledged[0] == f"turn-{round_ * 10**6}"
        assert set(acknowledged) <= set(found)
        assert len(found) == len(set(found))


def test_a_full_disk_is_said_and_what_was_written_stays_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    process = writer(
        path,
        """
        journal.write(turn(0))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))  # no file may grow beyond this
        try:
            for number in range(1, 10_000):
                journal.write(turn(number))
        except JournalError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        journal.write(turn(10_000))
        print(len(list(journal.turns())))
        """,
    )
    output, _ = process.communicate(timeout=60)
    complaint, count = output.strip().splitlines()
    assert "cannot be written" in complaint
    assert "free some space" in complaint
    assert len(ids(path)) == int(count) > 10


def test_two_processes_write_to_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    both = [
        writer(path, f"for n in range(100): journal.write(turn({start} + n))\nprint('done')") for start in (0, 1000)
    ]
    assert [process.communicate(timeout=60)[0] for process in both] == ["done\n", "done\n"]
    assert len(ids(path)) == 200


@pytest.mark.parametrize("where", [0, 4096])
def test_a_damaged_file_is_said_with_how_to_move_it_away(tmp_path: Path, where: int) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = SqliteJournal(path)
    for number in range(60):
        journal.write(turn(number))
    journal.close()
    with path.open("r+b") as file:
        file.seek(where)
        file.write(os.urandom(path.stat().st_size - where))
    with pytest.raises(JournalError, match=f"mv {path} {path}.damaged"):
        ids(path)
    path.rename(tmp_path / "journal.sqlite3.damaged")
    assert ids(path) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="ROUTER_DATA_DIR"):
        SqliteJournal(tmp_path / "file" / "journal.sqlite3")
    with pytest.raises(JournalError, match="ROUTER_DATA_DIR"):
        SqliteJournal(tmp_path)


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    assert ids(path) == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="later version"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_every_field_of_a_turn_has_a_column_and_none_holds_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    assert ids(path) == []
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(turns)")]
    wanted = {field.name for record in (Turn, CarbonRecord, Basis) for field in fields(record)}
    wanted -= {"carbon", "basis"}
    assert set(columns) == wanted | {"seq"}
    assert len(columns) == len(set(columns))
    assert not {"prompt", "messages", "answer", "text"} & set(columns)


def test_a_journal_of_the_first_version_keeps_its_turns_and_what_they_lack_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute(
            "INSERT INTO turns (id, started_at, status, attempts, model, directive, setting, site, policy, floor, "
            "overhead_ms, energy_j) VALUES ('old', 1, 'ok', 1, 'm', 'L0', 'default', 'local', 'joint', '.95', 1, 5)"
        )
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    journal = SqliteJournal(path)
    journal.write(turn(2))
    old, new = journal.turns()
    journal.close()
    assert (old.id, old.carbon.energy_j, old.basis) == ("old", 5.0, Basis())
    assert new == turn(2)


def test_turns_are_on_disk_before_writing_returns(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite3")
    assert journal._connection is not None
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_a_journal_of_the_first_version_opens_with_its_turns_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        for statement in MIGRATIONS[0].split(";"):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO turns (id, started_at, status, attempts, model, directive, setting, site, policy, floor,"
            " overhead_ms) VALUES ('old', 1.0, 'ok', 1, 'm', 'L0', 'default', 'local', 'joint', '0.95', 2.0)"
        )
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    journal = SqliteJournal(path)
    journal.write(replace(turn(7), id="new", started_at=2.0, side="title", conversation="kept"))
    old, new = journal.turns()
    journal.close()
    assert (old.id, old.side, old.conversation) == ("old", None, None)
    assert (new.id, new.side, new.conversation) == ("new", "title", "kept")


@pytest.mark.parametrize("tokens", [2**70, {"a": 1}, [3]])
def test_figures_no_column_can_hold_refuse_their_turn_and_no_other(tmp_path: Path, tokens: object) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite3")
    wrong = replace(turn(1), output_tokens=tokens)  # type: ignore[arg-type]
    with pytest.raises(TurnRefusedError, match="cannot be written"):
        journal.write(wrong)
    journal.write(turn(2))
    journal.close()
    assert ids(tmp_path / "journal.sqlite3") == [turn(2).id]
