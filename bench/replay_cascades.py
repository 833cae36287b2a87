"""Cascades in a replay: the program's policies with and without them, on the same splits.

What a cascade would have given an unseen prompt follows from the recorded answers of its options; thresholds and
columns were chosen on the known side alone. Policies that solve no program have no use for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.domain.cascade import CascadeMode
from router.domain.estimates import Estimates, Known, PromptView, Terms
from router.domain.record import Measurement
from router.estimate.estimator import Estimator
from router.estimate.signals import build_signals
from router.learn.cascades import CascadedEstimator, with_cascades

CASCADING = ("joint", "category-lp")
WITHOUT = " without cascades"


@dataclass(frozen=True, slots=True)
class Side:
    """What a policy is fitted on, and what it is scored on.

    Attributes:
        known: Measured prompts.
        estimates: Of them.
        unseen: Held-out prompts.
        view: What the decision sees of those.
    """

    known: Known
    estimates: Estimates
    unseen: Known
    view: PromptView


@dataclass(frozen=True, slots=True)
class Cascading:
    """A split's cascades.

    Attributes:
        side: With the columns of those that are in; None where none is.
        notes: Which are in or out, and why.
        has_signals: Whether the known answers tell anything.
    """

    side: Side | None = None
    notes: tuple[str, ...] = ()
    has_signals: bool = False

    @classmethod
    def of(
        cls,
        estimator: Estimator,
        plain: Side,
        rows: tuple[Sequence[Measurement], Sequence[Measurement]],
        terms: Terms,
        mode: CascadeMode,
        seed: int,
    ) -> Cascading:
        """Choose on the known side, apply to the other.

        Args:
            estimator: Fitted on the known side.
            plain: Both sides without cascades.
            rows: Known and unseen measurements, in the order of the arrays.
            terms: Grams per joule and second.
            mode: ``auto``, ``on`` or ``off``.
            seed: Of the folds.
        """
        if mode == "off":
            return cls()
        signals = build_signals(rows[0], plain.known.options)
        cascaded: CascadedEstimator = with_cascades(estimator, signals, terms, mode, seed)
        if not cascaded.fits:
            return cls(None, cascaded.notes, not signals.are_missing)
        unseen = cascaded.outcomes(plain.unseen, build_signals(rows[1], plain.known.options))
        view = cascaded.view(unseen.texts, unseen.embeddings)
        return cls(Side(cascaded.known, cascaded.estimates, unseen, view), cascaded.notes, True)


NO_CASCADES = Cascading()


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the results.

    Attributes:
        label: As it is shown.
        policy: Which policy it is.
        is_cascading: Whether it may use cascades.
    """

    label: str
    policy: str
    is_cascading: bool = False


def entries(names: Sequence[str], *, has_cascades: bool) -> tuple[Entry, ...]:
    """The policies asked for; those that can use cascades also without them, to be compared with."""
    found: list[Entry] = []
    for name in names:
        found.append(Entry(name, name, has_cascades and name in CASCADING))
        if found[-1].is_cascading:
            found.append(Entry(name + WITHOUT, name))
    return tuple(found)
