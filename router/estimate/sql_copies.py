"""How often SQLite would write out the common tables of a query, which it does before anybody can stop it.

Each reference to a common table (``WITH a AS (...)``) copies its whole query while the statement is prepared. Thirty
tables that each name the one before them twice are a billion copies: out of memory, within a line of text. No limit of
SQLite's binds there, and time limits begin with the first row. So queries are refused by a bound on their copies.
"""

from __future__ import annotations

import math
import re
from collections import Counter

MOST_COPIES = 10_000
"""Of all common tables together; a copy of a small one takes some kilobytes."""

# Comments go and what is quoted stays, read from left to right: a quoted `--` is no comment.
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"""
    r"""|(?P<name>"[^"]*"|`[^`]*`|\[[^\]]*\]|'[^']*'|[^\W]+)"""
    r"""|(?P<sign>\S)""",
    re.DOTALL,
)


def copies(query: str) -> float:
    """An upper bound: what the references, however they are spread over the definitions, can multiply to."""
    tokens = [match[0] for match in _TOKEN.finditer(query) if match["comment"] is None]
    names = [token.strip("\"`[]'").casefold() for token in tokens]
    defined = Counter(names[i] for i in range(len(tokens)) if _is_defined(tokens, i))
    used = Counter(
        name for i, name in enumerate(names) if name in defined and (i + 1 >= len(tokens) or tokens[i + 1] != ".")
    )
    most = sum(_log_most(used[name] - count, count) for name, count in defined.items())
    return math.exp(min(most, 700.0))


def _is_defined(tokens: list[str], i: int) -> bool:
    """Whether ``name [(columns)] AS [NOT] [MATERIALIZED] (`` begins here."""
    after = i + 1
    if tokens[after : after + 1] == ["("]:
        after += 1
        while after < len(tokens) and tokens[after] not in ("(", ")"):
            after += 1
        after += 1
    if after >= len(tokens) or tokens[after].casefold() != "as":
        return False
    after += 1
    while after < len(tokens) and tokens[after].casefold() in ("not", "materialized"):
        after += 1
    return tokens[after : after + 1] == ["("]


def _log_most(references: int, definitions: int) -> float:
    """Logarithm of the largest product of the references to so many tables of one name."""
    if references <= 1:
        return 0.0
    return max(k * math.log(references / k) for k in range(1, definitions + 1))
