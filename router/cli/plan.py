"""``carbon-router plan``: the current mix per category."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.client import ask
from router.cli.output import JsonOption, milligrams, option_label, percent, print_json, print_table
from router.domain.units import SECONDS_PER_HOUR

HELP = "Show the current plan: who answers which category, the grams and the quality it promises."


def plan(
    models_file: Annotated[Path | None, typer.Option("--models", help="Use this federation.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the plan."""

    async def local(service: Any) -> dict[str, Any]:
        from router.api.explain import plan_json

        return plan_json(service.planner.current)

    answer = ask("GET", "/v1/plan", None, models_file=models_file, local=local)
    if as_json:
        print_json(answer)
        return
    mix = answer["plan"]
    typer.echo(f"policy {answer['policy']}, floor {answer['floor']}, {answer['measured_prompts']} measured prompts")
    for site, intensity in answer["intensity_g_per_kwh"].items():
        age = "" if intensity["age_s"] is None else f", {intensity['age_s'] / SECONDS_PER_HOUR:.1f} h old"
        how = [intensity["kind"], *(name for name in ("estimated", "stale") if intensity[name])]
        typer.echo(f"intensity at {site}: {intensity['value']:g} g/kWh ({intensity['source']}{age}; {', '.join(how)})")
        coming = answer.get("intensity_forecast", {}).get(site, [])
        if coming:
            best = min(coming, key=lambda point: float(point["g_per_kwh"]))
            hours = max(0.0, (best["begins_at"] - time.time()) / SECONDS_PER_HOUR)
            typer.echo(f"  lowest of the forecast: {best['g_per_kwh']:g} g/kWh in {hours:.1f} h")
    for line in _conditions(answer):
        typer.echo(line)
    for note in answer["notes"]:
        typer.echo(f"note: {note}")
    if mix is None:
        if answer["decided_by"] is None:
            typer.echo("there is no plan; every prompt takes the reference")
        return
    typer.echo(
        f"expected: {milligrams(mix['expected_g'])} CO2e a prompt at quality {percent(mix['expected_quality'])}; "
        f"reference {option_label(answer['reference'])}: {milligrams(mix['reference_g'])} at "
        f"{percent(mix['reference_quality'])}; saving {percent(mix['expected_saving'])}"
    )
    if not mix["feasible"]:
        typer.echo(f"the floor is out of reach; the best any mix gives is {percent(mix['reachable_quality'])}")
    if mix["price_of_quality_g_per_point"]:
        typer.echo(f"one more point of quality would cost {milligrams(mix['price_of_quality_g_per_point'])} a prompt")
    print_table(
        ["category", "share", "option", "weight", "quality", "CO2e"],
        [
            [
                category["category"] if first == 0 else "",
                percent(category["share"]) if first == 0 else "",
                option_label(part),
                percent(part["weight"]),
                percent(part["expected_quality"]),
                milligrams(part["expected_g"]),
            ]
            for category in mix["categories"]
            for first, part in enumerate(category["mix"])
        ],
    )
    print_table(
        ["row", "asked for", "the plan has", "unit", "price of one unit stricter"],
        [
            [
                row["row"],
                f"{row['limit']:.4g}",
                f"{row['value']:.4g}" + (f" ({row['exceeded_by']:.0%} over)" if row["exceeded_by"] else ""),
                row["unit"],
                "not known" if row["price_g_per_unit"] is None else f"{milligrams(row['price_g_per_unit'])} a prompt",
            ]
            for row in mix["rows"]
        ],
    )


def _conditions(answer: dict[str, Any]) -> list[str]:
    """Where the floor stands, what traffic the plan is for, and who stays in memory."""
    sliding, traffic = answer["sliding_floor"], answer["traffic"]
    lines = []
    if sliding["on"]:
        span = ""
        if sliding["k0_min_g_per_kwh"] is not None:
            span = f", {sliding['k0_min_g_per_kwh']:g} to {sliding['k0_max_g_per_kwh']:g} g/kWh in its past"
        lines.append(f"sliding floor: s = {sliding['s']:.2f} ({sliding['why']}{span})")
    if sliding["floor_in_force"] is not None:
        lines.append(f"floor in force: {percent(sliding['floor_in_force'])} of the prompts right")
    if traffic["effective_n"] is not None:
        rate = "not known yet" if traffic["rate_per_s"] is None else f"{3600 * traffic['rate_per_s']:.3g} an hour"
        lines.append(
            f"traffic: {traffic['effective_n']:.1f} recent prompts beside the measured mix, which counts "
            f"{traffic['prior_n']:g}; requests {rate}"
        )
    lines += [
        f"memory at {r['site']}: {r['model']} {r['state']} ({r['bytes'] / 1e9:.2f} GB; loading "
        f"{r['load_energy_j']:.3g} J, {r['load_s']:.2g} s, {r['load_method']})"
        for r in answer["residency"]
    ]
    return lines
