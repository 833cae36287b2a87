import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.papers.app import app
from bench.papers.figures import Reproduction
from bench.papers.reenactment import AT_L0, reenact, terms_at
from router.domain.catalogue import Embodied, Site
from router.domain.errors import ConfigError, MeasurementError
from router.domain.record import Measurement, Outcome
from router.embed.hashed import HashedEmbedder
from router.store.codec import write_measurements

CATEGORIES = {"math": "how many apples are left of", "questions": "who was the ruler in the year"}
SITE = Site(
    "local", intensity_g_per_kwh=385.0, embodied=Embodied(1.0, 126_144_000.0, 2.0, "made up"), lifetime_s=126_144_000.0
)
"""One gram embodied a second, so that the expected figures can be worked out by hand."""


def prompts(per_category: int = 24, directives: tuple[str, ...] = ("L0",)) -> list[Measurement]:
    """The small model is right about every other question and no sum; the large one always."""
    made = []
    for category, words in CATEGORIES.items():
        for i in range(per_category):
            right = category == "questions" and i % 2 == 0
            outcomes = tuple(
                Outcome(
                    model=model,
                    directive=directive,
                    quality=float(quality),
                    energy_j=joules / (1 + int(directive[1])),
                    duration_s=seconds,
                    method="modelled",
                )
                for model, quality, joules, seconds in (("small", right, 36.0, 0.5), ("large", True, 360.0, 2.0))
                for directive in directives
            )
            made.append(Measurement(f"{category}-{i}", f"{words} {i}?", category, outcomes))
    return made


def run(measurements: list[Measurement], **options: int) -> Reproduction:
    vectors = HashedEmbedder().embed([m.prompt for m in measurements])
    settings = {"known": 18, "unseen": 6, "draws": 3} | options
    return reenact(measurements, vectors, terms_at(SITE), **settings)


@pytest.fixture(scope="module")
def done() -> Reproduction:
    return run(prompts())


def test_the_tables_are_what_was_measured(done: Reproduction) -> None:
    row = done.row("Tables 3-5: questions", "small")
    # 36 J at 385 g/kWh are .00385 g, and half a second embodies half a gram.
    assert row.value("accuracy (4)").ours == 0.5
    assert row.value("gCO2e, mean of correct (3)").ours == pytest.approx(0.50385)
    assert row.value("gCO2e, sum (5)").ours == pytest.approx(18 * 0.50385)


def test_a_model_that_is_never_right_has_no_mean_of_correct_answers(done: Reproduction) -> None:
    row = done.row("Tables 3-5: math", "small")
    assert row.value("gCO2e, mean of correct (3)").ours is None


def test_the_oracle_takes_the_small_model_exactly_where_it_is_right(done: Reproduction) -> None:
    row = done.row("Table 2: unseen", "per-prompt oracle: cheapest correct model")
    assert row.value("accuracy").ours == 1.0
    assert row.value("gCO2e, sum of correct").ours == pytest.approx(3 * 0.50385 + 9 * 2.0385)


def test_the_reference_comes_first_and_saves_nothing(done: Reproduction) -> None:
    first = done.rows[0]
    assert first.what == "reference everywhere"
    assert first.value("accuracy").ours == 1.0
    assert first.value("saving % of the reference").ours == 0.0


def test_at_the_full_floor_ours_keeps_the_accuracy_that_the_classifier_loses(done: Reproduction) -> None:
    where = next(row.where for row in done.rows if "draws" in row.where)
    ours = done.row(where, "joint, floor 1.00").value("accuracy").ours
    theirs = done.row(where, "classifier (HotCarbon)").value("accuracy").ours
    assert ours is not None
    assert theirs is not None
    assert ours > theirs


def test_directives_join_only_ours() -> None:
    done = run(prompts(directives=("L0", "L1")))
    names = [row.what for row in done.rows]
    assert "joint, floor 0.95, with directives" in names
    assert "classifier (HotCarbon), with directives" not in names
    assert done.missing == ()


def test_without_directives_it_says_what_ours_is_confined_to(done: Reproduction) -> None:
    assert "directives" in done.missing[0]


def test_prompts_that_a_model_did_not_answer_count_for_nobody() -> None:
    made = prompts()
    made[0] = replace(made[0], outcomes=made[0].outcomes[:1])
    with pytest.raises(MeasurementError, match="math has 23 prompts that every model answered; 24 are needed"):
        run(made)


def test_equal_prompts_are_refused() -> None:
    made = prompts()
    made[1] = replace(made[1], prompt=made[0].prompt + "  ")
    with pytest.raises(MeasurementError, match="same prompt"):
        run(made)


def test_measurements_without_l0_are_refused() -> None:
    with pytest.raises(MeasurementError, match="L0"):
        run(prompts(directives=("L1",)))


def test_a_site_without_intensity_is_refused() -> None:
    with pytest.raises(ConfigError, match="intensity"):
        terms_at(replace(SITE, intensity_g_per_kwh=None))


def test_random_draws_change_with_their_number_and_not_from_run_to_run(done: Reproduction) -> None:
    assert run(prompts()).as_dict() == done.as_dict()
    assert any("2 draws" in row.where for row in run(prompts(), draws=2).rows)


def test_the_curve_of_ours_begins_at_the_reference(done: Reproduction) -> None:
    curve = next(curve for curve in done.curves if AT_L0 in curve.name)
    assert curve.points[0][0] == 1.0


def test_the_command_refuses_a_file_without_measurements(tmp_path: Path) -> None:
    file = tmp_path / "nothing.jsonl"
    write_measurements(file, [])
    result = CliRunner().invoke(app, ["hotcarbon", "--measurements", str(file)])
    assert result.exit_code == 1
    assert "no measurements in it" in result.output


def test_the_figures_are_json_for_programs(done: Reproduction) -> None:
    text = json.dumps(done.as_dict())
    assert "NaN" not in text
    assert np.isfinite(json.loads(text)["rows"][0]["figures"]["accuracy"]["ours"])
