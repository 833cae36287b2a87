"""The outer edge of every command line: an error of ours becomes one sentence, what to do, and an exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import typer

from router.domain.errors import RouterError


def run_app(app: Callable[[], object]) -> None:
    """Run a command; an error of ours is one sentence on stderr and exit code 1 (wrong usage is 2, Ctrl-C 130)."""
    # What a terminal cannot show, or a file has wrong, is a character of a prompt: no reason to end halfway.
    for stream, errors in ((sys.stdout, "backslashreplace"), (sys.stdin, "replace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    try:
        app()
    except RouterError as error:
        typer.secho(f"error: {error.message}", fg=typer.colors.RED, err=True)
        if error.hint:
            typer.echo(f"  what to do: {error.hint}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
