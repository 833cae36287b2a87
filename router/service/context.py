"""The text a request is routed by: its last user turn, with the turn before it where it cannot stand alone.

"And now in German" says nothing of what is to be done; "make it faster" could be about a story. Such a turn is short
and leans on what was said: it opens with a word that continues ("and", "now", "what about"), or points at something
it does not name ("it", "that one", "the second"). Then the user turn before it is put in front, and the one before
that if that one leans as well. A short turn without such words is either a new topic ("What is the capital of Peru?"),
which the history would only dilute, or leans all the same ("ordered by year of birth"): it is read both ways, and the
reading counts of which the probe is surer. How often that is right, and what else was tried: docs/conversations.md,
``python -m bench context``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.domain.chat import Message

SHORT_WORDS = 10
"""A longer turn is taken to stand alone."""

VERY_SHORT_WORDS = 3
"""A turn of so few words leans on the one before, whatever they are."""

MOST_TURNS = 3
"""User turns looked back through."""

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_OPENS = re.compile(
    r"\A\W*(?:and|but|or|so|also|now|then|again|same|more|less|another|instead|what about|how about|what if|why|"
    r"how so|really|are you sure|ok(?:ay)?|thanks?|great|good|nice|perfect|no|yes|yep|hmm+|please|still|wait|"
    r"try|make|do|give|turn|convert|change|add|remove|use|keep|drop|rename|replace|shorten|simplify|fix|redo|repeat|"
    r"continue|go on|explain|translate|und|aber|jetzt|nun|noch|et|mais|maintenant|y|pero|ahora)\b",
    re.IGNORECASE,
)
# An ordinal points only where nothing is named after it: "the second", "the first one", not "the first woman".
_POINTS = re.compile(
    r"\b(?:it|its|that|this|these|those|them|they|one|ones|same|above|previous|former|latter|"
    r"instead|too|again|either|else|as well|das|es|dies|ça|cela|eso|esto)\b"
    r"|\bthe (?:first|second|third|last)(?: (?:one|two|three))?\b(?=\W*\Z|\W*[,;]|,? please)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Leaning:
    """When a user turn cannot be understood without the one before it.

    Attributes:
        most_words: A longer turn stands alone.
        opens: A turn that opens with a word that continues leans.
        points: A turn that points at what it does not name leans.
    """

    most_words: int = SHORT_WORDS
    opens: bool = True
    points: bool = True

    def __call__(self, text: str) -> bool:
        """Whether this one does."""
        words = len(_WORD.findall(text))
        if words <= VERY_SHORT_WORDS:
            return True
        if words > self.most_words:
            return False
        cued = (self.opens and _OPENS.search(text)) or (self.points and _POINTS.search(text))
        return bool(cued) or not (self.opens or self.points)


LEANING = Leaning()
UNSURE = Leaning(most_words=8, opens=False, points=False)
"""A turn so short that does not seem to lean is read both ways."""


def routing_text(messages: Sequence[Message], leans: Callable[[str], bool] = LEANING) -> str:
    """What to embed and classify; the empty string where there is no user turn with text."""
    turns = [m.content for m in messages if m.role == "user" and m.content.strip()]
    taken = turns[-1:]
    for earlier in reversed(turns[-MOST_TURNS:-1]):
        if not leans(taken[0]):
            break
        taken.insert(0, earlier)
    return "\n".join(taken)


def routing_texts(messages: Sequence[Message]) -> tuple[str, ...]:
    """What to classify: one text, or two of which the one counts that the probe is surer of; none without a user turn.

    A short turn that neither continues nor points may still belong to the one before ("ordered by year of birth").
    """
    text = routing_text(messages)
    turns = [m.content for m in messages if m.role == "user" and m.content.strip()]
    if len(turns) > 1 and text == turns[-1] and UNSURE(text):
        return text, "\n".join(turns[-2:])
    return (text,) if text else ()
