"""The accounts of one site over a report's period: its requests, its idle joules, its hardware."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from router.domain.catalogue import Site
from router.domain.reading import Method, weakest
from router.domain.sci import embodied_g_per_s, operational_g_per_j
from router.service.benchmarks import BenchmarkEnergy
from router.service.report_figures import Assumptions, Coefficients, Component, Period
from router.service.tally import Tally


@dataclass(frozen=True, slots=True)
class Book:
    """One site's accounts over the period.

    Attributes:
        name: The site.
        tally: Its turns.
        site: As models.yaml has it, or None where it no longer does.
        period_s: Length of the period.
        idle_w: Idle watts, or None.
        idle_method: How they were obtained.
        idle_source: From what, or why they are not known.
        idle_share: Of the machine's idle joules, where several sites are one machine.
    """

    name: str
    tally: Tally
    site: Site | None
    period_s: float
    idle_w: float | None
    idle_method: Method | None
    idle_source: str
    idle_share: float = 1.0

    @classmethod
    def open(
        cls,
        name: str,
        tally: Tally,
        site: Site | None,
        period: Period,
        measured: BenchmarkEnergy,
        stated: Assumptions,
        idle_share: float = 1.0,
    ) -> Book:
        """Find out the idle watts: as stated, as the meter had them, as the last benchmark run measured them."""
        watts: float | None
        method: Method | None
        if name in stated.idle_w:
            watts, method, source = stated.idle_w[name], "sourced", "stated for this report"
        elif site is not None and site.idle_w is not None and tally.idle_w is not None:
            watts, method, source = tally.idle_w, "sourced", "idle_w in models.yaml"
        elif tally.idle_w is not None:
            watts, method, source = tally.idle_w, "measured", "the meter that metered the answers"
        elif name in measured.idle_w:
            watts, method, source = measured.idle_w[name], "measured", "baseline phase of the last bench run"
        else:
            watts, method = None, None
            source = "not known: no meter here sees idle power; state it with --idle-watts"
        return cls(name, tally, site, period.seconds, watts, method, source, idle_share)

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known of what its requests took: it is then in no score."""
        return self.tally.is_blank

    @property
    def known_part(self) -> float:
        """Share of its devices' time, or else of its requests, that belongs to requests of known joules.

        Requests of unknown joules are in no sum; neither is their part of what is shared by all: idle joules and
        manufacture.
        """
        tally = self.tally
        if not tally.unknown:
            return 1.0
        if tally.device_s.value is not None and tally.all_device_s.value:
            return tally.device_s.value / tally.all_device_s.value
        return 1.0 - tally.unknown / tally.requests

    @property
    def reserved_s(self) -> float:
        """Seconds of the hardware that the requests of known joules answer for."""
        return self.period_s * self.known_part

    @property
    def k0(self) -> float | None:
        """Mean g/kWh over the requests."""
        return self.tally.intensity.mean

    @property
    def pue(self) -> float:
        """Of the time of the requests, else the present one."""
        return self.tally.pue.mean or (self.site.pue if self.site else 1.0)

    @property
    def busy_s(self) -> float | None:
        """Device seconds that the requests' embodied grams stand for, or None."""
        k1, grams = self.site.k1_g_per_s if self.site else None, self.tally.embodied_g.value
        return None if not k1 or grams is None else grams / k1

    @property
    def idle_s(self) -> float:
        """Seconds of idle power that requests of known joules answer for, and whose joules do not hold them already."""
        return max(0.0, self.reserved_s * self.idle_share - self.tally.unsplit_device_s)

    @property
    def idle_j(self) -> float | None:
        """Idle joules of the period, or None."""
        return None if self.idle_w is None else self.idle_w * self.idle_s

    def grams(self, energy_j: float | None) -> float | None:
        """Grams of joules at the mean intensity."""
        return None if energy_j is None or self.k0 is None else energy_j * operational_g_per_j(self.k0, self.pue)

    def embodied_g(self, total_g: float | None = None) -> float | None:
        """Embodied grams of the reserved seconds, at the middle figure or at another one."""
        if self.site is None or self.site.embodied is None or self.site.lifetime_s is None:
            return None
        grams = self.site.embodied.mid_g if total_g is None else total_g
        return self.reserved_s * embodied_g_per_s(grams, self.site.lifetime_s, self.site.resource_share)

    @property
    def method(self) -> Method | None:
        """The weakest by which its requests' joules were obtained; None where none are known."""
        return None if self.is_blank else weakest(self.tally.counts.get("energy_method", Counter()))

    def components(self) -> list[Component]:
        """Joules of its requests, and of standing by."""
        tally, blank = self.tally, self.is_blank
        sources = ", ".join(tally.counts.get("energy_source", {})) or "not journalled"
        energy_j, operational_g = (None, None) if blank else (tally.energy_j, tally.operational_g)
        parts = [
            f"{share:.1%} of it, {why}" for share, why in self._shares() if share < 1.0 and self.idle_w is not None
        ]
        idle_source = "; ".join([self.idle_source, *parts])
        idle_j = None if blank else self.idle_j
        return [
            Component("generation", self.name, energy_j, operational_g, self.method, sources),
            Component("idle", self.name, idle_j, self.grams(idle_j), self.idle_method, idle_source),
        ]

    def _shares(self) -> tuple[tuple[float, str], ...]:
        return (
            (self.idle_share, "by the time of its requests, since other sites are on the same machine"),
            (self.known_part, "by the time of the requests of known joules"),
        )

    def coefficients(self, components: tuple[Component, ...]) -> Coefficients:
        """What its grams were computed with, given all components of the report."""
        tally, counts = self.tally, self.tally.counts
        own = [part for part in components if part.site == self.name]
        energy_j = math.fsum(part.energy_j or 0.0 for part in own)
        grams = math.fsum(part.operational_g or 0.0 for part in own)
        embodied = self.site.embodied if self.site else None
        return Coefficients(
            intensity_g_per_kwh=tally.intensity.mean,
            intensity_low=tally.intensity.low,
            intensity_high=tally.intensity.high,
            intensity_sources=dict(counts.get("intensity_source", {})),
            intensity_kinds=dict(counts.get("intensity_kind", {})),
            intensity_age_s=tally.intensity_age_s.mean,
            intensity_age_most_s=tally.intensity_age_s.high,
            intensity_stale=sum(counts.get("intensity_stale", {}).values()),
            intensity_estimated=sum(counts.get("intensity_estimated", {}).values()),
            effective_g_per_kwh=grams / energy_j / operational_g_per_j(1.0, self.pue) if energy_j > 0 else None,
            pue=self.pue,
            pue_source="models.yaml, as it was when the requests were answered",
            embodied_g=None if embodied is None else (embodied.low_g, embodied.mid_g, embodied.high_g),
            embodied_source=None if embodied is None else embodied.source,
            resource_share=self.site.resource_share if self.site else 1.0,
            lifetime_s=self.site.lifetime_s if self.site else None,
            idle_w=self.idle_w,
            idle_method=self.idle_method,
            idle_source=self.idle_source,
            energy_sources=dict(counts.get("energy_source", {})),
        )
