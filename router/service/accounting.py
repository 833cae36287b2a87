"""Turns readings into the carbon record of one answer; the baseline is scored by the same formula.

An attempt is charged where it ran: its joules at its own site's intensity and PUE, its seconds at its hardware.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from router.domain.catalogue import Floor, Option, Site
from router.domain.decision import Decision
from router.domain.reading import Intensity, Reading, weakest
from router.domain.record import Basis, CarbonRecord
from router.domain.sci import Footprint, footprint
from router.domain.units import ms_from_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One generation that was started, to its end or not.

    Attributes:
        option: What ran.
        reading: What it took.
        error: Code of the error that ended it, or None.
    """

    option: Option
    reading: Reading
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """What the grams of each site are computed with.

    Attributes:
        sites: By name.
        intensities: By site; one whose intensity is unknown is missing.
    """

    sites: Mapping[str, Site]
    intensities: Mapping[str, Intensity]

    def footprint(self, site: str, energy_j: float | None, device_s: float | None) -> Footprint:
        """Grams of joules and device seconds at a site."""
        intensity = self.intensities.get(site)
        return footprint(
            energy_j,
            device_s,
            intensity_g_per_kwh=None if intensity is None else intensity.g_per_kwh,
            pue=self.sites[site].pue,
            k1_g_per_s=self.sites[site].k1_g_per_s,
        )


def total_energy_j(attempts: Sequence[Attempt]) -> float | None:
    """Joules of all attempts, wasted ones included; None as soon as one is unknown, or where there was none."""
    return total(attempt.reading.energy_j for attempt in attempts) if attempts else None


def carbon_record(
    decision: Decision,
    attempts: Sequence[Attempt],
    *,
    places: Places,
    floor: Floor,
    overhead_s: float,
    router_energy_j: float | None,
    fallback: str | None,
) -> CarbonRecord:
    """The record of one answer.

    Args:
        decision: Why this option.
        attempts: Generations started, the answering one last; may be empty where none was.
        places: Sites and their grid intensities.
        floor: The accuracy to keep.
        overhead_s: Seconds the router took before the engine was asked.
        router_energy_j: Joules of routing itself, or None.
        fallback: Why the usual path was left, or None.
    """
    option = attempts[-1].option if attempts else decision.option
    energy_j = total_energy_j(attempts)
    method = weakest({attempt.reading.method for attempt in attempts})
    parts = [places.footprint(a.option.site, a.reading.energy_j, a.reading.device_s) for a in attempts]
    grams = Footprint(
        total(part.operational_g for part in parts) if parts else None,
        total(part.embodied_g for part in parts) if parts else None,
    )
    # Baseline and answer are compared by the same method: where the plan left the embodied part out, so does this.
    own_g = grams.total_g if decision.is_embodied_priced else grams.operational_g
    intensity = places.intensities.get(option.site)
    return CarbonRecord(
        model=option.model,
        directive=option.directive,
        setting=option.setting,
        site=option.site,
        category=decision.category,
        category_probability=decision.category_probability,
        energy_j=energy_j,
        energy_method=None if energy_j is None else method,
        operational_g=grams.operational_g,
        embodied_g=grams.embodied_g,
        intensity_g_per_kwh=None if intensity is None else intensity.g_per_kwh,
        intensity_source=None if intensity is None else intensity.source,
        intensity_age_s=None if intensity is None else intensity.age_s,
        intensity_kind=None if intensity is None else intensity.kind,
        intensity_is_estimated=None if intensity is None else intensity.estimated,
        intensity_is_stale=None if intensity is None else intensity.stale,
        reference_g=decision.reference_g,
        saved_g=None if own_g is None or decision.reference_g is None else decision.reference_g - own_g,
        policy=decision.policy,
        floor=str(floor),
        overhead_ms=ms_from_seconds(overhead_s),
        router_energy_j=router_energy_j,
        fallback=fallback,
    )


def basis_of(decision: Decision, attempts: Sequence[Attempt], *, places: Places, earlier_answers: int) -> Basis:
    """What reports are computed from, beyond the record.

    Args:
        decision: Why this option.
        attempts: Generations started, the answering one last.
        places: Sites and their grid intensities.
        earlier_answers: Answers the request brought along.
    """
    site = attempts[-1].option.site if attempts else decision.option.site
    baseline = (
        places.footprint(decision.reference.site, decision.reference_energy_j, decision.reference_device_s)
        if decision.reference.site in places.sites
        else Footprint(None, None)
    )
    wasted = attempts if attempts and attempts[-1].error is not None else attempts[:-1]
    return Basis(
        device_s=total(attempt.reading.device_s for attempt in attempts),
        idle_j=total(attempt.reading.idle_j for attempt in attempts),
        wasted_j=total(attempt.reading.energy_j for attempt in wasted),
        energy_source=attempts[-1].reading.source if attempts else None,
        pue=places.sites[site].pue,
        reference=str(decision.reference),
        reference_energy_j=decision.reference_energy_j,
        reference_device_s=decision.reference_device_s,
        reference_operational_g=baseline.operational_g,
        earlier_answers=earlier_answers,
        holds_idle=any(attempt.reading.holds_idle for attempt in attempts),
    )


def total(values: Iterable[float | None]) -> float | None:
    """The sum, 0 of nothing; None as soon as one is unknown."""
    found = 0.0
    for value in values:
        if value is None:
            return None
        found += value
    return found
