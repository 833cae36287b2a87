"""Whether a cascade's first answer may stand: the same signals that the measured answers were judged by.

The reasons go to record and journal, which hold neither prompts nor answers, so they name none of the answer's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.domain.cascade import Cascade
from router.domain.chat import Delta, Finish, Message, last_user_text
from router.estimate.answer_checks import flaw, likeness
from router.service.accounting import Attempt


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that is held back.

    Attributes:
        pieces: As the engine sent them.
        finish: Its end.
        attempt: What it took.
    """

    pieces: tuple[Delta, ...]
    finish: Finish
    attempt: Attempt

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(piece.text for piece in self.pieces)

    def as_asked(self, *, logprobs: bool) -> tuple[Delta, ...]:
        """The pieces for the client, without the log-probabilities it did not ask for."""
        return self.pieces if logprobs else tuple(replace(piece, logprobs=()) for piece in self.pieces)


def doubt(cascade: Cascade, messages: Sequence[Message], first: Held, beside: Held | None = None) -> str | None:
    """Why the first answer is not good enough, in words; None where it may stand."""
    if cascade.signal == "logprob":
        value, threshold = first.finish.usage.mean_logprob, cascade.threshold
        if value is None or threshold is None:
            return "the engine gave no log-probabilities"
        # Written so that a value that is no number does not stand.
        return None if value >= threshold else f"mean log-probability {value:.2f} under {threshold:.2f}"
    if cascade.signal == "checks":
        return None if flaw(last_user_text(messages), first.text) is None else cascade.when
    return None if beside is not None and likeness(first.text) == likeness(beside.text) else cascade.when
