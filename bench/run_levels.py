"""What an engine needs to take several generations at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.datasets.item import Item

CHARACTERS_PER_TOKEN = 2
"""Fewest that any text of ours has (translation); dense text has more, so windows come out too long, not too short."""
TEMPLATE_TOKENS = 128
"""Room for the chat template and the directive."""
STEP_TOKENS = 256


def window_tokens(items: Iterable[Item], caps: Sequence[int]) -> int:
    """A context window that holds the longest of these prompts with the longest answer allowed."""
    longest = max((len(item.prompt) for item in items), default=0) // CHARACTERS_PER_TOKEN
    needed = longest + max(caps) + TEMPLATE_TOKENS
    return -(-needed // STEP_TOKENS) * STEP_TOKENS
