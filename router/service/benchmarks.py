"""Joules that were spent on measuring: the rows of ``bench run`` in the data folder, every row ever taken.

The router decides on these measurements, so their joules belong to its boundary. A report spreads them over a stated
number of requests. Shipped measurements were taken elsewhere and once for everybody; they are not in here.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.domain.errors import MeasurementError

REGRADED = "regraded"
"""Marks the copy of a row that was graded again without being generated again."""


@dataclass(frozen=True, slots=True)
class BenchmarkEnergy:
    """What measuring took on this machine.

    Attributes:
        energy_j: Joules above idle of rows and of loading models, as far as they are known; None where nothing is.
        load_j: Of these, loading.
        rows: Answers generated.
        unknown: Rows and loads of unknown joules.
        runs: Their runs.
        methods: Rows by method.
        idle_w: Idle watts by site, from the latest run that measured them.
        files: Where the rows are.
    """

    energy_j: float | None = 0.0
    load_j: float = 0.0
    rows: int = 0
    unknown: int = 0
    runs: tuple[str, ...] = ()
    methods: Mapping[str, int] = field(default_factory=dict)
    idle_w: Mapping[str, float] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def read_benchmarks(folder: Path) -> BenchmarkEnergy:
    """Everything measured into a folder; nothing where there is no such folder.

    Raises:
        MeasurementError: With file and line, where something cannot be read.
    """
    energy_j, load_j, rows, unknown = 0.0, 0.0, 0, 0
    methods: Counter[str] = Counter()
    runs: dict[str, Mapping[str, Any]] = {}
    files = sorted(path for pattern in ("*.jsonl", "*.jsonl.gz") for path in folder.glob(pattern))
    for path in files:
        for outcome in _outcomes(path):
            if outcome.get(REGRADED):
                continue  # graded again later: it took its joules when it was generated
            rows += 1
            joules = outcome.get("energy_j")
            if isinstance(joules, int | float):
                energy_j += joules
                methods[str(outcome.get("method"))] += 1
            elif not outcome.get("error"):  # a request the engine refused took none
                unknown += 1
        entries = _runs(path)
        runs |= {f"{path.name}/{name}": entry for name, entry in entries.items()}
        for entry in entries.values():
            for joules in (entry.get("load_energy_j") or {}).values():
                if joules is None:
                    unknown += 1
                else:
                    load_j += float(joules)
    return BenchmarkEnergy(
        energy_j=None if unknown and not methods and not load_j else energy_j + load_j,
        load_j=load_j,
        rows=rows,
        unknown=unknown,
        runs=tuple(runs),
        methods=dict(methods),
        idle_w=_idle_w(runs),
        files=tuple(path.name for path in files),
    )


def measured_idle_w(files: Iterable[Path]) -> dict[str, float]:
    """Idle watts by the source of the meter that read them, as the latest baseline phases found them.

    Args:
        files: ``.runs.json`` files of this machine; what cannot be read tells nothing.
    """
    entries: list[Mapping[str, Any]] = []
    for file in files:
        try:
            runs = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        entries += [entry for entry in runs.values() if isinstance(entry, Mapping)] if isinstance(runs, Mapping) else []
    found: dict[str, float] = {}
    for entry in sorted(entries, key=lambda entry: str(entry.get("date") or "")):
        phases = entry.get("baseline")
        for phase in phases.values() if isinstance(phases, Mapping) else ():
            watts = phase.get("idle_w") if isinstance(phase, Mapping) else None
            if isinstance(watts, int | float) and not isinstance(watts, bool) and "source" in phase:
                found[str(phase["source"])] = float(watts)
    return found


def _idle_w(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entry in sorted(runs.values(), key=lambda entry: str(entry.get("date") or "")):
        for site, phase in (entry.get("baseline") or {}).items():
            watts = phase.get("idle_w") if isinstance(phase, Mapping) else None
            if isinstance(watts, int | float):
                found[site] = float(watts)
    return found


def _outcomes(path: Path) -> Iterator[Mapping[str, Any]]:
    number = 0
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007 - the complaint below names it
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError:
                        if line.endswith("\n"):
                            raise
                        return  # a run that goes on is writing this line
                    yield from row.get("outcomes") or ()
    except (OSError, ValueError, AttributeError, EOFError) as error:
        raise MeasurementError(
            f"cannot be read: {error}", file=str(path), line=number, hint="repair the line or move the file away"
        ) from error


def _runs(path: Path) -> Mapping[str, Mapping[str, Any]]:
    file = path.with_name(f"{path.name.removesuffix('.gz')}.runs.json")
    try:
        runs = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MeasurementError(f"cannot be read: {error}", file=str(file), hint="repair or remove it") from error
    return {name: entry for name, entry in runs.items() if isinstance(entry, dict)} if isinstance(runs, dict) else {}
