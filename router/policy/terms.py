"""From estimates and terms to what every policy needs: grams, the floor at this hour, constant plans.

g = (E + load_j) g_per_j + (T + load_s) g_per_s       NaN where an option is closed; the embodied term is left out
                                                      for all options as soon as one of them lacks it
floor = q_ref - s (q_ref - q_min),  s = Terms.cleanliness in [0, 1];  q_min = share * q_ref, or absolute
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.domain.decision import Plan
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, Known, PromptView, Terms

RAKING = 20
"""Rounds of raking; the categories are nearly disjoint, so a few are enough."""


@dataclass(frozen=True, slots=True)
class Grams:
    """Grams per prompt under given terms.

    Attributes:
        table: (C, O) for the program, NaN where the option is no column.
        with_embodied: Whether the embodied term is in.
    """

    table: FloatArray
    with_embodied: bool

    @property
    def embodied(self) -> str:
        """As the plan says it."""
        return "included" if self.with_embodied else "excluded"


def cleanliness_of(k0: float, k0_min: float, k0_max: float) -> float:
    """The sliding floor's s: 0 at the cleanest hour of the zone's past, 1 at the dirtiest and where they are equal."""
    if not k0_max > k0_min:
        return 1.0
    return float(np.clip((k0 - k0_min) / (k0_max - k0_min), 0.0, 1.0))


def grams_of(estimates: Estimates, terms: Terms) -> Grams:
    """Grams of the table.

    Raises:
        PolicyError: If the terms do not fit the options, or no option has known grams.
    """
    if terms.g_per_j.shape != (len(estimates.options),) or terms.g_per_s.shape != terms.g_per_j.shape:
        raise PolicyError(f"terms for {terms.g_per_j.size} options do not fit {len(estimates.options)} columns")
    # Closed options count here: whether the embodied term is in must not depend on what a pin leaves open.
    usable = np.isfinite(estimates.energy_j * terms.g_per_j) & np.isfinite(estimates.q)
    if not usable.any():
        is_grid_known = bool(np.isfinite(terms.g_per_j).any())
        raise PolicyError(
            "no option has known quality and energy" if is_grid_known else "the grid intensity is known at no site",
            hint="run `make bench`" if is_grid_known else "state intensity_g_per_kwh or intensity_fallback_g_per_kwh",
        )
    if not usable[:, estimates.reference].any():
        raise PolicyError(
            f"the grams of the reference {estimates.options[estimates.reference]} are not known",
            hint="state intensity_g_per_kwh for its site in models.yaml",
        )
    with_embodied = bool(np.isfinite((estimates.duration_s * terms.g_per_s)[usable]).all())
    table = price(estimates.energy_j, estimates.duration_s, terms, with_embodied)
    return Grams(np.where(usable, table, np.nan), with_embodied)


def price(energy_j: FloatArray, duration_s: FloatArray, terms: Terms, with_embodied: bool) -> FloatArray:
    """Grams of joules and seconds of any shape (..., O)."""
    g = (energy_j if terms.load_j is None else energy_j + terms.load_j) * terms.g_per_j
    if with_embodied:
        g = g + (duration_s if terms.load_s is None else duration_s + terms.load_s) * terms.g_per_s
    return np.asarray(g if terms.closed is None else np.where(terms.closed, np.nan, g))


@dataclass(frozen=True, slots=True)
class Target:
    """The floor at this hour.

    Attributes:
        quality: As an accuracy.
        share: The part of it that moves with the reference's own quality; None where it is absolute.
    """

    quality: float
    share: float | None


def target_of(terms: Terms, reference_quality: float) -> Target:
    """The sliding floor; q_min is never undercut."""
    s = float(np.clip(terms.cleanliness, 0.0, 1.0))
    if not terms.floor.absolute:
        share = 1.0 - s * (1.0 - terms.floor.value) if terms.floor.value < 1.0 else terms.floor.value
        return Target(share * reference_quality, share)
    lowest = terms.floor.value
    if lowest >= reference_quality:
        return Target(lowest, None)
    return Target(reference_quality - s * (reference_quality - lowest), None)


def expected_of(view: PromptView, estimates: Estimates) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(n, O) quality, joules and seconds of each prompt: its own where the view has them, else its categories'."""
    return (
        _mix(view.p, estimates.q) if view.q is None else view.q,
        _mix(view.p, estimates.energy_j) if view.energy_j is None else view.energy_j,
        _mix(view.p, estimates.duration_s) if view.duration_s is None else view.duration_s,
    )


def rows_of(known: Known, estimates: Estimates) -> PromptView:
    """The known prompts as the decision would have seen them; their labels where nothing else is at hand."""
    if estimates.rows is not None:
        return estimates.rows
    index = {name: c for c, name in enumerate(estimates.categories)}
    p = np.array([np.eye(len(index))[index[c]] if c in index else estimates.w for c in known.categories])
    n = len(known.texts)
    flags = np.zeros(n, dtype=np.bool_)
    return PromptView(p, np.zeros((n, 0), dtype=np.int64), np.zeros((n, 0)), flags, flags)


