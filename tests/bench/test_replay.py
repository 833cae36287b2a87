from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.intervals import at_level, at_place, crossing, interval_of_mean, interval_of_ratio, share_under
from bench.promise import simulate
from bench.replay import DEFAULT_POLICIES, app, summarise, weigh
from bench.replay_curves import FLOORS, Curves, read
from bench.replay_data import Corpus, Fold, Setting
from bench.replay_scores import HeldOut, oracle, outcome, score
from bench.splits import refuse_shared, split_as_marked, split_at_random
from router.domain.catalogue import Floor
from router.domain.errors import MeasurementError
from router.domain.record import Measurement, Outcome
from router.embed.hashed import HashedEmbedder
from router.store.codec import write_measurements
from tests.policy.worlds import terms, usual

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
KEYS = {"floor", "reference", "n_known", "n_heldout", "intensity_g_per_kwh", "embodied", "policies"}
SCORES = {
    "accuracy", "relative_accuracy", "worst_category_relative_accuracy", "energy_j", "energy_saving", "gco2e",
    "carbon_saving", "promised_accuracy",
}  # fmt: skip


def recorded(n: int, seed: int = 0) -> list[Measurement]:
    known = usual().sample(n, seed)
    return [
        Measurement(
            id=f"{seed}-{i}",
            prompt=f"{known.texts[i]} of set {seed}",
            category=known.categories[i],
            outcomes=tuple(
                Outcome(o.model, o.directive, known.quality[i, c], energy_j=known.energy_j[i, c], duration_s=1.0)
                for c, o in enumerate(known.options)
            ),
        )
        for i in range(n)
    ]


def corpus(tmp_path: Path, rows: list[Measurement], heldout: list[Measurement] | None = None) -> Corpus:
    first, second = tmp_path / "known.jsonl", None
    write_measurements(first, rows)
    if heldout is not None:
        second = tmp_path / "heldout.jsonl"
        write_measurements(second, heldout)
    return Corpus.load(first, second, HashedEmbedder())


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    return next(corpus(tmp_path_factory.mktemp("replay"), recorded(400)).folds(Setting(), 0.5, [0]))


def test_the_json_has_the_agreed_shape(fold: Fold) -> None:
    result = weigh(fold, DEFAULT_POLICIES, Setting(), Floor(0.9))
    data = json.loads(json.dumps(summarise([result], Floor(0.9), Setting())))
    assert set(data) >= KEYS
    assert set(data["policies"]) == set(DEFAULT_POLICIES)
    for row in data["policies"].values():
        assert set(row) == SCORES
    assert data["n_known"] == 200
    assert data["n_heldout"] == 200
    assert data["floor"] == "0.9"


def test_the_oracle_cannot_be_beaten_in_accuracy_and_the_cheapest_not_in_joules(fold: Fold) -> None:
    scores = weigh(fold, DEFAULT_POLICIES, Setting(), Floor(0.9)).scores
    assert max(scores, key=lambda name: scores[name].accuracy) == "oracle"
    assert scores["cheapest"].energy_saving == max(s.energy_saving for n, s in scores.items() if n != "oracle")


def test_joint_keeps_its_floor_on_unseen_prompts_within_their_own_error(fold: Fold) -> None:
    got = weigh(fold, ("joint",), Setting(), Floor(0.9)).scores["joint"]
    assert got.relative_accuracy > 0.9 - 0.08
    assert got.carbon_saving > 0.2


def test_scores_are_expectations_computed_by_hand() -> None:
    held = HeldOut(
        quality=np.array([[1.0, 0.0], [1.0, 1.0]]),
        energy_j=np.array([[10.0, 1.0], [20.0, 2.0]]),
        g=np.array([[1.0, 0.1], [2.0, 0.2]]),
        category=("a", "b"),
        reference=0,
        kept=np.ones(2, dtype=np.bool_),
    )
    got = score(outcome(np.array([[0.5, 0.5], [0.0, 1.0]]), held), held, promised=0.8)
    assert got.accuracy == 0.75
    assert got.relative_accuracy == 0.75
    assert got.worst_category_relative_accuracy == 0.5
    assert got.energy_j == pytest.approx((5.5 + 2.0) / 2)
    assert got.energy_saving == pytest.approx(1 - 3.75 / 15)
    assert got.carbon_saving == pytest.approx(1 - 0.375 / 1.5)
    assert oracle(held).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_what_was_not_measured_on_a_held_out_prompt_is_not_guessed() -> None:
    held = HeldOut(
        quality=np.array([[1.0, np.nan], [0.0, 1.0]]),
        energy_j=np.array([[10.0, 1.0], [20.0, 2.0]]),
        g=np.array([[1.0, np.nan], [1.0, 1.0]]),
        category=(None, None),
        reference=0,
        kept=np.ones(2, dtype=np.bool_),
    )
    got = outcome(np.array([[0.0, 1.0], [0.0, 1.0]]), held)
    assert got.moved.tolist() == [1.0, 0.0]
    assert got.quality.tolist() == [1.0, 1.0]
    assert got.energy_j.tolist() == [10.0, 2.0]


