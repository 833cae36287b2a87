"""The signals of measured answers as arrays, by the same checks that judge an answer while it is served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.domain.cascade import Signals
from router.domain.catalogue import Option
from router.domain.record import Measurement, Outcome
from router.estimate.answer_checks import flaw, likeness


def build_signals(measurements: Sequence[Measurement], options: Sequence[Option]) -> Signals:
    """Signals of each prompt's answers, (n, O), in the order given; of repeats and loads the first one speaks."""
    index = {option: column for column, option in enumerate(options)}
    shape = (len(measurements), len(index))
    found = Signals(np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan))
    for i, measurement in enumerate(measurements):
        seen: dict[str, int] = {}
        for outcome in sorted(measurement.outcomes, key=lambda o: (o.concurrency, o.repeat)):
            column = index.get(outcome.option)
            if column is not None:
                _enter(found, i, column, measurement.prompt, outcome, seen)
    return found


def _enter(found: Signals, i: int, column: int, prompt: str, outcome: Outcome, seen: dict[str, int]) -> None:
    if outcome.mean_logprob is not None and np.isnan(found.mean_logprob[i, column]):
        found.mean_logprob[i, column] = outcome.mean_logprob
    if outcome.answer is not None and np.isnan(found.checks[i, column]):
        found.checks[i, column] = float(flaw(prompt, outcome.answer) is None)
        alike = likeness(outcome.answer)
        found.sameness[i, column] = seen.setdefault(alike, len(seen))
