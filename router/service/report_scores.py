"""The two scores of a report, from its components and the hardware of its sites.

Unknown is None: where a component is not known, the score that needs it is None and says why. A site of which nothing
is known at all adds neither requests nor grams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from router.service.report_book import Book
from router.service.report_figures import Component, Score
from router.service.tally import Tallies, Tally


def _scored(components: tuple[Component, ...], books: Mapping[str, Book]) -> list[Component]:
    """The components that scores are made of: a site of which nothing is known adds neither requests nor grams."""
    blank = {name for name, book in books.items() if book.is_blank}
    return [part for part in components if part.site not in blank or part.name in ("router", "benchmark")]


def attributed(tallies: Tallies, books: Mapping[str, Book], components: tuple[Component, ...]) -> Score:
    """All of the reserved hardware: with idle joules and the manufacture over the whole period."""
    parts = _scored(components, books)
    unknown = [
        f"{part.name} joules or grams at {part.site}: {part.source}" for part in parts if part.operational_g is None
    ]
    open_books = {name: book for name, book in books.items() if not book.is_blank}
    bounds = []
    for pick in range(3):
        values = [
            None
            if book.site is None or book.site.embodied is None
            else book.embodied_g((book.site.embodied.low_g, book.site.embodied.mid_g, book.site.embodied.high_g)[pick])
            for book in open_books.values()
        ]
        bounds.append(_whole(values))
    unknown += [
        f"embodied carbon at {name}: not in models.yaml" for name, b in open_books.items() if b.embodied_g() is None
    ]
    return _score(
        tallies.all, _whole([part.operational_g for part in parts]), bounds[1], (bounds[0], bounds[2]), tuple(unknown)
    )


def marginal(tallies: Tallies, books: Mapping[str, Book], components: tuple[Component, ...]) -> Score:
    """What the requests themselves took: without idle joules, and busy seconds of the hardware only."""
    parts = [component for component in _scored(components, books) if component.name != "idle"]
    unknown = [
        f"{part.name} joules or grams at {part.site}: {part.source}" for part in parts if part.operational_g is None
    ]
    if tallies.all.embodied_g.unknown:
        unknown.append(f"embodied grams of {tallies.all.embodied_g.unknown} requests")
    ends: list[float | None] = []
    for pick in ("low_g", "high_g"):
        scaled: list[float | None] = []
        for book in (book for book in books.values() if not book.is_blank):
            embodied = book.site.embodied if book.site else None
            if embodied is None or book.tally.embodied_g.value is None or embodied.mid_g <= 0:
                scaled.append(None)
            else:
                scaled.append(book.tally.embodied_g.value * float(getattr(embodied, pick)) / embodied.mid_g)
        ends.append(_whole(scaled))
    return _score(
        tallies.all,
        _whole([part.operational_g for part in parts]),
        tallies.all.embodied_g.value,
        (ends[0], ends[1]),
        tuple(unknown),
    )


def _score(
    tally: Tally,
    operational_g: float | None,
    embodied_g: float | None,
    ends_g: tuple[float | None, float | None],
    unknown: tuple[str, ...],
) -> Score:
    n = tally.answered
    if not n:
        return Score(None, None, None, None, None, None, None, (*unknown, "no answered request of known joules"))

    def per(total: float | None, count: float | None) -> float | None:
        return None if total is None or not count else total / count

    total_g = None if operational_g is None or embodied_g is None else operational_g + embodied_g
    return Score(
        g_per_request=per(total_g, n),
        operational_g_per_request=per(operational_g, n),
        embodied_g_per_request=per(embodied_g, n),
        embodied_low_g_per_request=per(ends_g[0], n),
        embodied_high_g_per_request=per(ends_g[1], n),
        g_per_token=per(total_g, tally.output_tokens.value),
        g_per_conversation=per(total_g, tally.conversations.value),
        unknown=unknown,
    )


def _whole(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
