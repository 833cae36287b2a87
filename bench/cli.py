"""``python -m bench``: the commands; each loads what it needs when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer

from bench.overhead import HELP as OVERHEAD_HELP
from bench.overhead import overhead as overhead_command
from bench.regrade import HELP as REGRADE_HELP
from bench.regrade import regrade as regrade_command
from bench.report import HELP as REPORT_HELP
from bench.report import report as report_command
from bench.run_command import HELP as RUN_HELP
from bench.run_command import run as run_command
from bench.ship import HELP as SHIP_HELP
from bench.ship import ship as ship_command
from bench.verify import HELP as VERIFY_HELP
from bench.verify import verify as verify_command
from router.cli.edge import run_app
from router.domain.errors import ConfigError

app = typer.Typer(
    name="bench",
    help="Measure your own models, and weigh routing policies on what was measured.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run", help=RUN_HELP)(run_command)
app.command("regrade", help=REGRADE_HELP)(regrade_command)
app.command("report", help=REPORT_HELP)(report_command)
app.command("ship", help=SHIP_HELP)(ship_command)
app.command("verify", help=VERIFY_HELP)(verify_command)
app.command("overhead", help=OVERHEAD_HELP)(overhead_command)

_PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_ELSEWHERE = {
    "replay": ("bench.replay", "Weigh policies against each other on recorded measurements."),
    "context": ("bench.context", "How much of a conversation to route by: what the probe makes of its last turn."),
    "solve": ("bench.solve", "How long solving a plan anew takes (categories x options, every row on)."),
    "gpu": ("bench.gpu.command", "Meter a real NVIDIA GPU and keep the recording (needs one; under 15 minutes)."),
    "papers": ("bench.papers.app", "Reproduce the published systems' figures."),
}


def hand_over(module: str, arguments: list[str]) -> None:
    """Call another module's command line: its typer ``app``, or its ``main(arguments)``.

    Raises:
        ConfigError: If the module does not exist, or has neither.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise ConfigError(
            f"this version has no {module.removeprefix('bench.').partition('.')[0]}",
            hint="see `python -m bench --help` for what there is",
        ) from None
    name = f"python -m bench {module.removeprefix('bench.').partition('.')[0]}"
    if hasattr(found, "app"):
        found.app(args=arguments, prog_name=name)
    elif hasattr(found, "main"):
        sys.exit(found.main(arguments))
    else:
        raise ConfigError(f"{module} offers no command line")


def _register(command: str, module: str, summary: str) -> None:
    @app.command(command, help=summary, context_settings=_PASSED_ON)
    def passed_on(context: typer.Context) -> None:
        hand_over(module, context.args)


for _command, (_module, _summary) in _ELSEWHERE.items():
    _register(_command, _module, _summary)


def run() -> None:
    """Run a command."""
    run_app(app)
