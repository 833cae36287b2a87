"""What several generations at a time cost a token: joules and seconds per output token at each level of concurrency.

Joules and seconds of rows that overlapped are their shares of the device's, so their sum over a level is what the
device took. A level is compared with the lowest on the prompts both measured; answers may differ in length, hence
figures per token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from bench.intervals import interval_of_ratio
from router.domain.record import Measurement, Outcome


@dataclass(frozen=True, slots=True)
class Level:
    """One option with so many generations at a time.

    Attributes:
        concurrency: How many.
        n: Prompts with known joules and tokens.
        joules_per_token: Joules above idle per output token.
        low: Lower end of the bootstrap's 95 % interval over prompts.
        high: Upper end.
        tokens_per_s: Output tokens per second of the device.
        ratio: Joules per token against the lowest level, on the prompts both have; None for the lowest itself.
        ratio_low: Lower end of its 95 % interval.
        ratio_high: Upper end.
        n_shared: Prompts both have.
    """

    concurrency: int
    n: int
    joules_per_token: float
    low: float | None
    high: float | None
    tokens_per_s: float | None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    n_shared: int | None = None


Sums = dict[str, tuple[float, float, float]]
"""By prompt: joules, output tokens and device seconds, summed over repeats."""


def levels(measurements: Sequence[Measurement]) -> dict[str, tuple[Level, ...]]:
    """The levels of every option that was measured at more than one, lowest first."""
    found: dict[str, dict[int, Sums]] = {}
    for measurement in measurements:
        for outcome in measurement.outcomes:
            if not _usable(outcome):
                continue
            sums = found.setdefault(str(outcome.option), {}).setdefault(outcome.concurrency, {})
            joules, tokens, seconds = sums.get(measurement.id, (0.0, 0.0, 0.0))
            sums[measurement.id] = (
                joules + (outcome.energy_j or 0.0),
                tokens + (outcome.output_tokens or 0),
                seconds + (float("nan") if outcome.duration_s is None else outcome.duration_s),
            )
    return {
        option: tuple(_level(number, by_level[number], by_level[min(by_level)]) for number in sorted(by_level))
        for option, by_level in found.items()
        if len(by_level) > 1
    }


def _usable(outcome: Outcome) -> bool:
    return outcome.energy_j is not None and bool(outcome.output_tokens)


def _level(concurrency: int, sums: Sums, lowest: Sums) -> Level:
    joules, tokens, seconds = (np.array(column) for column in zip(*sums.values(), strict=True))
    ends = interval_of_ratio(joules, tokens)
    whole_s = float(seconds.sum())
    level = Level(
        concurrency=concurrency,
        n=len(sums),
        joules_per_token=float(joules.sum() / tokens.sum()),
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        tokens_per_s=float(tokens.sum()) / whole_s if whole_s > 0 else None,
    )
    shared = [name for name in sums if name in lowest]
    if sums is lowest or not shared:
        return level
    here = np.array([sums[name][:2] for name in shared])
    there = np.array([lowest[name][:2] for name in shared])
    drawn = np.random.default_rng(0).multinomial(len(shared), np.full(len(shared), 1 / len(shared)), size=1000)
    above, below = drawn @ here, drawn @ there
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (above[:, 0] / above[:, 1]) / (below[:, 0] / below[:, 1])
    ratios = ratios[np.isfinite(ratios)]
    low, high = np.quantile(ratios, [0.025, 0.975]) if ratios.size >= 900 else (None, None)
    per_token, base = here[:, 0].sum() / here[:, 1].sum(), there[:, 0].sum() / there[:, 1].sum()
    return replace(
        level,
        ratio=float(per_token / base) if base > 0 else None,
        ratio_low=None if low is None else float(low),
        ratio_high=None if high is None else float(high),
        n_shared=len(shared),
    )


def levels_table(by_option: Mapping[str, Sequence[Level]]) -> Table:
    """For people."""
    table = Table(box=None, pad_edge=False)
    for name in ("option", "at a time", "n", "J/token", "95 %", "tokens/s", "against the lowest", "95 %"):
        table.add_column(name, justify="left" if name == "option" else "right")
    for option, measured in by_option.items():
        for level in measured:
            compared = "-" if level.ratio is None else f"{level.ratio:.2f} (n {level.n_shared})"
            table.add_row(
                option,
                str(level.concurrency),
                str(level.n),
                f"{level.joules_per_token:.3g}",
                _between(level.low, level.high, ".3g"),
                "-" if level.tokens_per_s is None else f"{level.tokens_per_s:.1f}",
                compared,
                _between(level.ratio_low, level.ratio_high, ".2f"),
            )
    return table


def _between(low: float | None, high: float | None, form: str) -> str:
    return "-" if low is None or high is None else f"{low:{form}} to {high:{form}}"
