"""The entry of a run in ``.runs.json``: everything a reader needs to judge its rows."""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.run_generate import SEED, Bounds
from bench.run_machine import hardware, versions
from router.domain.catalogue import Catalogue
from router.domain.ports import Meter

_SAME = ("hardware", "versions", "engines", "directives", "meters", "seed", "temperature", "caps", "deadline_s")


def new_entry(catalogue: Catalogue, meters: Mapping[str, Meter], bounds: Bounds, now: datetime) -> dict[str, Any]:
    """What is known before the first row."""
    return {
        "date": now.isoformat(timespec="seconds"),
        "finished": False,
        "hardware": hardware(),
        "versions": versions(),
        "engines": {
            name: {"engine": site.engine, "slots": site.slots}
            for name, site in catalogue.sites.items()
            if name in meters
        },
        "directives": {name: directive.text for name, directive in catalogue.directives.items()},
        "meters": {name: meter.source for name, meter in meters.items()},
        "seed": SEED,
        "temperature": 0,
        "cache_prompt": False,
        "caps": {**bounds.caps, "other": bounds.default_cap},
        "deadline_s": bounds.deadline_s,
        "digests": {},
        "baseline": {},
        "load_energy_j": {},
        "load_s": {},
    }


def _goes_on(before: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether rows of now and rows of then can stand in one run.

    The weights are the same as far as both know them, and joules are above idle in both or in neither.
    """
    known = before.get("digests") or {}
    same_weights = all(known.get(name, digest) == digest for name, digest in entry["digests"].items())
    idle = before.get("baseline") or {}
    same_idle = all(
        (idle[site].get("idle_w") is None) == (phase.get("idle_w") is None)
        for site, phase in entry["baseline"].items()
        if site in idle
    )
    return same_weights and same_idle and all(before.get(key) == entry[key] for key in _SAME)


def name_run(runs: Mapping[str, Mapping[str, Any]], entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The run's name and entry: an unfinished run under the same circumstances goes on, else a new one begins.

    Args:
        runs: Entries there are.
        entry: Of the run that begins now.
    """
    for name, before in reversed(list(runs.items())):
        if not before.get("finished", True) and _goes_on(before, entry):
            return name, {**before, "resumed": [*before.get("resumed", []), entry["date"]]}
    day = entry["date"][:10]
    letters = [*string.ascii_lowercase, *(a + b for a in string.ascii_lowercase for b in string.ascii_lowercase)]
    letter = next((letter for letter in letters if f"{day}-{letter}" not in runs), f"{datetime.now(UTC):%H%M%S}")
    return f"{day}-{letter}", dict(entry)
