"""R-ICE run again, and a better estimator beside it, each figure with the boundary it belongs to.

Boundaries that are never mixed: HELM's idealised runtimes (seconds on several A100s), LLM-Perf (one A100, one request
at a time, joules that imply 376-676 W and so hold more than the GPU), ML.ENERGY (GPU joules of a batching server).
"Left out" means that the rows judged were no part of the fit: a whole model size, or a whole publisher's models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.papers.figures import Compared, Reproduction, Row
from bench.papers.rice_data import (
    LlmPerf,
    load_helm,
    load_llm_perf,
    load_ml_energy,
)
from bench.papers.rice_energy import BIG, LEFT_OUT, leave_out, rice_seconds, served_energy, single_energy, table_five
from bench.papers.table import console, show
from router.domain.errors import ConfigError, RouterError
from router.domain.estimates import FloatArray
from router.estimate.rice import Constants, Runtime, prompt_rows
from router.estimate.rice_law import BILLION, PromptLaw, mape, shared_devices
from router.estimate.rice_regressors import FOREST, GUESSES, NAMES, make_regressor

SPLITS = 10
HELD_OUT_SHARE = 0.2
PromptFit = Callable[[Sequence[Runtime], Sequence[Runtime]], FloatArray]
"""Seconds of the second's prompts, learned from the first."""


def reproduce(data: Path, splits: int = SPLITS) -> Reproduction:
    """All of it.

    Args:
        data: Folder that holds rice/ and energy/.
        splits: Random splits of Table III.

    Raises:
        ConfigError: If the data are not there.
    """
    runtimes = load_helm(data)
    perf, served = load_llm_perf(data), load_ml_energy(data)
    return Reproduction(
        "rice",
        "R-ICE: seconds and joules from size and lengths, as published and better",
        (
            *table_three(runtimes, splits),
            *fitted_parts(runtimes),
            *left_out_sizes(runtimes),
            *latency(runtimes, perf),
            table_five(),
            *single_energy(runtimes, perf),
            *served_energy(served),
        ),
        notes=(
            "Errors are mean absolute shares of the true value (MAPE).",
            f"Table III: means of {splits} random splits, a fifth held out. Rows repeat across names, so these splits "
            "interpolate; leaving a size out is the honest test. Only the forest's row of the paper is known here; "
            f"that the others are {', '.join(GUESSES)} is a guess.",
            "Device counts are a reconstruction (the runtimes carry none); their line has the paper's slope.",
            "The form of our prompt law was chosen on these runtimes; its coefficients never saw the size judged.",
            "LLM-Perf joules imply more watts than one A100 draws: another boundary than the paper's constants, so "
            "their error there refutes nothing.",
        ),
        missing=(
            "Table V: its five rows are in none of the data, so `energy within 15.3 %` is not reproduced. As printed "
            "they are impossible joules (about 1 W); read as 10^2 J they imply 106 to 154 W a device, the printed "
            f"constants give {Constants().device_w:.1f} W, and from that range alone only bounds follow (above)",
            "the eight other rows of Table III as published",
        ),
    )


def table_three(runtimes: Sequence[Runtime], splits: int = SPLITS) -> list[Row]:
    """Nine regressors of the prompt encoding time on random splits."""
    x, y = prompt_rows(runtimes)
    rows = []
    for name in NAMES:
        scores = [_split_scores(name, x, y, seed) for seed in range(splits)]
        r2, mse, error = (float(np.mean(column)) for column in zip(*scores, strict=True))
        said = (0.986, 0.001, 0.050) if name == FOREST else (None, None, None)
        rows.append(
            Row(
                "Table III: prompt seconds, random splits",
                name,
                (
                    Compared("R2", said[0], r2, decimals=3),
                    Compared("MSE", said[1], mse, decimals=4),
                    Compared("MAPE", said[2], error, decimals=3),
                ),
                headline=name == FOREST,
            )
        )
    return rows


def fitted_parts(runtimes: Sequence[Runtime]) -> list[Row]:
    """The line of device counts and the polynomial of per-token seconds."""
    known = [runtime for runtime in runtimes if runtime.devices is not None]
    size = np.array([runtime.parameters / BILLION for runtime in known])
    count = np.array([float(runtime.devices or 0) for runtime in known])
    slope, intercept = np.polyfit(size, count, 1)
    printed = Constants()
    rows = [
        Row(
            "device count",
            "slope P + intercept",
            (
                Compared("slope", printed.devices_slope, float(slope), decimals=4),
                Compared("intercept", printed.devices_intercept, float(intercept), decimals=3),
                Compared("R2 of fit", 0.99, r2_score(count, slope * size + intercept), decimals=3),
            ),
            headline=True,
        )
    ]
    size = np.array([runtime.parameters / BILLION for runtime in runtimes])
    per_token = np.array([runtime.per_token_s for runtime in runtimes])
    for degree in (1, 2, 3, 4):
        fitted = np.polyval(np.polyfit(size, per_token, degree), size)
        rows.append(
            Row(
                "per-token seconds",
                f"polynomial of degree {degree}",
                (Compared("R2 of fit", 0.97 if degree == 3 else None, r2_score(per_token, fitted), decimals=3),),
                headline=degree == 3,
            )
        )
    return rows


