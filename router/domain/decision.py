"""What a policy answers: the plan for the whole traffic, and the decision for one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.catalogue import Floor, Option
from router.domain.estimates import FloatArray


@dataclass(frozen=True, slots=True)
class Plan:
    """A solution of the linear program, or the constant mix of a simple policy in the same shape.

    Attributes:
        policy: Who made it.
        categories: (C,) rows.
        options: (O,) columns.
        w: (C,) traffic shares it was made for.
        x: (C, O) weights, rows summing to 1.
        g: (C, O) grams per prompt it was made with, NaN where the option is no column.
        q: (C, O) quality it was made with, NaN where unknown.
        reference: Column index of the reference.
        floor: As the user stated it.
        floor_quality: The floor as an accuracy, margin not included.
        expected_g: Grams per prompt it promises.
        expected_quality: Accuracy it promises.
        reference_g: Grams per prompt of the reference, by the same estimates.
        reference_quality: Its accuracy.
        price_of_quality_g: Dual of the quality row: grams one more unit (100 points) of accuracy costs, or None.
        feasible: False where the floor cannot be met; the plan is then the one of maximum quality.
        reachable_quality: The highest accuracy any mix reaches, where the floor is out of reach; else None.
        embodied: ``included`` or ``excluded`` (an option lacks device seconds or embodied carbon is unknown).
        notes: Anything a reader has to know, in sentences.
        duals: Grams per prompt that one unit less of a row's limit costs, by the row's name (``floor``,
            ``category:<c>``, ``latency``, ``capacity:<site>``, ``budget``), where a program was solved.
        shed: For each row that had to give way, by which share of its limit it is exceeded.
    """

    policy: str
    categories: tuple[str, ...]
    options: tuple[Option, ...]
    w: FloatArray
    x: FloatArray
    g: FloatArray
    q: FloatArray
    reference: int
    floor: Floor
    floor_quality: float
    expected_g: float
    expected_quality: float
    reference_g: float
    reference_quality: float
    price_of_quality_g: float | None = None
    feasible: bool = True
    reachable_quality: float | None = None
    embodied: str = "included"
    notes: tuple[str, ...] = ()
    duals: Mapping[str, float] = field(default_factory=dict)
    shed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the program as people read it.

    Attributes:
        name: ``floor``, ``floor of <category>``, ``mean seconds``, ``capacity of <site>`` or ``budget``.
        limit: What is asked for, in the row's unit.
        value: What the plan comes to.
        unit: Of both.
        price_g: Grams a prompt that one unit more strictness costs: 0 where the row does not bind, None where it is
            not known.
        excess: Share of the limit by which it had to give way; 0 where it is kept.
    """

    name: str
    limit: float
    value: float
    unit: str
    price_g: float | None
    excess: float = 0.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A measured prompt near the one at hand."""

    id: str
    prompt: str
    category: str | None
    distance: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One option as it stood for one prompt.

    Attributes:
        option: The option.
        weight: Probability with which it is drawn.
        expected_g: Grams expected for this prompt, or None.
        expected_quality: Quality expected for this prompt, or None.
    """

    option: Option
    weight: float
    expected_g: float | None
    expected_quality: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """One prompt's option, with the numbers that explain it.

    Attributes:
        option: What was drawn.
        policy: Who decided.
        category: Most probable category, or None.
        category_probability: Its probability, or None.
        probabilities: All categories with their probabilities.
        neighbours: Nearest measured prompts, nearest first.
        candidates: Every option, best weight first.
        reference: The reference option.
        reference_g: Its expected grams for this prompt, or None.
        reason: Why, in a sentence.
        fallback: Why the usual path was left (empty store, unfamiliar prompt, embedder down), or None.
        side: What a client's own request is for (``title``, ``tags``, ...), None where a person asks.
        reference_energy_j: Joules expected of the reference for this prompt, or None.
        reference_device_s: Device seconds expected of it, or None.
        is_embodied_priced: Whether ``reference_g`` holds the embodied component.
        conversation: ``kept``, ``switched`` or ``escalated``: what became of its model; None where there was none.
    """

    option: Option
    policy: str
    category: str | None
    category_probability: float | None
    probabilities: tuple[tuple[str, float], ...]
    neighbours: tuple[Neighbour, ...]
    candidates: tuple[Candidate, ...]
    reference: Option
    reference_g: float | None
    reason: str
    fallback: str | None = None
    side: str | None = None
    conversation: str | None = None
    reference_energy_j: float | None = None
    reference_device_s: float | None = None
    is_embodied_priced: bool = True
