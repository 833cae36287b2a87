"""``carbon-router keys``: who may use the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from router.config.keys import KeyFile
from router.config.settings import load_settings

app = typer.Typer(help="API keys: make, list and remove them.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(help="Whose key it is.")]


@app.command(help="Make a key and print it; it cannot be shown again.")
def add(name: _Name) -> None:
    """Make a key."""
    file = _file()
    typer.echo(KeyFile(file).add(name))
    typer.echo(f"kept in {file}: a server that reads another file does not know it", err=True)


@app.command("list", help="Names of the keys and when they were made.")
def list_keys() -> None:
    """List keys."""
    file = _file()
    keys = KeyFile(file).all()
    for key in keys:
        typer.echo(f"{key.name}\t{key.created_at}")
    typer.echo(f"{'the' if keys else 'no'} keys in {file}", err=True)


@app.command(help="Remove a key; whoever uses it is refused from then on, also by a running server.")
def remove(name: _Name) -> None:
    """Remove a key."""
    file = _file()
    KeyFile(file).remove(name)
    typer.echo(f"removed from {file}", err=True)


def _file() -> Path:
    """Where the keys lie, in full: by default that hangs on the folder a command is run in."""
    return load_settings().keys_file.absolute()
