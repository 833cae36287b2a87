"""Which models stay in a site's memory, as the planner asks for it: sizes and loading from what is known, then a MILP.

A model needs its weights and a fifth more (context cache, buffers). What loading takes is read from the runs that
measured it; else it is estimated from the bytes by what loading took per byte in the shipped measurements. Engines move
models in and out by themselves: the plan only knows what that costs, and sends prompts where it pays.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from router.domain.catalogue import Catalogue, Option
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, Terms
from router.policy.category import program_of
from router.policy.residency import Memory, choose_residents, places_of
from router.policy.terms import grams_of
from router.service.engines import Engines

logger = logging.getLogger(__name__)

OVERHEAD = 1.2
"""Memory of a loaded model over the size of its weights."""

BYTES_PER_PARAMETER = 0.75
"""Of four-bit weights with their scales, where only the parameters are known."""

J_PER_BYTE = 1.2e-8
S_PER_BYTE = 2.2e-9
"""What loading took per byte in the shipped measurements (1.1 GB: 13.3 J, 2.6 s; two processor cores)."""

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Load:
    """What loading a model once takes.

    Attributes:
        energy_j: Joules.
        seconds: Seconds.
        method: ``measured``, or how it was estimated.
    """

    energy_j: float
    seconds: float
    method: str


@dataclass(frozen=True, slots=True)
class Resident:
    """One model at one site.

    Attributes:
        site: Where.
        model: Which.
        state: ``stays``, ``visits`` (loaded when asked for) or ``out`` (not used by the plan).
        bytes: Memory it takes, loaded.
        load: What loading it takes.
    """

    site: str
    model: str
    state: str
    bytes: float
    load: Load


@dataclass(frozen=True, slots=True)
class Housing:
    """The outcome.

    Attributes:
        terms: With loading charged to visitors, and the options of models left out closed.
        residents: Who stays and who does not; none where everything fits.
        notes: What a reader has to know.
    """

    terms: Terms
    residents: tuple[Resident, ...] = ()
    notes: tuple[str, ...] = ()


def measured_loads(files: Iterable[Path]) -> dict[Place, Load]:
    """What runs say of loading, by (site, model); later files and later runs win. Unreadable ones are passed over."""
    loads: dict[Place, Load] = {}
    for file in files:
        try:
            runs = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            logger.warning("%s tells nothing of loading: %s", file, error)
            continue
        for run in runs.values() if isinstance(runs, Mapping) else ():
            if not isinstance(run, Mapping):
                continue
            joules, seconds = run.get("load_energy_j") or {}, run.get("load_s") or {}
            for name, energy_j in joules.items():
                site, _, model = str(name).partition("/")
                if _is_amount(energy_j) and _is_amount(seconds.get(name)):
                    loads[site, model] = Load(float(energy_j), float(seconds[name]), "measured")
    return loads


def house(
    estimates: Estimates, terms: Terms, catalogue: Catalogue, engines: Engines, loads: Mapping[Place, Load]
) -> Housing:
    """Decide who stays where the models of a site do not all fit."""
    places = places_of(estimates.options)
    notes: list[str] = []
    sizes = [_bytes(site, model, catalogue, engines) for site, model in places]
    limits: dict[str, float] = {}
    for (site, model), size in zip(places, sizes, strict=True):
        limit = catalogue.sites[site].memory_bytes
        limits.setdefault(site, math.inf if limit is None else float(limit))
        if size is None and math.isfinite(limits[site]):
            notes.append(f"memory at {site} is not planned for: the size of {model} is not known; state `parameters`")
            limits[site] = math.inf
    loading = [
        loads.get(place) or _estimated(size or 0.0) for place, size in zip(places, sizes, strict=True)
    ]  # of models whose size is unknown nothing is charged, since their site has no limit
    sites = list(limits)
    k_j, k_s = _per_place(estimates.options, places, terms)
    with_embodied = grams_of(estimates, terms).with_embodied
    memory = Memory(
        place=np.array([places.index((option.site, option.model)) for option in estimates.options]),
        bytes=np.array([(size or 0.0) * OVERHEAD for size in sizes]),
        site=np.array([sites.index(site) for site, _ in places]),
        limit_bytes=np.array([limits[site] for site in sites]),
        load_g=np.array(
            [
                load.energy_j * j + (load.seconds * s if with_embodied else 0.0)
                for load, j, s in zip(loading, k_j, k_s, strict=True)
            ]
        ),
        load_s=np.array([load.seconds for load in loading]),
    )
    if not memory.is_tight():
        return Housing(terms, notes=tuple(notes))
    try:
        found = choose_residents(program_of(estimates, terms).program, memory, estimates.reference)
    except PolicyError as error:
        return Housing(terms, notes=(*notes, f"memory is not planned for: {error}"))
    states = [
        "stays" if stays else "visits" if visits else "out"
        for stays, visits in zip(found.stays, found.visits, strict=True)
    ]
    residents = tuple(
        Resident(site, model, state, float(size), load)
        for (site, model), state, size, load in zip(places, states, memory.bytes, loading, strict=True)
    )
    away = np.array([state != "stays" for state in states])[memory.place]
    energy_j = np.array([load.energy_j for load in loading])[memory.place]
    charged = replace(
        terms,
        load_j=np.where(away, energy_j, 0.0),
        load_s=np.where(away, memory.load_s[memory.place], 0.0),
        closed=np.array([state == "out" for state in states])[memory.place],
    )
    return Housing(charged, residents, (*notes, *_said(residents)))


def _said(residents: tuple[Resident, ...]) -> list[str]:
    notes = []
    for site in dict.fromkeys(resident.site for resident in residents):
        here = [r for r in residents if r.site == site]
        parts = [
            f"{', '.join(r.model for r in here if r.state == state)} {words}"
            for state, words in (("stays", "stays"), ("visits", "is loaded when asked for"), ("out", "is not used"))
            if any(r.state == state for r in here)
        ]
        notes.append(f"the models at {site} do not all fit in its memory: {'; '.join(parts)}")
    return notes


def _bytes(site: str, model: str, catalogue: Catalogue, engines: Engines) -> float | None:
    """Size of the weights: as the engine says, as stated, or from the parameters; None where nothing is known."""
    served = engines.served(Option(model, site=site), catalogue)
    if served is not None and served.bytes:
        return float(served.bytes)
    stated = catalogue.models[model]
    if stated.weights is not None and stated.weights.bytes:
        return float(stated.weights.bytes)
    return None if stated.parameters is None else stated.parameters * BYTES_PER_PARAMETER


def _estimated(size: float) -> Load:
    return Load(size * J_PER_BYTE, size * S_PER_BYTE, "estimated from the bytes of its weights")


def _per_place(options: tuple[Option, ...], places: tuple[Place, ...], terms: Terms) -> tuple[list[float], list[float]]:
    """Grams per joule and per second at each place; what is unknown is charged nothing and has no column anyway."""
    first = [next(o for o, option in enumerate(options) if (option.site, option.model) == place) for place in places]
    return np.nan_to_num(terms.g_per_j[first]).tolist(), np.nan_to_num(terms.g_per_s[first]).tolist()


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
