"""What a model would take that nobody ran here: joules, seconds and grams with an interval, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.domain.catalogue import Site
from router.domain.reading import Intensity, Method
from router.domain.record import Measurement
from router.domain.sci import footprint
from router.estimate.rice_calibrated import SizedRow, SizeEstimator
from router.estimate.rice_public import LLM_PERF
from router.service.coverage import REMEASURE


@dataclass(frozen=True, slots=True)
class Calibration:
    """What estimates at a site rest on.

    Attributes:
        kind: ``local`` (measured on this machine), ``shipped`` (measured on another one) or ``public`` runtimes.
        source: Which rows, in words.
        rows: Measured answers.
        models: Models they are of.
        sizes: Smallest and largest size seen; beyond them an estimate extrapolates.
        estimator: Fitted on them.
    """

    kind: str
    source: str
    rows: int
    models: tuple[str, ...]
    sizes: tuple[float, float]
    estimator: SizeEstimator


@dataclass(frozen=True, slots=True)
class Interval:
    """A best guess and where it lies with the estimate's confidence; None where unknown."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Foretold:
    """One prompt on one model at one site.

    Attributes:
        energy_j: Marginal joules of the device, PUE not in them.
        duration_s: Device seconds.
        grams: Operational and embodied together, PUE in them; None where a coefficient is not known.
        operational_g: Of these, from energy.
        embodied_g: Of these, from the hardware.
        confidence: Probability of the intervals.
        method: ``modelled`` from this site's rows, ``sourced`` from public ones.
        source: What the joules and the seconds rest on.
        extrapolated: Whether the size lies outside those seen.
    """

    energy_j: Interval
    duration_s: Interval
    grams: Interval
    operational_g: float | None
    embodied_g: float | None
    confidence: float
    method: Method
    source: str
    extrapolated: bool


def calibrate(measurements: Iterable[Measurement], parameters: Mapping[str, float | None], site: str) -> Calibration:
    """Fit the estimator on a site's rows: those of this machine where there are any, else shipped ones, else none.

    Args:
        measurements: Of the store.
        parameters: Sizes by model; a model of unknown size is left out.
        site: Whose rows.
    """
    rows: dict[str, list[SizedRow]] = {"local": [], "shipped": []}
    for measurement in measurements:
        for outcome in measurement.outcomes:
            size = parameters.get(outcome.model)
            if outcome.site != site or outcome.concurrency != 1 or size is None:
                continue
            if outcome.prompt_tokens is None or outcome.output_tokens is None:
                continue
            kind = "local" if (outcome.origin or measurement.origin) == "local" else "shipped"
            rows[kind].append(
                SizedRow(
                    outcome.model,
                    size,
                    outcome.prompt_tokens,
                    outcome.output_tokens,
                    outcome.energy_j,
                    outcome.duration_s,
                )
            )
    kind = next((name for name, found in rows.items() if any(row.energy_j for row in found)), "public")
    used = rows.get(kind, [])
    estimator = SizeEstimator(public=LLM_PERF).fit(used)
    words = {
        "local": "measured on this machine",
        "shipped": f"measured on another machine; {REMEASURE} measures this one",
        "public": f"{LLM_PERF.source}; not this hardware",
    }
    models = tuple(sorted({row.model for row in used}))
    source = words[kind] if kind == "public" else f"{len(used)} answers of {', '.join(models)}, {words[kind]}"
    return Calibration(kind, source, len(used), models, estimator.sizes, estimator)


def foretell(
    calibration: Calibration,
    parameters: float,
    prompt_tokens: float,
    output_tokens: float,
    *,
    site: Site,
    intensity: Intensity | None,
) -> Foretold:
    """Estimate one prompt.

    Args:
        calibration: What to rest on.
        parameters: Size of the model.
        prompt_tokens: Tokens to read.
        output_tokens: Tokens to write.
        site: Its PUE and hardware.
        intensity: The grid's, or None.

    Raises:
        RequestError: If an argument cannot be what it should.
    """
    estimate = calibration.estimator.estimate(parameters, prompt_tokens, output_tokens)

    def grams(energy_j: float | None, duration_s: float | None) -> tuple[float | None, float | None, float | None]:
        found = footprint(
            energy_j,
            duration_s,
            intensity_g_per_kwh=None if intensity is None else intensity.g_per_kwh,
            pue=site.pue,
            k1_g_per_s=site.k1_g_per_s,
        )
        return found.total_g, found.operational_g, found.embodied_g

    total_g, operational_g, embodied_g = grams(estimate.energy_j, estimate.duration_s)
    return Foretold(
        energy_j=Interval(estimate.energy_j, estimate.energy_low_j, estimate.energy_high_j),
        duration_s=Interval(estimate.duration_s, estimate.duration_low_s, estimate.duration_high_s),
        # Long answers cost much of both, so the ends of the two intervals are taken together: wider rather than not.
        grams=Interval(
            total_g,
            grams(estimate.energy_low_j, estimate.duration_low_s)[0],
            grams(estimate.energy_high_j, estimate.duration_high_s)[0],
        ),
        operational_g=operational_g,
        embodied_g=embodied_g,
        confidence=calibration.estimator.confidence,
        method=estimate.method,
        source=estimate.source,
        extrapolated=estimate.extrapolated,
    )
