"""Figures and text of an engine that cannot be handed on as they are."""

from __future__ import annotations

import pytest

from router.backends.openai_chunks import ChunkReader


@pytest.mark.parametrize("said", [2**64 - 1, -1, "12", 1.5, True, {"n": 1}, None])
def test_a_number_of_tokens_that_cannot_be_is_unknown(said: object) -> None:
    reader = ChunkReader("the engine")
    reader.take({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": said}})
    usage = reader.finish().usage
    assert (usage.prompt_tokens, usage.output_tokens) == (7, None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_under_both_of_its_names(field: str) -> None:
    reader = ChunkReader("the engine")
    piece = reader.take({"choices": [{"delta": {"content": None, field: "Well, "}}]})
    assert piece is not None
    assert (piece.text, piece.thinking) == ("", "Well, ")
    both = reader.take({"choices": [{"delta": {"reasoning_content": "now", "reasoning": "now"}}]})
    assert both is not None
    assert both.thinking == "now"


def test_half_a_character_becomes_one_that_can_be_sent() -> None:
    piece = ChunkReader("the engine").take(
        {"choices": [{"delta": {"content": "so \ud83d", "reasoning_content": "\ude00"}}]}
    )
    assert piece is not None
    assert (piece.text, piece.thinking) == ("so ?", "?")
