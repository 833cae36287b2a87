"""Under which conditions a plan is made, beyond what was measured: intensity now and before, traffic, limits.

The conditions are read on the event loop and handed to the thread that plans, so that one plan rests on one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from router.domain.catalogue import Catalogue, Option, Site
from router.domain.estimates import Estimates, FloatArray, Limits, Terms
from router.domain.reading import Intensity
from router.domain.sci import operational_g_per_j
from router.policy.program import UTILISATION
from router.policy.terms import cleanliness_of
from router.service.past import FEWEST_HOURS, Past, Span
from router.service.traffic import Mix, moved

MIX_MOVED = 0.02
"""Share of the prompts that has to change category before the plan is solved again."""

RATE_MOVED = 0.25
"""By how much of itself the rate has to move, where it matters."""

CLEANLINESS_MOVED = 0.005


@dataclass(frozen=True, slots=True)
class Sliding:
    """The sliding floor's figures.

    Attributes:
        is_on: Whether models.yaml has it on.
        s: 1 asks for the user's floor alone, 0 for the reference's quality.
        site: Whose intensity counts: the reference's; None while there is no reference.
        k0_g_per_kwh: That intensity, or None where unknown.
        span: What its zone has had, or None where it has no past (a fixed figure).
        why: Why s is what it is, in words.
    """

    is_on: bool
    s: float
    site: str | None
    k0_g_per_kwh: float | None
    span: Span | None
    why: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a plan rests on beside the measurements.

    Attributes:
        sliding: The floor's slide.
        mix: Shares of the categories it was solved for, or None without a plan.
        rate_per_s: Forecast requests per second; None before the first one.
        levels: By site, generations at a time at which its rows are read; one where it is missing.
    """

    sliding: Sliding
    mix: Mix | None = None
    rate_per_s: float | None = None
    levels: Mapping[str, int] = field(default_factory=dict)

    @property
    def traffic(self) -> FloatArray | None:
        """(C,) shares to solve for; None where nothing but the measured prompts speaks for any."""
        return None if self.mix is None or self.mix.effective_n <= 0.0 else self.mix.w


def slide(catalogue: Catalogue, reference: Option | None, intensities: Mapping[str, Intensity], past: Past) -> Sliding:
    """Where the floor stands this hour."""
    site = None if reference is None else reference.site
    now = None if site is None else intensities.get(site)
    k0 = None if now is None else now.g_per_kwh
    if not catalogue.sliding_floor:
        return Sliding(False, 1.0, site, k0, None, "switched off in models.yaml")
    if now is None:
        return Sliding(True, 1.0, site, k0, None, "the intensity is not known")
    if now.age_s is None:
        return Sliding(True, 1.0, site, k0, None, "the intensity is a fixed figure")
    span = past.span(now)
    if span.low_g_per_kwh is None or span.high_g_per_kwh is None:
        why = f"the zone has {span.hours} hours of history here, {FEWEST_HOURS} are needed"
        return Sliding(True, 1.0, site, k0, span, why)
    if not span.high_g_per_kwh > span.low_g_per_kwh:
        return Sliding(True, 1.0, site, k0, span, "the zone's intensity has not varied")
    s = cleanliness_of(now.g_per_kwh, span.low_g_per_kwh, span.high_g_per_kwh)
    return Sliding(True, s, site, k0, span, "where this hour stands in the zone's past")


def terms_of(
    catalogue: Catalogue,
    columns: tuple[Option, ...],
    intensities: Mapping[str, Intensity],
    conditions: Conditions,
    seed: int,
) -> Terms:
    """The terms of a plan over these columns."""

    def g_per_j(option: Option) -> float:
        intensity = intensities.get(option.site)
        pue = catalogue.sites[option.site].pue
        return float("nan") if intensity is None else operational_g_per_j(intensity.g_per_kwh, pue)

    def g_per_s(option: Option) -> float:
        k1 = catalogue.sites[option.site].k1_g_per_s
        return float("nan") if k1 is None else k1

    return Terms(
        floor=catalogue.floor,
        g_per_j=np.array([g_per_j(option) for option in columns]),
        g_per_s=np.array([g_per_s(option) for option in columns]),
        slack=catalogue.slack,
        confidence=catalogue.confidence,
        cleanliness=conditions.sliding.s,
        seed=seed,
        limits=Limits(
            rate_per_s=conditions.rate_per_s or 0.0,
            max_mean_duration_s=catalogue.max_mean_seconds,
            slots=np.array([_slots(catalogue.sites[option.site], conditions) for option in columns]),
            budget_g_per_hour=catalogue.carbon_budget_g_per_hour,
        ),
    )


def _slots(site: Site, conditions: Conditions) -> float:
    """The site's slots in units of the generations that its rows share the device with, as the capacity row counts."""
    return site.slots / conditions.levels.get(site.name, 1)


def have_moved(before: Conditions, now: Conditions, estimates: Estimates | None, catalogue: Catalogue) -> bool:
    """Whether a plan made under ``before`` has to be solved again."""
    if abs(before.sliding.s - now.sliding.s) > CLEANLINESS_MOVED:
        return True
    if before.mix is not None and now.mix is not None and moved(before.mix.w, now.mix.w) > MIX_MOVED:
        return True
    was, is_ = before.rate_per_s or 0.0, now.rate_per_s or 0.0
    has_changed = abs(was - is_) > RATE_MOVED * max(was, is_)
    return has_changed and estimates is not None and _rate_matters(max(was, is_), now, estimates, catalogue)


def _rate_matters(rate_per_s: float, conditions: Conditions, estimates: Estimates, catalogue: Catalogue) -> bool:
    """Whether some plan could break a row that depends on the rate: a budget, or the slots with the slowest answers."""
    if catalogue.carbon_budget_g_per_hour is not None:
        return True
    seconds = np.nan_to_num(estimates.duration_s)
    for site in dict.fromkeys(option.site for option in estimates.options):
        here = [o for o, option in enumerate(estimates.options) if option.site == site]
        slowest_s = float(estimates.w @ seconds[:, here].max(axis=1))
        if rate_per_s * slowest_s > UTILISATION * _slots(catalogue.sites[site], conditions):
            return True
    return False
