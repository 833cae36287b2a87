"""A bound on what preparing a query costs, held against what SQLite really does."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from router.estimate.sql_copies import MOST_COPIES, copies

LEVELS = 30


def bomb(levels: int, reference: str = "{0},{0} x", name: str = "t{0}") -> str:
    names = [name.format(level) for level in range(levels)]
    tables = [f"{names[0]} AS (SELECT 1)"]
    tables += [f"{own} AS (SELECT 1 FROM {reference.format(before)})" for before, own in pairwise(names)]
    return f"WITH {', '.join(tables)} SELECT * FROM {names[-1]}"


NESTED = "SELECT 1"
for _ in range(LEVELS):
    NESTED = f"WITH a AS ({NESTED}) SELECT 1 FROM a, a x"


@pytest.mark.parametrize(
    "query",
    [
        bomb(LEVELS),
        bomb(LEVELS, "{0} JOIN {0} x"),
        bomb(LEVELS, name='"t {0}"'),
        bomb(LEVELS, name="[t{0}]"),
        bomb(LEVELS).replace("FROM t", "FROM T"),
        bomb(LEVELS).replace(" AS (", " AS/**/NOT MATERIALIZED--x\n("),
        bomb(LEVELS).replace("SELECT 1 FROM", "SELECT '--' FROM"),
        bomb(LEVELS).replace("SELECT 1 FROM", "SELECT '/*' FROM"),
        bomb(LEVELS).replace(" AS (", " (a, b) AS ("),
        NESTED,
    ],
)
def test_common_tables_that_multiply_are_seen(query: str) -> None:
    assert copies(query) > MOST_COPIES


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a, b FROM t WHERE a IN (SELECT max(a) FROM t)",
        "WITH a AS (SELECT 1 x), b AS (SELECT * FROM a), c AS (SELECT a.x FROM a JOIN b ON a.x = b.x) SELECT x FROM c",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i) FROM n",
        bomb(LEVELS, "{0}"),
        "SELECT CAST(a AS (x)) FROM t" + " JOIN t" * 60,
        "",
    ],
)
def test_what_people_write_stays_far_below(query: str) -> None:
    assert copies(query) <= 100


def test_it_takes_no_time_itself() -> None:
    began_s = time.process_time()
    for text in ("f(" * 10_000, "a AS (" * 3_000, "'" * 20_000, "a (b, " * 3_000):
        copies(text)
    assert time.process_time() - began_s < 2.0