def importance(p: FloatArray, w: FloatArray) -> FloatArray:
    """(n,) weights summing to 1 under which the known prompts have the traffic's shares of categories.

    Raking: categories' weights are scaled until ``v @ p`` is ``w``, or comes near it where no weights reach it.
    """
    ratio = np.ones(w.size)
    v = np.full(len(p), 1.0 / len(p))
    for _ in range(RAKING):
        share = v @ p
        if np.abs(share - w).max() < 1e-9:
            break
        ratio = ratio * np.where(share > 1e-12, w / np.maximum(share, 1e-12), 0.0)
        v = p @ ratio
        v /= v.sum()
    return v


def error_of_cells(estimates: Estimates) -> FloatArray:
    """(C, O) standard error of the table's quality where it stands in for what was not measured; 0 where unknown.

    Not under that of two right and two wrong answers more (Agresti and Coull): twelve right answers of twelve are no
    certainty.
    """
    n, q = np.nan_to_num(estimates.n), np.nan_to_num(estimates.q)
    steadied = (q * n + 2.0) / (n + 4.0)
    error = np.sqrt(np.maximum(np.nan_to_num(estimates.q_se) ** 2, steadied * (1.0 - steadied) / (n + 4.0)))
    return np.asarray(np.where(np.isfinite(estimates.q), error, 0.0))


def may_be_brief(estimates: Estimates) -> FloatArray:
    """(O,) 0 for options a prompt that forbids brevity may get (L0 and the reference), infinite for the others."""
    plain = np.array([option.is_plain for option in estimates.options])
    plain[estimates.reference] = True
    return np.where(plain, 0.0, np.inf)


def constant_plan(
    policy: str,
    estimates: Estimates,
    terms: Terms,
    mix: FloatArray,
    *,
    feasible: bool = True,
    notes: tuple[str, ...] = (),
) -> Plan:
    """The plan of a policy that gives every prompt the same mix (O,) of options."""
    grams = grams_of(estimates, terms)
    r = estimates.reference
    g, q = pooled_grams(estimates.w, grams.table, r), pooled_quality(estimates.graded_w, estimates.q, r)
    target = target_of(terms, float(q[r]))
    return Plan(
        policy=policy,
        categories=estimates.categories,
        options=estimates.options,
        w=estimates.w,
        x=np.tile(mix, (len(estimates.categories), 1)),
        g=grams.table,
        q=estimates.stated_q,
        reference=r,
        floor=terms.floor,
        floor_quality=target.quality,
        expected_g=_dot(mix, g),
        expected_quality=_dot(mix, q),
        reference_g=float(g[r]),
        reference_quality=float(q[r]),
        feasible=feasible,
        reachable_quality=None if feasible else float(np.nanmax(np.where(np.isfinite(g), q, np.nan))),
        embodied=grams.embodied,
        notes=notes,
    )


def pooled_quality(w: FloatArray, q: FloatArray, reference: int) -> FloatArray:
    """(O,) mean quality over the traffic; NaN where an option is known in half of it or less.

    An option that is unknown in some categories is set against the reference in the others: hard categories that it
    was not measured in must not make it look good.
    """
    mean, beside, whole = _means(w, q, reference)
    return mean + whole - beside


def pooled_grams(w: FloatArray, g: FloatArray, reference: int) -> FloatArray:
    """(O,) likewise of grams, of which the reference's are multiplied: what a category takes, it takes of all."""
    mean, beside, whole = _means(w, g, reference)
    return mean * np.where(beside > 0, whole / np.where(beside > 0, beside, 1.0), 1.0)


def _means(w: FloatArray, cells: FloatArray, reference: int) -> tuple[FloatArray, FloatArray, float]:
    """(O,) means where an option is known, those of the reference over the same traffic, and its own over all."""
    known = np.isfinite(cells)
    own = cells[:, reference] if known[:, reference].any() else np.zeros(w.size)  # a closed reference compares nothing
    known &= np.isfinite(own)[:, None]
    mass = w @ known
    share = np.where(known, w[:, None], 0.0) / np.maximum(mass, 1e-300)
    mean = (share * np.where(known, cells, 0.0)).sum(axis=0)
    beside = np.nan_to_num(own) @ share
    return np.where(mass > 0.5, mean, np.nan), beside, float(beside[reference])


def _dot(mix: FloatArray, values: FloatArray) -> float:
    used = mix > 0
    return float(mix[used] @ values[used])


def _mix(p: FloatArray, cells: FloatArray) -> FloatArray:
    given = np.isfinite(cells)
    mass = p @ given
    total = p @ np.where(given, cells, 0.0)
    return np.asarray(np.where(mass > 0.5, total / np.where(mass > 0, mass, 1.0), np.nan))
