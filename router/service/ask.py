"""What a client asks for, and which part of the federation its model name leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from router.domain.catalogue import Catalogue, Option
from router.domain.chat import Message, Sampling
from router.domain.errors import RequestError, UnknownModelError

ABILITIES = ("tools", "vision")
"""What not every model can do and a request may need, in Ollama's words."""

AUTO = "auto"
SIDE_MODEL = "auto-side"
"""Asks for the cheapest option that is not hopeless: for what a client wants for its own sake."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One chat request, whatever dialect it came in.

    Attributes:
        messages: The conversation.
        model: The name the client used: ``auto``, ``auto@L1``, a model, ``model@L1`` or an alias.
        directive: A directive the client pinned by a field of its own, or None.
        sampling: Token drawing.
        logprobs: Whether the mean log-probability is wanted.
        extra: Other wire fields for the engine.
        conversation: What the client calls the conversation, with whose it is; None where it does not say.
        side: What the client says the request is for, where that is not a person's question; empty where it says
            that it is one, None where it says nothing.
    """

    messages: tuple[Message, ...]
    model: str = AUTO
    directive: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    conversation: str | None = None
    side: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What the model must be able to do beyond answering in text, of :data:`ABILITIES`."""
        tools = any(self.extra.get(name) for name in ("tools", "functions"))
        vision = any(message.extra.get("images") for message in self.messages)
        return tuple(ability for ability, needed in zip(ABILITIES, (tools, vision), strict=True) if needed)

    @property
    def fixes_form(self) -> bool:
        """Whether the answer's form is prescribed: by tools, or by a format. Being brief would break it."""
        format_ = self.extra.get("response_format")
        is_text = format_ is None or (isinstance(format_, Mapping) and format_.get("type") == "text")
        return not is_text or "tools" in self.needs or bool(self.extra.get("format"))


@dataclass(frozen=True, slots=True)
class Target:
    """What a model name pins; None leaves the choice to the policy.

    Attributes:
        model: The only model that may answer, or None.
        directive: The only directive, or None.
        is_plain_for_form: The directive is none because the request prescribes a form, not because a client pinned it.
        is_side: The name asks for the cheapest option that is not hopeless.
        unable: Options that cannot do what is asked for, though nothing pinned leaves them out.
    """

    model: str | None = None
    directive: str | None = None
    is_plain_for_form: bool = False
    is_side: bool = False
    unable: frozenset[Option] = frozenset()

    def allows(self, option: Option) -> bool:
        """Whether an option may answer."""
        pinned = self.model in (None, option.model) and self.directive in (None, option.directive)
        return pinned and self.enables(option)

    def enables(self, option: Option) -> bool:
        """Whether an option can do what is asked for, and so can all that it may hand over to."""
        return self.unable.isdisjoint(option.parts)

    @property
    def is_free(self) -> bool:
        """Whether the client pinned nothing."""
        return self.model is None and (self.directive is None or self.is_plain_for_form)


def resolve(name: str, catalogue: Catalogue, directive: str | None = None) -> Target:
    """What a client's model name means.

    Args:
        name: As the client wrote it; ``:latest`` behind ``auto`` or an alias is ignored, since Ollama's clients add it.
        catalogue: The federation.
        directive: Pinned by a request field; wins over one in the name.

    Raises:
        UnknownModelError: If no model, alias or ``auto`` has that name.
        RequestError: If the directive is unknown.
    """
    base, _, in_name = _expand(name, catalogue).partition("@")
    pinned = directive or in_name or None
    if pinned is not None and pinned not in catalogue.directives:
        raise RequestError(
            f"unknown directive {pinned!r}", param="directive", hint=f"known are {', '.join(catalogue.directives)}"
        )
    if base.removesuffix(":latest") in (AUTO, SIDE_MODEL):
        return Target(None, pinned, is_side=base.removesuffix(":latest") == SIDE_MODEL)
    for candidate in (base, base.removesuffix(":latest"), f"{base}:latest"):
        if candidate in catalogue.models:
            return Target(candidate, pinned)
    names = [AUTO, SIDE_MODEL, *catalogue.models, *catalogue.aliases]
    close = get_close_matches(base[:200], names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownModelError(f"no model is called {name!r}", param="model", hint=f"{guess}known are {', '.join(names)}")


def _expand(name: str, catalogue: Catalogue) -> str:
    """Follow an alias once, keeping a directive written behind it; a model's own name wins over an alias."""
    base, at, directive = name.partition("@")
    if base in catalogue.models:
        return name
    for candidate in (base, base.removesuffix(":latest")):
        if candidate in catalogue.aliases:
            goal = catalogue.aliases[candidate]
            return goal if "@" in goal or not at else f"{goal}@{directive}"
    return name
