"""Turns as a journal has them, made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from router.domain.record import Basis, CarbonRecord, Turn

CARBON = CarbonRecord(
    model="small", directive="L0", setting="default", site="local", category="math", category_probability=0.9,
    energy_j=100.0, energy_method="measured", operational_g=0.0, embodied_g=0.0, intensity_g_per_kwh=360.0,
    intensity_source="fixed", intensity_age_s=None, reference_g=1.0, saved_g=0.5, policy="joint", floor="0.95",
    overhead_ms=5.0, router_energy_j=1.0, fallback=None, intensity_kind="average",
    intensity_is_estimated=False, intensity_is_stale=False,
)  # fmt: skip
BASIS = Basis(
    device_s=4.0, idle_j=40.0, wasted_j=0.0, energy_source="a meter", pue=1.5, reference="large@L0",
    reference_energy_j=300.0, reference_device_s=12.0, reference_operational_g=300.0 * 360 * 1.5 / 3.6e6,
    earlier_answers=0,
)  # fmt: skip
K1_G_PER_S = 1000.0 / 126_144_000.0
"""Of the site in ``federation.py``."""


def turn(number: int, **changes: Any) -> Turn:
    """One turn whose grams follow from its joules at 360 g/kWh and a PUE of 1.5, on the site of ``federation.py``."""
    of_turn = {k: changes.pop(k) for k in ("status", "started_at", "attempts", "output_tokens", "side") if k in changes}
    basis = replace(BASIS, **{k: changes.pop(k) for k in list(changes) if hasattr(BASIS, k)})
    carbon = replace(CARBON, **changes)
    if carbon.energy_j is not None and "operational_g" not in changes:
        carbon = replace(carbon, operational_g=carbon.energy_j * 360.0 * 1.5 / 3.6e6)
    if basis.device_s is not None and "embodied_g" not in changes:
        carbon = replace(carbon, embodied_g=basis.device_s * K1_G_PER_S)
    if "reference_g" not in changes and basis.reference_operational_g is not None:
        reference_g = basis.reference_operational_g + (basis.reference_device_s or 0.0) * K1_G_PER_S
        saved_g = None
        if carbon.operational_g is not None and carbon.embodied_g is not None:
            saved_g = reference_g - carbon.operational_g - carbon.embodied_g
        carbon = replace(carbon, reference_g=reference_g, saved_g=saved_g)
    made = Turn(f"turn-{number}", float(number), "ok", carbon, 10, 50, 4.0, 0.1, "stop", attempts=1, basis=basis)
    return replace(made, **of_turn)
