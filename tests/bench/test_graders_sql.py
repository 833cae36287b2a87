import time
from pathlib import Path

import pytest

from bench.datasets.item import Item
from bench.graders.sql import grade
from bench.graders.sql_query import QueryError, extract_query, run_queries
from bench.graders.sql_rows import same_value
from tests.estimate.test_sql_copies import bomb

SCRIPT = """
CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, price REAL, added DATE);
INSERT INTO book VALUES (1, 'Dune', 9.99, date('now', '-1 day')), (2, 'Emma', 5.5, date('now', '-40 days')),
                        (3, 'Ulysses', 12.0, date('now', '-2 days')), (4, 'Emma', NULL, NULL);
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sql"
    path.write_text(SCRIPT)
    return path


def item(database: Path, query: str | list[str], *, ordered: bool = False) -> Item:
    return Item("s", "?", "sql", "sql", {"database": str(database), "query": query, "ordered": ordered})


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("SELECT title FROM book", "```sql\nSELECT title FROM book ORDER BY title DESC;\n```"),
        ("SELECT title, id FROM book", "```\nselect id as number, title as name from book\n```"),
        ("SELECT title FROM book WHERE id = 1", "The query is:\n\nSELECT title FROM book WHERE id = 1;\n\nIt works."),
        ("SELECT title FROM book WHERE id = 1", "SELECT title FROM book\nWHERE id = 1\n\nThis selects the title."),
        ("SELECT title FROM book WHERE id = 1", "Use `SELECT title FROM book WHERE id = 1` for that."),
        ("SELECT AVG(price) FROM book", "```sql\nSELECT ROUND(AVG(price), 2) FROM book\n```"),
        ("SELECT COUNT(*) FROM book", "WITH b AS (SELECT * FROM book) SELECT COUNT(*) FROM b"),
        ("SELECT title FROM book WHERE added > date('now', '-30 days')", "SELECT title FROM book WHERE id IN (1, 3)"),
        ("SELECT title FROM book WHERE id = 99", "SELECT title FROM book WHERE id = 98"),
        ("SELECT price FROM book", "SELECT price FROM book -- with a comment; and a semicolon"),
        ("SELECT ';'", "```sql\nSELECT ';';\n```"),
        ("SELECT price FROM book WHERE id = 4", "SELECT NULL"),
    ],
)
def test_the_same_rows_are_right(database: Path, gold: str, given: str) -> None:
    assert grade(item(database, gold), given).quality == 1.0


@pytest.mark.parametrize(
    "given",
    [
        "SELECT title FROM book WHERE id = 2",
        "SELECT title, id FROM book WHERE id = 1",
        "SELECT title FROM book",
        "SELECT 'dune'",
        "SELECT nothing FROM nowhere",
        "```sql\nSELECT title FROM\n```",
        "```sql\nSELECT 'Dune'; SELECT 'Dune';\n```",
        "```sql\nDELETE FROM book; SELECT 'Dune';\n```",
        "```sql\nUPDATE book SET title = 'x'\n```",
        "```python\nprint('SELECT')\n```",
        "I would rather not.",
        "",
    ],
)
def test_other_rows_broken_queries_and_prose_are_wrong(database: Path, given: str) -> None:
    grade_ = grade(item(database, "SELECT title FROM book WHERE id = 1"), given)

    assert grade_.quality == 0.0
    assert grade_.note


def test_the_number_of_equal_rows_counts(database: Path) -> None:
    gold = item(database, "SELECT title FROM book WHERE title = 'Emma'")

    assert grade(gold, "SELECT DISTINCT title FROM book WHERE title = 'Emma'").quality == 0.0


def test_the_order_counts_only_where_it_is_asked_for(database: Path) -> None:
    query, reverse = "SELECT id FROM book ORDER BY id", "SELECT id FROM book ORDER BY id DESC"

    assert grade(item(database, query), reverse).quality == 1.0
    assert grade(item(database, query, ordered=True), reverse).quality == 0.0
    assert grade(item(database, query, ordered=True), query).quality == 1.0


def test_columns_are_matched_by_their_rows_not_each_alone(database: Path) -> None:
    gold = item(database, "SELECT 1, 2 UNION ALL SELECT 2, 1 UNION ALL SELECT 3, 4 UNION ALL SELECT 4, 3")

    assert grade(gold, "SELECT 1, 3 UNION ALL SELECT 2, 4 UNION ALL SELECT 3, 1 UNION ALL SELECT 4, 2").quality == 0.0


def test_any_of_several_gold_queries_is_right(database: Path) -> None:
    assert grade(item(database, ["SELECT 1", "SELECT title FROM book"]), "SELECT title FROM book").quality == 1.0


def test_a_gold_query_that_fails_is_an_error_not_a_wrong_answer(database: Path) -> None:
    with pytest.raises(ValueError, match="gold query"):
        grade(item(database, "SELECT x FROM y"), "SELECT 1")


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO book VALUES (9, 'x', 1, NULL)",
        "DROP TABLE book",
        "PRAGMA writable_schema = ON",
        "ATTACH DATABASE '/tmp/stolen.db' AS stolen",
        "SELECT load_extension('/tmp/x.so')",
        "WITH b AS (SELECT 1) DELETE FROM book",
        "SELECT zeroblob(100000000)",
        "VACUUM INTO '/tmp/stolen.db'",
    ],
)
def test_a_query_can_only_read_and_only_little(database: Path, query: str) -> None:
    result, after = run_queries(database, [query, "SELECT COUNT(*) FROM book"])

    assert isinstance(result, QueryError)
    assert not isinstance(after, QueryError)
    assert after.rows == ((4,),)


def test_a_query_that_never_ends_is_stopped(database: Path) -> None:
    started = time.monotonic()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    (result,) = run_queries(database, [endless], time_limit_s=0.2)

    assert isinstance(result, QueryError)
    assert "stopped" in str(result)
    assert time.monotonic() - started < 3


def test_a_query_that_would_take_all_memory_to_prepare_is_refused(database: Path) -> None:
    refused, harmless = run_queries(database, [bomb(30), bomb(8)])

    assert isinstance(refused, QueryError)
    assert "common tables" in str(refused)
    assert not isinstance(harmless, QueryError)


def test_too_many_rows_are_refused(database: Path) -> None:
    flood = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i FROM n"
    (result,) = run_queries(database, [flood])

    assert isinstance(result, QueryError)
    assert "rows" in str(result)


def test_the_first_query_of_a_text_ends_at_its_semicolon() -> None:
    assert extract_query("Try this: SELECT 1; or that: SELECT 2;") == "SELECT 1;"


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (5, 5.0, True),
        (5, "5", True),
        ("a ", "a", True),
        ("a", "A", False),
        (None, None, True),
        (None, 0, False),
        (None, "", False),
        (12.3333, 12.33, True),
        (0.499, 0.5, True),
        (12.3333, 12.3, False),
        (12.3333, 12, False),
        (12.34, 12.33, False),
        (b"a", b"a", True),
        ("nan", "nan", True),
    ],
)
def test_cells_agree_up_to_type_and_rounding(left: object, right: object, same: bool) -> None:
    assert same_value(left, right) is same
    assert same_value(right, left) is same


def test_rows_that_fill_the_memory_are_refused(database: Path) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19000)"
    (result,) = run_queries(database, [f"{many} SELECT zeroblob(40000) FROM n"])
    assert isinstance(result, QueryError)
    assert "bytes" in str(result)


def test_a_slow_function_over_long_values_is_stopped_in_time(database: Path) -> None:
    started = time.monotonic()
    slow = "instr(hex(zeroblob(24000)), hex(zeroblob(12000)) || '1')"
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    (result,) = run_queries(database, [f"{many} SELECT sum({slow}) FROM n"], time_limit_s=0.3)
    assert isinstance(result, QueryError)
    assert time.monotonic() - started < 10
