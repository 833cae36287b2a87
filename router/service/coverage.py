"""What the measurements do not cover, in sentences: a reader of the plan has to know why an option is never drawn."""

from __future__ import annotations

import numpy as np

from router.domain.estimates import Estimates, Known

FEW_PROMPTS = 20
"""Below it, an option's share of right answers is known to no better than .22 (95 %)."""


def coverage_notes(known: Known, estimates: Estimates) -> tuple[str, ...]:
    """What is missing, and what the plan does about it.

    Args:
        known: The measured prompts.
        estimates: The table made of them.
    """
    notes: list[str] = []
    graded = np.isfinite(known.quality).sum(axis=0)  # (O,)
    metered = np.isfinite(known.energy_j).sum(axis=0)
    unmetered = [str(o) for o, n in zip(known.options, metered, strict=True) if n == 0]
    if unmetered:
        notes.append(f"no joules are known of {', '.join(unmetered)}: never routed to; measure with `make bench`")
    few = [f"{o} ({n})" for o, n, e in zip(known.options, graded, metered, strict=True) if n < FEW_PROMPTS and e > 0]
    if few:
        notes.append(f"graded on fewer than {FEW_PROMPTS} prompts, so little is known of: {', '.join(few)}")
    cells = np.isfinite(estimates.q) & np.isfinite(estimates.energy_j)  # (C, O)
    reference = estimates.reference
    for c, category in enumerate(estimates.categories):
        if np.isfinite(estimates.n[c]).any() and (estimates.n[c] >= 1.0).any():
            if not cells[c, reference]:
                notes.append(f"the reference is not measured on {category}: its mean over the other tasks stands in")
            continue
        notes.append(f"nothing is measured on {category}: the reference answers it, at its mean quality")
    if len(known.options) == 1:
        notes.append(f"{known.options[0]} is the only measured option: there is nothing to choose between")
    return tuple(notes)
