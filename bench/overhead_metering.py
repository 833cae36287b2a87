"""What metering costs: the same load with meters and without, in pairs, whose order alternates.

The load is a scripted engine whose every answer takes a fixed piece of processor work, so both arms do the same; what
differs is the window around each generation, and the threads that sample meanwhile. The share is

    sum of the metered arms / sum of the others - 1,

over wall seconds and over processor seconds (what a modelled meter turns into joules), with a paired bootstrap
interval.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from bench.intervals import interval_of_ratio
from bench.run_generate import generate, request
from router.backends.scripted import ScriptedBackend
from router.domain.catalogue import Site
from router.domain.ports import Meter
from router.meters.discipline import instruments
from router.meters.none import NoMeter
from router.meters.window import SharedMeter

GENERATIONS = 10
WORK_BYTES = 8 << 20
WORK_ROUNDS = 12
"""How often they are hashed per answer: 50 to 200 ms on one core. Few answers are that short; longer ones pay less."""
WINDOWS = 300

Arm = Callable[[], Awaitable[tuple[float, float]]]
"""Runs one block and says its wall and processor seconds."""


async def paired(metered: Arm, plain: Arm, pairs: int) -> dict[str, Any]:
    """The share by which one arm is dearer than the other, with its interval."""
    sums: list[tuple[tuple[float, float], tuple[float, float]]] = []
    await plain()  # caches and clocks warm up in a block that does not count
    for number in range(pairs):
        if number % 2:
            with_meters = await metered()
            without = await plain()
        else:
            without = await plain()
            with_meters = await metered()
        sums.append((with_meters, without))
    found: dict[str, Any] = {"pairs": pairs}
    for index, name in enumerate(("seconds", "cpu_seconds")):
        top = np.array([with_meters[index] for with_meters, _ in sums])
        bottom = np.array([without[index] for _, without in sums])
        ends = interval_of_ratio(top, bottom)
        found[name] = {
            "share": float(top.sum() / bottom.sum() - 1.0),
            "low": None if ends is None else ends[0] - 1.0,
            "high": None if ends is None else ends[1] - 1.0,
        }
    return found


async def metering(site: Site, *, pairs: int) -> dict[str, Any]:
    """The cost of this machine's meters."""
    from router.service.instruments import local_meter

    payload = b"carbon" * (WORK_BYTES // 6)

    def work(model: str, messages: Any) -> str:
        digest = hashlib.sha256()
        for _ in range(WORK_ROUNDS):
            digest.update(payload)
        return digest.hexdigest()

    async def block(meter: Meter) -> tuple[float, float]:
        backend = ScriptedBackend(work)
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(GENERATIONS):
            await generate(backend, meter, request("scripted", "Do the work.", "", 8), 60.0)
        return time.perf_counter() - began, time.process_time() - cpu_began

    async def metered() -> tuple[float, float]:
        # Opened for the block alone: threads that sample must not run beside the other arm.
        local = local_meter(site)
        _window_s(local.meter)  # the first look finds out what there is to meter: once in a router's life
        try:
            return await block(local.meter)
        finally:
            _close(local.meter)

    async def plain() -> tuple[float, float]:
        return await block(NoMeter())

    found = await paired(metered, plain, pairs)
    local = local_meter(site)
    try:
        windows = [_window_s(local.meter) for _ in range(WINDOWS)]
    finally:
        _close(local.meter)
    p50, p95 = np.quantile(windows, [0.5, 0.95])
    return {
        **found,
        "generations": GENERATIONS,
        "source": local.meter.source,
        "lacking": list(local.lacking),
        "window_ms": {"p50": 1000 * float(p50), "p95": 1000 * float(p95)},
    }


def _window_s(meter: Meter) -> float:
    """How long opening and closing a window takes."""
    began = time.perf_counter()
    meter.start().stop()
    return time.perf_counter() - began


def _close(meter: Meter) -> None:
    if isinstance(meter, SharedMeter):
        for instrument in instruments(meter.counter):
            close = getattr(instrument, "close", None)
            if close is not None:
                close()
