"""Terms for options of which some are cascades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.estimates import FloatArray, Terms


def terms_for(terms: Terms, options: Sequence[Option]) -> Terms:
    """Terms made to fit the cascades among the options: all that their parts cost and forbid."""
    plain = [o for o, option in enumerate(options) if not isinstance(option, Cascade)]
    if len(plain) == len(options):
        return terms
    place = {options[o]: o for o in plain}
    parts = [
        [place[part] for part in (option.first, option.then, option.beside) if part is not None]
        if isinstance(option, Cascade)
        else [o]
        for o, option in enumerate(options)
    ]

    def first(values: FloatArray) -> FloatArray:
        return np.array([values[own[0]] for own in parts])

    limits = terms.limits
    if limits is not None and limits.slots is not None:
        limits = replace(limits, slots=first(limits.slots))
    return replace(
        terms,
        g_per_j=first(terms.g_per_j),
        g_per_s=first(terms.g_per_s),
        limits=limits,
        load_j=None if terms.load_j is None else np.array([terms.load_j[own].sum() for own in parts]),
        load_s=None if terms.load_s is None else np.array([terms.load_s[own].sum() for own in parts]),
        closed=None if terms.closed is None else np.array([bool(terms.closed[own].any()) for own in parts]),
    )
