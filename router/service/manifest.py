"""A report as a manifest of the Impact Framework, so that others can compute the score again from its inputs.

One child a site; each carries the same number of requests, so the children's ``sci`` sum to the report's score::

    energy * pue * grid/carbon-intensity          -> carbon-operational    (Multiply)
    device * usage-ratio * time / lifespan        -> carbon-embodied       (SciEmbodied)
    carbon-operational + carbon-embodied          -> carbon                (Sum)
    carbon / requests                             -> sci                   (Sci)

The whole boundary where it is known; where idle joules are not, the marginal score, and the description says so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from router.domain.catalogue import Catalogue
from router.domain.errors import RequestError
from router.domain.sci import operational_g_per_j
from router.domain.units import kwh_from_joules
from router.service.report_figures import Component, Report, Score

PLUGINS: dict[str, Any] = {
    "operational": {
        "method": "Multiply",
        "path": "builtin",
        "config": {
            "input-parameters": ["energy", "pue", "grid/carbon-intensity"],
            "output-parameter": "carbon-operational",
        },
    },
    "sum": {
        "method": "Sum",
        "path": "builtin",
        "config": {"input-parameters": ["carbon-operational", "carbon-embodied"], "output-parameter": "carbon"},
    },
    "sci": {"method": "Sci", "path": "builtin", "config": {"functional-unit": "requests"}},
}


def manifest(report: Report, catalogue: Catalogue) -> dict[str, Any]:
    """The manifest as plain data, ready for YAML.

    Args:
        report: The report.
        catalogue: Its sites, for the hardware.

    Raises:
        RequestError: If no score is known, since there is then nothing to compute again.
    """
    whole = report.attributed.g_per_request is not None
    score = report.attributed if whole else report.marginal
    answered = report.requests["answered_of_known_energy"] or 0
    if score.g_per_request is None or not answered:
        missing = "; ".join(score.unknown) or "nothing was answered"
        raise RequestError(
            f"there is no score to write a manifest of: {missing}",
            hint="`carbon-router report` shows what is known and what to state",
        )
    # What is unknown here belongs to sites of which nothing is known: they are not in the score.
    parts = [p for p in report.components if p.operational_g is not None and (whole or p.name != "idle")]
    names = list(dict.fromkeys(part.site for part in parts))
    plugins = dict(PLUGINS)
    children: dict[str, Any] = {}
    for name in names:
        seconds = (report.reserved_s if whole else report.busy_s).get(name) or 0.0
        plugins[f"embodied-{name}"] = _embodied(name, catalogue, seconds)
        children[name] = _child(name, report, [part for part in parts if part.site == name], answered, seconds)
    return {
        "name": "carbon-router",
        "description": _description(report, score, whole),
        "tags": {"kind": "software", "category": "ai-inference"},
        "initialize": {"plugins": plugins},
        "tree": {"children": children},
    }


def _child(name: str, report: Report, parts: list[Component], answered: int, seconds: float) -> dict[str, Any]:
    energy_j = sum(part.energy_j or 0.0 for part in parts)
    grams = sum(part.operational_g or 0.0 for part in parts)
    coefficients = report.coefficients.get(name)
    pue = coefficients.pue if coefficients else 1.0
    k0 = grams / energy_j / operational_g_per_j(1.0, pue) if energy_j > 0 else 0.0
    return {
        "pipeline": {"compute": ["operational", f"embodied-{name}", "sum", "sci"]},
        "inputs": [
            {
                "timestamp": datetime.fromtimestamp(report.period.since, UTC).isoformat().replace("+00:00", "Z"),
                "duration": max(1, round(report.period.seconds)),
                "energy": kwh_from_joules(energy_j),
                "pue": pue,
                "grid/carbon-intensity": k0,
                "time": seconds or 1.0,  # the plugin takes a 0 for the whole duration
                "usage-ratio": coefficients.resource_share if coefficients else 1.0,
                "requests": answered,
            }
        ],
    }


def _embodied(name: str, catalogue: Catalogue, seconds: float) -> dict[str, Any]:
    site = catalogue.sites.get(name)
    embodied = site.embodied if site else None
    return {
        "method": "SciEmbodied",
        "path": "builtin",
        "config": {
            # One processor and 16 GB are the plugin's base machine: its own figures for more are not used.
            "baseline-emissions": embodied.mid_g if embodied and seconds else 0.0,
            "lifespan": site.lifetime_s if site and site.lifetime_s else 1.0,
            "output-parameter": "carbon-embodied",
        },
    }


def _description(report: Report, score: Score, whole: bool) -> str:
    boundary = (
        "idle power and manufacture of the reserved hardware over the whole period included"
        if whole
        else "marginal joules and busy seconds only, since idle power is not known"
    )
    return (
        f"{report.standard}; {report.functional_unit}; {boundary}. "
        f"SCI {score.g_per_request!r} gCO2e; embodied carbon at its middle estimate. "
        f"Excluded: {'; '.join(report.excluded)}."
    )
