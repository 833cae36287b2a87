"""The ranking is the formula over the measured rows, its intervals hold, and estimates stand apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.catalogue import Catalogue, Model
from router.domain.reading import Intensity
from router.domain.record import Measurement
from router.domain.sci import footprint
from router.service.foretell import calibrate
from router.service.ranking import OVERALL, Rank, rank
from tests.service.federation import catalogue, measurements

GRID = {"local": Intensity(385.0, "DE", "fixed")}


def ranked(rows: list[Measurement], federation: Catalogue | None = None, **changes: object) -> list[Rank]:
    federation = federation or catalogue()
    sizes = {name: model.parameters for name, model in federation.models.items()}
    return rank(
        rows,
        federation,
        changes.pop("grid", GRID),  # type: ignore[arg-type]
        {"local": calibrate(rows, sizes, "local")},
        **changes,  # type: ignore[arg-type]
    )


def one(rows: list[Rank], option: str, category: str) -> Rank:
    (found,) = [row for row in rows if (row.option, row.category) == (option, category)]
    return found


def test_grams_are_the_formula_over_the_rows_and_quality_stands_beside() -> None:
    rows = measurements()
    site = catalogue().sites["local"]
    found = one(ranked(rows), "large@L1", "code")
    own = [o for m in rows if m.category == "code" for o in m.outcomes if (o.model, o.directive) == ("large", "L1")]
    by_hand = [
        footprint(o.energy_j, o.duration_s, intensity_g_per_kwh=385.0, pue=site.pue, k1_g_per_s=site.k1_g_per_s)
        for o in own
    ]
    assert found.g_per_1000 == pytest.approx(1000 * sum(g.total_g or 0.0 for g in by_hand) / len(own))
    assert found.quality == pytest.approx(sum(o.quality or 0.0 for o in own) / len(own))
    assert (found.n, found.method, found.basis) == (15, "measured", "measured")
    assert found.g_per_1000 == pytest.approx((found.operational_g_per_1000 or 0) + (found.embodied_g_per_1000 or 0))


def test_the_greenest_comes_first_in_every_category() -> None:
    rows = ranked(measurements())
    assert rows[0].category == OVERALL
    for category in {row.category for row in rows}:
        grams = [row.g_per_1000 or 0.0 for row in rows if row.category == category]
        assert grams == sorted(grams)


def test_the_interval_holds_the_mean_and_shrinks_with_prompts() -> None:
    few, many = (one(ranked(measurements(n)), "small@L0", "math") for n in (6, 60))
    for row in (few, many):
        assert (row.g_low or 0) <= (row.g_per_1000 or 0) <= (row.g_high or 0)
    assert (many.g_high or 0) - (many.g_low or 0) < (few.g_high or 0) - (few.g_low or 0)


def test_overall_weighs_categories_alike_and_asks_for_all_of_them() -> None:
    rows = measurements()
    half = [replace(m, outcomes=m.outcomes[:2]) if m.category == "math" else m for m in rows]
    found = ranked(half)
    assert {row.option for row in found if row.category == OVERALL} == {"small@L0", "small@L1"}
    parts = [one(found, "small@L0", c).g_per_1000 or 0.0 for c in ("math", "code", "questions")]
    assert one(found, "small@L0", OVERALL).g_per_1000 == pytest.approx(sum(parts) / 3)


def test_one_option_without_device_seconds_leaves_the_embodied_part_out_for_all() -> None:
    rows = measurements()
    first = rows[0]
    rows[0] = replace(first, outcomes=(replace(first.outcomes[0], duration_s=None), *first.outcomes[1:]))
    found = ranked(rows)
    assert all(row.embodied_g_per_1000 is None for row in found)
    assert all(row.g_per_1000 == row.operational_g_per_1000 for row in found)


def test_a_model_never_run_is_listed_by_its_estimate_after_the_measured_ones() -> None:
    federation = catalogue()
    models = {**federation.models, "new": Model("new", parameters=3e8), "unsized": Model("unsized")}
    found = ranked(measurements(), replace(federation, models=models))
    row = one(found, "new@L0", OVERALL)
    assert (row.basis, row.n, row.quality) == ("estimate", 0, None)
    assert "estimated by size" in row.source
    assert (row.g_low or 0) < (row.g_per_1000 or 0) < (row.g_high or 0)
    overall = [r.basis for r in found if r.category == OVERALL]
    assert overall == sorted(overall, reverse=True)  # measured, then estimates
    assert not [r for r in found if r.model == "unsized"]


def test_without_a_grid_intensity_nothing_measured_is_ranked() -> None:
    assert ranked(measurements(), grid={}) == []


def test_only_the_categories_asked_for() -> None:
    assert {row.category for row in ranked(measurements(), categories=["math"])} == {"math", OVERALL}


def test_every_row_says_what_its_grams_were_computed_with() -> None:
    grid = {"local": Intensity(300.0, "DE", "a source", age_s=3600.0, estimated=True, stale=True)}
    assert {row.intensity for row in ranked(measurements(), grid=grid)} == {
        "a source (average, 1.0 h old, estimated, not current)"
    }


def test_one_prompt_has_no_interval() -> None:
    found = one(ranked(measurements(1)), "large@L1", "code")
    assert (found.n, found.g_low, found.g_high) == (1, None, None)


def test_quality_is_that_of_what_was_graded() -> None:
    rows = [
        replace(row, outcomes=tuple(replace(o, quality=None) for o in row.outcomes)) if row.category == "math" else row
        for row in measurements()
    ]
    found = ranked(rows)
    assert one(found, "large@L0", "math").quality is None
    of_graded = [one(found, "large@L0", category).quality or 0.0 for category in ("code", "questions")]
    assert one(found, "large@L0", OVERALL).quality == pytest.approx(sum(of_graded) / 2)
