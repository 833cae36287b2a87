"""``python -m bench replay``: what each policy would have given on prompts it has not seen."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from bench.intervals import interval_of_mean, interval_of_ratio, share_under
from bench.replay_arguments import ORACLE, cascades_of, floor_of, levels_of, policies_of
from bench.replay_cascades import entries
from bench.replay_curves import FLOORS, Curves, mean_curve, read
from bench.replay_data import Corpus, Fold, Setting
from bench.replay_scores import MUCH, HeldOut, PerPrompt, Score, oracle, outcome, score
from bench.replay_tables import print_curves, print_scores
from router.domain.catalogue import Floor
from router.domain.errors import ConfigError, RouterError
from router.domain.ports import Embedder
from router.policy.registry import make_policy

DEFAULT_POLICIES = (
    "joint", "category-lp", "sprout", "nearest", "random-mix", "best-single", "cheapest", "cheapest-meeting-floor",
    ORACLE,
)  # fmt: skip

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Result:
    """One split's scores, with their intervals over its held-out prompts.

    ``under`` is the share of resamples of those prompts in which the floor is missed.
    """

    scores: dict[str, Score]
    intervals: dict[str, dict[str, tuple[float, float] | None]]
    notes: dict[str, tuple[str, ...]]
    reference: str
    n_known: int
    n_heldout: int
    has_cascades: bool
    has_embodied: bool
    under: dict[str, float]


@app.command()
def replay(
    known: Annotated[Path, typer.Option("--known", help="Measurements (JSON lines, .gz welcome).")],
    heldout: Annotated[Path | None, typer.Option("--heldout", help="Unseen prompts; else a share of --known.")] = None,
    split: Annotated[float | None, typer.Option("--split", help="Known share of a random split [.5].")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the (first) split.")] = 0,
    splits: Annotated[int, typer.Option("--splits", min=1, help="So many splits, averaged.")] = 1,
    floor: Annotated[str, typer.Option("--floor", help="Share of the reference (.95) or accuracy (.72abs).")] = ".95",
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.9999, help="That the floor holds.")] = 0.5,
    intensity: Annotated[float, typer.Option("--intensity", min=0.0, help="gCO2e/kWh.")] = 385.0,
    embodied: Annotated[
        float, typer.Option("--embodied", min=0.0, help="Grams of the machine, over five years.")
    ] = 0.0,
    policies: Annotated[str, typer.Option("--policies", help="Comma-separated.")] = ",".join(DEFAULT_POLICIES),
    no_category_floors: Annotated[bool, typer.Option("--no-category-floors", help="Only the pooled floor.")] = False,
    slack: Annotated[float, typer.Option("--slack", min=0.0, max=1.0, help="Of the category floors.")] = 0.05,
    reference: Annotated[str | None, typer.Option("--reference", help="Model to compare with [the best].")] = None,
    equal_accuracy: Annotated[
        bool, typer.Option("--equal-accuracy", help="Sweep floors and compare savings at equal held-out accuracy.")
    ] = False,
    at: Annotated[str, typer.Option("--at", help="Accuracies for --equal-accuracy.")] = "1.00,.98,.95,.90",
    cascades: Annotated[
        str, typer.Option("--cascades", help="auto: where they pay on prompts they were not chosen on; on; off.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Replay recorded measurements: what each policy would have given on prompts it has not seen.

    Expectations over each policy's weights, nothing is drawn; savings are shares of the reference's.
    """
    with _errors_told():
        names = policies_of(policies)
        own_slack = None if no_category_floors else slack
        setting = Setting(intensity, embodied, own_slack, confidence, reference, cascades_of(cascades))
        wanted = floor_of(floor)
        levels = levels_of(at)
        if heldout is not None and (split is not None or splits > 1):
            raise ConfigError(
                "--heldout gives both sides, so there is nothing to split", hint="leave out one of the two"
            )
        if equal_accuracy and set(names) == {ORACLE}:
            raise ConfigError("the oracle has no floors to sweep", hint="name a policy beside it")
        corpus = Corpus.load(known, heldout, embedder(), marked=split is None)
        if corpus.sides is not None and splits > 1:
            raise ConfigError("the file marks its own two sides", hint="add --split .5 to split it anew")
        seeds = range(seed, seed + splits)
        folds = _shown(
            corpus.folds(setting, 0.5 if split is None else split, seeds), splits if corpus.sides is None else 1
        )
        if equal_accuracy:
            _equal_accuracy(folds, names, setting, levels, len(corpus.measurements), as_json)
            return
        results = [weigh(fold, names, setting, wanted) for fold in folds]
        summary = summarise(results, wanted, setting)
        if as_json:
            typer.echo(json.dumps(_clean(summary), indent=1))
        else:
            print_scores(summary)