def test_prompts_the_reference_was_not_measured_on_do_not_count() -> None:
    unseen = usual().sample(10, seed=4)
    unseen.quality[3, 0] = np.nan
    assert HeldOut.of(unseen, 0, terms(0.9, 3)).quality.shape[0] == 9


def test_equal_prompts_stay_on_one_side() -> None:
    rows = recorded(60)
    doubled = [*rows, *(Measurement(id=f"again-{m.id}", prompt=f" {m.prompt}\n") for m in rows)]
    known, unseen = split_at_random(doubled, 0.5, seed=1)
    assert len(known) == len(unseen) == 60
    refuse_shared(known, unseen)


def test_a_split_depends_on_its_seed_only() -> None:
    rows = recorded(50)
    ids = [[m.id for m in split_at_random(rows, 0.5, seed)[0]] for seed in (1, 1, 2)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_files_that_share_prompts_are_refused_naming_one(tmp_path: Path) -> None:
    rows = recorded(20)
    other = [Measurement(id="copy", prompt=rows[3].prompt, outcomes=rows[3].outcomes)]
    with pytest.raises(MeasurementError, match="'copy'"):
        corpus(tmp_path, rows, other)


def test_a_file_that_marks_its_validation_prompts_is_split_as_marked() -> None:
    rows = [Measurement(id=str(i), prompt=f"p{i}", split="validation" if i % 3 == 0 else None) for i in range(9)]
    parts = split_as_marked(rows)
    assert parts is not None
    assert [m.id for m in parts[1]] == ["0", "3", "6"]
    assert split_as_marked(rows[1:3]) is None


def test_two_files_are_known_and_held_out(tmp_path: Path) -> None:
    found = next(corpus(tmp_path, recorded(80), recorded(40, seed=1)).folds(Setting(), 0.5, [0]))
    assert (found.n_known, len(found.unseen.texts)) == (80, 40)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "known.jsonl").write_text("\n")
    with pytest.raises(MeasurementError, match="no measurements"):
        Corpus.load(tmp_path / "known.jsonl", None, HashedEmbedder())


def test_curves_are_read_at_equal_accuracy(tmp_path: Path) -> None:
    curves = Curves(("joint", "random-mix", "nearest"), 800)
    for part in corpus(tmp_path, recorded(800)).folds(Setting(), 0.5, range(3)):
        curves.add(part, Setting(slack=None))
    found = read(curves, (0.95, 0.9))
    ahead = found["random-mix"][0.95].ahead
    assert ahead is not None
    assert ahead[0] is not None
    assert ahead[0] > 0.0
    assert found["joint"][0.95].ahead is None
    assert len(FLOORS) == curves.quality[0].shape[1]


@pytest.mark.parametrize(("wanted", "found"), [(0.95, 0.25), (0.9, 0.5), (1.0, 0.0)])
def test_a_curve_is_interpolated_where_it_crosses(wanted: float, found: float) -> None:
    assert at_level(np.array([1.0, 0.9]), np.array([0.0, 0.5]), wanted) == pytest.approx(found)


def test_a_level_that_is_not_reached_is_not_made_up() -> None:
    assert np.isnan(at_level(np.array([1.0, 0.9]), np.array([0.0, 0.5]), 0.8))


def test_what_goes_with_a_reading_is_read_where_the_saving_was() -> None:
    accuracy = np.array([1.0, 0.9, 0.9, 1.0, 0.8])
    saving = np.array([0.0, 0.2, 0.3, 0.1, 0.9])
    worst = np.array([1.0, 0.9, 0.8, 0.95, 0.1])
    place = crossing(accuracy, saving, 0.95)
    assert place == pytest.approx(3.25)  # of three crossings the one that saves most
    assert at_place(saving, place) == pytest.approx(0.3)
    assert at_place(worst, place) == pytest.approx(0.7375)  # and not the 0.95 of the first
    assert crossing(accuracy[:3], saving[:3], 0.9) == 2.0


def test_intervals_cover_the_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        found = interval_of_mean(rng.normal(size=60), seed)
        assert found is not None
        inside += found[0] <= 0.0 <= found[1]
    assert 85 <= inside <= 100


def test_resamples_lie_under_a_level_as_often_as_the_normal_law_says() -> None:
    values = np.random.default_rng(3).normal(size=4000)
    values -= values.mean()
    one_error = values.std() / np.sqrt(4000)
    assert share_under(values + 1.0, np.ones(4000), 1.0) == pytest.approx(0.5, abs=0.05)
    assert share_under(values + 1.0, np.ones(4000), 1.0 + one_error) == pytest.approx(0.84, abs=0.04)
    assert share_under(np.ones(50), np.ones(50), 1.0) == 0.0  # equal to it is not under it


