"""``python -m bench ship``: put a run's measurements into the package, as what a fresh machine routes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from bench.run_output import read_runs, runs_file
from router.domain.catalogue import Option
from router.domain.errors import ConfigError
from router.domain.record import Measurement, Outcome

MOST_BYTES = 5_000_000
JUDGE = "judge"
"""Grader of prompts that no machine grades; their quality is null until they are judged."""
PACKAGED = Path(__file__).resolve().parents[1] / "router" / "data" / "measurements" / "default.jsonl.gz"
HELP = """Put a run's measurements into the package: what a fresh machine routes on until it has rows of its own.

Only prompts that every option of models.yaml has answered are taken, so that options are compared on the same prompts.
"""


def ship(
    file: Annotated[Path, typer.Argument(help="What `bench run --output FILE` wrote.")],
    target: Annotated[Path, typer.Option("--to", help="The packaged file.")] = PACKAGED,
    models_file: Annotated[Path | None, typer.Option(help="The federation [default: models.yaml].")] = None,
) -> None:
    """See ``HELP``."""
    from router.config.federation import load_catalogue
    from router.config.settings import load_settings
    from router.store.codec import read_measurements, write_measurements

    options = load_catalogue(load_settings(models_file=models_file).models_file).options()
    found = read_measurements(file)
    whole = complete(found, options)
    if not whole:
        raise ConfigError(f"no prompt of {file} was answered by all {len(options)} options", hint="let the run finish")
    write_measurements(target, whole)
    if target.stat().st_size > MOST_BYTES:
        typer.echo(
            f"warning: {target} has {target.stat().st_size / 1e6:.1f} MB; the package should stay under 5", err=True
        )
    used = {outcome.run for measurement in whole for outcome in measurement.outcomes}
    runs = {name: entry for name, entry in read_runs(file).items() if name in used}
    part = runs_file(target).with_suffix(".part")
    part.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(runs_file(target))
    typer.echo(
        f"{len(whole)} prompts x {len(options)} options in {target}; {len(found) - len(whole)} incomplete ones left out"
    )


def complete(measurements: Iterable[Measurement], options: Iterable[Option]) -> list[Measurement]:
    """Measurements that every option has answered for itself, graded where their prompts are graded by machine."""
    wanted = set(options)
    return [m for m in measurements if wanted <= {outcome.option for outcome in m.outcomes if _counts(outcome)}]


def _counts(outcome: Outcome) -> bool:
    """An answer at one generation at a time, not refused, and graded unless it waits for a judge."""
    graded = outcome.quality is not None or outcome.grader in (None, JUDGE)
    return outcome.concurrency == 1 and "error" not in outcome.extra and graded
