"""The benchmark's own prompts whose answers are words: questions, translation and writing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

import bench

PROMPTS = Path(bench.__file__).parent / "prompts"
SIZES = {"questions": 60, "translation": 60, "writing": 40}
VALIDATION = {"questions": 10, "translation": 10, "writing": 6}
DIFFICULTY_SHARES = {"easy": 0.4, "medium": 0.4, "hard": 0.2}
ECHO_MARGIN = 0.1
"""How far below the threshold an untranslated answer has to stay."""

Row = dict[str, Any]


def rows_of(category: str) -> list[Row]:
    lines = (PROMPTS / f"{category}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def names(text: str, alias: str) -> bool:
    """Whether the alias stands in the text as whole words, whatever its case and accents."""
    return re.search(rf"(?<!\w){re.escape(folded(alias))}(?!\w)", folded(text)) is not None


def chrf(answer: str, references: list[str]) -> float:
    return float(sacrebleu.sentence_chrf(answer, references).score) / 100


QUESTIONS, TRANSLATION, WRITING = rows_of("questions"), rows_of("translation"), rows_of("writing")
EVERY_ROW = QUESTIONS + TRANSLATION + WRITING

each_category = pytest.mark.parametrize("category", SIZES)
each_question = pytest.mark.parametrize("row", QUESTIONS, ids=itemgetter("id"))
each_translation = pytest.mark.parametrize("row", TRANSLATION, ids=itemgetter("id"))


@each_category
def test_a_category_is_complete_and_numbered_in_order(category: str) -> None:
    assert [row["id"] for row in rows_of(category)] == [f"{category}-{n:03d}" for n in range(1, SIZES[category] + 1)]


@each_category
def test_every_row_has_the_fields_of_its_category_and_no_others(category: str) -> None:
    own_fields = {"questions": {"aliases"}, "translation": {"references", "threshold"}, "writing": set[str]()}
    graders = {"questions": "aliases", "translation": "chrf", "writing": "judge"}
    common = {"id", "category", "split", "difficulty", "prompt", "grader", "gold"}
    for row in rows_of(category):
        assert set(row) - {"no_brevity"} == common | own_fields[category], row["id"]
        assert (row["category"], row["grader"]) == (category, graders[category])
        assert row["split"] in {"known", "validation"}
        assert row.get("no_brevity", True) is True
        assert row["prompt"] == row["prompt"].strip() != ""


def test_no_prompt_occurs_twice() -> None:
    counts = Counter(" ".join(folded(row["prompt"]).split()) for row in EVERY_ROW)
    assert [prompt for prompt, count in counts.items() if count > 1] == []


@each_category
def test_difficulties_are_spread_as_intended(category: str) -> None:
    counts = Counter(row["difficulty"] for row in rows_of(category))
    assert counts == {level: round(share * SIZES[category]) for level, share in DIFFICULTY_SHARES.items()}


@each_category
def test_validation_is_about_a_sixth_and_has_every_difficulty(category: str) -> None:
    held_out = [row for row in rows_of(category) if row["split"] == "validation"]
    assert len(held_out) == VALIDATION[category]
    assert {row["difficulty"] for row in held_out} == set(DIFFICULTY_SHARES)


@each_category
def test_the_first_six_are_known_and_a_small_sample_of_the_whole(category: str) -> None:
    first = rows_of(category)[:6]
    assert all(row["split"] == "known" for row in first)
    assert {row["difficulty"] for row in first} == set(DIFFICULTY_SHARES)


@each_category
def test_prompts_vary_from_one_line_to_several_paragraphs(category: str) -> None:
    prompts = [row["prompt"] for row in rows_of(category)]
    assert min(len(prompt.split()) for prompt in prompts) <= 12
    assert max(len(prompt.split()) for prompt in prompts) >= 60
    assert any("\n\n" in prompt for prompt in prompts)


@each_question
def test_a_gold_answer_names_an_alias(row: Row) -> None:
    assert any(names(row["gold"], alias) for alias in row["aliases"])


@each_question
def test_a_question_does_not_give_its_own_answer_away(row: Row) -> None:
    *_passage, question = row["prompt"].split("\n\n")  # in a reading question the passage may hold the answer
    assert [alias for alias in row["aliases"] if names(question, alias)] == []


@each_question
def test_aliases_are_distinct_and_not_found_by_accident(row: Row) -> None:
    common_words = {"a", "i", "no", "yes", "not", "one", "the", "it", "is", "in", "of"}
    assert len({alias.casefold() for alias in row["aliases"]}) == len(row["aliases"]) > 0
    for alias in row["aliases"]:
        assert alias.isdigit() or len(alias) > 1
        assert folded(alias) not in common_words


def test_no_gold_answer_passes_another_question_by_naming_its_subject() -> None:
    worded = [row for row in QUESTIONS if not any(alias.isdigit() for alias in row["aliases"])]
    passing = [
        (row["id"], other["id"])
        for row in worded
        for other in QUESTIONS
        if row is not other and any(names(other["gold"], alias) for alias in row["aliases"])
    ]
    assert passing == []


@each_translation
def test_a_gold_translation_reaches_its_threshold(row: Row) -> None:
    assert row["gold"] in row["references"]
    assert chrf(row["gold"], row["references"]) >= row["threshold"]


@each_translation
def test_references_are_several_different_and_near_each_other(row: Row) -> None:
    references = row["references"]
    assert len(references) >= 5
    assert len(set(references)) == len(references)
    for reference in references:
        assert chrf(reference, [other for other in references if other != reference]) >= 0.4, reference


def test_a_right_rendering_in_other_words_mostly_reaches_the_threshold() -> None:
    """Each reference against the others; they were written to differ, more than answers of models do."""
    reached = [
        chrf(reference, [other for other in row["references"] if other != reference]) >= row["threshold"]
        for row in TRANSLATION
        for reference in row["references"]
    ]
    assert sum(reached) / len(reached) > 0.8


@each_translation
def test_the_untranslated_source_stays_well_below_the_threshold(row: Row) -> None:
    ceiling = row["threshold"] - ECHO_MARGIN
    assert row["threshold"] == 0.7  # where reading the answers and other right wordings agree best: docs/decisions.md
    assert chrf(row["prompt"], row["references"]) < ceiling
    for part in [*row["prompt"].split("\n\n"), *row["prompt"].split(": "), *re.findall(r'"(.+?)"', row["prompt"])]:
        assert chrf(part, row["references"]) < ceiling, part


def test_writing_waits_for_a_judge_and_says_where_brevity_would_spoil_the_task() -> None:
    assert all(row["gold"] is None for row in WRITING)
    assert 4 <= sum(row.get("no_brevity", False) for row in WRITING) <= 10
