"""What an answer tells about itself while it is served: nobody knows the right one, and nothing of it is run.

*Code* parses as Python, defines the function that the prompt names, and uses no name that exists nowhere.
*SQL* parses; where the prompt brings the tables (``CREATE TABLE``), it also fits them: SQLite prepares the query
against empty tables, which finds unknown tables and columns without running it.
*Sameness* of two answers is that of their code without formatting, of their SQL without case, of short answers
without articles and punctuation, else of the last number they state.
"""

from __future__ import annotations

import ast
import builtins
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

from router.estimate.sql_copies import MOST_COPIES, copies

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+.-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"\b(?:function|def|method|class)\s+(?:called\s+|named\s+)?[`'\"]?([A-Za-z_]\w*)[`'\"]?\s*(\()?")
_TABLE = re.compile(r"\bCREATE\s+TABLE\b[^;]{0,5000};", re.IGNORECASE)
_QUERY = re.compile(r"^\s*(?:--[^\n]*\n\s*)*(?:select|with)\b", re.IGNORECASE)
_BARE_QUERY = re.compile(r"^\s*((?:select|with)\b[^;]*\bfrom\b[^;]*;)", re.IGNORECASE)
_NO_TABLE = re.compile(r"no such (?:table|column)", re.IGNORECASE)
_PYTHON = {"python", "py", "python3"}
_SQL = {"sql", "sqlite", "sqlite3", "mysql", "postgresql"}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_ARTICLES = {"a", "an", "the"}
_SHORT_WORDS = 12
_LONGEST = 20_000  # characters: parsing more would hold up the answer
_BUSY_OPCODES = 200_000
_MOST_TABLES = 100
# PRAGMA acts while it is prepared, on the whole process; a table made from a SELECT runs that.
_NEVER = {sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_VTABLE}
_NOT_IN_TABLES = _NEVER | {sqlite3.SQLITE_SELECT}


def flaw(prompt: str, answer: str) -> str | None:
    """What is wrong with an answer's code or SQL, in words; None where nothing is found, or there is neither."""
    if len(answer) > _LONGEST:
        return None
    blocks = _FENCE.findall(answer)
    for language, body in blocks:
        if language.lower() in _SQL or (not language and _QUERY.match(body)):
            return _sql_flaw(prompt, body)
    programs = [body for language, body in blocks if language.lower() in _PYTHON]
    if programs:
        return _code_flaw(prompt, programs)
    bare = _BARE_QUERY.match(answer)
    return None if bare is None else _sql_flaw(prompt, bare[1])


def likeness(answer: str) -> str:
    """A text that is equal for answers that say the same; empty for an empty answer."""
    if len(answer) > _LONGEST:
        return answer
    blocks = _FENCE.findall(answer)
    if blocks:
        body = "\n".join(body for _, body in blocks)
        tree = _parsed(body)
        try:
            return " ".join(body.casefold().replace(";", " ").split()) if tree is None else ast.dump(tree)
        except RecursionError:  # it parses deeper than it can be walked
            return body
    words = [word for word in _WORD.findall(answer.casefold()) if word not in _ARTICLES]
    if len(words) <= _SHORT_WORDS:
        return " ".join(words)
    numbers = _NUMBER.findall(answer)
    return str(float(numbers[-1].replace(",", ""))) if numbers else " ".join(words)


def _code_flaw(prompt: str, programs: list[str]) -> str | None:
    trees = [tree for program in programs if (tree := _parsed(program)) is not None]
    if not trees:
        return "its code does not parse"
    bound: set[str] = set(dir(builtins)) | {"__name__", "__file__"}
    used: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            _note(node, bound, used)
    if "*" in bound:
        return None  # anything may have been imported
    wanted = {name for name, call in _NAMED.findall(prompt) if call or "_" in name}
    missing = sorted(wanted - bound) if wanted and not wanted & bound else []
    if missing:
        return f"its code defines no {missing[0]}"
    unknown = sorted(used - bound)
    return f"its code uses {unknown[0]}, which is nowhere defined" if unknown else None


def _note(node: ast.AST, bound: set[str], used: set[str]) -> None:
    """Add the names a node brings into being, wherever that is, and those it reads."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            used.add(name)
        case ast.Name(id=name):
            bound.add(name)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            bound.add(name)
        case ast.arg(arg=name) | ast.MatchStar(name=str(name)) | ast.MatchAs(name=str(name)):
            bound.add(name)
        case ast.MatchMapping(rest=str(name)) | ast.ExceptHandler(name=str(name)):
            bound.add(name)
        case ast.alias(name=name, asname=asname):
            bound.add((asname or name).partition(".")[0])
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            bound.update(names)
        case _:
            pass


def _sql_flaw(prompt: str, query: str) -> str | None:
    """What SQLite says on preparing the query against the prompt's own tables, all empty."""
    tables = _TABLE.findall(prompt[:_LONGEST])[:_MOST_TABLES]
    statement = query.strip().rstrip(";").strip()
    if not statement:
        return "its SQL is empty"
    if copies(statement) > MOST_COPIES:
        return None  # preparing it could take all memory
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(lambda: 1, _BUSY_OPCODES)
        is_known = bool(tables)
        connection.set_authorizer(_without(_NOT_IN_TABLES))
        for table in tables:
            try:
                connection.execute(table)
            except (sqlite3.Error, sqlite3.Warning):
                is_known = False  # another dialect: nothing can be held against the query but its syntax
        connection.set_authorizer(_without(_NEVER))
        try:
            connection.execute(f"EXPLAIN {statement}")
        except (sqlite3.ProgrammingError, sqlite3.Warning, ValueError):
            return None  # several statements: a script, which is not ours to judge
        except sqlite3.Error as error:
            if (not is_known and _NO_TABLE.search(str(error))) or "not authorized" in str(error):
                return None
            return f"its SQL fails: {error}"
    return None


def _without(actions: set[int]) -> Callable[..., int]:
    """An authorizer that denies these and allows all else."""

    def authorize(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if action in actions else sqlite3.SQLITE_OK

    return authorize


def _parsed(source: str) -> ast.Module | None:
    lines = source.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    try:
        return ast.parse("\n".join(line[margin:] for line in lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
