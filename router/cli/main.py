"""``carbon-router``: the commands."""

from __future__ import annotations

from typing import Annotated

import typer

import router
from router.cli import doctor, estimate, keys, models, plan, rank, report, route, serve, store
from router.cli.edge import run_app

app = typer.Typer(
    name="carbon-router",
    help="Answers every prompt with the least carbon at an accuracy you state. Start with `carbon-router serve`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(help=serve.HELP)(serve.serve)
app.command(help=route.HELP)(route.route)
app.command(help=plan.HELP)(plan.plan)
app.command(help=estimate.HELP)(estimate.estimate)
app.command(help=report.HELP)(report.report)
models.app.command("rank", help=rank.HELP)(rank.rank)
app.add_typer(models.app, name="models")
app.add_typer(store.app, name="store")
app.add_typer(keys.app, name="keys")
app.command(help=doctor.HELP)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"carbon-router {router.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def run() -> None:
    """Run a command."""
    run_app(app)
