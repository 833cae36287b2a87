"""``carbon-router route``: a dry run of one prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.client import ask
from router.cli.output import JsonOption, milligrams, option_label, percent, print_json, print_table

HELP = "Show which option would answer a prompt, and why; nothing is generated."


def route(
    prompt: Annotated[str, typer.Argument(help="The prompt; - reads it from standard input.")],
    model: Annotated[str, typer.Option(help="As a client would send it: auto, auto@L1, a model, an alias.")] = "auto",
    models_file: Annotated[Path | None, typer.Option("--models", help="Use this federation.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide and explain."""
    text = sys.stdin.read() if prompt == "-" else prompt
    body = {"prompt": _repaired(text), "model": _repaired(model)}

    async def local(service: Any) -> dict[str, Any]:
        from router.api.explain import decision_json
        from router.api.routing import RouteRequest

        choice = await service.chooser.choose(RouteRequest.model_validate(body).ask(), dry_run=True)
        return decision_json(choice.decision)

    answer = ask("POST", "/v1/route", body, models_file=models_file, local=local)
    if as_json:
        print_json(answer)
        return
    typer.echo(f"{option_label(answer)} would answer: {answer['reason']}")
    if answer["fallback"]:
        typer.echo(f"fallback: {answer['fallback']}")
    reference = answer["reference"]
    typer.echo(f"reference {option_label(reference)}: {milligrams(reference['expected_g'])} CO2e expected")
    print_table(
        ["option", "weight", "expected quality", "expected CO2e"],
        [
            [option_label(o), percent(o["weight"]), percent(o["expected_quality"]), milligrams(o["expected_g"])]
            for o in answer["options"]
        ],
    )
    if answer["neighbours"]:
        typer.echo("nearest measured prompts:")
        for neighbour in answer["neighbours"][:5]:
            first_line = neighbour["prompt"].splitlines()[0][:70]
            typer.echo(f"  {neighbour['distance']:.3f}  {neighbour['category'] or '-':<12} {first_line}")


def _repaired(text: str) -> str:
    """The text with U+FFFD for bytes that are no UTF-8; an argument has them as halves of surrogate pairs."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
