from __future__ import annotations

import time

import pytest

from router.estimate.wording import no_brevity, wants_length_or_format

INSTRUCTIONS = [
    "Write an essay of at least 300 words about rivers.",
    "Explain photosynthesis in detail.",
    "Please give a detailed explanation of TCP slow start.",
    "Summarise this in 200 words.",
    "Describe the causes of the war in five paragraphs.",
    "Write a 500-word essay on bees.",
    "Solve this equation step by step: 2x = 4",
    "Answer thoroughly: explain the French revolution at length.",
    "List three capitals as JSON.",
    "Return only valid XML with the fields name and age.",
    "Give me the countries as a markdown table",
    "Answer with only the letter of the right option.",
    "Use the following format:\nName: ...",
    "Show your work.",
    "Your answer must be a list of integers.",
    "Erkläre mir ausführlich, wie ein Motor funktioniert.",
    "Erklaere Schritt für Schritt, wie man Brot backt.",
    "Schreibe mindestens drei Absätze über Berlin.",
    "Gib die Antwort als Tabelle aus.",
    "Explique en détail le fonctionnement d'un moteur.",
    "Réponds sous forme de liste.",
    "Écris un texte d'environ 200 mots sur Paris.",
    "Explica paso a paso cómo hacer una paella.",
    "Describe con detalle la batalla.",
    "Responde en el siguiente formato: nombre, edad",
]

SUBJECTS = [
    "What is the length of the Nile?",
    "Who drew the first detailed map of Africa?",
    "How many words are in the Declaration of Independence?",
    "A page has 200 words. If Tom reads 3 pages, how many words does he read?",
    "Mary wrote 3 pages a day for 4 days. How many pages did she write?",
    "Write a Python function that parses a JSON file.",
    "What does the format specifier %d mean in C?",
    "Which of the following is the best answer?\n(A) long\n(B) short",
    "How do I open a CSV file in Excel?",
    "Translate to German: The table is long.",
    "Is 97 a prime number?",
    "What was the longest war in Europe?",
    "Wie lang ist der Rhein?",
    "Quelle est la capitale de la France ?",
    "¿Cuántas palabras tiene el himno?",
    "In how many sentences does the word 'whale' occur?",
    "",
]


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_an_instruction_on_length_or_form_is_seen(text: str) -> None:
    assert wants_length_or_format(text)


@pytest.mark.parametrize("text", SUBJECTS)
def test_a_subject_that_sounds_like_one_is_let_be(text: str) -> None:
    assert not wants_length_or_format(text)


def test_many_prompts_at_once() -> None:
    assert no_brevity(["Is it raining?", "Explain it in detail."]).tolist() == [False, True]


def test_a_long_list_of_numbers_takes_no_time() -> None:
    began_s = time.process_time()
    wants_length_or_format("Sort these: " + "1," * 30_000 + " 1" + "." * 30_000)
    assert time.process_time() - began_s < 1.0
