"""Savings at equal held-out accuracy: floors swept on a grid fixed beforehand, then read where accuracy is equal.

Two policies at the same floor end at different accuracies on prompts they have not seen, so their savings are not
comparable as they stand. Each policy's floors make a curve (mean relative accuracy, mean saving) over the splits;
it is read by linear interpolation where it crosses the wanted accuracy. Every curve begins at the reference itself
(accuracy 1, saving 0), which any policy can be mixed with; so a policy without a floor has a curve as well.

Intervals are paired bootstraps, all policies resampled alike: over the splits (how much the split matters), and
over splits and prompts at once (how much the prompts at hand matter too; wider, and the one to generalise from).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.intervals import at_level, at_place, crossing, percentiles
from bench.replay_cascades import CASCADING, WITHOUT
from bench.replay_data import Fold, Setting
from bench.replay_scores import MUCH, HeldOut, PerPrompt, outcome, worst_category
from router.domain.catalogue import Floor
from router.domain.estimates import FloatArray, IntArray
from router.policy.registry import make_policy

FLOORS = (
    1.06,
    1.04,
    1.03,
    1.02,
    1.01,
    1.0,
    0.99,
    0.98,
    0.97,
    0.96,
    0.95,
    0.94,
    0.93,
    0.92,
    0.91,
    0.90,
    0.88,
    0.86,
    0.84,
    0.80,
    0.75,
)
"""Shares of the reference's accuracy; those above 1 ask for more than the reference gives."""

WITHOUT_FLOOR = ("nearest", "cheapest", "reference", "best-single")
REPLICATES = 400


@dataclass(slots=True)
class Curves:
    """Per policy, floor and held-out prompt what came out, over all splits.

    Attributes:
        policies: Their names, as they are shown.
        n_prompts: Of the whole corpus.
        quality: Per split: (policies, floors, n_heldout).
        g: Likewise, grams.
        reference_quality: Per split: (n_heldout,).
        reference_g: Likewise.
        rows: Per split: places in the corpus.
        worst: Per split: (policies, floors) worst category's relative accuracy.
        shares_moved: Per split: (policies,) weight on options that were not measured, mean over prompts and floors.
    """

    policies: tuple[str, ...]
    n_prompts: int
    quality: list[FloatArray] = field(default_factory=list)
    g: list[FloatArray] = field(default_factory=list)
    reference_quality: list[FloatArray] = field(default_factory=list)
    reference_g: list[FloatArray] = field(default_factory=list)
    rows: list[IntArray] = field(default_factory=list)
    worst: list[FloatArray] = field(default_factory=list)
    shares_moved: list[FloatArray] = field(default_factory=list)

    def moved(self) -> dict[str, float]:
        """Share of each policy's weight that was on options not measured on the prompt, where it is worth telling."""
        share = np.mean(self.shares_moved, axis=0)
        return {name: float(s) for name, s in zip(self.policies, share, strict=True) if s >= MUCH}

    def add(self, fold: Fold, setting: Setting) -> None:
        """Sweep one fitted split."""
        r = fold.decider.estimates.reference
        with_embodied = fold.has_embodied(setting)
        terms = setting.terms(fold.unseen.options, Floor(1.0))
        reference = HeldOut.of(fold.unseen, r, terms, with_embodied=with_embodied)
        quality, g, worst, moved = [], [], [], []
        for label in self.policies:
            name = label.removesuffix(WITHOUT)
            side = fold.side(is_cascading=label in CASCADING)
            options = side.unseen.options
            held = HeldOut.of(side.unseen, r, setting.terms(options, Floor(1.0)), with_embodied=with_embodied)
            at_floors: list[PerPrompt] = []
            for floor in FLOORS:
                if name in WITHOUT_FLOOR and at_floors:
                    at_floors.append(at_floors[0])
                    continue
                terms = setting.terms(options, Floor(floor))
                fitted = make_policy(name).fit(side.known, side.estimates, terms)
                at_floors.append(outcome(fitted.weights(side.view)[held.kept], held))
            quality.append([got.quality for got in at_floors])
            g.append([got.g for got in at_floors])
            worst.append([worst_category(got, held) for got in at_floors])
            moved.append(np.mean([got.moved.mean() for got in at_floors]))
        self.quality.append(np.array(quality, dtype=np.float32).astype(np.float64))
        self.g.append(np.array(g))
        self.worst.append(np.array(worst))
        self.reference_quality.append(reference.quality[:, r])
        self.reference_g.append(reference.g[:, r])
        self.rows.append(fold.rows[reference.kept])
        self.shares_moved.append(np.array(moved))


