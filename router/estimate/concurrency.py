"""Measured rows as they would be with so many generations at a time.

Several generations at a time share a device, and a token of each costs less, on a GPU many times less. What a site's
rows are planned with must therefore be measured at the load the site has. Not every row is: levels above one are
measured on a sample of the prompts. Of each prompt and option

- the outcome measured at the wanted level is taken where there is one;
- else the one measured nearest to it (in ratio; the lower where two are as near), its joules and seconds times

      r = sum of them at the wanted level / sum of them at that level,   over rows of this model measured at both,

  and it is called ``modelled``. A model with fewer than ``LEAST_PAIRS`` such rows takes the geometric mean of the
  ratios of the site's other models: batching is the engine's doing more than the model's;
- where no model of the site has been measured at both, it stays as it is, and a note says so.

Scaling rather than leaving rows at their level is a choice: levels differ so much in joules that a program over mixed
levels would send traffic wherever the sample happened to fall, and to the sampled models. Quality is left as measured:
load changes how fast a token comes, not which.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from router.domain.record import Measurement, Outcome

LEAST_PAIRS = 5
"""Rows measured at both levels before their ratio is trusted."""

Model = tuple[str, str]
"""Site and model."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """What one level costs against another.

    Attributes:
        energy: Of the joules; None where they are unknown.
        duration: Of the device seconds; None where they are unknown.
    """

    energy: float | None
    duration: float | None


def measured_levels(measurements: Sequence[Measurement]) -> dict[str, tuple[int, ...]]:
    """By site, the levels its rows can be told at, ascending: the usual one, and those with enough rows beside it."""
    rows: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for measurement in measurements:
        for outcome in measurement.outcomes:
            if outcome.energy_j is not None:
                rows[outcome.site][outcome.concurrency] += 1
    found = {}
    for site, counts in rows.items():
        usual = max(sorted(counts), key=lambda level: counts[level])
        found[site] = tuple(sorted(level for level, n in counts.items() if level == usual or n >= LEAST_PAIRS))
    return found


def nearest(levels: Sequence[int], load: float) -> int:
    """The level nearest to a load in ratio; the lower where two are as near."""
    return min(sorted(levels), key=lambda level: abs(math.log(max(level, 1) / max(load, 1.0))))


def at_levels(
    measurements: Sequence[Measurement], levels: Mapping[str, int]
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """The rows as they would be at these levels, one level an option and prompt, and notes on what could not be told.

    Args:
        measurements: Rows in their order, which is kept.
        levels: The wanted level by site; sites that are missing keep all of their rows.
    """
    if all(levels.get(o.site, o.concurrency) == o.concurrency for m in measurements for o in m.outcomes):
        return tuple(measurements), ()
    ratios = _Ratios(measurements)
    unscaled: dict[str, set[str]] = defaultdict(set)
    told = []
    for measurement in measurements:
        outcomes: list[Outcome] = []
        for cell in _cells(measurement).values():
            wanted = levels.get(cell[0].site)
            if wanted is None:
                outcomes += cell
                continue
            base = nearest(list({o.concurrency for o in cell}), wanted)
            chosen = [o for o in cell if o.concurrency == base]
            if base != wanted:
                site, model = chosen[0].site, chosen[0].model
                ratio = ratios.of((site, model), base, wanted)
                if ratio is None:
                    unscaled[site].add(model)
                else:
                    chosen = [_scaled(o, ratio, wanted) for o in chosen]
            outcomes += chosen
        told.append(replace(measurement, outcomes=tuple(outcomes)))
    notes = tuple(
        f"{', '.join(sorted(models))} at {site}: not measured at {levels[site]} at a time, nor can it be told from "
        f"other models; planned with what it took at its own level (`python -m bench run --concurrency {levels[site]}`)"
        for site, models in sorted(unscaled.items())
    )
    return tuple(told), notes


class _Ratios:
    """What each level costs against another, by model."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        # by model, then by pair of levels: sums of joules and seconds at each over the cells measured at both
        self._sums: dict[Model, dict[tuple[int, int], list[float]]] = defaultdict(
            lambda: defaultdict(lambda: [0.0, 0.0, 0.0, 0.0, 0.0])
        )
        for measurement in measurements:
            for cell in _cells(measurement).values():
                means = {level: _means([o for o in cell if o.concurrency == level]) for level in _levels(cell)}
                for here, (energy_here, duration_here) in means.items():
                    for there, (energy_there, duration_there) in means.items():
                        if here == there or energy_here <= 0 or energy_there <= 0:
                            continue
                        sums = self._sums[cell[0].site, cell[0].model][here, there]
                        parts = (1.0, energy_here, energy_there, duration_here, duration_there)
                        for index, part in enumerate(parts):
                            sums[index] += part

    def of(self, model: Model, base: int, wanted: int) -> Ratio | None:
        """The model's own, else that of the site's others, else None."""
        own = self._own(model, base, wanted)
        if own is not None:
            return own
        site = model[0]
        others = [r for key in self._sums if key[0] == site and (r := self._own(key, base, wanted)) is not None]
        if not others:
            return None
        return Ratio(_geometric([r.energy for r in others]), _geometric([r.duration for r in others]))

    def _own(self, model: Model, base: int, wanted: int) -> Ratio | None:
        sums = self._sums.get(model, {}).get((base, wanted))
        if sums is None or sums[0] < LEAST_PAIRS:
            return None
        _, energy_base, energy_wanted, duration_base, duration_wanted = sums
        seconds_known = math.isfinite(duration_base) and math.isfinite(duration_wanted) and duration_base > 0
        return Ratio(energy_wanted / energy_base, duration_wanted / duration_base if seconds_known else None)


def _cells(measurement: Measurement) -> dict[object, list[Outcome]]:
    cells: dict[object, list[Outcome]] = defaultdict(list)
    for outcome in measurement.outcomes:
        cells[outcome.option].append(outcome)
    return cells


def _levels(cell: Sequence[Outcome]) -> set[int]:
    return {outcome.concurrency for outcome in cell}


def _means(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Mean joules (0 where one is unknown: such cells are not compared) and seconds (NaN likewise)."""
    joules = [o.energy_j for o in outcomes if o.energy_j is not None]
    seconds = [o.duration_s for o in outcomes if o.duration_s is not None]
    energy_j = sum(joules) / len(joules) if len(joules) == len(outcomes) else 0.0
    return energy_j, sum(seconds) / len(seconds) if len(seconds) == len(outcomes) else math.nan


def _geometric(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and value > 0]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def _scaled(outcome: Outcome, ratio: Ratio, level: int) -> Outcome:
    """The outcome as it would have been at a level."""
    return replace(
        outcome,
        energy_j=_times(outcome.energy_j, ratio.energy),
        idle_j=_times(outcome.idle_j, ratio.duration),
        duration_s=_times(outcome.duration_s, ratio.duration),
        prefill_s=_times(outcome.prefill_s, ratio.duration),
        decode_s=_times(outcome.decode_s, ratio.duration),
        concurrency=level,
        method=None if outcome.energy_j is None else "modelled",
    )


def _times(value: float | None, ratio: float | None) -> float | None:
    return None if value is None or ratio is None else value * ratio
