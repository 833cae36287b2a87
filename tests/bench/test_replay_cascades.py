"""Cascades in a replay: compared with the same policies without them, on the same splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.replay import summarise, weigh
from bench.replay_cascades import WITHOUT, entries
from bench.replay_curves import Curves
from bench.replay_data import Corpus, Fold, Setting
from router.domain.cascade import Cascade, CascadeMode
from router.domain.catalogue import Floor
from router.domain.record import Measurement, Outcome
from router.embed.hashed import HashedEmbedder
from router.store.codec import write_measurements


def recorded(n: int, *, told: bool = True) -> list[Measurement]:
    """A cheap option right on every second prompt, whose log-probability says on which; a dear one always right."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        right = float(rng.random() < 0.5)
        logprob = -1.5 + 1.2 * right + 0.1 * float(rng.normal())
        outcomes = (
            Outcome("small", "L0", right, energy_j=4.0, duration_s=0.2, mean_logprob=logprob if told else None),
            Outcome("large", "L0", 1.0, energy_j=100.0, duration_s=5.0, mean_logprob=-0.1 if told else None),
        )
        rows.append(Measurement(f"p{i}", f"question number {i} about item {i * 7 % 23}", "questions", outcomes))
    return rows


def fold(tmp_path: Path, mode: CascadeMode, *, told: bool = True) -> Fold:
    file = tmp_path / "known.jsonl"
    write_measurements(file, recorded(160, told=told))
    return next(Corpus.load(file, None, HashedEmbedder()).folds(Setting(cascades=mode), 0.5, [0]))


def test_they_save_where_the_signal_tells_and_the_same_policy_stands_beside_it(tmp_path: Path) -> None:
    found = weigh(fold(tmp_path, "auto"), ("joint", "category-lp", "random-mix"), Setting(cascades="auto"), Floor(0.95))
    scores = found.scores
    assert set(scores) == {"joint", "joint" + WITHOUT, "category-lp", "category-lp" + WITHOUT, "random-mix"}
    for name in ("joint", "category-lp"):
        assert scores[name].carbon_saving > scores[name + WITHOUT].carbon_saving + 0.2
        assert scores[name].relative_accuracy > 0.95 - 0.06
    data = json.loads(json.dumps(summarise([found], Floor(0.95), Setting(cascades="auto"))))
    assert data["cascades"] == {"mode": "auto", "splits_with_columns": 1}
    assert data["notes"]["cascades"][0].startswith("cascade in: small@L0, then large@L0")


def test_what_a_cascade_gives_unseen_prompts_is_the_sum_of_what_it_ran(tmp_path: Path) -> None:
    side = fold(tmp_path, "on").side(is_cascading=True)
    unseen = side.unseen
    columns = [o for o, option in enumerate(unseen.options) if isinstance(option, Cascade)]
    assert columns
    for o in columns:
        assert set(np.unique(unseen.energy_j[:, o])) <= {4.0, 104.0, 100.0}
        sent_on = unseen.energy_j[:, o] > 100.0
        assert (unseen.quality[sent_on, o] == 1.0).all()


def test_without_signals_it_says_so_and_adds_no_rows(tmp_path: Path) -> None:
    split = fold(tmp_path, "auto", told=False)
    found = weigh(split, ("joint",), Setting(cascades="auto"), Floor(0.95))
    assert set(found.scores) == {"joint"}
    assert "hold no signals" in found.notes["cascades"][0]
    assert split.side(is_cascading=True).unseen is split.unseen


def test_off_means_off(tmp_path: Path) -> None:
    split = fold(tmp_path, "off")
    assert split.cascading.side is None
    assert "cascades" not in weigh(split, ("joint",), Setting(), Floor(0.95)).notes


def test_curves_are_swept_with_and_without(tmp_path: Path) -> None:
    labels = tuple(entry.label for entry in entries(("category-lp",), has_cascades=True))
    curves = Curves(labels, 160)
    curves.add(fold(tmp_path, "auto"), Setting(cascades="auto"))
    with_, without = curves.g[0].mean(axis=2)
    assert (with_ <= without + 1e-9).all()
    assert with_.min() < without.max()


@pytest.mark.parametrize("has", [True, False])
def test_only_programs_have_use_for_cascades(has: bool) -> None:
    found = entries(("sprout", "joint"), has_cascades=has)
    assert [entry.label for entry in found] == ["sprout", "joint", *(["joint" + WITHOUT] if has else [])]
