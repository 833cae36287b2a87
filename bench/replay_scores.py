"""How a policy would have done on prompts it has not seen: expectations over its weights, nothing drawn.

An option without a measured quality or energy (or seconds, where embodied grams count) on a held-out prompt cannot be
scored there: its weight goes to the options that were measured on it, in proportion, and to the reference where none of
those has any. How much weight went that way is told: where it is much, the score says little of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.estimates import FloatArray, Known, Terms

MUCH = 0.005
"""Share of a policy's weight on unmeasured cells from which on it is told."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out prompts under given terms.

    Attributes:
        quality: (n, O), NaN unknown.
        energy_j: (n, O), NaN unknown.
        g: (n, O) grams, NaN unknown.
        category: (n,) label, None where there is none.
        reference: Column.
        kept: (N,) which of the unseen prompts these are.
    """

    quality: FloatArray
    energy_j: FloatArray
    g: FloatArray
    category: tuple[str | None, ...]
    reference: int
    kept: NDArray[np.bool_]

    @classmethod
    def of(cls, unseen: Known, reference: int, terms: Terms, *, with_embodied: bool = False) -> HeldOut:
        """Only prompts on which the reference itself was measured: savings are against it.

        Args:
            unseen: N prompts.
            reference: Column.
            terms: Grams per joule and second.
            with_embodied: Whether seconds count, as they did for the plan.
        """
        g = unseen.energy_j * terms.g_per_j
        if with_embodied:
            g = g + unseen.duration_s * terms.g_per_s
        rows = np.isfinite(unseen.quality[:, reference]) & np.isfinite(g[:, reference])
        return cls(
            quality=unseen.quality[rows],
            energy_j=unseen.energy_j[rows],
            g=g[rows],
            category=tuple(c for c, kept in zip(unseen.categories, rows, strict=True) if kept),
            reference=reference,
            kept=rows,
        )


@dataclass(frozen=True, slots=True)
class PerPrompt:
    """Expected outcome of one policy, (n,) each, and the weight that was scored as other options'."""

    quality: FloatArray
    energy_j: FloatArray
    g: FloatArray
    moved: FloatArray


@dataclass(frozen=True, slots=True)
class Score:
    """Means of one policy on the held-out prompts; the keys of the JSON output."""

    accuracy: float
    relative_accuracy: float
    worst_category_relative_accuracy: float
    energy_j: float
    energy_saving: float
    gco2e: float
    carbon_saving: float
    promised_accuracy: float | None


def outcome(weights: FloatArray, held: HeldOut) -> PerPrompt:
    """What weights (n, O) come to on each prompt."""
    scored = np.isfinite(held.quality) & np.isfinite(held.g)
    kept = np.where(scored, weights, 0.0)
    moved = 1.0 - kept.sum(axis=1)
    lost = kept.sum(axis=1) <= 1e-12
    kept[lost, held.reference] = 1.0
    kept /= kept.sum(axis=1, keepdims=True)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray((kept * np.where(scored, values, 0.0)).sum(axis=1))

    return PerPrompt(mean(held.quality), mean(held.energy_j), mean(held.g), moved)


def oracle(held: HeldOut) -> FloatArray:
    """(n, O) the cheapest option that answered right, the cheapest at all where none did. Sees the answers."""
    scored = np.isfinite(held.quality) & np.isfinite(held.g)
    best = np.where(scored, held.quality, -np.inf).max(axis=1, keepdims=True)
    as_good = scored & (held.quality >= best)
    return np.asarray(np.eye(held.g.shape[1])[np.argmin(np.where(as_good, held.g, np.inf), axis=1)])


def score(got: PerPrompt, held: HeldOut, promised: float | None) -> Score:
    """Means, and shares against the reference."""
    r = held.reference
    accuracy, reference = float(got.quality.mean()), float(held.quality[:, r].mean())
    return Score(
        accuracy=accuracy,
        relative_accuracy=_ratio(accuracy, reference),
        worst_category_relative_accuracy=worst_category(got, held),
        energy_j=float(got.energy_j.mean()),
        energy_saving=1.0 - _ratio(float(got.energy_j.mean()), float(held.energy_j[:, r].mean())),
        gco2e=float(got.g.mean()),
        carbon_saving=1.0 - _ratio(float(got.g.mean()), float(held.g[:, r].mean())),
        promised_accuracy=promised,
    )


def worst_category(got: PerPrompt, held: HeldOut) -> float:
    """Lowest accuracy relative to the reference's among the labelled categories; the whole's without labels."""
    labels = np.array([c or "" for c in held.category])
    found = [
        _ratio(float(got.quality[rows].mean()), float(held.quality[rows, held.reference].mean()))
        for name in sorted(set(labels) - {""})
        if (rows := labels == name).any()
    ]
    finite = [value for value in found if np.isfinite(value)]
    return min(finite) if finite else _ratio(float(got.quality.mean()), float(held.quality[:, held.reference].mean()))


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else float("nan")
