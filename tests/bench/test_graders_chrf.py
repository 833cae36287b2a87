import hashlib
import json
from pathlib import Path

import pytest
from sacrebleu.metrics import CHRF

from bench.datasets.item import Item
from bench.datasets.own import load_items
from bench.graders.chrf import chrf_share, grade, translation_of
from router.service.seed import shipped_file
from router.store.codec import read_measurements

LABELS = Path(__file__).parent / "translation_labels.jsonl"
GERMAN = "Die Katze schläft auf dem warmen Ofen."
ITEM = Item("t", "Translate", "translation", "chrf", {"references": [GERMAN], "threshold": 0.6})


@pytest.mark.parametrize(
    "answer",
    [
        GERMAN,
        f"Here is the translation:\n\n{GERMAN}",
        f"Sure! Here's the sentence in German: {GERMAN}",
        f"Translation: {GERMAN}",
        f"**German:** {GERMAN}",
        f'The German translation of the sentence is: "{GERMAN}"',
        f"„{GERMAN}“",
        f"**{GERMAN}**",
        f"```\n{GERMAN}\n```",
        f"{GERMAN}\n\nNote: 'Ofen' can also mean oven.",
    ],
)
def test_wrapping_around_a_translation_is_taken_off(answer: str) -> None:
    assert translation_of(answer) == GERMAN
    assert grade(ITEM, answer).quality == 1.0


def test_a_colon_inside_the_translation_stays() -> None:
    assert translation_of("Er sagte: Ich komme.") == "Er sagte: Ich komme."


@pytest.mark.parametrize("answer", ["The cat sleeps on the warm stove.", "Ich weiß es nicht.", "", "```\n```", "???"])
def test_a_wrong_translation_is_wrong(answer: str) -> None:
    assert grade(ITEM, answer).quality == 0.0


def test_the_note_holds_the_score_and_the_threshold() -> None:
    score = CHRF().sentence_score("Die Katze schläft.", [GERMAN]).score / 100

    assert grade(ITEM, "Die Katze schläft.").note == f"chrF {score:.3f}, threshold 0.6"


def test_the_best_of_several_references_counts() -> None:
    assert chrf_share("Guten Morgen", ["Gute Nacht", "Guten Morgen"]) == pytest.approx(1.0)


def test_the_threshold_of_our_prompts_agrees_with_reading_the_answers() -> None:
    """``translation_labels.jsonl``: measured answers, read without sight of a score; .5 is undecided."""
    labels = [json.loads(line) for line in LABELS.read_text().splitlines()]
    items = {item.id: item for item in load_items(["translation"])}
    shipped = shipped_file()
    assert shipped is not None
    answers = {
        (m.id, hashlib.sha256(o.answer.strip().encode()).hexdigest()[:16]): o.answer
        for m in read_measurements(shipped)
        for o in m.outcomes
        if m.category == "translation" and o.answer is not None
    }
    grades = [
        (label["label"], grade(items[label["id"]], answers[label["id"], label["answer_sha256"]]).quality)
        for label in labels
        if label["label"] != 0.5 and (label["id"], label["answer_sha256"]) in answers
    ]
    assert len(grades) > 100
    agreed = sum(given == quality for given, quality in grades)
    assert agreed / len(grades) > 0.91
    right = [quality for given, quality in grades if given == 1.0]
    assert sum(quality == 1.0 for quality in right) / len(right) > 0.8