def test_an_interval_of_a_ratio_is_paired() -> None:
    x = np.random.default_rng(1).lognormal(size=200)
    found = interval_of_ratio(0.5 * x, x)
    assert found is not None
    assert found == pytest.approx((0.5, 0.5))


@pytest.mark.timeout(900)  # half a minute of both cores, many times that on a machine with other things to do
def test_the_promise_is_kept_and_still_worth_making() -> None:
    kept = simulate(100, confidence=0.9)
    # 100 fits: three standard errors of one in ten are nine in a hundred
    assert kept.missed <= 0.10 + 0.09
    assert kept.saving >= 2 / 3 * kept.saving_without_margin - 0.02
    assert kept.saving > 0.15


def without_seconds(rows: list[Measurement], of: int) -> list[Measurement]:
    """The seconds of one option are not known on one prompt."""
    first = rows[of]
    outcomes = (*first.outcomes[:-1], replace(first.outcomes[-1], duration_s=None))
    return [*rows[:of], replace(first, outcomes=outcomes), *rows[of + 1 :]]


def test_embodied_grams_count_on_both_sides_or_on_none(tmp_path: Path) -> None:
    setting = Setting(embodied_g=1e6)
    known, unseen = recorded(200), recorded(60, seed=1)
    whole = weigh(next(corpus(tmp_path, known, unseen).folds(setting, 0.5, [0])), ("cheapest",), setting, Floor(0.9))
    part = corpus(tmp_path, known, without_seconds(unseen, 7))
    lacking = weigh(next(part.folds(setting, 0.5, [0])), ("cheapest",), setting, Floor(0.9))
    assert whole.has_embodied
    assert lacking.has_embodied
    assert lacking.scores["cheapest"].gco2e == pytest.approx(whole.scores["cheapest"].gco2e, rel=0.25)
    assert any("not measured on the prompt" in note for note in lacking.notes["cheapest"])
    bare = [replace(m, outcomes=tuple(replace(o, duration_s=None) for o in m.outcomes)) for m in known]
    none = weigh(next(corpus(tmp_path, bare, unseen).folds(setting, 0.5, [0])), ("cheapest",), setting, Floor(0.9))
    assert not none.has_embodied
    assert any("left out" in note for note in none.notes["grams"])


def test_weight_on_what_was_not_measured_is_told(tmp_path: Path) -> None:
    unseen = [replace(m, outcomes=m.outcomes[:2]) for m in recorded(60, seed=1)]
    fold = next(corpus(tmp_path, recorded(200), unseen).folds(Setting(), 0.5, [0]))
    found = weigh(fold, ("cheapest",), Setting(), Floor(0.9))
    assert any(note.startswith("100% of its weight") for note in found.notes["cheapest"])
    assert any("never scored" in note for note in found.notes["held out"])
    curves = Curves(("cheapest",), 260)
    curves.add(fold, Setting())
    assert curves.moved() == {"cheapest": pytest.approx(1.0)}
    assert read(curves, (0.95,))["cheapest"][0.95].interval_over_splits is None, "one split has nothing to vary over"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "0"), "between 0 and 1"),
        (("--heldout", "known.jsonl", "--split", ".5"), "nothing to split"),
        (("--heldout", "known.jsonl", "--splits", "3"), "nothing to split"),
        (("--policies", "oracle", "--equal-accuracy"), "no floors to sweep"),
        (("--at", "95", "--equal-accuracy"), "--at takes"),
        (("--at", "", "--equal-accuracy"), "--at takes"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_measurements(tmp_path / "known.jsonl", recorded(40))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.replay.embedder", HashedEmbedder)
    found = CliRunner().invoke(app, ["--known", "known.jsonl", *arguments])
    assert found.exit_code == 1
    assert message in found.output


@pytest.mark.skipif(not (SHARED / "outcomes").exists(), reason=f"no recorded outcomes at {SHARED}")
def test_on_recorded_outcomes_joint_beats_sprouts_form(tmp_path: Path) -> None:
    found = Corpus.load(SHARED / "outcomes" / "sprout.jsonl", None, HashedEmbedder())
    fitted = next(found.folds(Setting(slack=None), 0.5, [0]))
    scores = weigh(fitted, ("joint", "sprout"), Setting(slack=None), Floor(0.95)).scores
    assert scores["joint"].carbon_saving > scores["sprout"].carbon_saving + 0.1
    assert scores["joint"].relative_accuracy > 0.95 - 0.04


def test_prompts_that_nobody_graded_are_left_out_of_a_replay(tmp_path: Path) -> None:
    rows = recorded(40)
    ungraded = [replace(row, outcomes=tuple(replace(o, quality=None) for o in row.outcomes)) for row in rows[:15]]
    found = next(corpus(tmp_path, [*ungraded, *rows[15:]], recorded(20, seed=1)).folds(Setting(), 0.5, [0]))
    assert found.n_known == 25
    with pytest.raises(MeasurementError, match="none of the measurements in it is graded"):
        corpus(tmp_path, ungraded)
