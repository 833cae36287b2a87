"""The words of an SCI report: what it says, each figure with its method and source. Unknown is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.reading import Method
from router.service.saving import RequestSaving, SiteSaving

STANDARD = "ISO/IEC 21031:2024, Software Carbon Intensity"
AMORTISED_OVER = 100_000
"""Requests over which the joules of benchmark runs are spread, unless another number is stated."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, Unix seconds."""

    since: float
    until: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the user states for a report.

    Attributes:
        idle_w: Idle watts by site; a site not named takes what its meter or the last ``bench run`` measured.
        amortised_over: Requests over which benchmark joules are spread.
        utilisation: For the site's saving; None takes the period's own.
    """

    idle_w: Mapping[str, float] = field(default_factory=dict)
    amortised_over: int = AMORTISED_OVER
    utilisation: float | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """Joules of one kind at one site, over the period.

    Attributes:
        name: ``generation``, ``router``, ``idle`` or ``benchmark``.
        site: Where.
        energy_j: Joules, or None.
        operational_g: Grams of them, or None.
        method: How the joules were obtained, or None where they were not.
        source: From what.
    """

    name: str
    site: str
    energy_j: float | None
    operational_g: float | None
    method: Method | None
    source: str


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What the grams of one site were computed with, each with its source.

    Attributes:
        intensity_g_per_kwh: Mean over the requests, or None.
        intensity_low: Smallest.
        intensity_high: Largest.
        intensity_sources: Requests by source.
        intensity_kinds: Requests by kind, average or marginal; empty where the journal does not say.
        intensity_age_s: Mean age, None for a fixed figure.
        intensity_age_most_s: Oldest.
        intensity_stale: Requests under a last known value past its time.
        intensity_estimated: Requests under a value that its source calls an estimate.
        effective_g_per_kwh: Intensity that gives the site's operational grams from its joules and PUE exactly.
        pue: Power usage effectiveness.
        pue_source: Who says so.
        embodied_g: low, mid and high; None where unknown. Scores take mid.
        embodied_source: Who says so.
        resource_share: Share of the machine reserved.
        lifetime_s: Over how long its manufacture is spread.
        idle_w: Idle watts, or None.
        idle_method: How they were obtained.
        idle_source: From what, or why they are not known.
        energy_sources: Requests by instrument.
    """

    intensity_g_per_kwh: float | None
    intensity_low: float | None
    intensity_high: float | None
    intensity_sources: Mapping[str, int]
    intensity_kinds: Mapping[str, int]
    intensity_age_s: float | None
    intensity_age_most_s: float | None
    intensity_stale: int
    intensity_estimated: int
    effective_g_per_kwh: float | None
    pue: float
    pue_source: str
    embodied_g: tuple[float, float, float] | None
    embodied_source: str | None
    resource_share: float
    lifetime_s: float | None
    idle_w: float | None
    idle_method: Method | None
    idle_source: str
    energy_sources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Score:
    """Grams CO2e per functional unit.

    Attributes:
        g_per_request: The score, or None where a part is not known; ``unknown`` says which.
        operational_g_per_request: Its operational part.
        embodied_g_per_request: Its embodied part.
        embodied_low_g_per_request: With the lowest published figures of the hardware.
        embodied_high_g_per_request: With the highest.
        g_per_token: The same grams per token written; rewards verbosity, never optimised.
        g_per_conversation: The same grams per conversation opened.
        unknown: What is missing for a figure that is None.
    """

    g_per_request: float | None
    operational_g_per_request: float | None
    embodied_g_per_request: float | None
    embodied_low_g_per_request: float | None
    embodied_high_g_per_request: float | None
    g_per_token: float | None
    g_per_conversation: float | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """One option or category at one site.

    Attributes:
        name: Which.
        site: Where.
        requests: All of them.
        answered: Answered ones of known joules.
        energy_j: Marginal joules; None where those of no request are known.
        idle_j: Attributed share of the site's idle joules, or None.
        operational_g: Grams of the marginal joules; None likewise.
        attributed_g: Grams with idle and manufacture, or None; groups of a site sum to the site's, the router's and
            the benchmarks' joules apart.
    """

    name: str
    site: str
    requests: int
    answered: int
    energy_j: float | None
    idle_j: float | None
    operational_g: float | None
    attributed_g: float | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference, by the same method.

    Attributes:
        option: Which option, by requests it was the reference of.
        g_per_request: Its marginal grams per answered prompt, or None.
        energy_j: Its joules for the same prompts, or None.
        method: Always modelled: what the measurements lead to expect of it for each prompt.
    """

    option: Mapping[str, int]
    g_per_request: float | None
    energy_j: float | None
    method: Method = "modelled"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything; ``carbon-router report --json`` prints it field by field."""

    standard: str
    functional_unit: str
    period: Period
    requests: Mapping[str, int | None]
    boundary: tuple[str, ...]
    excluded: tuple[str, ...]
    attributed: Score
    marginal: Score
    components: tuple[Component, ...]
    coefficients: Mapping[str, Coefficients]
    baseline: Baseline
    saving_of_requests: RequestSaving
    saving_of_site: SiteSaving
    by_option: tuple[Group, ...]
    by_category: tuple[Group, ...]
    reserved_s: Mapping[str, float]
    busy_s: Mapping[str, float | None]
    wasted_j: float | None
    benchmark_energy_j: float | None
    amortised_over: int
    policies: Mapping[str, int]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
