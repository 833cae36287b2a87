"""What ``bench replay`` found, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.replay_curves import Reading

WIDTH = 150


def print_curves(
    found: Mapping[str, Mapping[float, Reading]],
    levels: Sequence[float],
    splits: int,
    notes: Sequence[str],
    with_columns: int,
) -> None:
    """Savings at equal accuracy, and how far ``joint`` is ahead."""
    console = _console()
    table = Table(title=f"saving at equal held-out accuracy, {splits} splits, 95 % over splits", title_style="bold")
    table.add_column("policy")
    for level in levels:
        table.add_column(f"{level:.2f}", justify="right")
    for name, row in found.items():
        table.add_row(name, *[_saving(row[level]) for level in levels])
    console.print(table)
    ahead = Table(title="joint ahead by (points; 95 % over splits, then over splits and prompts)", title_style="bold")
    ahead.add_column("of")
    for level in levels:
        ahead.add_column(f"{level:.2f}", justify="right")
    for name, row in found.items():
        if any(row[level].ahead is not None for level in levels):
            ahead.add_row(name, *[_ahead(row[level]) for level in levels])
    console.print(ahead)
    for note in notes:
        console.print(note, style="dim", highlight=False)
    if with_columns:
        console.print(f"cascades were in on {with_columns} of {splits} splits", highlight=False)


def print_scores(summary: dict[str, Any]) -> None:
    """Every policy's score at one floor."""
    console = _console()
    console.print(
        f"{summary['splits']} split(s), {summary['n_known']} known, {summary['n_heldout']} held out; "
        f"reference {summary['reference']}; floor {summary['floor']}, {summary['intensity_g_per_kwh']:g} g/kWh",
        highlight=False,
    )
    over = summary["intervals"]["over"]
    table = Table(caption=f"95 % intervals over {over}; savings against the reference")
    for column in (
        "policy",
        "accuracy",
        "of the reference",
        "worst category",
        "promised",
        "energy saved",
        "carbon saved",
    ):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, row in summary["policies"].items():
        bounds = summary["intervals"][name]
        promised = row["promised_accuracy"]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{row['relative_accuracy']:.3f} {_plain(bounds.get('relative_accuracy'))}",
            f"{row['worst_category_relative_accuracy']:.3f}",
            "-" if promised is None else f"{promised:.3f}",
            f"{_points(row['energy_saving'])} % {_range(bounds.get('energy_saving'))}",
            f"{_points(row['carbon_saving'])} % {_range(bounds.get('carbon_saving'))}",
        )
    console.print(table)
    if summary["splits"] > 1:
        missed, beyond = summary["floor_missed"], summary["floor_missed_beyond_error"]
        console.print(
            "under the floor, and by more than the held-out prompts' own error "
            f"(paired bootstrap, confidence {summary['confidence']:g}), in so many splits: "
            + "; ".join(f"{name} {missed[name]:.0%}, {beyond[name]:.0%}" for name in missed),
            highlight=False,
        )
    for name, notes in summary["notes"].items():
        for note in notes:
            console.print(f"{name}: {note}", style="dim", highlight=False)


def _saving(reading: Reading) -> str:
    if reading.saving is None:
        return "not reached"
    worst = "" if reading.worst_category is None else f"\nworst category {reading.worst_category:.3f}"
    return f"{_points(reading.saving)} {_range(reading.interval_over_splits)}{worst}"


def _ahead(reading: Reading) -> str:
    if reading.ahead is None or reading.ahead[0] is None:
        return "-"
    centre, over_splits, over_prompts = reading.ahead
    return f"{_points(centre)} {_range(over_splits)}\n{_range(over_prompts)}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _plain(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"({interval[0]:.3f} to {interval[1]:.3f})"


def _console() -> Console:
    """Wide enough for the intervals to stay on one line, also where the output is a file."""
    console = Console()
    return console if console.width >= WIDTH else Console(width=WIDTH)
