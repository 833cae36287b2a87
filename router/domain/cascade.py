"""A cascade as one more column: a cheap option first, a better one only where a signal asks for it.

The cheap answer is held back until it has been judged, so a cascade cannot stream before it decides; what it ran for
nothing is charged like the rest. Which signals there are is a matter of what the measurements and the engine tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE, Option
from router.domain.estimates import FloatArray

SignalKind = Literal["logprob", "checks", "agreement"]
CascadeMode = Literal["auto", "on", "off"]
CASCADE_MODES: tuple[CascadeMode, ...] = ("auto", "on", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade(Option):
    """A column whose own fields name the option that answers first; all its options run at one site.

    Attributes:
        then: Who answers where the signal asks for it.
        signal: ``logprob`` (the first answer's mean log-probability lies under the threshold), ``checks`` (its code
            or SQL is broken) or ``agreement`` (``beside`` says something else).
        threshold: Of the mean log-probability, for ``logprob``.
        beside: The second cheap option, for ``agreement``.
    """

    then: Option
    signal: SignalKind
    threshold: float | None = None
    beside: Option | None = None

    @property
    def first(self) -> Option:
        """Who answers first."""
        return Option(self.model, self.directive, self.site, self.setting)

    @property
    def is_plain(self) -> bool:
        """Whether none of its options is told to be brief."""
        return all(part.directive == NO_DIRECTIVE for part in self.parts)

    @property
    def parts(self) -> tuple[Option, ...]:
        """The options that may run."""
        return (self.first, self.then, *(() if self.beside is None else (self.beside,)))

    @property
    def when(self) -> str:
        """What sends a prompt on, in words."""
        if self.signal == "logprob":
            return f"mean log-probability under {self.threshold:.2f}"
        return "its code or SQL is broken" if self.signal == "checks" else f"{self.beside} says otherwise"

    def __str__(self) -> str:
        """For people."""
        return f"{self.first}, then {self.then} if {self.when}"


@dataclass(frozen=True, slots=True)
class Signals:
    """What the measured answers told about themselves, (n, O) each, NaN where nothing is known.

    Attributes:
        mean_logprob: Mean log-probability of the answer's tokens.
        checks: 1 where nothing is found wrong with the answer's code or SQL (or it holds none), 0 where something is.
        sameness: Number of the answer among the different ones to its prompt: equal numbers, equal answers.
    """

    mean_logprob: FloatArray
    checks: FloatArray
    sameness: FloatArray

    @property
    def are_missing(self) -> bool:
        """Whether no answer tells anything."""
        return not any(np.isfinite(a).any() for a in (self.mean_logprob, self.checks, self.sameness))

    def take(self, rows: np.ndarray) -> Signals:
        """The same for some of the prompts."""
        return Signals(self.mean_logprob[rows], self.checks[rows], self.sameness[rows])
