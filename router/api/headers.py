"""The ``X-Router-*`` headers: who answers and why, for clients that never look into the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from router.domain.catalogue import Option
from router.domain.decision import Decision
from router.domain.record import CarbonRecord
from router.service.ask import Ask

# The router's own, and what Open WebUI sends with ENABLE_FORWARD_USER_INFO_HEADERS.
_CONVERSATION = ("x-router-conversation", "x-openwebui-chat-id")
_SIDE = "x-router-side-request"

_DECIDED = ("X-Router-Model", "X-Router-Directive", "X-Router-Site", "X-Router-Policy", "X-Router-Category")
_TAKEN = tuple(f"X-Router-{name}" for name in ("Energy-J", "Operational-G", "Embodied-G", "Saved-G", "Overhead-Ms"))
EXPOSED = (*_DECIDED, *_TAKEN, "Retry-After", "X-Should-Retry")
"""What a page from elsewhere may read of an answer: browsers hide headers that are not named."""


def with_conversation(ask: Ask, headers: Mapping[str, str]) -> Ask:
    """The request with what its headers say of its conversation, and of whether a person asks.

    Args:
        ask: From the body.
        headers: Of the request, names in any case (as Starlette gives them).
    """
    said = next((headers[name] for name in _CONVERSATION if headers.get(name)), None)
    # Two clients that count their conversations from one must not meet in one: the key tells them apart.
    conversation = None if said is None else f"{headers.get('authorization', '')}\n{said}"
    return replace(ask, conversation=conversation, side=headers.get(_SIDE))


def decision_headers(option: Option, decision: Decision) -> dict[str, str]:
    """What is known before the first byte of the answer."""
    values = (option.model, option.directive, option.site, decision.policy, decision.category)
    # A header holds ASCII; names in models.yaml may hold anything.
    return {
        name: value.encode("ascii", "replace").decode()
        for name, value in zip(_DECIDED, values, strict=True)
        if value is not None
    }


def carbon_headers(record: CarbonRecord) -> dict[str, str]:
    """What is known when the answer is whole; what is unknown has no header."""
    figures = (record.energy_j, record.operational_g, record.embodied_g, record.saved_g, record.overhead_ms)
    return {name: f"{value:.6g}" for name, value in zip(_TAKEN, figures, strict=True) if value is not None}
