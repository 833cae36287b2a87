"""How much of a conversation to route by: ``python -m bench context``.

A probe fitted on measured single prompts names the category of the last turn of short conversations, from more or
less of each. The rule is chosen on one half of the conversations and judged on the other, and the other way round, so
no conversation is judged by a rule that it helped to choose; the rows of single rules are on all of them, for reading.
The probe has seen none of the conversations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.report import wilson
from router.domain.chat import Message
from router.domain.errors import MeasurementError
from router.domain.estimates import FloatArray
from router.domain.ports import Embedder
from router.domain.record import Measurement
from router.estimate.known import build_known
from router.estimate.probe import fit_probe
from router.service.context import LEANING, Leaning, routing_text, routing_texts
from router.service.seed import shipped_file
from router.store.codec import read_measurements

CONVERSATIONS = Path(__file__).parent / "prompts" / "context" / "conversations.jsonl"

Messages = Sequence[Message]
Rule = Callable[[Messages], tuple[str, ...]]
"""From a conversation to the texts to classify; of several the one the probe is surest of counts."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation whose last turn has a known category.

    Attributes:
        id: Identity.
        kind: ``leans`` where the last turn cannot stand alone, ``switch`` where it changes the topic, ``alone``.
        category: Of the last turn.
        messages: Up to the last user turn.
    """

    id: str
    kind: str
    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How often the category was named right.

    Attributes:
        rule: Which.
        n: Of so many.
        right: So often.
        share: ``right / n``.
        low: Lower end of Wilson's 95 % interval.
        high: Upper end.
        by_kind: Right and n by the kind of conversation.
    """

    rule: str
    n: int
    right: int
    share: float
    low: float
    high: float
    by_kind: Mapping[str, tuple[int, int]]


def _users(messages: Messages) -> list[str]:
    return [m.content for m in messages if m.role == "user"]


def rules() -> dict[str, Rule]:
    """What is compared, the least context first; of equals the first is chosen."""
    found: dict[str, Rule] = {
        "last turn": lambda m: (_users(m)[-1],),
        "last and previous user turn": lambda m: ("\n".join(_users(m)[-2:]),),
        "surer of the two": lambda m: (_users(m)[-1], "\n".join(_users(m)[-2:])),
        "all user turns": lambda m: ("\n".join(_users(m)),),
        "whole history": lambda m: ("\n".join(x.content for x in m),),
    }
    for cues, opens, points in (("opens", True, False), ("points", False, True), ("either", True, True)):
        for words in (6, 10, 14, 20):
            found[f"leans: {cues}, {words} words"] = _leaning(Leaning(words, opens, points))
    for words in (5, 8, 12):
        found[f"leans: short, {words} words"] = _leaning(Leaning(words, opens=False, points=False))
    found[rule_in_use()] = routing_texts
    return found


def _leaning(leans: Leaning) -> Rule:
    return lambda messages: (routing_text(messages, leans),)


def rule_in_use() -> str:
    """The name of the rule that the router follows."""
    return f"leans: {_cues(LEANING)}, {LEANING.most_words} words, else surer"


def _cues(leaning: Leaning) -> str:
    names = {(True, False): "opens", (False, True): "points", (True, True): "either", (False, False): "short"}
    return names[leaning.opens, leaning.points]


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of a file, one JSON object a line.

    Raises:
        MeasurementError: With file and line, where a line is broken.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise MeasurementError(f"cannot be read: {error.strerror}", file=str(path), hint="name a file") from error
    for number, line in enumerate(lines, 1):
        try:
            data = json.loads(line)
            messages = tuple(Message(m["role"], m["content"]) for m in data["messages"])
            found.append(Conversation(str(data["id"]), str(data["kind"]), str(data["category"]), messages))
        except (ValueError, KeyError, TypeError) as error:
            raise MeasurementError(
                f"no conversation: {error}", file=str(path), line=number, hint="it needs id, kind, category, messages"
            ) from error
        if not messages or messages[-1].role != "user":
            raise MeasurementError("the last message has to be the user's", file=str(path), line=number)
    return found


def named(
    conversations: Sequence[Conversation], known: Sequence[Measurement], embedder: Embedder
) -> dict[str, np.ndarray]:
    """By rule, (n,) whether the probe names the category of each conversation right.

    Raises:
        MeasurementError: If the measurements know none of the conversations' categories.
    """
    vectors = embedder.embed([m.prompt for m in known])
    probe, _ = fit_probe(build_known(known, vectors))
    missing = sorted({c.category for c in conversations} - set(probe.categories))
    if missing:
        raise MeasurementError(
            f"the measurements have no prompts of {', '.join(missing)}", hint="name a file that covers the categories"
        )
    texts: dict[str, int] = {}
    taken = {
        name: [[texts.setdefault(text, len(texts)) for text in rule(c.messages)] for c in conversations]
        for name, rule in rules().items()
    }
    p: FloatArray = probe.probabilities(list(texts), embedder.embed(list(texts)))  # (texts, C)
    right = {}
    for name, rows in taken.items():
        surest = [max(row, key=lambda i: float(p[i].max())) for row in rows]
        right[name] = np.array(
            [probe.categories[int(p[i].argmax())] == c.category for i, c in zip(surest, conversations, strict=True)]
        )
    return right


