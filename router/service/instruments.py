"""Which instruments this machine has: the part of the wiring that chooses meters and intensity sources.

Meters, best first: the GPUs' own counters (NVML) and the processor's (RAPL), added up with their breakdown; where the
processor has no counter that may be read, busy cores times stated watts stand in for it. A sum of a measured and a
modelled part calls itself modelled. A wall meter named in models.yaml counts instead of the sum, which is then its
breakdown. What they read with nothing to do is as stated there, or as the last ``bench run`` here measured it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.carbon.cached import CachedIntensity
from router.carbon.electricitymaps import ElectricityMaps
from router.carbon.fixed import FixedIntensity
from router.carbon.gridfree import GridFree
from router.carbon.trace import Trace, TraceIntensity
from router.domain.catalogue import Catalogue, Site, Wall
from router.domain.errors import AbsentMeterError, MeterError
from router.domain.ports import IntensitySource, Meter
from router.meters.combined import CombinedCounter
from router.meters.discipline import IdleKnown, sees_idle
from router.meters.modelled import BusyCoreCounter
from router.meters.none import NoMeter
from router.meters.nvml import NvmlCounter, open_gpus
from router.meters.rapl import RaplCounter
from router.meters.wall import IPMI_PATTERN, CommandPower, HttpPower, WallCounter
from router.meters.window import EnergyCounter, SharedMeter

TOKEN = "ROUTER_ELECTRICITY_MAPS_TOKEN"


@dataclass(frozen=True, slots=True)
class LocalMeter:
    """The meter of this machine.

    Attributes:
        meter: Shared by every site that runs here.
        lacking: Better instruments that could not be used, and what to do about it, in sentences.
        refused: Those of them that are here and could not be read.
    """

    meter: Meter
    lacking: tuple[str, ...]
    refused: tuple[str, ...] = ()


def local_meter(site: Site, idle_w: Mapping[str, float] | None = None) -> LocalMeter:
    """The best meter this machine has.

    Args:
        site: One that runs here: its coefficients for a processor without a readable counter, its wall meter.
        idle_w: Idle watts as measured before, by the meter's source; a figure stated with the site wins.
    """
    parts: dict[str, EnergyCounter] = {}
    lacking: list[str] = []
    refused: list[str] = []

    def lack(text: str, error: MeterError) -> None:
        lacking.append(f"{text}: {error}")
        if not isinstance(error, AbsentMeterError):
            refused.append(lacking[-1])

    try:
        parts["gpu"] = NvmlCounter(open_gpus())
    except MeterError as error:
        lack("GPU", error)
    try:
        parts["cpu"] = RaplCounter()
    except MeterError as error:
        lack("processor", error)
        if site.watts_per_core is not None:
            parts["cpu"] = BusyCoreCounter(site.watts_per_core, watts_per_gb=site.memory_watts_per_gb)
    wall = None if site.wall is None else WallCounter(_reader(site.wall))
    counter: EnergyCounter
    if not parts and wall is None:
        return LocalMeter(NoMeter(), tuple(lacking), tuple(refused))
    if wall is not None:
        counter = CombinedCounter(parts, wall=wall) if parts else wall
    else:
        counter = next(iter(parts.values())) if len(parts) == 1 else CombinedCounter(parts)
    idle = (idle_w or {}).get(counter.source) if site.idle_w is None else site.idle_w
    if idle is not None and sees_idle(counter):
        counter = IdleKnown(counter, idle)
    elif site.idle_w is not None:
        lacking.append(f"idle_w of {site.name} in models.yaml is not used: {counter.source} sees busy work only")
    return LocalMeter(SharedMeter(counter), tuple(lacking), tuple(refused))


def _reader(wall: Wall) -> HttpPower | CommandPower:
    if wall.url is not None:
        return HttpPower(wall.url, wall.power)
    return CommandPower(wall.command, IPMI_PATTERN if wall.pattern is None else wall.pattern)


@dataclass(frozen=True, slots=True)
class SiteMeters:
    """The meters of all sites.

    Attributes:
        meters: By site.
        lacking: Better instruments of this machine that could not be used, and what to do about it, in sentences.
        refused: Those of them that are here and could not be read.
        local: This machine's, where something meters it.
    """

    meters: Mapping[str, Meter]
    lacking: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    local: Meter | None = None


def build_meters(catalogue: Catalogue) -> dict[str, Meter]:
    """The meter of every site; see :func:`open_meters`."""
    return dict(open_meters(catalogue).meters)


def open_meters(catalogue: Catalogue, idle_w: Mapping[str, float] | None = None) -> SiteMeters:
    """The meter of every site, each instrument opened once.

    All sites on this machine share one meter: their generations run on the same devices, and two meters over them
    would both count what overlaps. What is metered here says nothing of a site elsewhere, which only its own wall meter
    can meter. Where several of them say
    something of this machine's meters, the first that says it holds.

    Args:
        catalogue: The federation.
        idle_w: Idle watts as measured before, by the meter's source.
    """
    here = [site for site in catalogue.sites.values() if site.runs_here]
    local = local_meter(_machine(here), idle_w) if here else LocalMeter(NoMeter(), ())
    meters = {
        name: local.meter if site.runs_here else remote_meter(site, idle_w) for name, site in catalogue.sites.items()
    }
    own = local.meter if isinstance(local.meter, SharedMeter) else None
    return SiteMeters(meters, local.lacking, local.refused, own)


def open_meter(site: Site, catalogue: Catalogue, idle_w: Mapping[str, float] | None = None) -> Meter:
    """The meter of one site, and no other's instrument opened; a site on this machine is metered with all of it.

    Args:
        site: One of the federation.
        catalogue: The federation.
        idle_w: Idle watts as measured before, by the meter's source.
    """
    if not site.runs_here:
        return remote_meter(site, idle_w)
    return local_meter(_machine([other for other in catalogue.sites.values() if other.runs_here]), idle_w).meter


def remote_meter(site: Site, idle_w: Mapping[str, float] | None = None) -> Meter:
    """What meters a site on another machine: its plug or power supply where models.yaml names one, else nothing."""
    if site.wall is None:
        return NoMeter("nothing meters it: the site is another machine, and models.yaml names no `wall` for it")
    counter = WallCounter(_reader(site.wall))
    idle = (idle_w or {}).get(counter.source) if site.idle_w is None else site.idle_w
    return SharedMeter(counter if idle is None else IdleKnown(counter, idle))


def _machine(here: Sequence[Site]) -> Site:
    """What the sites of this machine say of it, as one."""
    return replace(
        here[0],
        watts_per_core=next((site.watts_per_core for site in here if site.watts_per_core is not None), None),
        memory_watts_per_gb=next((s.memory_watts_per_gb for s in here if s.memory_watts_per_gb is not None), None),
        idle_w=next((site.idle_w for site in here if site.idle_w is not None), None),
        wall=next((site.wall for site in here if site.wall is not None), None),
    )


def build_sources(catalogue: Catalogue) -> dict[str, IntensitySource]:
    """The intensity source of every site; sites of one zone share the one that is asked.

    Raises:
        ConfigError: If a trace cannot be read or lacks the zone.
    """
    asked: dict[tuple[str | None, float | None], IntensitySource] = {}
    found: dict[str, IntensitySource] = {}
    for name, site in catalogue.sites.items():
        if site.intensity_g_per_kwh is not None or site.intensity_trace is not None:
            found[name] = build_source(site)
        else:
            question = site.zone, site.intensity_fallback_g_per_kwh
            found[name] = asked[question] = asked.get(question) or build_source(site)
    return found


def build_source(site: Site) -> IntensitySource:
    """The intensity source of a site: its fixed figure or its trace, else one that is asked, and cached.

    Electricity Maps where there is a token for it (``ROUTER_ELECTRICITY_MAPS_TOKEN``), else sources without a key.

    Raises:
        ConfigError: If the trace cannot be read or lacks the zone.
    """
    kind = site.intensity_kind
    if site.intensity_g_per_kwh is not None:
        return FixedIntensity(site.intensity_g_per_kwh, source="fixed figure in models.yaml", kind=kind)
    spare = site.intensity_fallback_g_per_kwh
    fallback = (
        None
        if spare is None
        else FixedIntensity(spare, source="intensity_fallback_g_per_kwh in models.yaml", kind=kind)
    )
    if site.intensity_trace is not None:
        trace = Trace.load(Path(site.intensity_trace))
        if site.zone is not None:
            trace.series(site.zone)  # refuses a zone that it does not have
        return TraceIntensity(trace, kind=kind, fallback=fallback)
    token = os.environ.get(TOKEN)
    return CachedIntensity(ElectricityMaps(token) if token else GridFree(), fallback=fallback)
