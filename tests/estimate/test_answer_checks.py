from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from router.domain.catalogue import Option
from router.domain.record import Measurement, Outcome
from router.estimate.answer_checks import flaw, likeness
from router.estimate.signals import build_signals
from tests.estimate.test_sql_copies import bomb

ASKS_CODE = "Write a Python function `total(crates)` that returns the sum of the crates."
ASKS_SQL = "Given these tables:\n\nCREATE TABLE books (id INTEGER, title TEXT);\n\nWrite a query that lists all titles."


def fenced(code: str, language: str = "python") -> str:
    return f"Here you are:\n\n```{language}\n{code}\n```\n\nIt does what you asked."


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("def total(crates:\n    return 1", "does not parse"),
        ("def summed(crates):\n    return sum(crates)", "defines no total"),
        ("def total(crates):\n    return sum(c * kg for c in crates)", "uses kg"),
    ],
)
def test_broken_code_is_named(code: str, what: str) -> None:
    found = flaw(ASKS_CODE, fenced(code))
    assert found is not None
    assert what in found


@pytest.mark.parametrize(
    "code",
    [
        "def total(crates):\n    return sum(crates)",
        "    def total(crates):\n        return sum(crates)",
        "import math as m\nfrom os import *\ndef total(c):\n    return m.fsum(anything)",
        "class A:\n    x = 1\ndef total(crates, *rest, key=None, **more):\n    global last\n    try:\n        pass\n"
        "    except ValueError as error:\n        print(error, rest, more, key)\n"
        "    with open('f') as f:\n        last = f\n"
        "    return [y for y in crates if (z := y)] and z and last and A.x",
        "def total(c):\n    match c:\n        case [first, *others]:\n            return first, others\n"
        "        case {'k': v, **rest}:\n            return v, rest\n        case other:\n            return other",
    ],
)
def test_sound_code_passes(code: str) -> None:
    assert flaw(ASKS_CODE, fenced(code)) is None


def test_names_defined_in_another_block_are_known() -> None:
    helper = "def total(crates):\n    return helper(crates)"
    assert flaw(ASKS_CODE, fenced(helper)) is not None
    assert flaw(ASKS_CODE, fenced(helper) + "\n\n" + fenced("def helper(x):\n    return sum(x)")) is None


@pytest.mark.parametrize(
    ("query", "is_sound"),
    [
        ("SELECT title FROM books", True),
        ("SELECT title FROM books WHERE id > 3;", True),
        ("SELECT name FROM books", False),
        ("SELECT title FROM shelves", False),
        ("SELECT title FORM books", False),
        ("WITH t AS (SELECT title FROM books) SELECT * FROM t", True),
        ("CREATE TABLE x (a INT); SELECT a FROM x;", True),
    ],
)
def test_sql_has_to_fit_the_prompts_own_tables(query: str, is_sound: bool) -> None:
    assert (flaw(ASKS_SQL, fenced(query, "sql")) is None) == is_sound


def test_without_tables_in_the_prompt_only_syntax_counts() -> None:
    assert flaw("List all titles.", fenced("SELECT title FROM shelves", "sql")) is None
    assert flaw("List all titles.", fenced("SELECT title FORM shelves WHERE", "sql")) is not None
    assert flaw("List all titles.", "SELECT title FROM;") is not None


def test_nothing_of_the_answer_or_the_prompt_is_run_for_long(tmp_path: object) -> None:
    endless = "CREATE TABLE n AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;"
    assert flaw(endless, fenced("SELECT 1", "sql")) is None
    attach = f"ATTACH DATABASE '{tmp_path}/written' AS other"
    flaw("List.", fenced(f"SELECT 1; {attach};", "sql"))
    flaw(f"CREATE TABLE t (a); {attach};", fenced("SELECT a FROM t", "sql"))
    import os

    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize(
    "query",
    [
        "PRAGMA hard_heap_limit=1",
        "PRAGMA table_info(t)",
        "ATTACH 'x.db' AS x",
        bomb(30),
    ],
)
def test_a_query_that_would_act_or_grow_while_it_is_prepared_is_not_prepared(query: str) -> None:
    assert flaw("Which tables are there?", f"```sql\n{query}\n```") is None
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute("PRAGMA hard_heap_limit").fetchone() == (0,)


def test_a_table_that_is_made_from_a_query_is_not_made() -> None:
    prompt = "CREATE TABLE a AS SELECT zeroblob(900000000) x; Which x are there?"
    assert flaw(prompt, "```sql\nSELECT missing FROM a\n```") is None  # so nothing is known of its columns
    assert flaw("CREATE TABLE a (x INT); Which?", "```sql\nSELECT missing FROM a\n```") is not None


def test_an_answer_that_parses_deeper_than_it_can_be_walked_is_just_text() -> None:
    deep = "```python\nx = " + "-" * 1000 + "1\n```"
    assert likeness(deep) == likeness(deep) != likeness("```python\nx = 1\n```")


def test_a_prompt_of_table_definitions_without_end_takes_no_time() -> None:
    began_s = time.process_time()
    flaw("CREATE TABLE " * 100_000, "```sql\nSELECT 1\n```")
    assert time.process_time() - began_s < 2.0


@pytest.mark.parametrize(
    "answer", ["Paris.", "", "```\nsome text\n```", "```bash\nls -l\n```", "Select the best one; now."]
)
def test_an_answer_without_code_has_no_flaw(answer: str) -> None:
    assert flaw("What is the capital of France?", answer) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris.", "paris", True),
        ("It is the Rhine", "It is Rhine!", True),
        ("Paris.", "London.", False),
        (fenced("def f(x):\n    return x  # same"), fenced("def f(x): return x"), True),
        (fenced("SELECT A FROM t;", "sql"), fenced("select a\nfrom T", "sql"), True),
        (
            "First add 3 and 4 to get 7, then times 2 which gives us a total of 14.0 crates.",
            "We have 3 + 4 = 7 crates, and twice as many of them make up the whole: 14.",
            True,
        ),
    ],
)
def test_answers_that_say_the_same_are_alike(one: str, other: str, same: bool) -> None:
    assert (likeness(one) == likeness(other)) == same


def test_signals_are_arrays_in_the_order_of_the_options() -> None:
    a, b = Option("a"), Option("b")
    rows = [
        Measurement(
            "1",
            ASKS_CODE,
            outcomes=(
                Outcome("b", "L0", 1.0, answer=fenced("def total(c):\n    return 1"), mean_logprob=-0.1, repeat=1),
                Outcome("b", "L0", 1.0, answer=fenced("def total(c:"), mean_logprob=-0.5),
                Outcome("a", "L0", 1.0, answer=fenced("def total(c): return 2")),
            ),
        ),
        Measurement(
            "2",
            "Capital?",
            outcomes=(Outcome("a", "L0", 1.0, answer="Paris"), Outcome("b", "L0", 0.0, answer="paris.")),
        ),
        Measurement("3", "Nothing recorded", outcomes=(Outcome("a", "L0", 1.0),)),
    ]
    found = build_signals(rows, (a, b))
    assert np.array_equal(found.mean_logprob, [[np.nan, -0.5], [np.nan, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(found.checks, [[1.0, 0.0], [1.0, 1.0], [np.nan, np.nan]], equal_nan=True)
    assert found.sameness[0, 0] != found.sameness[0, 1]
    assert found.sameness[1, 0] == found.sameness[1, 1]
    assert not found.are_missing
    assert build_signals(rows[2:], (a, b)).are_missing