@dataclass(frozen=True, slots=True)
class Reading:
    """One policy at one accuracy.

    Attributes:
        saving: Share of the reference's grams.
        interval_over_splits: 95 %.
        interval_over_prompts: 95 %, splits and prompts resampled.
        ahead: What ``joint`` saves more, in points of share, with both intervals; None for joint itself.
        worst_category: Relative accuracy of the worst category there, mean over splits.
    """

    saving: float | None
    interval_over_splits: tuple[float, float] | None
    interval_over_prompts: tuple[float, float] | None
    ahead: tuple[float | None, tuple[float, float] | None, tuple[float, float] | None] | None
    worst_category: float | None


def read(curves: Curves, levels: Sequence[float], seed: int = 0) -> dict[str, dict[float, Reading]]:
    """Savings of every policy at every accuracy."""
    splits = len(curves.rows)
    rng = np.random.default_rng(seed)
    even = np.ones(splits)
    centre = _savings(curves, levels, even, None)  # (policies, levels)
    over_splits = np.array(
        [
            _savings(curves, levels, rng.multinomial(splits, even / splits).astype(float), None)
            for _ in range(REPLICATES)
        ]
    )
    over_prompts = np.array(
        [
            _savings(
                curves,
                levels,
                rng.multinomial(splits, even / splits).astype(float),
                rng.multinomial(curves.n_prompts, np.full(curves.n_prompts, 1 / curves.n_prompts)).astype(float),
            )
            for _ in range(REPLICATES)
        ]
    )
    joint = curves.policies.index("joint") if "joint" in curves.policies else None
    found: dict[str, dict[float, Reading]] = {}
    for p, name in enumerate(curves.policies):
        found[name] = {}
        for a, level in enumerate(levels):
            ahead = None
            if joint is not None and p != joint:
                ahead = (
                    _known(centre[joint, a] - centre[p, a]),
                    _over(splits, over_splits[:, joint, a] - over_splits[:, p, a]),
                    percentiles(over_prompts[:, joint, a] - over_prompts[:, p, a]),
                )
            found[name][level] = Reading(
                saving=_known(centre[p, a]),
                interval_over_splits=_over(splits, over_splits[:, p, a]),
                interval_over_prompts=percentiles(over_prompts[:, p, a]),
                ahead=ahead,
                worst_category=_known(_worst_at(curves, p, level)),
            )
    return found


def _over(splits: int, values: FloatArray) -> tuple[float, float] | None:
    """One split has nothing to vary over."""
    return None if splits < 2 else percentiles(values)


def mean_curve(curves: Curves, splits: FloatArray, prompts: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """(policies, floors) mean relative accuracy and mean saving."""
    shape = (len(curves.policies), len(FLOORS))
    accuracy, saving = np.zeros(shape), np.zeros(shape)
    for s, times in enumerate(splits):
        if times == 0:
            continue
        u = np.ones(curves.rows[s].size) if prompts is None else prompts[curves.rows[s]]
        accuracy += times * (curves.quality[s] @ u) / (curves.reference_quality[s] @ u)
        saving += times * (1.0 - (curves.g[s] @ u) / (curves.reference_g[s] @ u))
    return accuracy / splits.sum(), saving / splits.sum()


def _savings(curves: Curves, levels: Sequence[float], splits: FloatArray, prompts: FloatArray | None) -> FloatArray:
    accuracy, saving = mean_curve(curves, splits, prompts)
    return np.array(
        [
            [at_level(_ended(name, a, 1.0), _ended(name, s, 0.0), level) for level in levels]
            for name, a, s in zip(curves.policies, accuracy, saving, strict=True)
        ]
    )


def _ended(policy: str, curve: FloatArray, reference: float) -> FloatArray:
    """The curve with the reference before it, where no dearer policy is; and after it, where there is no floor.

    Any policy can be mixed with the reference; one without a floor has no other way to a higher accuracy.
    """
    return np.concatenate([[reference], curve, [reference] if policy in WITHOUT_FLOOR else []])


def _worst_at(curves: Curves, policy: int, level: float) -> float:
    """Relative accuracy of the worst category there where the saving was read."""
    accuracy, saving = mean_curve(curves, np.ones(len(curves.rows)), None)
    worst = np.mean([w[policy] for w in curves.worst], axis=0)
    name = curves.policies[policy]
    place = crossing(_ended(name, accuracy[policy], 1.0), _ended(name, saving[policy], 0.0), level)
    return at_place(_ended(name, worst, 1.0), place)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
