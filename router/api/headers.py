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
    headers = {
        "X-Router-Model": option.model,
        "X-Router-Directive": option.directive,
        "X-Router-Site": option.site,
        "X-Router-Policy": decision.policy,
    }
    if decision.category is not None:
        headers["X-Router-Category"] = decision.category
    # A header holds ASCII; names in models.yaml may hold anything.
    return {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}


def carbon_headers(record: CarbonRecord) -> dict[str, str]:
    """What is known when the answer is whole; what is unknown has no header."""
    figures = {
        "X-Router-Energy-J": record.energy_j,
        "X-Router-Operational-G": record.operational_g,
        "X-Router-Embodied-G": record.embodied_g,
        "X-Router-Saved-G": record.saved_g,
        "X-Router-Overhead-Ms": record.overhead_ms,
    }
    return {name: f"{value:.6g}" for name, value in figures.items() if value is not None}
