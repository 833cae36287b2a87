"""What was measured and what was answered: the rows that are stored, journalled and sent to clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.domain.catalogue import DEFAULT_SETTING, Option
from router.domain.reading import IntensityKind, Method

OutcomeKey = tuple[str, str, str, str, int, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one option answered one prompt; the fields of the file format (docs/measuring.md).

    Attributes:
        model: Model name.
        directive: Directive name.
        quality: Correctness in [0, 1], or None where it is not (yet) graded.
        site: Site name.
        setting: Setting name.
        grader: Which grader gave the quality.
        answer: The text.
        finish_reason: ``stop`` or ``length``; ``length`` means a cap was hit.
        energy_j: Marginal joules.
        idle_j: Idle joules of the window.
        duration_s: Device seconds.
        prefill_s: Of these, reading the prompt.
        decode_s: Of these, writing the answer.
        prompt_tokens: Tokens read.
        output_tokens: Tokens written.
        mean_logprob: Mean natural log-probability of the answer's tokens.
        concurrency: Generations at a time while this one ran.
        repeat: Which repetition.
        run: Entry of the ``.runs.json`` beside the file.
        method: How the joules were obtained.
        extra: Unknown keys, kept on export.
        origin: ``shipped``, ``import`` or ``local``: where the store has it from; set by the store, never exported.
    """

    model: str
    directive: str
    quality: float | None
    site: str = "local"
    setting: str = DEFAULT_SETTING
    grader: str | None = None
    answer: str | None = None
    finish_reason: str | None = None
    energy_j: float | None = None
    idle_j: float | None = None
    duration_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    mean_logprob: float | None = None
    concurrency: int = 1
    repeat: int = 0
    run: str | None = None
    method: Method | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    origin: str | None = None

    @property
    def option(self) -> Option:
        """The column this outcome belongs to."""
        return Option(self.model, self.directive, self.site, self.setting)

    @property
    def key(self) -> OutcomeKey:
        """What identifies an outcome of one prompt; a later one with the same key replaces an earlier."""
        return (self.model, self.directive, self.site, self.setting, self.concurrency, self.repeat)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One prompt and how each option answered it.

    Attributes:
        id: Identity of the prompt; lines with the same id merge.
        prompt: The text that is embedded (the last user turn of a conversation).
        category: Task class, or None.
        outcomes: By :attr:`Outcome.key`, in file order.
        messages: The whole conversation in wire form, where it is one.
        split: ``known`` or ``validation``; None counts as known.
        origin: ``shipped``, ``import`` or ``local``: what it is added to a store as, and the strongest of its
            outcomes' origins once stored; never exported.
        extra: Unknown keys, kept on export.
    """

    id: str
    prompt: str
    category: str | None = None
    outcomes: tuple[Outcome, ...] = ()
    messages: tuple[Mapping[str, Any], ...] | None = None
    split: str | None = None
    origin: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CarbonRecord:
    """What one answer cost, and why this option gave it; sent with every answer. Unknown is None.

    Attributes:
        model: Model that answered.
        directive: Directive it was given.
        setting: Setting it ran under.
        site: Where it ran.
        category: Most probable task class.
        category_probability: Its probability.
        energy_j: Marginal joules of the generation, wasted attempts included.
        energy_method: measured, modelled or sourced.
        operational_g: Grams from energy.
        embodied_g: Grams from the hardware.
        intensity_g_per_kwh: Grid intensity used.
        intensity_source: Who said so.
        intensity_age_s: How old it was; None for a fixed figure.
        reference_g: Expected grams had the reference answered, by the same method.
        saved_g: ``reference_g`` minus this answer's grams.
        policy: Policy that decided.
        floor: The accuracy it had to keep.
        overhead_ms: Milliseconds the router itself took before the engine was asked.
        router_energy_j: Joules of the router itself, or None where they cannot be told apart.
        fallback: Why the usual path was left, or None.
        intensity_kind: ``average`` or ``marginal``.
        intensity_is_estimated: Whether its source calls it an estimate; None where it does not say.
        intensity_is_stale: Whether it was a last known value past its time, or a fallback.
    """

    model: str
    directive: str
    setting: str
    site: str
    category: str | None
    category_probability: float | None
    energy_j: float | None
    energy_method: Method | None
    operational_g: float | None
    embodied_g: float | None
    intensity_g_per_kwh: float | None
    intensity_source: str | None
    intensity_age_s: float | None
    reference_g: float | None
    saved_g: float | None
    policy: str
    floor: str
    overhead_ms: float
    router_energy_j: float | None
    fallback: str | None
    intensity_kind: IntensityKind | None = None
    intensity_is_estimated: bool | None = None
    intensity_is_stale: bool | None = None


@dataclass(frozen=True, slots=True)
class Basis:
    """What a report needs beyond the record that the client gets. Unknown is None.

    Attributes:
        device_s: Device-time share of all attempts, seconds; 0 where none was started.
        idle_j: The device's idle joules that fell on them.
        wasted_j: Of ``energy_j``, what attempts took that did not give the answer.
        energy_source: Which instrument, with its parameters.
        pue: Power usage effectiveness that the grams were computed with.
        reference: The option whose expected grams are the baseline.
        reference_energy_j: Joules expected of it for this prompt.
        reference_device_s: Device seconds expected of it.
        reference_operational_g: Grams of those joules, at its own site.
        earlier_answers: Answers the request brought along: 0 where it opens a conversation.
        holds_idle: Whether ``energy_j`` holds idle joules too, since nobody knows how many they are.
    """

    device_s: float | None = None
    idle_j: float | None = None
    wasted_j: float | None = None
    energy_source: str | None = None
    pue: float | None = None
    reference: str | None = None
    reference_energy_j: float | None = None
    reference_device_s: float | None = None
    reference_operational_g: float | None = None
    earlier_answers: int | None = None
    holds_idle: bool | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One request as it is journalled. The prompt's text is not part of it.

    Attributes:
        id: Identity, also in the answer's id.
        started_at: Unix seconds.
        status: ``ok``, ``error`` or ``cancelled``.
        carbon: The record sent to the client.
        prompt_tokens: Tokens read.
        output_tokens: Tokens written.
        duration_s: Wall seconds from receipt to the last byte.
        first_token_s: Wall seconds to the first piece of text.
        finish_reason: As sent.
        mean_logprob: Of the answer, or None.
        error: Code of the error, or None.
        attempts: How many generations were started.
        side: What a client's own request was for (``title``, ``tags``, ...), None where a person asked.
        conversation: ``kept``, ``switched`` or ``escalated``: what became of its model; None where there was none.
        basis: What reports are computed from.
        escalations: How often a cascade's first answer was not good enough and another option answered.
    """

    id: str
    started_at: float
    status: str
    carbon: CarbonRecord
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    duration_s: float | None = None
    first_token_s: float | None = None
    finish_reason: str | None = None
    mean_logprob: float | None = None
    error: str | None = None
    attempts: int = 1
    side: str | None = None
    conversation: str | None = None
    basis: Basis = field(default_factory=Basis)
    escalations: int = 0
