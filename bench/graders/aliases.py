"""Questions with short answers: right if the answer names one of the accepted aliases.

Both sides are folded (case, accents, punctuation, articles) and compared as whole words, so ``Paris`` is found
in "It is Paris." but not in "comparison". Two cheap ways of being right by accident are closed: an alias directly
after a negation, and an alias that occurs only inside a long list of candidates (what a sentence says before its list,
"Shakespeare, who also wrote ...", is no candidate).
"""

from __future__ import annotations

import re
import unicodedata

from bench.datasets.item import Item
from bench.graders.grade import RIGHT, WRONG, Grade

MAX_CANDIDATES = 5
"""An alias counts inside an enumeration of at most this many; a longer list is guessing."""

_ARTICLES = {"a", "an", "the"}
_NEGATIONS = {"not", "never", "isnt", "wasnt", "arent", "nor", "neither"}
_ENUMERATION = re.compile(r"\s*(?:[,;/、]|\bor\b|\band\b)\s*", re.IGNORECASE)
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_ITEM_WORDS = 5


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def words(text: str) -> list[str]:
    """The words of a text, folded: no case, accents, punctuation or articles; numbers keep their decimal point."""
    folded = _unaccented(text)
    folded = re.sub(r"(?<=\d),(?=\d{3}\b)", "", folded)
    folded = re.sub(r"['’`](s\b)?", "", folded)
    folded = re.sub(r"(?<=\w)_\{?(\d+)\}?", r"\1", folded)  # CO_2 is CO2
    # A date such as 9.11.1989 is three numbers; a decimal point joins two.
    tokens = re.findall(r"(?<!\d\.)(?<!\d)\d+\.\d+(?!\.?\d)|\w+", folded.replace("_", " "))
    return [token for token in tokens if token not in _ARTICLES] or tokens


def _positions(needle: list[str], hay: list[str]) -> list[int]:
    size = len(needle)
    return [start for start in range(len(hay) - size + 1) if hay[start : start + size] == needle]


def _without_long_lists(answer: str) -> str:
    """The answer with enumerations of more than ``MAX_CANDIDATES`` short items taken out."""
    kept: list[str] = []
    bullets: list[str] = []

    def flush() -> None:
        if len(bullets) <= MAX_CANDIDATES:
            kept.extend(bullets)
        bullets.clear()

    for line in answer.splitlines():
        if _BULLET.match(line) and len(words(_BULLET.sub("", line, count=1))) <= _ITEM_WORDS:
            bullets.append(line)
            continue
        flush()
        for sentence in re.split(r"(?<=[.!?:])\s+", line):
            parts = [part for part in _ENUMERATION.split(sentence) if part.strip()]
            short = sum(len(words(part)) <= _ITEM_WORDS for part in parts)
            kept.append(sentence if short <= MAX_CANDIDATES else parts[0])
    flush()
    return "\n".join(kept)


def _named(aliases: list[str], hay: list[str]) -> list[list[str]]:
    """The aliases that occur, as their words; one right after a negation does not count."""
    return [
        needle
        for alias in aliases
        if (needle := words(alias))
        and any(not position or hay[position - 1] not in _NEGATIONS for position in _positions(needle, hay))
    ]


def grade(item: Item, answer: str) -> Grade:
    """Right if an alias is named as whole words, not negated and not only inside a long list."""
    named = _named(item.expected["aliases"], words(answer))
    if not named:
        return Grade(WRONG, "no alias named")
    if any(len(alias) > _ITEM_WORDS for alias in named):
        return Grade(RIGHT)  # too long to be named by enumerating
    if not _named(item.expected["aliases"], words(_without_long_lists(answer))):
        return Grade(WRONG, "only named in a list of many candidates")
    return Grade(RIGHT)