def left_out_sizes(runtimes: Sequence[Runtime]) -> list[Row]:
    """Prompt seconds of a model size that the fit never saw."""
    by_size = [runtime.parameters for runtime in runtimes]
    by_curve = [runtime.prompt_s for runtime in runtimes]
    rows = []
    for what, fit in (
        ("random forest on (P, p), the paper's", _forest),
        ("random forest on (P, p, devices)", _forest_with_devices),
        ("prompt law, devices from the paper's line", _prompt_law_on_line),
        ("ours: prompt law, devices given", _prompt_law),
    ):
        size_rows, size_mean = _left_out(runtimes, by_size, fit)
        curve_rows, curve_mean = _left_out(runtimes, by_curve, fit)
        rows.append(
            Row(
                "prompt seconds, a size left out",
                what,
                (
                    Compared("MAPE, mean of sizes", None, size_mean, decimals=3),
                    Compared("MAPE, mean of rows", None, size_rows, decimals=3),
                    Compared("equal curves out: of curves", None, curve_mean, decimals=3),
                    Compared("equal curves out: of rows", None, curve_rows, decimals=3),
                ),
                note="52 and 52.4, or 6.7 and 7.5, have the same curve: leaving out all of a curve is stricter."
                if fit is _prompt_law
                else "",
                headline=fit in (_forest, _prompt_law),
            )
        )
    return rows


def latency(runtimes: Sequence[Runtime], rows: LlmPerf) -> list[Row]:
    """End-to-end seconds of the LLM-Perf rows."""
    paper = rice_seconds(runtimes, rows)
    ours = leave_out(rows.parameters, rows.duration_s, rows.publishers)
    found = []
    for what, predicted, said in (("R-ICE, learned from HELM", paper, 0.229), (f"ours: {LEFT_OUT}", ours, None)):
        big = rows.parameters >= BIG
        found.append(
            Row(
                "LLM-Perf: seconds of 256 + 64 tokens",
                what,
                (
                    Compared("MAPE from 1e9 up", said, mape(predicted[big], rows.duration_s[big]), decimals=3),
                    Compared("MAPE of all rows", None, mape(predicted, rows.duration_s), decimals=3),
                ),
                headline=True,
            )
        )
    return found


def r2_score(actual: FloatArray, predicted: FloatArray) -> float:
    """Share of the variance explained."""
    return float(1.0 - np.sum((actual - predicted) ** 2) / np.sum((actual - actual.mean()) ** 2))


def _split_scores(name: str, x: FloatArray, y: FloatArray, seed: int) -> tuple[float, float, float]:
    order = np.random.default_rng(seed).permutation(len(y))
    cut = round(HELD_OUT_SHARE * len(y))
    held, kept = order[:cut], order[cut:]
    predicted = np.asarray(make_regressor(name, seed).fit(x[kept], y[kept]).predict(x[held]))
    return r2_score(y[held], predicted), float(np.mean((predicted - y[held]) ** 2)), mape(predicted, y[held])


def _left_out(runtimes: Sequence[Runtime], groups: Sequence[Any], fit: PromptFit) -> tuple[float, float]:
    """MAPE over rows, and the mean of each group's MAPE."""
    errors = []
    for group in sorted(set(groups)):
        kept = [runtime for runtime, own in zip(runtimes, groups, strict=True) if own != group]
        held = [runtime for runtime, own in zip(runtimes, groups, strict=True) if own == group]
        actual = prompt_rows(held)[1]
        errors.append(np.abs(fit(kept, held) - actual) / actual)
    return float(np.mean(np.concatenate(errors))), float(np.mean([error.mean() for error in errors]))


def _forest(kept: Sequence[Runtime], held: Sequence[Runtime]) -> FloatArray:
    return np.asarray(make_regressor(FOREST).fit(*prompt_rows(kept)).predict(prompt_rows(held)[0]))


def _forest_with_devices(kept: Sequence[Runtime], held: Sequence[Runtime]) -> FloatArray:
    def features(runtimes: Sequence[Runtime]) -> FloatArray:
        return np.column_stack([prompt_rows(runtimes)[0], _devices(runtimes)])

    return np.asarray(make_regressor(FOREST).fit(features(kept), prompt_rows(kept)[1]).predict(features(held)))


def _prompt_law(kept: Sequence[Runtime], held: Sequence[Runtime]) -> FloatArray:
    return _law_on(kept, held, _devices(kept), _devices(held))


def _prompt_law_on_line(kept: Sequence[Runtime], held: Sequence[Runtime]) -> FloatArray:
    size = np.array([runtime.parameters / BILLION for runtime in kept])
    slope, intercept = np.polyfit(size, [float(runtime.devices or 0) for runtime in kept], 1)

    def line(runtimes: Sequence[Runtime]) -> FloatArray:
        return shared_devices(slope * prompt_rows(runtimes)[0][:, 0] + intercept)

    return _law_on(kept, held, line(kept), line(held))


def _law_on(
    kept: Sequence[Runtime], held: Sequence[Runtime], kept_devices: FloatArray, held_devices: FloatArray
) -> FloatArray:
    x, y = prompt_rows(kept)
    unseen = prompt_rows(held)[0]
    law = PromptLaw.fit(x[:, 0] * BILLION, x[:, 1], kept_devices, y)
    return law(unseen[:, 0] * BILLION, unseen[:, 1], held_devices)


def _devices(runtimes: Sequence[Runtime]) -> FloatArray:
    """(rows,) known device counts, one for each length of each model."""
    return np.concatenate([np.full(len(runtime.prompt_s), float(runtime.devices or 1)) for runtime in runtimes])


def rice(
    data: Annotated[Path, typer.Option(help="Folder that holds rice/ and energy/.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    splits: Annotated[int, typer.Option(min=1, help="Random splits of Table III.")] = SPLITS,
) -> None:
    """R-ICE, as published and as it comes out here, and a better estimator beside it."""
    try:
        reproduction = reproduce(data, splits)
    except RouterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
    if as_json:
        typer.echo(json.dumps(reproduction.as_dict(), indent=2))
    else:
        show(reproduction, console())


if __name__ == "__main__":
    typer.run(rice)