def weigh(fold: Fold, names: Sequence[str], setting: Setting, floor: Floor) -> Result:
    """Score every policy on one split."""
    options, r = fold.unseen.options, fold.decider.estimates.reference
    plain = held_out(fold, setting, floor)
    scores: dict[str, Score] = {}
    intervals: dict[str, dict[str, tuple[float, float] | None]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    under: dict[str, float] = {}
    if setting.cascades != "off":
        notes["cascades"] = fold.cascading.notes
    notes["grams"] = setting.remarks(has_embodied=fold.has_embodied(setting))
    unmeasured = [str(option) for option, q in zip(options, plain.quality.T, strict=True) if not np.isfinite(q).any()]
    if unmeasured:
        notes["held out"] = (f"not measured there, so never scored: {', '.join(unmeasured)}",)
    for entry in entries(names, has_cascades=fold.cascading.has_signals):
        name, held = entry.label, plain
        promised: float | None = None
        if name == ORACLE:
            got = outcome(oracle(held), held)
            notes[name] = ("sees the answers: unreachable",)
        else:
            side = fold.side(is_cascading=entry.is_cascading)
            terms = setting.terms(side.unseen.options, floor)
            held = HeldOut.of(side.unseen, r, terms, with_embodied=fold.has_embodied(setting))
            fitted = make_policy(entry.policy).fit(side.known, side.estimates, terms)
            got = outcome(fitted.weights(side.view)[held.kept], held)
            promised = None if fitted.plan is None else fitted.plan.expected_quality
            notes[name] = (*_moved(got), *(() if fitted.plan is None else fitted.plan.notes))
        scores[name] = score(got, held, promised)
        intervals[name] = _intervals(got, held)
        against = np.ones_like(got.quality) if floor.absolute else held.quality[:, r]
        under[name] = share_under(got.quality, against, floor.value)
    return Result(
        scores,
        intervals,
        notes,
        reference=str(options[r]),
        n_known=fold.n_known,
        n_heldout=int(plain.quality.shape[0]),
        has_cascades=fold.cascading.side is not None,
        has_embodied=fold.has_embodied(setting),
        under=under,
    )


def held_out(fold: Fold, setting: Setting, floor: Floor) -> HeldOut:
    """The held-out prompts of a split that can be scored.

    Raises:
        ConfigError: If there is none.
    """
    r = fold.decider.estimates.reference
    options = fold.unseen.options
    held = HeldOut.of(fold.unseen, r, setting.terms(options, floor), with_embodied=fold.has_embodied(setting))
    if held.quality.shape[0] == 0:
        raise ConfigError(
            f"the reference {options[r]} was measured on none of the held-out prompts",
            hint="name one that was with --reference",
        )
    return held


def _moved(got: PerPrompt) -> tuple[str, ...]:
    share = float(got.moved.mean())
    if share < MUCH:
        return ()
    return (f"{share:.0%} of its weight is on options not measured on the prompt, and scored as those that were",)


def summarise(results: Sequence[Result], floor: Floor, setting: Setting) -> dict[str, Any]:
    """Means over the splits as `--json` prints them, with intervals over splits (or prompts, for one split)."""
    first = results[0]
    policies, intervals = {}, {}
    for name in first.scores:
        scores = [asdict(result.scores[name]) for result in results]
        policies[name] = {key: _mean([s[key] for s in scores]) for key in scores[0]}
        intervals[name] = (
            first.intervals[name]
            if len(results) == 1
            else {key: interval_of_mean(np.array([s[key] for s in scores])) for key in scores[0] if _all(scores, key)}
        )
    return {
        "floor": str(floor),
        "reference": first.reference,
        "n_known": first.n_known,
        "n_heldout": first.n_heldout,
        "intensity_g_per_kwh": setting.intensity_g_per_kwh,
        "embodied": setting.embodied_g,
        "policies": policies,
        "embodied_included": first.has_embodied,
        "confidence": setting.confidence,
        "slack": setting.slack,
        "splits": len(results),
        "cascades": {"mode": setting.cascades, "splits_with_columns": sum(r.has_cascades for r in results)},
        "intervals": {"level": 0.95, "over": "splits" if len(results) > 1 else "held-out prompts", **intervals},
        "notes": {name: note for name, note in first.notes.items() if note},
        "floor_missed": {
            name: sum(_missed(result, name, floor) for result in results) / len(results) for name in first.scores
        },
        # a held-out accuracy has an error of its own: these lie under the floor as surely as the plan promised not to
        "floor_missed_beyond_error": {
            name: sum(result.under[name] > setting.confidence for result in results) / len(results)
            for name in first.scores
        },
    }


def _missed(result: Result, name: str, floor: Floor) -> bool:
    got = result.scores[name]
    return (got.accuracy if floor.absolute else got.relative_accuracy) < floor.value - 1e-12


def _intervals(got: PerPrompt, held: HeldOut) -> dict[str, tuple[float, float] | None]:
    r = held.reference
    return {
        "accuracy": interval_of_mean(got.quality),
        "relative_accuracy": interval_of_ratio(got.quality, held.quality[:, r]),
        "energy_saving": interval_of_ratio(got.energy_j, held.energy_j[:, r], transform=lambda x: 1.0 - x),
        "carbon_saving": interval_of_ratio(got.g, held.g[:, r], transform=lambda x: 1.0 - x),
    }


def _equal_accuracy(
    folds: Iterable[Fold], names: Sequence[str], setting: Setting, levels: Sequence[float], n: int, as_json: bool
) -> None:
    curves: Curves | None = None
    notes: tuple[str, ...] = ()
    with_columns = 0
    for fold in folds:
        if curves is None:
            swept = entries([name for name in names if name != ORACLE], has_cascades=fold.cascading.has_signals)
            curves = Curves(tuple(entry.label for entry in swept), n)
            notes = (*fold.cascading.notes, *setting.remarks(has_embodied=fold.has_embodied(setting)))
        with_columns += fold.cascading.side is not None
        curves.add(fold, setting)
    assert curves is not None  # there is at least one split
    found = read(curves, levels)
    data = {
        "mode": "equal-accuracy",
        "splits": len(curves.rows),
        "floors_swept": FLOORS,
        "cascades": {"mode": setting.cascades, "splits_with_columns": with_columns, "notes": notes},
        "slack": setting.slack,
        "intensity_g_per_kwh": setting.intensity_g_per_kwh,
        "embodied": setting.embodied_g,
        "weight_on_unmeasured": curves.moved(),
        "curves": {
            name: {"relative_accuracy": list(a), "carbon_saving": list(b)}
            for name, a, b in zip(curves.policies, *mean_curve(curves, np.ones(len(curves.rows)), None), strict=True)
        },
        "policies": {
            name: {f"{level:.2f}": asdict(reading) for level, reading in row.items()} for name, row in found.items()
        },
    }
    if as_json:
        typer.echo(json.dumps(_clean(data), indent=1))
        return
    moved = [
        f"{name}: {share:.0%} of its weight was scored as other options'" for name, share in curves.moved().items()
    ]
    print_curves(found, levels, len(curves.rows), (*notes, *moved), with_columns)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _all(rows: Sequence[dict[str, Any]], key: str) -> bool:
    return all(row[key] is not None for row in rows)


def _clean(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def embedder() -> Embedder:
    """The project's embedder, its vectors kept on disk."""
    from router.config.settings import Settings
    from router.embed.cached import CachedEmbedder
    from router.embed.sentence import SentenceEmbedder

    return CachedEmbedder(SentenceEmbedder(), Settings().embeddings_dir)


def _shown(folds: Iterable[Fold], count: int) -> Iterable[Fold]:
    """The folds, with progress on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("splits", total=count)
        for fold in folds:
            yield fold
            progress.advance(task)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except RouterError as error:
        typer.secho(f"error: {error.message}", fg=typer.colors.RED, err=True)
        if error.hint:
            typer.echo(f"  what to do: {error.hint}", err=True)
        raise typer.Exit(1) from None


def main(argv: Sequence[str] | None = None) -> None:
    """The command line, for callers that have arguments rather than a shell."""
    app(args=list(sys.argv[1:] if argv is None else argv), prog_name="python -m bench replay")


if __name__ == "__main__":
    main()
