"""``python -m bench report``: what a measurements file says of each option, with intervals.

Share of right answers with Wilson's interval; joules with a percentile bootstrap over prompts (seeded).
Rows of the same prompt and option are averaged over repeats first, so that n counts prompts; how far repeats lie apart
is told beside it: the standard deviation over the mean, pooled over the prompts that were repeated. Options measured
with several generations at a time get a second table (:mod:`bench.report_levels`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.intervals import interval_of_mean
from bench.report_levels import Level, levels, levels_table
from bench.run_conditions import DISTURBED
from router.domain.errors import MeasurementError
from router.domain.record import Measurement, Outcome

HELP = "What a measurements file says of each option: quality, joules, seconds, tokens, with 95 % intervals."
Z = 1.959963984540054  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Line:
    """One option.

    Attributes:
        option: Its short name.
        n: Prompts with a known quality.
        quality: Mean quality, or None.
        quality_low: Lower end of Wilson's 95 % interval.
        quality_high: Upper end.
        energy_j: Mean joules, or None where one is unknown.
        energy_low_j: Lower end of the bootstrap's 95 % interval.
        energy_high_j: Upper end.
        duration_s: Mean device seconds, or None where one is unknown.
        output_tokens: Mean tokens written, or None where one is unknown.
        methods: How the joules were obtained.
        idle_j: Mean idle joules beside them, or None where one is unknown.
        repeats: Most repeats of one prompt.
        energy_spread: Standard deviation of the joules of repeats as a share of their mean, or None without repeats.
        duration_spread: Likewise of the seconds.
        disturbed: Rows flagged as taken on a busy, throttled or hot machine.
        levels: What each level of concurrency costs a token, lowest first; empty with one level.
    """

    option: str
    n: int
    quality: float | None
    quality_low: float | None
    quality_high: float | None
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    duration_s: float | None
    output_tokens: float | None
    methods: tuple[str, ...]
    idle_j: float | None = None
    repeats: int = 1
    energy_spread: float | None = None
    duration_spread: float | None = None
    disturbed: int = 0
    levels: tuple[Level, ...] = ()


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, 1927), 95 %.

    Raises:
        ValueError: If there is nothing to take a share of.
    """
    if n < 1:
        raise ValueError("an interval needs at least one observation")
    p, spread = successes / n, Z * Z / n
    centre = (p + spread / 2) / (1 + spread)
    half = Z * np.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def summarise(measurements: Iterable[Measurement], categories: Sequence[str] = ()) -> list[Line]:
    """One line an option, over the graded prompts of the given categories (all where none is given)."""
    cells: dict[str, list[list[Outcome]]] = {}
    kept = [m for m in measurements if not categories or m.category in categories]
    for measurement in kept:
        by_option: dict[str, list[Outcome]] = {}
        for outcome in measurement.outcomes:
            if outcome.quality is not None and outcome.concurrency == 1:
                by_option.setdefault(str(outcome.option), []).append(outcome)
        for option, repeats in by_option.items():
            cells.setdefault(option, []).append(repeats)
    by_level = levels(kept)
    return [replace(_line(option, prompts), levels=by_level.get(option, ())) for option, prompts in cells.items()]


def _line(option: str, prompts: Sequence[Sequence[Outcome]]) -> Line:
    quality = [_mean([o.quality for o in repeats]) for repeats in prompts]
    energy = [_mean([o.energy_j for o in repeats]) for repeats in prompts]
    graded = [q for q in quality if q is not None]
    joules = [j for j in energy if j is not None]
    low, high = wilson(sum(graded), len(graded))
    ends = interval_of_mean(np.array(joules)) if len(joules) == len(prompts) else None
    return Line(
        option=option,
        n=len(prompts),
        quality=_mean(quality),
        quality_low=low,
        quality_high=high,
        energy_j=_mean(energy),
        energy_low_j=None if ends is None else ends[0],
        energy_high_j=None if ends is None else ends[1],
        duration_s=_mean([_mean([o.duration_s for o in repeats]) for repeats in prompts]),
        output_tokens=_mean([_mean([o.output_tokens for o in repeats]) for repeats in prompts]),
        methods=tuple(sorted({o.method for repeats in prompts for o in repeats if o.method is not None})),
        idle_j=_mean([_mean([o.idle_j for o in repeats]) for repeats in prompts]),
        repeats=max(map(len, prompts)),
        energy_spread=spread([[o.energy_j for o in repeats] for repeats in prompts]),
        duration_spread=spread([[o.duration_s for o in repeats] for repeats in prompts]),
        disturbed=sum(any(key in o.extra for key in DISTURBED) for repeats in prompts for o in repeats),
    )


def spread(groups: Sequence[Sequence[float | None]]) -> float | None:
    """Pooled coefficient of variation of groups of repeats; None where nothing was repeated or one is unknown.

    ``sqrt(sum of (n - 1) variance / mean^2 over sum of (n - 1))``: every degree of freedom counts alike.
    """
    total, freedom = 0.0, 0
    for group in groups:
        known = [value for value in group if value is not None]
        if len(known) != len(group):
            return None
        if len(known) < 2 or (mean := sum(known) / len(known)) <= 0:
            continue
        total += sum((value - mean) ** 2 for value in known) / mean**2
        freedom += len(known) - 1
    return math.sqrt(total / freedom) if freedom else None


def _mean(values: Sequence[float | None]) -> float | None:
    """None as soon as one is unknown: a mean over what happens to be known would be of other prompts."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def report(
    file: Annotated[Path, typer.Argument(help="Measurements, JSON lines, .gz welcome.")],
    categories: Annotated[str, typer.Option(metavar="code,math", help="Only these.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """See ``HELP``."""
    from router.store.codec import read_measurements

    wanted = [name.strip() for name in categories.split(",") if name.strip()]
    lines = summarise(read_measurements(file), wanted)
    if not lines:
        raise MeasurementError("no graded prompts are left", file=str(file), hint="check --categories")
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    repeated = any(line.repeats > 1 for line in lines)
    idle = any(line.idle_j is not None for line in lines)
    names = ["option", "n", "quality", "95 %", "joules", "95 %", *(["spread"] if repeated else [])]
    for name in (*names, *(["idle"] if idle else []), "seconds", "tokens", "joules are"):
        table.add_column(name, justify="left" if name in ("option", "joules are") else "right")
    for line in lines:
        table.add_row(
            line.option,
            str(line.n),
            _text(line.quality, 3),
            f"{_text(line.quality_low, 2)} to {_text(line.quality_high, 2)}",
            _text(line.energy_j, 1),
            f"{_text(line.energy_low_j, 1)} to {_text(line.energy_high_j, 1)}",
            *([_percent(line.energy_spread)] if repeated else []),
            *([_text(line.idle_j, 1)] if idle else []),
            _text(line.duration_s, 2),
            _text(line.output_tokens, 0),
            ", ".join(line.methods) or "unknown",
        )
    console = Console()
    console.print(table)
    if any(line.levels for line in lines):
        console.print("\nseveral generations at a time, joules and seconds shared by device time:\n")
        console.print(levels_table({line.option: line.levels for line in lines}))
    if disturbed := sum(line.disturbed for line in lines):
        console.print(
            f"\n{disturbed} rows were taken on a busy, throttled or hot machine: "
            "`python -m bench run --redo-busy` measures them again"
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
