"""What a conversation makes of the plan's weights: kept, switched or escalated, with the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.domain.catalogue import Option
from router.domain.estimates import FloatArray
from router.service.conversation import Place
from router.service.staying import WARM_S, Turn, next_up, stay_or_switch

Outcome = Literal["kept", "switched", "escalated"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The weights as the conversation leaves them.

    Attributes:
        weights: (O,) to draw from.
        outcome: What became of the conversation's model; None where there was none, or it was not ours to choose.
        said: Why, for the decision's reason; None where there is nothing to add.
    """

    weights: FloatArray
    outcome: Outcome | None = None
    said: str | None = None


def settle(
    place: Place,
    options: Sequence[Option],
    turn: Turn,
    *,
    price_g: float | None,
    most_loss: float,
    is_model_pinned: bool = False,
    is_unfamiliar: bool = False,
) -> Settled:
    """Apply what is known of the conversation.

    Args:
        place: Where the request stands.
        options: (O,) columns.
        turn: The turn as the plan sees it.
        price_g: Grams that one unit of quality is worth, or None.
        most_loss: Quality that staying may cost.
        is_model_pinned: The client chose the model: only a regeneration may change something, the directive.
        is_unfamiliar: The plan's weights are no plan but the reference: an unfamiliar prompt takes it.
    """
    seat = place.seat
    if seat is None:
        return Settled(turn.weights)
    if place.is_regeneration and seat.option in options:
        settled = _escalate(options, turn, options.index(seat.option))
        return settled if settled.outcome == "escalated" or not is_model_pinned else Settled(turn.weights)
    if is_model_pinned:
        return Settled(turn.weights)
    here = np.array([(o.model, o.site) == (seat.option.model, seat.option.site) for o in options], dtype=bool)
    if is_unfamiliar:
        stays = bool(turn.weights[here].sum() > 0)
        return Settled(turn.weights, "kept" if stays else "switched")
    verdict = stay_or_switch(turn, here, price_g=price_g, is_warm=place.idle_s <= WARM_S, most_loss=most_loss)
    if verdict.stays:
        cost = "" if not verdict.switch_g else f": a switch would cost {verdict.switch_g:.2g} g more"
        return Settled(verdict.weights, "kept", f"kept on {seat.option.model}{cost}")
    return Settled(verdict.weights, "switched", _switched(seat.option.model, verdict.switch_g, verdict.for_quality))


def _escalate(options: Sequence[Option], turn: Turn, last: int) -> Settled:
    up = next_up(turn.g, turn.q, turn.may, last)
    weights = np.zeros_like(turn.weights)
    if up is not None:
        weights[up] = 1.0
        return Settled(weights, "escalated", f"asked again after {options[last]}, so the next better option answers")
    if not turn.may[last]:
        return Settled(turn.weights, "switched", "asked again; what answered before may not answer now")
    weights[last] = 1.0
    return Settled(weights, "kept", "asked again; nothing better is known")


def _switched(model: str, switch_g: float | None, for_quality: bool) -> str:
    if for_quality:
        return f"switched from {model}, which would give up more quality here than the plan may"
    if switch_g is None or np.isnan(switch_g):
        return f"switched from {model}, which cannot be compared here"
    return f"switched from {model}: that saves {-switch_g:.2g} g, reading the conversation again included"
