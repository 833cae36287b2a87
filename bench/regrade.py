"""``python -m bench regrade``: stored answers under the graders as they are now; nothing is generated.

Graders learn. What they say of an answer that was measured before is kept beside it, so rows measured before and after
a change would not be comparable. A grade that is another one now is appended as a copy of its row, which wins; what the
row took is counted once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.datasets.item import Item
from bench.graders.grade import Grade
from bench.graders.registry import grade_answer
from router.domain.errors import ConfigError
from router.domain.record import Measurement, Outcome
from router.service.benchmarks import REGRADED

HELP = """Grade the answers of a measurements file again, by the graders and prompts as they are now.

Only rows whose grade changes are written; nothing is generated. Put them into the store with
`carbon-router store import --origin local FILE`.
"""
Graded = tuple[Item, Outcome, Outcome]


def regraded(
    items: Sequence[Item],
    measurements: Sequence[Measurement],
    grade: Callable[[Item, str], Grade] = grade_answer,
    *,
    ungraded_only: bool = False,
) -> Iterator[Graded]:
    """Outcomes whose grade is another one now: the prompt, the outcome as it was and as it is.

    Prompts that are unknown here, or changed, and those no machine grades are left; so is what cannot be graded now.

    Args:
        items: The prompts, with what their graders need.
        measurements: What was measured.
        grade: Grades an answer.
        ungraded_only: Leave outcomes that have a grade.
    """
    by_id = {item.id: item for item in items}
    for measurement in measurements:
        item = by_id.get(measurement.id)
        if item is None or item.grader == "judge" or item.prompt != measurement.prompt:
            continue
        for outcome in measurement.outcomes:
            if outcome.answer is None or (ungraded_only and outcome.quality is not None):
                continue
            now = grade(item, outcome.answer)
            if now.quality is not None and now.quality != outcome.quality:
                yield item, outcome, with_grade(outcome, now)


def with_grade(outcome: Outcome, grade: Grade) -> Outcome:
    """A copy of an outcome under another grade; its joules are the first copy's."""
    extra = {key: value for key, value in outcome.extra.items() if key != "grader_note"}
    if grade.note is not None:
        extra["grader_note"] = grade.note
    return replace(outcome, quality=grade.quality, extra={**extra, REGRADED: True})


def row_of(item: Item, outcome: Outcome) -> Measurement:
    """A line of a measurements file."""
    return Measurement(item.id, item.prompt, item.category, (outcome,), split=item.split, extra=item.tags)


def regrade(
    file: Annotated[Path, typer.Argument(help="What `bench run` wrote.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the public sets, for rows about those.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="gsm8k,mbpp", help="Which public sets.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder of your own prompts, for rows about those.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """See ``HELP``."""
    from bench.run_items import load
    from bench.run_output import Output
    from router.store.codec import read_measurements

    if not file.is_file():
        raise ConfigError(f"there is no {file}", hint="`bench run` writes measurements/local.jsonl in the data folder")
    items = load(None, None, datasets=None if dataset is None else dataset.split(","), data=data, prompts=prompts)
    counts: Counter[tuple[str, str]] = Counter()
    with Output(file) as output:
        measurements = read_measurements(file)
        known = {item.id for item in items}
        for item, before, after in regraded(items, measurements):
            output.append(row_of(item, after))
            counts[(item.grader, f"{_quality(before)} -> {_quality(after)}")] += 1
    answers = sum(len(m.outcomes) for m in measurements if m.id in known)
    found: Mapping[str, Any] = {
        "file": str(file),
        "answers": answers,
        "changed": sum(counts.values()),
        "by_grader": [{"grader": g, "grade": change, "answers": n} for (g, change), n in sorted(counts.items())],
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{found['changed']} of {answers} answers have another grade now")
    for (grader, change), n in sorted(counts.items()):
        typer.echo(f"  {grader}: {change} for {n}")


def _quality(outcome: Outcome) -> str:
    return "ungraded" if outcome.quality is None else f"{outcome.quality:g}"
