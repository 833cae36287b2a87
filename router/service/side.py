"""Side requests: what a chat client asks for its own sake (a title, tags, follow-up questions), not a person.

Open WebUI sends up to three of them for one chat message. They are recognised, in this order, by

1. the header ``X-Router-Side-Request`` (any client; Open WebUI fills in ``{{TASK}}`` where a connection is given that
   as a header of its own). An empty one, ``no``, or a task that is an answer for a person says that it is none;
2. the model's name ``auto-side``, which an alias may stand for;
3. the shape of Open WebUI's task prompts: one user message, no answer, that opens with a task heading and brings the
   chat along in its own brackets. A person who asks *about* such a prompt does not open with the heading.

They go to the cheapest option that is not hopeless, take part in no conversation, and are counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE
from router.domain.chat import Message, last_user_text
from router.domain.estimates import FloatArray
from router.estimate.wording import wants_length_or_format
from router.learn.decider import Decider
from router.service.ask import Ask

OTHER = "other"
SANE = 0.5
"""An option is not hopeless where it has this share of the reference's quality over the whole traffic."""

# What clients call it -> what it is counted as: few names, since metrics are labelled with them.
_NAMES: Mapping[str, str] = {
    "title": "title",
    "title_generation": "title",
    "tags": "tags",
    "tags_generation": "tags",
    "follow_up": "follow_ups",
    "follow_ups": "follow_ups",
    "follow_up_generation": "follow_ups",
    "query_generation": "queries",
    "queries": "queries",
    "emoji_generation": "emoji",
    "emoji": "emoji",
    "autocomplete": "autocomplete",
    "autocomplete_generation": "autocomplete",
    "image_prompt_generation": "image_prompt",
    "document_suggestions_generation": "suggestions",
}
KINDS = (*dict.fromkeys(_NAMES.values()), OTHER)
# Open WebUI's tasks whose outcome a person reads or an answer hangs on: quality counts.
_NOT_SIDE = frozenset({"", "0", "no", "none", "false", "default", "function_calling", "moa_response_generation"})

_HEADING = re.compile(r"\s*#{1,4} *task\b[: ]*", re.IGNORECASE)
_NEXT_HEADING = re.compile(r"^#{1,4} ", re.MULTILINE)
_CHAT_TAG = re.compile(r"<(/?)chat_history>", re.IGNORECASE)
_LAST_HEADING = re.compile(r"#{1,4}[^\n]*")
_OUTPUT = re.compile(r"^#{1,4} *output\b", re.IGNORECASE | re.MULTILINE)
# An older release asks for a title in one paragraph, without headings.
_OLD_TITLE = re.compile(
    r"\A(?:here is the query|create a concise)\b.{0,8000}\b\d-\d word (?:phrase|title)\b", re.IGNORECASE | re.DOTALL
)
_OLD_TITLE_END = re.compile(r"\bonly with the title\b", re.IGNORECASE)
_WORDS = (
    ("follow_ups", re.compile(r"follow[- _]?ups?\b", re.IGNORECASE)),
    ("tags", re.compile(r"\btags?\b", re.IGNORECASE)),
    ("title", re.compile(r"\btitle\b", re.IGNORECASE)),
    ("queries", re.compile(r"\b(?:search|retrieval) quer(?:y|ies)\b|\bqueries\b", re.IGNORECASE)),
    ("image_prompt", re.compile(r"\bimage\b", re.IGNORECASE)),
    ("autocomplete", re.compile(r"\bautocomplet\w+", re.IGNORECASE)),
    ("emoji", re.compile(r"\bemojis?\b", re.IGNORECASE)),
)


def side_of(ask: Ask, *, is_side_model: bool = False) -> str | None:
    """What kind of side request this is, one of :data:`KINDS`; None where a person asks.

    Args:
        ask: The request.
        is_side_model: Its model's name says that it is one.
    """
    if ask.side is not None:
        said = ask.side.strip().lower()
        return None if said in _NOT_SIDE else _NAMES.get(said, OTHER)
    shape = shape_of(ask.messages)
    return shape or (OTHER if is_side_model else None)


def shape_of(messages: Sequence[Message]) -> str | None:
    """The kind a prompt has the shape of; None where it has none of them."""
    spoken = [message for message in messages if message.role != "system"]
    if len(spoken) != 1 or spoken[0].role != "user":
        return None
    text = spoken[0].content
    if _OLD_TITLE.match(text) and _OLD_TITLE_END.search(text):
        return "title"
    heading = _HEADING.match(text)
    if heading is None:
        return None
    body = text[heading.end() :]
    end = _NEXT_HEADING.search(body)
    task = body[: end.start()] if end else body[:600]
    # Completion of what is being typed has its chat in the middle; the others end with it.
    chat = _chat_in(text)
    if chat is None:
        return None
    before, after = text[: chat[0]], text[chat[1] :]
    ends_with_it = not after.strip() or _LAST_HEADING.fullmatch(after.strip()) is not None
    if not (ends_with_it or "autocomplet" in task.lower()) or not _OUTPUT.search(before + after):
        return None
    return next((kind for kind, words in _WORDS if words.search(task)), None)


def _chat_in(text: str) -> tuple[int, int] | None:
    """Where the chat a task brings begins and ends; None without one. A look at each tag, however many there are."""
    begin = end = None
    for tag in _CHAT_TAG.finditer(text):
        if tag[1]:
            end = tag.end()
        elif begin is None:
            begin = tag.start()
    return None if begin is None or end is None or end < begin else (begin, end)


def is_plain(ask: Ask, kind: str) -> bool:
    """Whether a side request gets no directive: its form is fixed, which clients read by program."""
    return kind != OTHER or ask.fixes_form or wants_length_or_format(last_user_text(ask.messages))


def cheapest_sane(
    decider: Decider, may: Sequence[bool], tokens: float, *, plain: bool
) -> tuple[int, FloatArray] | None:
    """The cheapest option that is not hopeless, by the whole traffic's means: a side request is no category.

    Args:
        decider: What is known.
        may: (O,) options that may answer.
        tokens: To be read.
        plain: Without a directive only.

    Returns:
        Its column and the grams (O,) expected of each; None where nothing is known of those that may answer.
    """
    g, q = decider.typical()
    g = g + decider.reading_g(tokens)
    mask = np.asarray(may, dtype=bool) & np.isfinite(g) & np.isfinite(q)
    if plain:
        mask &= np.array([option.directive == NO_DIRECTIVE for option in decider.options])
    if not mask.any():
        return None
    sane = mask & (np.nan_to_num(q) >= SANE * q[decider.estimates.reference])
    # Where all are hopeless the best of them.
    index = np.argmin(np.where(sane, g, np.inf)) if sane.any() else np.argmax(np.where(mask, q, -np.inf))
    return int(index), g
