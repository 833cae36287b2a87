"""Rows as they would be under load: taken where measured, scaled where not, left alone where nothing tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.record import Measurement, Outcome
from router.estimate.concurrency import LEAST_PAIRS, at_levels, measured_levels, nearest


def outcome(joules: float | None, *, model: str = "a", level: int = 1, seconds: float | None = None) -> Outcome:
    return Outcome(
        model,
        "L0",
        0.5,
        energy_j=joules,
        duration_s=(None if joules is None else joules / 10) if seconds is None else seconds,
        prefill_s=1.0,
        concurrency=level,
        method="measured",
    )


def row(name: str, *outcomes: Outcome) -> Measurement:
    return Measurement(name, f"prompt {name}", "math", outcomes)


def sampled(model: str = "a", ratio: float = 0.25, n: int = LEAST_PAIRS, level: int = 4) -> list[Measurement]:
    """n prompts measured alone and at a level, where they cost ``ratio`` of it."""
    return [
        row(
            f"{model}-{i}",
            outcome(10.0 + i, model=model),
            outcome(ratio * (10.0 + i), model=model, level=level),
        )
        for i in range(n)
    ]


def only(measurement: Measurement, model: str = "a") -> Outcome:
    (found,) = [o for o in measurement.outcomes if o.model == model]
    return found


def test_levels_are_the_usual_one_and_those_with_enough_rows() -> None:
    rows = [*sampled(), row("x", outcome(1.0)), row("y", outcome(1.0, level=16))]
    assert measured_levels(rows) == {"local": (1, 4)}
    assert measured_levels([row("x", outcome(None))]) == {}


@pytest.mark.parametrize(
    ("load", "level"), [(0.0, 1), (1.0, 1), (1.9, 1), (2.0, 1), (2.1, 4), (7.9, 4), (8.1, 16), (99, 16)]
)
def test_the_nearest_level_is_nearest_in_ratio(load: float, level: int) -> None:
    assert nearest((1, 4, 16), load) == level


def test_rows_measured_at_the_level_are_taken_as_they_are() -> None:
    rows, notes = at_levels(sampled(), {"local": 4})
    assert [only(r).energy_j for r in rows] == [0.25 * (10 + i) for i in range(LEAST_PAIRS)]
    assert {only(r).method for r in rows} == {"measured"}
    assert notes == ()


def test_rows_that_lack_it_are_scaled_by_their_models_ratio_and_called_modelled() -> None:
    rows, notes = at_levels([*sampled(ratio=0.25), row("x", outcome(40.0))], {"local": 4})
    scaled = only(rows[-1])
    assert scaled.energy_j == pytest.approx(10.0)
    assert scaled.duration_s == pytest.approx(1.0)
    assert scaled.prefill_s == pytest.approx(0.25)
    assert (scaled.quality, scaled.method, scaled.concurrency) == (0.5, "modelled", 4)
    assert notes == ()


def test_the_ratio_is_one_of_sums_so_long_answers_count_more() -> None:
    pairs = [(10.0, 5.0)] * (LEAST_PAIRS - 1) + [(1000.0, 100.0)]
    rows = [row(f"{i}", outcome(a), outcome(b, level=4)) for i, (a, b) in enumerate(pairs)]
    told, _ = at_levels([*rows, row("x", outcome(100.0))], {"local": 4})
    assert only(told[-1]).energy_j == pytest.approx(100 * sum(b for _, b in pairs) / sum(a for a, _ in pairs))


def test_a_model_without_a_sample_takes_the_geometric_mean_of_the_sites_others() -> None:
    rows = [*sampled("a", 0.25), *sampled("b", 0.0625), row("x", outcome(80.0, model="c"))]
    told, notes = at_levels(rows, {"local": 4})
    assert only(told[-1], "c").energy_j == pytest.approx(80 * 0.125)
    assert only(told[-1], "c").method == "modelled"
    assert notes == ()


def test_too_few_pairs_are_no_ratio_and_a_note_says_what_to_do() -> None:
    rows = [*sampled(n=LEAST_PAIRS - 1), row("x", outcome(40.0))]
    told, notes = at_levels(rows, {"local": 4})
    assert only(told[-1]).energy_j == 40.0
    assert only(told[-1]).method == "measured"
    (note,) = notes
    assert "a at local: not measured at 4 at a time" in note
    assert "--concurrency 4" in note


def test_another_sites_ratio_tells_nothing_of_this_one() -> None:
    elsewhere = [Measurement(m.id, m.prompt, m.category, tuple(_at(o, "far") for o in m.outcomes)) for m in sampled()]
    told, notes = at_levels([*elsewhere, row("x", outcome(40.0))], {"local": 4, "far": 4})
    assert only(told[-1]).energy_j == 40.0
    assert len(notes) == 1


def _at(outcome: Outcome, site: str) -> Outcome:
    return Outcome(
        outcome.model, "L0", 0.5, site=site, energy_j=outcome.energy_j, duration_s=1.0, concurrency=outcome.concurrency
    )


def test_unknown_joules_stay_unknown() -> None:
    told, _ = at_levels([*sampled(), row("x", outcome(None))], {"local": 4})
    assert only(told[-1]).energy_j is None
    assert only(told[-1]).method is None


def test_sites_without_a_level_keep_all_their_rows() -> None:
    rows = sampled()
    assert at_levels(rows, {}) == (tuple(rows), ())


def test_under_no_load_the_rows_measured_alone_are_taken_and_rows_measured_only_under_load_scaled_back() -> None:
    rows = [*sampled(ratio=0.25), row("x", outcome(10.0, level=4))]
    told, _ = at_levels(rows, {"local": 1})
    assert [only(r).concurrency for r in told] == [1] * (LEAST_PAIRS + 1)
    assert only(told[-1]).energy_j == pytest.approx(40.0)


@given(st.floats(0.05, 5.0), st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=8))
def test_there_and_back_is_where_it_began(ratio: float, joules: list[float]) -> None:
    rows = [*sampled(ratio=ratio), *(row(f"x{i}", outcome(j)) for i, j in enumerate(joules))]
    there, _ = at_levels(rows, {"local": 4})
    back, _ = at_levels([*sampled(ratio=ratio), *there[LEAST_PAIRS:]], {"local": 1})
    assert [only(r).energy_j for r in back[LEAST_PAIRS:]] == pytest.approx(joules)
