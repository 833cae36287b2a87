"""What the measurements cover, and in sentences what not: readers of a plan must know why an option is never drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE, Catalogue, Option
from router.domain.estimates import Estimates, Known
from router.domain.record import Measurement

FEW_PROMPTS = 20
"""Below it, an option's share of right answers is known to no better than .22 (95 %)."""
REMEASURE = "`make bench ARGS=--remeasure`"
"""What puts rows of this machine in the place of shipped ones; ``make bench`` alone measures what they do not cover."""


def measured(measurements: Sequence[Measurement], available: Sequence[Option]) -> tuple[Option, ...]:
    """Available options with at least one graded outcome, in the federation's order."""
    graded = graded_options(measurements)
    return tuple(option for option in available if option in graded)


def graded_options(measurements: Sequence[Measurement]) -> frozenset[Option]:
    """Options of which any outcome was graded, available or not."""
    return frozenset(outcome.option for m in measurements for outcome in m.outcomes if outcome.quality is not None)


def fallback_reference(catalogue: Catalogue, available: Sequence[Option]) -> Option | None:
    """Who answers without measurements: the configured reference, else the largest model, at L0."""
    plain = [o for o in available if o.directive == NO_DIRECTIVE]
    if not plain:
        return None
    configured = [o for o in plain if o.model == catalogue.reference]
    return configured[0] if configured else max(plain, key=lambda o: catalogue.models[o.model].parameters or 0.0)


def federation_notes(
    catalogue: Catalogue, measurements: Sequence[Measurement], available: Sequence[Option]
) -> tuple[str, ...]:
    """Which models cannot be routed to, and whether anything was measured on this machine."""
    notes: list[str] = []
    absent = sorted({o.model for o in catalogue.options()} - {o.model for o in available})
    if absent:
        notes.append(f"not available at any engine now: {', '.join(absent)}")
    seen = {option.model for option in graded_options(measurements)}
    unmeasured = sorted({o.model for o in available} - seen)
    if unmeasured and measurements:
        notes.append(f"not measured yet, so never routed to: {', '.join(unmeasured)}; run `make bench`")
    if measurements and all(m.origin == "shipped" for m in measurements):
        notes.append(f"all measurements were shipped, taken on another machine; {REMEASURE} measures this one")
    return tuple(notes)


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
        if c in estimates.ungraded_rows:
            notes.append(f"nothing is graded on {category}: the reference answers it, and the floor says nothing of it")
        else:
            notes.append(f"nothing is measured on {category}: the reference answers it, at its mean quality")
    if len(known.options) == 1:
        notes.append(f"{known.options[0]} is the only measured option: there is nothing to choose between")
    return tuple(notes)
