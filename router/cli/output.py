"""What the commands share in printing: tables, JSON, units at a readable scale."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def print_json(data: object) -> None:
    """JSON on stdout, one object, indented."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2)  # the terminal's own escapes would be no JSON
    typer.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table as wide as the terminal allows; figures to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | type(None)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def milligrams(grams: float | None) -> str:
    """Grams of one prompt, at the scale people can read."""
    return "unknown" if grams is None else f"{grams * 1000:.3g} mg"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return "unknown" if share is None else f"{share:.1%}"


def option_label(option: dict[str, Any]) -> str:
    """An option from its JSON parts, short."""
    if option.get("cascade"):
        return str(option["cascade"])
    text = f"{option['model']}@{option['directive']}"
    if option["setting"] != "default":
        text += f"+{option['setting']}"
    return text if option["site"] == "local" else f"{option['site']}/{text}"
