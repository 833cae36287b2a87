"""How much of a conversation to route by: the comparison, on made-up talk whose right answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.context import CONVERSATIONS, compare, halves, named, read_conversations, rule_in_use, rules
from router.domain.errors import MeasurementError
from router.embed.hashed import HashedEmbedder
from tests.service.federation import TEXTS, measurements

CATEGORIES = sorted(TEXTS)


def written(path: Path) -> Path:
    """Four conversations a category: two lean on a turn of it, two switch to it from the next category."""
    lines = []
    for n, category in enumerate(CATEGORIES):
        before = TEXTS[CATEGORIES[(n + 1) % len(CATEGORIES)]]
        for i in range(2):
            own = TEXTS[category].format(i=i + 50, j=i + 60)
            other = before.format(i=i + 70, j=i + 80)
            for kind, turns in (("leans", (own, "and again")), ("switch", (other, own))):
                messages = [
                    {"role": "user", "content": turns[0]},
                    {"role": "assistant", "content": "Fine."},
                    {"role": "user", "content": turns[1]},
                ]
                line = {"id": f"{category}-{kind}-{i}", "kind": kind, "category": category, "messages": messages}
                lines.append(json.dumps(line))
    path.write_text("\n".join(lines))
    return path


def test_a_turn_that_leans_needs_the_one_before_and_a_switch_is_spoilt_by_it(tmp_path: Path) -> None:
    conversations = read_conversations(written(tmp_path / "c.jsonl"))
    right = named(conversations, measurements(), HashedEmbedder())
    leans = np.array([c.kind == "leans" for c in conversations])
    assert right["last turn"][~leans].all()
    assert not right["last turn"][leans].all()
    assert right["last and previous user turn"][leans].all()
    assert right[rule_in_use()].all()


def test_the_rule_is_judged_on_conversations_that_did_not_choose_it(tmp_path: Path) -> None:
    conversations = read_conversations(written(tmp_path / "c.jsonl"))
    found = compare(conversations, measurements(), HashedEmbedder(), seed=3)
    assert sum(half["n"] for half in found["held_out"]) == found["nested"]["n"] == len(conversations)
    assert found["nested"]["right"] == sum(half["right"] for half in found["held_out"])
    assert 0 <= found["nested"]["low"] <= found["nested"]["share"] <= found["nested"]["high"] <= 1
    assert found["in_use"] in {entry["rule"] for entry in found["all"]}
    json.dumps(found)


def test_the_halves_hold_kinds_and_categories_alike() -> None:
    conversations = read_conversations(CONVERSATIONS)
    half = halves(conversations, seed=1)
    assert abs(int((half == 0).sum()) - int((half == 1).sum())) <= 1
    for kind in ("leans", "switch"):
        of_kind = half[[c.kind == kind for c in conversations]]
        assert abs(int((of_kind == 0).sum()) - int((of_kind == 1).sum())) <= 5


def test_our_conversations_are_whole_and_different() -> None:
    conversations = read_conversations(CONVERSATIONS)
    assert len(conversations) >= 60
    assert len({c.id for c in conversations}) == len(conversations)
    assert len({tuple(m.content for m in c.messages) for c in conversations}) == len(conversations)
    for c in conversations:
        assert [m.role for m in c.messages] == ["user", "assistant"] * (len(c.messages) // 2) + ["user"]
        assert c.kind in ("leans", "switch", "alone")


def test_the_rule_in_use_is_one_of_those_compared() -> None:
    assert rule_in_use() in rules()


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"id": "a"}',
        '{"id": "a", "kind": "k", "category": "c", "messages": []}',
        '{"id": "a", "kind": "k", "category": "c", "messages": [{"role": "assistant", "content": "x"}]}',
    ],
)
def test_a_broken_line_is_told_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(line)
    with pytest.raises(MeasurementError, match=r"c\.jsonl"):
        read_conversations(path)


def test_measurements_without_the_categories_are_refused(tmp_path: Path) -> None:
    conversations = read_conversations(written(tmp_path / "c.jsonl"))
    math_only = [m for m in measurements() if m.category in ("math", "code")]
    with pytest.raises(MeasurementError, match="questions"):
        named(conversations, math_only, HashedEmbedder())
