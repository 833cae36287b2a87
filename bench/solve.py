"""``python -m bench solve``: how long solving a plan anew takes, at sizes from small to absurd.

Programs are made up, seeded, with everything on that a plan can have: the pooled floor, a floor per category, mean
seconds, capacity of two sites and a budget. What is timed is what the planner does off the request path when intensity,
traffic or a limit changes: posing the arrays and solving them. Fitting the estimates, which happens when measurements
change, is not part of it.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.run_machine import hardware
from router.domain.catalogue import Floor, Option
from router.domain.errors import ConfigError
from router.domain.estimates import Estimates, Limits, Terms
from router.policy.category import program_of
from router.policy.solve import solve

HELP = "How long solving a plan anew takes (categories x options, every row on)."
SIZES = ((6, 30), (10, 120), (20, 1000))
BOUND_MS = {(6, 30): 5.0, (20, 1000): 100.0}
"""What is asked of it on a machine of two cores."""
_SIZES_TEXT = ",".join(f"{categories}x{options}" for categories, options in SIZES)


@dataclass(frozen=True, slots=True)
class Timing:
    """One size.

    Attributes:
        categories: Rows.
        options: Columns.
        rows: Which rows were on: ``all``, or ``floors`` alone.
        solved: How often it was solved.
        median_ms: Half of the solutions were quicker.
        p95_ms: 95 % were.
        cpu_ms: Median processor time, which other processes do not lengthen.
        bound_ms: What is asked of the median, or None.
        splits: Most categories any solution splits.
        feasible: How many kept every row.
    """

    categories: int
    options: int
    rows: str
    solved: int
    median_ms: float
    p95_ms: float
    cpu_ms: float
    bound_ms: float | None
    splits: int
    feasible: int


def made_up(categories: int, options: int, seed: int) -> Estimates:
    """Estimates in which better answers cost more, give or take, at two sites."""
    rng = np.random.default_rng(seed)
    skill = np.sort(rng.beta(3, 2, options))[::-1]
    shape = (categories, options)
    q = np.clip(skill * rng.uniform(0.6, 1.0, (categories, 1)) + rng.normal(0, 0.08, shape), 0.01, 0.99)
    energy_j = 400.0 * skill**2 * np.exp(rng.normal(0, 0.5, shape))
    columns = tuple(Option(f"model{o // 3}", f"L{o % 3}", "local" if o % 2 else "attic") for o in range(options))
    return Estimates(
        categories=tuple(f"c{c}" for c in range(categories)),
        options=columns,
        w=rng.dirichlet(np.ones(categories)),
        q=q,
        q_se=np.full(shape, 0.05),
        energy_j=energy_j,
        duration_s=energy_j / 100.0 * np.exp(rng.normal(0, 0.5, shape)),
        n=np.full(shape, 100.0),
        reference=int(np.argmax(q.mean(axis=0))),
    )


def terms_for(estimates: Estimates, rows: str) -> Terms:
    """Terms under which the limits lie near what a plan without them comes to."""
    count = len(estimates.options)
    plain = Terms(Floor(0.95), np.full(count, 1e-4), np.full(count, 4e-3), slack=0.05, cleanliness=0.7)
    if rows == "floors":
        return plain
    free = solve(program_of(estimates, plain).program)
    seconds = float((estimates.w[:, None] * free.x * estimates.duration_s).sum())
    limits = Limits(
        rate_per_s=1.0,
        max_mean_duration_s=0.98 * seconds,
        slots=np.full(count, np.ceil(2.0 * seconds)),
        budget_g_per_hour=1.2 * 3600.0 * free.expected_g,
    )
    return Terms(plain.floor, plain.g_per_j, plain.g_per_s, slack=0.05, cleanliness=0.7, limits=limits)


def timed(categories: int, options: int, rows: str, *, repeats: int, seed: int) -> Timing:
    """Solve programs of one size, each with an intensity of its own."""
    spent: list[float] = []
    worked: list[float] = []
    splits, feasible = 0, 0
    for repeat in range(repeats):
        estimates = made_up(categories, options, seed + repeat)
        terms = terms_for(estimates, rows)
        began, began_cpu = time.perf_counter(), time.process_time()
        solution = solve(program_of(estimates, terms).program)
        spent.append(1000.0 * (time.perf_counter() - began))
        worked.append(1000.0 * (time.process_time() - began_cpu))
        splits = max(splits, int(((solution.x > 1e-7).sum(axis=1) > 1).sum()))
        feasible += solution.feasible
    return Timing(
        categories,
        options,
        rows,
        repeats,
        median(spent),
        float(np.percentile(spent, 95)),
        median(worked),
        BOUND_MS.get((categories, options)),
        splits,
        feasible,
    )


def main(
    sizes: Annotated[str, typer.Option(help="Sizes as CATEGORIESxOPTIONS, comma-separated.")] = _SIZES_TEXT,
    repeats: Annotated[int, typer.Option(min=1, help="Programs a size.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the programs.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Time solving."""
    found = [timed(c, o, rows, repeats=repeats, seed=seed) for c, o in _sizes(sizes) for rows in ("floors", "all")]
    versions = {name: version(name) for name in ("numpy", "scipy", "carbon-router")}
    versions["python"] = platform.python_version()
    if as_json:
        machine = {"versions": versions, "hardware": hardware(), "seed": seed}
        typer.echo(json.dumps({**machine, "timings": [asdict(timing) for timing in found]}, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("size", "rows", "median ms", "p95 ms", "cpu ms", "bound", "split", "kept"):
        table.add_column(name, justify="left" if name == "rows" else "right", no_wrap=True)
    for t in found:
        bound = "-" if t.bound_ms is None else f"< {t.bound_ms:g} ms: {'yes' if t.median_ms < t.bound_ms else 'NO'}"
        table.add_row(
            *(f"{t.categories} x {t.options}", t.rows, f"{t.median_ms:.2f}", f"{t.p95_ms:.2f}", f"{t.cpu_ms:.2f}"),
            *(bound, str(t.splits), f"{t.feasible} of {t.solved}"),
        )
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {number}" for name, number in versions.items()), highlight=False)


def _sizes(text: str) -> list[tuple[int, int]]:
    sizes = []
    for part in text.split(","):
        c, x, o = part.strip().partition("x")
        if not (x and c.isdigit() and o.isdigit() and int(c) and int(o)):
            raise ConfigError(f"{part!r} is no size", key="--sizes", hint="write for instance 6x30,20x1000")
        sizes.append((int(c), int(o)))
    return sizes


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command(help=HELP)(main)
