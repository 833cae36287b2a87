"""Which instruments this machine has: the part of the wiring that chooses meters and intensity sources.

Meters, best first: the GPUs' own counters (NVML) and the processor's (RAPL), added up with their breakdown; where the
processor has no counter that may be read, busy cores times stated watts stand in for it. A sum of a measured and a
modelled part calls itself modelled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from router.carbon.cached import CachedIntensity
from router.carbon.electricitymaps import ElectricityMaps
from router.carbon.fixed import FixedIntensity
from router.carbon.gridfree import GridFree
from router.carbon.trace import Trace, TraceIntensity
from router.domain.catalogue import Catalogue, Site
from router.domain.errors import MeterError
from router.domain.ports import IntensitySource, Meter
from router.meters.combined import CombinedCounter
from router.meters.modelled import BusyCoreCounter
from router.meters.none import NoMeter
from router.meters.nvml import NvmlCounter, open_gpus
from router.meters.rapl import RaplCounter
from router.meters.window import EnergyCounter, SharedMeter

TOKEN = "ROUTER_ELECTRICITY_MAPS_TOKEN"


@dataclass(frozen=True, slots=True)
class LocalMeter:
    """The meter of this machine.

    Attributes:
        meter: Shared by every site that runs here.
        lacking: Better instruments that could not be used, and what to do about it, in sentences.
    """

    meter: Meter
    lacking: tuple[str, ...]


def local_meter(watts_per_core: float | None) -> LocalMeter:
    """The best meter this machine has.

    Args:
        watts_per_core: Stated watts of one busy core, for a processor without a readable counter; or None.
    """
    parts: dict[str, EnergyCounter] = {}
    lacking: list[str] = []
    try:
        parts["gpu"] = NvmlCounter(open_gpus())
    except MeterError as error:
        lacking.append(f"GPU: {error}")
    try:
        parts["cpu"] = RaplCounter()
    except MeterError as error:
        lacking.append(f"processor: {error}")
        if watts_per_core is not None:
            parts["cpu"] = BusyCoreCounter(watts_per_core)
    if not parts:
        return LocalMeter(NoMeter(), tuple(lacking))
    counter = next(iter(parts.values())) if len(parts) == 1 else CombinedCounter(parts)
    return LocalMeter(SharedMeter(counter), tuple(lacking))


@dataclass(frozen=True, slots=True)
class SiteMeters:
    """The meters of all sites.

    Attributes:
        meters: By site.
        lacking: Better instruments of this machine that could not be used, and what to do about it, in sentences.
    """

    meters: Mapping[str, Meter]
    lacking: tuple[str, ...] = ()


def build_meters(catalogue: Catalogue) -> dict[str, Meter]:
    """The meter of every site; see :func:`open_meters`."""
    return dict(open_meters(catalogue).meters)


def open_meters(catalogue: Catalogue) -> SiteMeters:
    """The meter of every site, each instrument opened once.

    All sites on this machine share one meter: their generations run on the same devices, and two meters over them
    would both count what overlaps. What is metered here says nothing of a site elsewhere.
    """
    here = [site for site in catalogue.sites.values() if runs_here(site)]
    watts = next((site.watts_per_core for site in here if site.watts_per_core is not None), None)
    local = local_meter(watts) if here else LocalMeter(NoMeter(), ())
    remote = NoMeter("nothing meters it: the site is another machine")
    meters = {name: local.meter if runs_here(site) else remote for name, site in catalogue.sites.items()}
    return SiteMeters(meters, local.lacking)


def runs_here(site: Site) -> bool:
    """Whether a site's engine runs on this machine."""
    host = urlsplit(site.url).hostname if site.url else None
    return host is None or host == "localhost" or host == "::1" or host.startswith("127.")


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
    fallback = None if spare is None else FixedIntensity(spare, source="intensity_fallback_g_per_kwh in models.yaml")
    if site.intensity_trace is not None:
        trace = Trace.load(Path(site.intensity_trace))
        if site.zone is not None:
            trace.series(site.zone)  # refuses a zone that it does not have
        return TraceIntensity(trace, kind=kind, fallback=fallback)
    token = os.environ.get(TOKEN)
    return CachedIntensity(ElectricityMaps(token) if token else GridFree(), fallback=fallback)
