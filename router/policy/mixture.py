"""Where on the ladder the floor is kept: the two rungs, and their shares, of least grams.

    gap(k)   = what the estimates foretell of rung k above the floor - its optimism (:mod:`router.policy.optimism`)
    error(k)   standard error of the same as *measured*, prompt by prompt;     0 on the reference's own rung
    bound(k) = gap - z(confidence) error

Both are made non-decreasing in k before they are read (a dearer quality cannot be worse but by chance). What was
measured gives the error only: counted on the prompts that the options were chosen from it flatters, counted on
others it is as noisy as the floor's margin is wide, and either way the rung read off it wanders. Where the floor is
out of reach, the plan of highest quality is the one foretold (recorded outcomes: taking the reference where optimism
puts it ahead loses accuracy on unseen prompts).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from router.domain.estimates import FloatArray
from router.policy.ladder import rising
from router.policy.terms import Target


@dataclass(frozen=True, slots=True)
class Mixture:
    """At most two rungs of the ladder.

    Attributes:
        rungs: The two.
        share: Weight of each, summing to 1.
        quality_gap: Estimated quality above the floor.
        feasible: Whether the floor is kept, margin included.
        reachable_gap: Where it is not, the most that can be had above the floor: the reference's, at least.
        slope_g: Grams that one more unit of quality costs on the way from the lower rung to the higher.
    """

    rungs: tuple[int, int]
    share: tuple[float, float]
    quality_gap: float
    feasible: bool
    reachable_gap: float | None = None
    slope_g: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every rung against the floor, (K + 1,) each; the last rung is the reference.

    Attributes:
        foretold: Mean quality above the floor, as expected.
        optimism: By how much that flatters.
        error: Standard error of the mean, as measured and as far as it was.
    """

    foretold: FloatArray
    optimism: FloatArray
    error: FloatArray

    @classmethod
    def of(
        cls,
        v: FloatArray,
        quality: FloatArray,
        reference: FloatArray,
        foretold: FloatArray,
        foretold_reference: FloatArray,
        optimism: FloatArray,
        unmeasured: FloatArray,
        target: Target,
    ) -> Comparison:
        """Compare prompt by prompt.

        Args:
            v: (n,) weights of the prompts.
            quality: (n, K + 1) measured under each rung.
            reference: (n,) measured under the reference.
            foretold: (n, K + 1) expected under each rung.
            foretold_reference: (n,) expected under the reference.
            optimism: (K + 1,) of what is expected.
            unmeasured: (K + 1,) standard error of the part of the quality that was never measured.
            target: The floor.
        """
        difference = quality - _needed(reference, target)
        mean = v @ difference
        told = v @ (foretold - _needed(foretold_reference, target))
        error = np.sqrt(v**2 @ (difference - mean) ** 2 + unmeasured**2)
        told[-1] = mean[-1]  # of the reference itself nothing was chosen
        if target.share is not None:
            error[-1] = 0.0
        return cls(told, optimism, error)


def cheapest_mixture(compare: Comparison, paid: FloatArray, confidence: float) -> Mixture:
    """The mixture of least grams that keeps the floor with this confidence; ``paid`` (K + 1,) grams of each rung."""
    top = paid.size - 1
    z = NormalDist().inv_cdf(min(max(confidence, 0.5), 1 - 1e-9))
    gap = _rising_to_the_reference(compare.foretold - compare.optimism)
    bound = _rising_to_the_reference(gap - z * compare.error)
    met = bound >= -1e-12
    if not met.any():
        best = int(np.argmax(bound if z > 0 else _rising_to_the_reference(compare.foretold)))
        return Mixture((best, best), (1.0, 0.0), float(gap[best]), False, max(float(gap[best]), float(gap[top])))
    found = []
    if met[:top].any():
        above = int(np.argmax(met))  # the bound rises, so every rung above keeps the floor too
        found.append(_between(max(above - 1, 0), above, bound, gap, paid))
    if met[top] and not met[0] and (z > 0 or not found):
        # The reference's share carries no error, so under a margin it can be the cheaper way to certainty; without
        # one, a far rung that mixes better with it than the neighbours do is mostly a lucky one.
        found.append(_between(_best_partner(bound, paid, top), top, bound, gap, paid))
    return min(found, key=lambda m: sum(share * paid[rung] for rung, share in zip(m.rungs, m.share, strict=True)))


def _between(low: int, high: int, bound: FloatArray, gap: FloatArray, paid: FloatArray) -> Mixture:
    """The mixture of two rungs at which the bound is just zero."""
    room = bound[high] - bound[low]
    part = float(np.clip(-bound[low] / room, 0.0, 1.0)) if room > 0 else 1.0
    slope_g = float(max(paid[high] - paid[low], 0.0) / room) if room > 0 else 0.0
    return Mixture(
        (low, high), (1.0 - part, part), float((1 - part) * gap[low] + part * gap[high]), True, slope_g=slope_g
    )


def _best_partner(bound: FloatArray, paid: FloatArray, top: int) -> int:
    """The rung that, mixed with the reference until the bound is zero, costs least."""
    share = np.clip(-bound[:top] / np.maximum(bound[top] - bound[:top], 1e-300), 0.0, 1.0)
    return int(np.argmin((1 - share) * paid[:top] + share * paid[top]))


def _needed(reference: FloatArray, target: Target) -> FloatArray | float:
    """(n, 1) quality that keeps the floor on each prompt, or the one that does on all."""
    return target.quality if target.share is None else target.share * reference[:, None]


def _rising_to_the_reference(values: FloatArray) -> FloatArray:
    """The rungs in rising order; the reference, which is no priced rung, as it is."""
    return np.append(rising(values[:-1]), values[-1])
