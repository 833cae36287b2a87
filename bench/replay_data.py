"""What a replay works on: measurements, embeddings, splits, and each split fitted once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.replay_cascades import NO_CASCADES, Cascading, Side
from bench.splits import refuse_shared, split_as_marked, split_at_random
from router.domain.cascade import CascadeMode
from router.domain.catalogue import Floor, Option
from router.domain.errors import MeasurementError
from router.domain.estimates import FloatArray, IntArray, Known, PromptView, Terms
from router.domain.ports import Embedder
from router.domain.record import Measurement
from router.domain.sci import embodied_g_per_s, operational_g_per_j
from router.estimate.known import build_known
from router.learn.decider import Decider
from router.learn.refit import fit_decider
from router.policy.terms import grams_of

LIFETIME_S = 5 * 365 * 24 * 3600.0
"""Over which embodied grams are spread: five years, as Sprout has it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Under what the policies are weighed.

    Attributes:
        intensity_g_per_kwh: Grid intensity.
        embodied_g: Embodied grams of the machine, spread over five years of its time.
        slack: Of the category floors; None without them.
        confidence: With which the floor is to hold.
        reference: Model named as the reference, or None.
        cascades: ``auto``, ``on`` or ``off``.
    """

    intensity_g_per_kwh: float = 385.0
    embodied_g: float = 0.0
    slack: float | None = 0.05
    confidence: float = 0.5
    reference: str | None = None
    cascades: CascadeMode = "off"

    def remarks(self, *, has_embodied: bool) -> tuple[str, ...]:
        """What is to be said of the grams."""
        found = []
        if self.embodied_g > 0 and not has_embodied:
            found.append("embodied grams are left out: the seconds of some options are not known")
        if self.intensity_g_per_kwh == 0 and not has_embodied:
            found.append("at 0 g/kWh every option emits the same: what is chosen says nothing")
        return tuple(found)

    def terms(self, options: Sequence[Option], floor: Floor) -> Terms:
        """The same site for all options."""
        count = len(options)
        return Terms(
            floor=floor,
            g_per_j=np.full(count, operational_g_per_j(self.intensity_g_per_kwh)),
            g_per_s=np.full(count, embodied_g_per_s(self.embodied_g, LIFETIME_S)),
            slack=self.slack,
            confidence=self.confidence,
        )


@dataclass(frozen=True, slots=True)
class Fold:
    """One split, fitted.

    Attributes:
        seed: Of the split, or -1 where the sides were given.
        unseen: Held-out prompts.
        rows: (n,) their places in the whole list of measurements.
        decider: Fitted on the known ones, with the reference policy; replan it for others.
        view: What it sees of the held-out ones.
        n_known: How many prompts it was fitted on.
        cascading: The cascades chosen on the known side.
    """

    seed: int
    unseen: Known
    rows: IntArray
    decider: Decider
    view: PromptView
    n_known: int
    cascading: Cascading = NO_CASCADES

    def has_embodied(self, setting: Setting) -> bool:
        """Whether the plans count embodied grams: some are stated, and the seconds of all options are known."""
        terms = setting.terms(self.unseen.options, Floor(1.0))
        return setting.embodied_g > 0 and grams_of(self.decider.estimates, terms).with_embodied

    def side(self, *, is_cascading: bool) -> Side:
        """What a policy is fitted and scored on, with the cascades where it may use them and there are any."""
        if is_cascading and self.cascading.side is not None:
            return self.cascading.side
        return Side(self.decider.estimator.known, self.decider.estimates, self.unseen, self.view)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Measurements with their embeddings.

    Attributes:
        measurements: All of them.
        embeddings: (n, d).
        sides: Known and held out as given or marked; None where they are to be split.
    """

    measurements: tuple[Measurement, ...]
    embeddings: FloatArray
    sides: tuple[tuple[int, ...], tuple[int, ...]] | None

    @classmethod
    def load(cls, known: Path, heldout: Path | None, embedder: Embedder, *, marked: bool = True) -> Corpus:
        """Read the files and embed their prompts.

        Args:
            known: Measurements.
            heldout: More of them, to be held out; or None.
            embedder: A caching one, preferably.
            marked: Whether the file's own ``split`` marks are followed, where it has any.

        Raises:
            MeasurementError: If a file is broken or empty, or both share prompts.
        """
        from router.store.codec import read_measurements

        first = _graded(read_measurements(known), known)
        second = [] if heldout is None else _graded(read_measurements(heldout), heldout)
        everything = [*first, *second]
        sides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        if second:
            refuse_shared(first, second)
            sides = tuple(range(len(first))), tuple(range(len(first), len(everything)))
        elif marked and (parts := split_as_marked(everything)) is not None:
            place = {id(m): i for i, m in enumerate(everything)}
            sides = tuple(place[id(m)] for m in parts[0]), tuple(place[id(m)] for m in parts[1])
        return cls(tuple(everything), embedder.embed([m.prompt for m in everything]), sides)

    def folds(self, setting: Setting, share: float, seeds: Sequence[int]) -> Iterator[Fold]:
        """Each split, fitted on its known side."""
        if self.sides is not None:
            yield self._fit(setting, -1, *self.sides)
            return
        place = {id(m): i for i, m in enumerate(self.measurements)}
        for seed in seeds:
            known, unseen = split_at_random(self.measurements, share, seed)
            yield self._fit(setting, seed, [place[id(m)] for m in known], [place[id(m)] for m in unseen])

    def _fit(self, setting: Setting, seed: int, known: Sequence[int], unseen: Sequence[int]) -> Fold:
        seen = build_known([self.measurements[i] for i in known], self.embeddings[list(known)])
        held = build_known([self.measurements[i] for i in unseen], self.embeddings[list(unseen)], seen.options)
        decider = fit_decider(
            seen,
            setting.terms(seen.options, Floor(1.0)),
            policy="reference",
            seed=max(seed, 0),
            reference=setting.reference,
        )
        view = decider.view(held.texts, held.embeddings)
        cascading = Cascading.of(
            decider.estimator,
            Side(seen, decider.estimates, held, view),
            ([self.measurements[i] for i in known], [self.measurements[i] for i in unseen]),
            setting.terms(seen.options, Floor(1.0)),
            setting.cascades,
            max(seed, 0),
        )
        return Fold(seed, held, np.array(unseen, dtype=np.int64), decider, view, len(known), cascading)


def _graded(measurements: Sequence[Measurement], file: Path) -> list[Measurement]:
    """Those any answer was graded on: on the others nothing can be scored, neither promised nor held out.

    Raises:
        MeasurementError: If there are none.
    """
    kept = [m for m in measurements if any(outcome.quality is not None for outcome in m.outcomes)]
    if not kept:
        what = "none of the measurements in it is graded" if measurements else "no measurements in it"
        raise MeasurementError(what, file=str(file))
    return kept