def halves(conversations: Sequence[Conversation], seed: int) -> np.ndarray:
    """(n,) which half: kinds and categories spread over both as evenly as they can be."""
    rng = np.random.default_rng(seed)
    half = np.zeros(len(conversations), dtype=np.int64)
    turn = 0
    strata = sorted({(c.kind, c.category) for c in conversations})
    for kind, category in strata:
        index = [i for i, c in enumerate(conversations) if (c.kind, c.category) == (kind, category)]
        for i in rng.permutation(index):
            half[i] = turn % 2
            turn += 1
    return half


def score(rule: str, right: np.ndarray, conversations: Sequence[Conversation]) -> Score:
    """Counts and interval of one rule."""
    kinds = sorted({c.kind for c in conversations})
    by_kind = {}
    for kind in kinds:
        of_kind = right[[i for i, c in enumerate(conversations) if c.kind == kind]]
        by_kind[kind] = (int(of_kind.sum()), int(of_kind.size))
    low, high = wilson(float(right.sum()), right.size)
    return Score(rule, right.size, int(right.sum()), float(right.mean()), low, high, by_kind)


def compare(
    conversations: Sequence[Conversation], known: Sequence[Measurement], embedder: Embedder, seed: int = 0
) -> dict[str, Any]:
    """Every rule on all conversations, and the nested choice: chosen on one half, judged on the other, both ways."""
    right = named(conversations, known, embedder)
    half = halves(conversations, seed)
    chosen, nested = {}, np.zeros(len(conversations), dtype=np.bool_)
    last = np.zeros(len(conversations), dtype=np.bool_)
    held_out = []
    for k in (0, 1):
        best = max(right, key=lambda name: int(right[name][half == k].sum()))
        chosen[f"half {k + 1}"] = best
        nested[half != k] = right[best][half != k]
        last[half != k] = right["last turn"][half != k]
        rest = [c for i, c in enumerate(conversations) if half[i] != k]
        held_out.append(asdict(score(best, right[best][half != k], rest)) | {"chosen_on": f"half {k + 1}"})
    return {
        "conversations": len(conversations),
        "measured_prompts": len(known),
        "embedder": embedder.name,
        "seed": seed,
        "in_use": rule_in_use(),
        "chosen": chosen,
        "held_out": held_out,
        "nested": asdict(score("chosen on the other half", nested, conversations)),
        "all": [asdict(score(name, hits, conversations)) for name, hits in right.items()],
    }


@app.command()
def context(
    conversations: Annotated[Path, typer.Option(help="Conversations with the category of their last turn.")] = (
        CONVERSATIONS
    ),
    measurements: Annotated[
        Path | None, typer.Option(help="Measured prompts to fit the probe on [default: those the package ships].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the halves.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How much of a conversation to route by: the category of the last turn, named from more or less of it."""
    from router.embed.sentence import SentenceEmbedder

    file = measurements or shipped_file()
    if file is None:
        raise MeasurementError("the package ships no measurements", hint="name a file with --measurements")
    found = compare(read_conversations(conversations), read_measurements(file), SentenceEmbedder(), seed)
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else _text(found))


def _text(found: Mapping[str, Any]) -> str:
    def line(entry: Mapping[str, Any], name: str | None = None) -> str:
        kinds = ", ".join(f"{kind} {right}/{n}" for kind, (right, n) in entry["by_kind"].items())
        share = f"{entry['share']:5.1%} [{entry['low']:.1%}, {entry['high']:.1%}]"
        return f"  {name or entry['rule']:<36} {entry['right']:>3}/{entry['n']:<3} {share}   {kinds}"

    return "\n".join(
        [
            f"The category of the last turn of {found['conversations']} conversations, named by a probe fitted on "
            f"{found['measured_prompts']} measured prompts; 95 % intervals by Wilson.",
            "",
            "Every rule, on all conversations:",
            *(line(entry) + (" <- in use" if entry["rule"] == found["in_use"] else "") for entry in found["all"]),
            "",
            "Chosen on one half, judged on the other:",
            *(line(entry, f"{entry['rule']} ({entry['chosen_on']})") for entry in found["held_out"]),
            line(found["nested"], "both together"),
        ]
    )
