"""``python -m bench verify``: rows of a measurements file, drawn at random and measured again on this machine.

A row passes if its quality is the same and its device seconds are within a factor of two. Answers are compared too, but
other threads, kernels or llama.cpp versions add numbers in another order, so that equal models may differ in a word:
the quality decides. Rows whose prompt is none of the project's own cannot be graded here and are not drawn.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.datasets.item import Item
from router.domain.errors import MeasurementError
from router.domain.record import Measurement, Outcome

FACTOR = 2.0
"""Seconds may differ by so much: the machine is another one, or the same on another day."""
HELP = """Measure rows of a measurements file again, drawn at random, and compare.

Exit status 1 if one row has another quality, or took less than half or more than twice its seconds.
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A row to be measured again.

    Attributes:
        item: Its prompt, with what its grader needs.
        outcome: As it is in the file.
    """

    item: Item
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row, then and now.

    Attributes:
        id: Of the prompt.
        option: Short name.
        quality_then: As in the file.
        quality_now: As measured again; None where it could not be graded.
        same_quality: Whether they are equal.
        same_answer: Whether the texts are; None where the file has none.
        seconds_then: Device seconds in the file, or None.
        seconds_now: Measured again.
        ratio: Now over then, or None.
        seconds_ok: Whether within the factor; None where the file has no seconds.
        disturbed: What disturbed the machine meanwhile, in the keys of ``bench run``.
        error: Why it could not be measured, or None.
    """

    id: str
    option: str
    quality_then: float | None
    quality_now: float | None
    same_quality: bool
    same_answer: bool | None
    seconds_then: float | None
    seconds_now: float | None
    ratio: float | None
    seconds_ok: bool | None
    disturbed: Mapping[str, Any]
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Same quality, and seconds within the factor where they are known."""
        return self.error is None and self.same_quality and self.seconds_ok is not False


def drawable(measurements: Sequence[Measurement], items: Mapping[str, Item], options: Sequence[Any]) -> list[Drawn]:
    """Rows that can be measured and graded again: measured alone, graded, of a known prompt and an option there is."""
    wanted = set(options)
    return [
        Drawn(items[measurement.id], outcome)
        for measurement in measurements
        if measurement.id in items and items[measurement.id].prompt == measurement.prompt
        for outcome in measurement.outcomes
        if outcome.quality is not None and outcome.concurrency == 1 and outcome.option in wanted
    ]


def draw(rows: Sequence[Drawn], n: int, seed: int) -> list[Drawn]:
    """So many of them at random, without repetition, those of one model together so that it is loaded once."""
    chosen = random.Random(seed).sample(list(rows), min(n, len(rows)))
    return sorted(chosen, key=lambda each: (each.outcome.site, each.outcome.model))


def compare(drawn: Drawn, now: Outcome) -> Verdict:
    """The verdict on one row."""
    then = drawn.outcome
    ratio = None
    if then.duration_s and now.duration_s is not None:
        ratio = now.duration_s / then.duration_s
    error = now.extra.get("error")
    same = then.quality is not None and now.quality is not None and abs(then.quality - now.quality) < 1e-9
    return Verdict(
        id=drawn.item.id,
        option=str(then.option),
        quality_then=then.quality,
        quality_now=now.quality,
        same_quality=same,
        same_answer=None if then.answer is None else then.answer == now.answer,
        seconds_then=then.duration_s,
        seconds_now=now.duration_s,
        ratio=ratio,
        seconds_ok=None if ratio is None else 1 / FACTOR <= ratio <= FACTOR,
        disturbed={key: now.extra[key] for key in _disturbances() if key in now.extra},
        error=None if error is None else str(error),
    )


def _disturbances() -> Sequence[str]:
    from bench.run_conditions import DISTURBED

    return DISTURBED


async def again(
    rows: Sequence[Drawn], rig: Any, folder: Path, *, discipline: Any, deadline_s: float, reporter: Any
) -> list[Verdict]:
    """Measure rows by the very runner that measured them, into a file of its own.

    Raises:
        EngineDownError: If an engine kept failing.
        MeasurementError: If a model is not there.
    """
    from bench.run_conditions import Conditions
    from bench.run_generate import Bounds
    from bench.run_jobs import Job
    from bench.run_output import Output, read_present
    from bench.runner import Runner

    path = folder / "again.jsonl"
    jobs = [Job(row.item, row.outcome.option) for row in rows]
    with Output(path) as output:
        runner = Runner(
            rig,
            output,
            bounds=Bounds(deadline_s=deadline_s),
            conditions=Conditions(discipline, say=reporter.say),
            reporter=reporter,
        )
        summary = await runner.run(jobs)
    if summary.missing_models:
        raise MeasurementError(
            f"no engine has {', '.join(summary.missing_models)}",
            hint=f"run: carbon-router models pull {summary.missing_models[0]}",
        )
    now = {(m.id, o.option): o for m in read_present(path).measurements for o in m.outcomes}
    return [compare(row, now[row.item.id, row.outcome.option]) for row in rows]


def report_of(verdicts: Sequence[Verdict], *, file: str, seed: int, directives_differ: Sequence[str]) -> dict[str, Any]:
    """Everything, with counts."""
    return {
        "file": file,
        "seed": seed,
        "rows": len(verdicts),
        "ok": sum(v.ok for v in verdicts),
        "same_quality": sum(v.same_quality for v in verdicts),
        "same_answer": sum(v.same_answer is True for v in verdicts),
        "seconds_within_factor": sum(v.seconds_ok is True for v in verdicts),
        "seconds_unknown": sum(v.seconds_ok is None for v in verdicts),
        "disturbed": sum(bool(v.disturbed) for v in verdicts),
        "factor": FACTOR,
        "passed": all(v.ok for v in verdicts),
        "directives_reworded_since": list(directives_differ),
        "verdicts": [{**asdict(v), "ok": v.ok} for v in verdicts],
    }


def reworded(runs: Mapping[str, Mapping[str, Any]], rows: Sequence[Drawn], catalogue: Any) -> list[str]:
    """Directives whose text is not what the rows were measured with: their rows cannot be expected to repeat."""
    found = set()
    for row in rows:
        texts = runs.get(row.outcome.run or "", {}).get("directives", {})
        name = row.outcome.directive
        if texts.get(name, catalogue.directives[name].text) != catalogue.directives[name].text:
            found.add(name)
    return sorted(found)


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="Measurements [default: those that come with the package].")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to draw.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    deadline: Annotated[float, typer.Option(min=1.0, help="Seconds after which an answer is taken as it is.")] = 900.0,
    cool_down_c: Annotated[float, typer.Option(min=0.0, help="As in `bench run`.")] = 60.0,
    models_file: Annotated[Path | None, typer.Option(help="The federation [default: models.yaml].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """See ``HELP``."""
    import tempfile

    from bench.datasets.own import load_items
    from bench.run_conditions import Discipline
    from bench.run_output import read_runs
    from bench.run_progress import reporter
    from bench.runner import Rig
    from router.config.settings import load_settings
    from router.service.instruments import build_meters
    from router.service.seed import shipped_file
    from router.service.wiring import build_backends, load_federation
    from router.store.codec import read_measurements

    source = file or shipped_file()
    if source is None:
        raise MeasurementError("the package has no measurements", hint="name a file: python -m bench verify FILE")
    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    possible = drawable(read_measurements(source), {item.id: item for item in load_items()}, catalogue.options())
    if not possible:
        raise MeasurementError(
            "no row can be measured again: none is graded, of one of the project's own prompts and of an option of "
            "models.yaml",
            file=str(source),
        )
    drawn = draw(possible, rows, seed)
    used = {row.outcome.site for row in drawn}
    catalogue = replace(catalogue, sites={name: site for name, site in catalogue.sites.items() if name in used})

    async def measure(folder: Path) -> list[Verdict]:
        rig = Rig(catalogue, build_backends(catalogue, settings), build_meters(catalogue))
        try:
            return await again(
                drawn,
                rig,
                folder,
                discipline=Discipline(cool_down_c, 0.0),
                deadline_s=deadline,
                reporter=reporter(quiet=as_json),
            )
        finally:
            for backend in rig.backends.values():
                await backend.close()

    with tempfile.TemporaryDirectory(prefix="carbon-router-verify-") as folder:
        verdicts = asyncio.run(measure(Path(folder)))
    differ = reworded(read_runs(source), drawn, catalogue)
    report = report_of(verdicts, file=str(source), seed=seed, directives_differ=differ)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(verdicts, report)
    if not report["passed"]:
        raise typer.Exit(1)


def _show(verdicts: Sequence[Verdict], report: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("row", "option", "quality then", "now", "answer", "seconds then", "now", "ratio", "verdict"):
        table.add_column(name, justify="left" if name in ("row", "option", "answer", "verdict") else "right")
    for v in verdicts:
        table.add_row(
            v.id,
            v.option,
            _text(v.quality_then, "g"),
            _text(v.quality_now, "g"),
            {True: "equal", False: "differs", None: "-"}[v.same_answer],
            _text(v.seconds_then, ".2f"),
            _text(v.seconds_now, ".2f"),
            _text(v.ratio, ".2f"),
            _in_words(v),
        )
    console = Console()
    console.print(table)
    n = report["rows"]
    lines = [
        f"\nsame quality: {report['same_quality']} of {n}; equal answers: {report['same_answer']} of {n}; seconds "
        f"within a factor of {FACTOR:g}: {report['seconds_within_factor']} of {n - report['seconds_unknown']}"
    ]
    if report["disturbed"]:
        lines.append(f"{report['disturbed']} rows were measured while something disturbed this machine")
    for name in report["directives_reworded_since"]:
        lines.append(f"{name} has another text now than when the file was measured")
    lines.append("passed" if report["passed"] else "not passed")
    console.print("\n".join(lines))


def _in_words(verdict: Verdict) -> str:
    if verdict.error is not None:
        return f"refused: {verdict.error}"
    wrong = [] if verdict.same_quality else ["quality"]
    wrong += ["seconds"] if verdict.seconds_ok is False else []
    text = f"other {' and '.join(wrong)}" if wrong else "ok"
    return f"{text} (disturbed)" if verdict.disturbed else text


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
