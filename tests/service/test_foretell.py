"""Estimates rest on this machine's rows where there are any, say so, and price joules by the one formula."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from router.domain.reading import Intensity
from router.domain.record import Measurement, Outcome
from router.domain.sci import footprint
from router.service.foretell import Foretold, calibrate, foretell
from tests.service.federation import catalogue

SITE = catalogue().sites["local"]
FIXED = Intensity(400.0, "DE", "fixed")
SIZES = {"a": 1e9, "b": 4e9, "unsized": None}


def row(model: str, joules: float, tokens: int, *, origin: str = "local", number: int = 0) -> Measurement:
    outcome = Outcome(model, "L0", 1.0, energy_j=joules, duration_s=joules / 10, prompt_tokens=10, output_tokens=tokens)
    outcome = replace(outcome, origin=origin)
    return Measurement(f"{model}-{origin}-{number}-{tokens}", "p", "math", (outcome,), origin=origin)


def rows(per_token_j: float, origin: str) -> list[Measurement]:
    return [
        row(model, per_token_j * math.sqrt((SIZES[model] or 0) / 1e9) * tokens, tokens, origin=origin)
        for model in ("a", "b")
        for tokens in range(20, 220, 10)
    ]


def told(measurements: list[Measurement], parameters: float = 2e9) -> Foretold:
    return foretell(calibrate(measurements, SIZES, "local"), parameters, 10, 100, site=SITE, intensity=FIXED)


def test_rows_of_this_machine_win_over_shipped_ones() -> None:
    used = calibrate([*rows(1.0, "local"), *rows(100.0, "shipped")], SIZES, "local")
    assert (used.kind, used.rows, used.models, used.sizes) == ("local", 40, ("a", "b"), (1e9, 4e9))
    assert told([*rows(1.0, "local"), *rows(100.0, "shipped")]).energy_j.value == pytest.approx(141.0, rel=0.2)


def test_shipped_rows_are_used_where_nothing_was_measured_here_and_it_is_said() -> None:
    used = calibrate(rows(1.0, "shipped"), SIZES, "local")
    assert used.kind == "shipped"
    assert "another machine" in used.source


def test_without_rows_the_public_law_answers_and_says_it_is_other_hardware() -> None:
    used = calibrate([row("unsized", 5.0, 10)], SIZES, "local")
    assert (used.kind, used.rows) == ("public", 0)
    assert "not this hardware" in used.source
    assert told([]).method == "sourced"


def test_rows_of_another_site_are_not_used() -> None:
    assert calibrate(rows(1.0, "local"), SIZES, "elsewhere").kind == "public"


def test_grams_are_the_formula_and_the_interval_holds_them() -> None:
    found = told(rows(1.0, "local"))
    by_hand = footprint(
        found.energy_j.value,
        found.duration_s.value,
        intensity_g_per_kwh=400.0,
        pue=SITE.pue,
        k1_g_per_s=SITE.k1_g_per_s,
    )
    assert found.grams.value == pytest.approx(by_hand.total_g)
    assert (found.grams.low or 0) < (found.grams.value or 0) < (found.grams.high or 0)


def test_a_size_never_seen_is_extrapolated_with_a_wider_interval() -> None:
    near, far = told(rows(1.0, "local"), 2e9), told(rows(1.0, "local"), 7e10)
    assert (near.extrapolated, far.extrapolated) == (False, True)
    assert (far.energy_j.high or 0) / (far.energy_j.low or 1) > (near.energy_j.high or 0) / (near.energy_j.low or 1)


def test_without_intensity_the_joules_remain_and_the_grams_are_unknown() -> None:
    found = foretell(calibrate([], SIZES, "local"), 2e9, 10, 100, site=SITE, intensity=None)
    assert found.energy_j.value is not None
    assert found.grams.value is None
    assert found.operational_g is None
