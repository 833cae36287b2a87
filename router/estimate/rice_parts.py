"""R-ICE taken apart: each factor of its formula with where it comes from, so that any of them can be stated instead.

::

    E = devices * TDP * utilisation * PUE * (prompt_s + (o - 1) * per_token_s)

Defaults are the paper's constants as printed; its two times come from coefficients fitted on HELM's idealised A100
runtimes (the per-token polynomial of degree 3 as in the paper; the prompt by the law of
:mod:`router.estimate.rice_law` instead of the paper's forest, which can only repeat sizes it has seen).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.domain.errors import RequestError
from router.domain.sci import footprint
from router.estimate.rice import Constants, check
from router.estimate.rice_law import BILLION, PromptLaw, shared_devices

Origin = Literal["default", "stated", "source"]

PER_TOKEN_S = (6.0431571e-09, -4.5705560e-06, 9.2395779e-04, 1.7489361e-02)
"""Seconds of an output token: coefficients of a cubic in 1e9 parameters, highest power first; a test fits it again."""
PROMPT_S = PromptLaw(a=-4.500465, h=0.3925285, c=-5.054753, q=1.155894, g=1.329947)
"""Seconds to read a prompt, devices by the paper's line; a test fits it again."""
HELM_SIZES = (6e9, 5.3e11)
_HELM = "fitted on HELM's idealised A100 runtimes, models of 6e9 to 530e9"


@dataclass(frozen=True, slots=True)
class Part:
    """One factor.

    Attributes:
        value: Its value, or None where it is not known.
        unit: Of the value.
        origin: ``default`` (as published), ``stated`` by the user, or from a ``source`` such as models.yaml.
        source: Which, in words.
    """

    value: float | None
    unit: str
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class RiceEstimate:
    """R-ICE's answer for one prompt.

    Attributes:
        energy_j: Joules with PUE in them.
        duration_s: Seconds.
        operational_g: Grams, or None where the intensity is not known.
        extrapolated: Whether the size lies outside those the times were fitted on.
        parts: The factors, by name.
    """

    energy_j: float
    duration_s: float
    operational_g: float | None
    extrapolated: bool
    parts: Mapping[str, Part]


UNITS = {
    "devices": "devices",
    "prompt_s": "s",
    "per_token_s": "s",
    "tdp_w": "W per device",
    "utilisation": "share of the TDP",
    "pue": "1",
    "intensity_g_per_kwh": "gCO2e/kWh",
}
_LEAST = {"pue": 1.0}
_MOST = {"utilisation": 1.0, "pue": 10.0, "intensity_g_per_kwh": 3000.0}


def rice_by_parts(
    parameters: float,
    prompt_tokens: float,
    output_tokens: float,
    *,
    stated: Mapping[str, float | None] | None = None,
    sourced: Mapping[str, Part] | None = None,
) -> RiceEstimate:
    """R-ICE with any of its factors replaced; a stated one wins over a sourced one, that over the default.

    Args:
        parameters: Size of the model, as a count (7e9).
        prompt_tokens: Tokens to read.
        output_tokens: Tokens to write.
        stated: Values by the names of :data:`UNITS`; None means not stated.
        sourced: Factors that have a source.

    Raises:
        RequestError: If an argument or a stated value cannot be what it should.
    """
    check(parameters, prompt_tokens, output_tokens)
    given = {name: value for name, value in (stated or {}).items() if value is not None}
    for name, value in given.items():
        _checked(name, value)
    parts = _defaults(parameters, prompt_tokens, given.get("devices"))
    parts |= sourced or {}
    parts |= {name: Part(value, UNITS[name], "stated", "an option of the command") for name, value in given.items()}
    factor = {name: part.value for name, part in parts.items()}
    duration_s = _number(factor["prompt_s"]) + max(output_tokens - 1.0, 0.0) * _number(factor["per_token_s"])
    watts = _number(factor["devices"]) * _number(factor["tdp_w"]) * _number(factor["utilisation"])
    energy_j = watts * _number(factor["pue"]) * duration_s
    k0 = factor["intensity_g_per_kwh"]
    return RiceEstimate(
        energy_j=energy_j,
        duration_s=duration_s,
        operational_g=None if k0 is None else _grams(energy_j, k0),
        extrapolated=not HELM_SIZES[0] <= parameters <= HELM_SIZES[1],
        parts=parts,
    )


def _grams(energy_j: float, k0: float) -> float | None:
    """PUE is in the joules already."""
    return footprint(energy_j, None, intensity_g_per_kwh=k0).operational_g


def _defaults(parameters: float, prompt_tokens: float, devices: float | None) -> dict[str, Part]:
    printed = Constants()
    count = printed.devices(parameters)
    line = f"{printed.devices_slope} per 1e9 parameters + {printed.devices_intercept}"
    shared = shared_devices(count if devices is None else devices)
    return {
        "devices": Part(count, UNITS["devices"], "default", line),
        "prompt_s": Part(
            float(PROMPT_S(parameters, max(prompt_tokens, 1.0), shared)), UNITS["prompt_s"], "default",
            f"prompt law, {_HELM}",
        ),
        "per_token_s": Part(
            float(np.polyval(PER_TOKEN_S, parameters / BILLION)), UNITS["per_token_s"], "default",
            f"cubic in the size, {_HELM}",
        ),
        "tdp_w": Part(printed.tdp_w, UNITS["tdp_w"], "default", "A100 SXM, maker's data sheet"),
        "utilisation": Part(printed.utilisation, UNITS["utilisation"], "default", printed.source),
        "pue": Part(printed.pue, UNITS["pue"], "default", printed.source),
        "intensity_g_per_kwh": Part(
            None, UNITS["intensity_g_per_kwh"], "default", "the paper takes the region's; none is known here"
        ),
    }  # fmt: skip


def _checked(name: str, value: float) -> None:
    low, high = _LEAST.get(name, 0.0), _MOST.get(name, math.inf)
    zero_is_wrong = name in ("devices", "tdp_w", "utilisation")
    if not math.isfinite(value) or not low <= value <= high or (zero_is_wrong and value == 0):
        until = "" if math.isinf(high) else f" up to {high:g}"
        raise RequestError(
            f"{value:g} is no {name.replace('_', ' ')}",
            param=name,
            hint=f"give a number {'above' if zero_is_wrong else 'from'} {low:g}{until}",
        )


def _number(value: float | None) -> float:
    assert value is not None, "only the intensity may be unknown"
    return value
