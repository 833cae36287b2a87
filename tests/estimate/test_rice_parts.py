"""R-ICE by its parts: the formula by hand, what is stated wins, and the carried coefficients are the runtimes' own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench.papers.rice_data import load_helm
from router.domain.errors import RequestError
from router.estimate.rice import Constants, Rice, prompt_rows
from router.estimate.rice_law import BILLION, PromptLaw, shared_devices
from router.estimate.rice_parts import PER_TOKEN_S, PROMPT_S, UNITS, Part, rice_by_parts

DATA = Path(os.environ.get("ROUTER_PAPERS_DATA", "../shared/data"))
ALL = {"devices": 2.0, "tdp_w": 300.0, "utilisation": 0.5, "pue": 1.2, "prompt_s": 0.5, "per_token_s": 0.1,
       "intensity_g_per_kwh": 360.0}  # fmt: skip


def test_with_every_part_stated_it_is_the_formula_by_hand() -> None:
    found = rice_by_parts(7e9, 192, 11, stated=ALL)
    assert found.duration_s == pytest.approx(1.5)
    assert found.energy_j == pytest.approx(2 * 300 * 0.5 * 1.2 * 1.5)
    assert found.operational_g == pytest.approx(found.energy_j * 1e-4)
    assert {part.origin for part in found.parts.values()} == {"stated"}
    assert set(found.parts) == set(UNITS)


def test_by_default_it_is_the_paper_and_the_intensity_is_unknown() -> None:
    found = rice_by_parts(7e9, 192, 250)
    assert found.parts["devices"].value == pytest.approx(Constants().devices(7e9))
    assert found.energy_j == pytest.approx(Constants().devices(7e9) * Constants().device_w * found.duration_s)
    assert found.operational_g is None
    assert {part.origin for part in found.parts.values()} == {"default"}


def test_what_is_stated_wins_over_a_source_and_a_source_over_the_default() -> None:
    source = {"pue": Part(1.5, "1", "source", "a site")}
    assert rice_by_parts(7e9, 1, 1, sourced=source).parts["pue"].value == 1.5
    stated = rice_by_parts(7e9, 1, 1, sourced=source, stated={"pue": 1.3, "tdp_w": None})
    assert (stated.parts["pue"].value, stated.parts["pue"].origin) == (1.3, "stated")
    assert stated.parts["tdp_w"].origin == "default"


def test_a_size_outside_the_runtimes_is_said() -> None:
    assert rice_by_parts(1e9, 1, 1).extrapolated
    assert not rice_by_parts(7e9, 1, 1).extrapolated


@pytest.mark.parametrize(
    ("name", "value"),
    [("pue", 0.9), ("utilisation", 1.5), ("utilisation", 0.0), ("tdp_w", -1.0), ("intensity_g_per_kwh", 4000.0),
     ("devices", 0.0), ("per_token_s", float("nan"))],
)  # fmt: skip
def test_a_part_that_cannot_be_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(RequestError, match=name.replace("_", " ")):
        rice_by_parts(7e9, 1, 1, stated={name: value})


@pytest.mark.skipif(not (DATA / "rice").is_dir(), reason="the public runtimes are not at hand (ROUTER_PAPERS_DATA)")
def test_the_carried_coefficients_are_those_fitted_on_the_runtimes() -> None:
    runtimes = load_helm(DATA)
    fitted = Rice().fit(runtimes).per_token_
    assert fitted is not None
    np.testing.assert_allclose(PER_TOKEN_S, fitted, rtol=1e-6)
    x, y = prompt_rows(runtimes)
    devices = shared_devices(Constants().devices_slope * x[:, 0] + Constants().devices_intercept)
    law = PromptLaw.fit(x[:, 0] * BILLION, x[:, 1], devices, y)
    sizes = np.array([6e9, 7e10, 5.3e11])
    np.testing.assert_allclose(PROMPT_S(sizes, 500, 4), law(sizes, 500, 4), rtol=1e-3)
