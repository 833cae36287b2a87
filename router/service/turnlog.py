"""One log line a turn: what answered, what it cost, how it ended. What was asked is in it only on request."""

from __future__ import annotations

import logging
from typing import Any

from router.domain.catalogue import Option
from router.domain.chat import last_user_text
from router.domain.record import Turn
from router.domain.sci import Footprint
from router.domain.units import ms_from_seconds
from router.service.ask import Ask
from router.service.steps import Step

logger = logging.getLogger(__name__)

FIELDS = "turn"  # attribute of the log record that holds the fields


class TurnLog:
    """Writes the line."""

    def __init__(self, *, prompts: bool = False) -> None:
        """Take whether prompts may be in it."""
        self._prompts = prompts

    def __call__(self, turn: Turn, ask: Ask, steps: tuple[Step, ...]) -> None:
        """Log a turn; one that ended in an error is a warning."""
        fields = turn_fields(turn, steps)
        if self._prompts:
            fields["prompt"] = last_user_text(ask.messages)
        level = logging.WARNING if turn.status == "error" else logging.INFO
        logger.log(level, "%s", _sentence(fields), extra={FIELDS: fields})


def turn_fields(turn: Turn, steps: tuple[Step, ...]) -> dict[str, Any]:
    """What the line says; unknown is None."""
    carbon = turn.carbon
    embed_s = next((step.ended_s - step.began_s for step in steps if step.name == "embed"), None)
    return {
        "id": turn.id,
        "status": turn.status,
        "option": str(Option(carbon.model, carbon.directive, carbon.site, carbon.setting)),
        "category": carbon.category,
        "energy_j": carbon.energy_j,
        "energy_method": carbon.energy_method,
        "operational_g": carbon.operational_g,
        "embodied_g": carbon.embodied_g,
        "grams": Footprint(carbon.operational_g, carbon.embodied_g).total_g,
        "saved_g": carbon.saved_g,
        "duration_s": turn.duration_s,
        "first_token_s": turn.first_token_s,
        "overhead_ms": carbon.overhead_ms,
        "embed_ms": None if embed_s is None else ms_from_seconds(embed_s),
        "prompt_tokens": turn.prompt_tokens,
        "output_tokens": turn.output_tokens,
        "finish_reason": turn.finish_reason,
        "attempts": turn.attempts,
        "fallback": carbon.fallback,
        "error": turn.error,
    }


def _sentence(fields: dict[str, Any]) -> str:
    """For people: ``key=value``, the unknown left out."""
    shown = {key: fields[key] for key in ("id", "status", "option", "category") if fields[key] is not None}
    for key, unit in (("energy_j", "J"), ("grams", "g"), ("duration_s", "s")):
        if fields[key] is not None:
            shown[key] = f"{fields[key]:.4g} {unit}"
    for key in ("fallback", "error", "prompt"):
        if fields.get(key) is not None:
            shown[key] = repr(fields[key])
    return "turn " + " ".join(f"{key}={value}" for key, value in shown.items())
