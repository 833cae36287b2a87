"""What a machine has to be like while it is measured, and what it was like: cool, its idle watts known, left alone.

Before anything is loaded the idle watts are measured, where a meter sees them; before every row the machine has to be
cool; after every row it is told what disturbed it. A room that never cools its machine is waited for once, not before
every row: from then on rows say how hot they began.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.run_machine import BUSY_SHARE, STEAL_SHARE, Watch
from router.domain.ports import Meter
from router.meters.discipline import (
    BASELINE_S,
    COOL_C,
    LONGEST_WAIT_S,
    IdleKnown,
    baseline,
    cool_down,
    hottest_c,
    processor_temperature_c,
    processor_throttles,
    sees_idle,
    throttling,
)
from router.meters.window import SharedMeter

DISTURBED = ("busy_share", "steal_share", "throttled", "hot_c")
"""Keys of a row that say it was disturbed; ``--redo-busy`` measures such rows again."""


@dataclass(frozen=True, slots=True)
class Discipline:
    """How strictly is measured.

    Attributes:
        cool_down_c: How warm the machine may be when a row begins; 0 for any.
        baseline_s: How long idle watts are measured before anything is loaded; 0 for not at all.
        longest_wait_s: For a machine to cool.
    """

    cool_down_c: float = COOL_C
    baseline_s: float = BASELINE_S
    longest_wait_s: float = LONGEST_WAIT_S


OFF = Discipline(cool_down_c=0.0, baseline_s=0.0)


class Conditions:
    """Watches over a run's machine."""

    def __init__(
        self,
        discipline: Discipline = OFF,
        *,
        watch: Watch | None = None,
        processor_c: Callable[[], float | None] = processor_temperature_c,
        processor_throttled: Callable[[], int | None] = processor_throttles,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Take the rules and the instruments.

        Args:
            discipline: How strictly.
            watch: Tells own work from others'.
            processor_c: The processor's temperature, None where unknown.
            processor_throttled: How often it was throttled so far, None where unknown.
            clock: Seconds.
            sleep: Waits.
            say: Told in a sentence what is waited for.
        """
        self._discipline = discipline
        self._watch = watch or Watch()
        self._processor_c = processor_c
        self._processor_throttled = processor_throttled
        self._clock = clock
        self._sleep = sleep
        self._say = say
        self._baselines: dict[int, tuple[Meter, dict[str, Any]]] = {}
        self._meters: Mapping[str, Meter] = {}
        self._throttles = processor_throttled()
        self._began_c: float | None = None
        self._hottest_c: float | None = None
        self._gave_up = False
        self._waits = 0
        self._waited_s = 0.0
        self._throttled: dict[str, None] = {}

    async def begin(self, meters: Mapping[str, Meter]) -> tuple[dict[str, Meter], dict[str, Any]]:
        """The meters with their idle watts, and what the baseline phase found, by site; nothing may be loaded yet.

        A meter is looked at once, however many sites share it and however often a run begins.
        """
        self._meters = meters
        found: dict[str, Meter] = {}
        entry: dict[str, Any] = {}
        for site, meter in meters.items():
            if id(meter) not in self._baselines:
                self._baselines[id(meter)] = await self._idle(meter)
            found[site], entry[site] = self._baselines[id(meter)]
        return found, entry

    async def _idle(self, meter: Meter) -> tuple[Meter, dict[str, Any]]:
        seconds = self._discipline.baseline_s
        if not isinstance(meter, SharedMeter):
            return meter, {"idle_w": None, "why": meter.source}
        if not sees_idle(meter.counter):
            return meter, {"idle_w": None, "why": f"{meter.source} sees busy work only, so idle joules are unknown"}
        if meter.counter.idle_w is not None:
            return meter, {"idle_w": meter.counter.idle_w, "why": "stated with the meter"}
        if not seconds:
            return meter, {"idle_w": None, "why": "no baseline phase was asked for (--baseline-s 0)"}
        self._say(f"measuring what the machine draws with nothing to do, for {seconds:.0f} s")
        self._watch.lap()
        phase = await asyncio.to_thread(
            baseline, meter.counter, duration_s=seconds, clock=self._clock, sleep=self._sleep
        )
        business = self._watch.lap()
        entry: dict[str, Any] = {
            "idle_w": None if phase.idle_w is None else round(phase.idle_w, 3),
            "duration_s": round(phase.duration_s, 3),
            "source": phase.source,
            "busy_share": round(business.others, 3),
        }
        if phase.idle_w is None:
            entry["why"] = getattr(meter.counter, "problem", None) or "the meter could not be read throughout"
            self._say(f"idle watts are unknown: {entry['why']}")
            return meter, entry
        if business.others > BUSY_SHARE:
            self._say(
                f"other processes used {business.others:.0%} of this machine in the baseline phase: idle watts come "
                "out too high, and joules above idle too low"
            )
        return SharedMeter(IdleKnown(meter.counter, phase.idle_w), clock=self._clock), entry

    async def before_row(self) -> None:
        """Wait until the machine is cool, then begin a stretch of time."""
        limit_c = self._discipline.cool_down_c
        self._began_c = self._temperature_c()
        if limit_c and self._began_c is not None and self._began_c > limit_c and not self._gave_up:
            self._waits += 1
            waited = await asyncio.to_thread(
                cool_down,
                self._temperature_c,
                limit_c=limit_c,
                longest_s=self._discipline.longest_wait_s,
                clock=self._clock,
                sleep=self._sleep,
            )
            self._waited_s += waited.waited_s
            self._began_c = waited.temperature_c
            if waited.cool is False:
                self._gave_up = True
                self._say(
                    f"the machine is still at {waited.temperature_c:.0f} degrees after {waited.waited_s:.0f} s: rows "
                    "say so under `hot_c` and nobody waits until it has been cool once; see --cool-down-c"
                )
        elif self._began_c is not None and self._began_c <= limit_c:
            self._gave_up = False
        self.lap()

    def lap(self) -> None:
        """Forget what happened so far: what follows is a stretch of its own."""
        self._watch.lap()
        self._throttle_reasons()

    def after_row(self) -> dict[str, Any]:
        """What disturbed the time since :meth:`before_row`, as keys of its rows; empty where nothing did."""
        business = self._watch.lap()
        found: dict[str, Any] = {}
        if business.others > BUSY_SHARE:
            found["busy_share"] = round(business.others, 3)
        if business.steal > STEAL_SHARE:
            found["steal_share"] = round(business.steal, 3)
        if reasons := self._throttle_reasons():
            found["throttled"] = list(reasons)
            self._throttled.update(dict.fromkeys(reasons))
        limit_c = self._discipline.cool_down_c
        if limit_c and self._began_c is not None and self._began_c > limit_c:
            found["hot_c"] = round(self._began_c, 1)
        self._temperature_c()
        return found

    def summary(self) -> dict[str, Any]:
        """The whole run, for its entry."""
        found = self._watch.summary()
        found["throttled"] = list(self._throttled)
        if self._throttled:
            found["flags"] = [*found["flags"], "throttled"]
        found["cool_down"] = {
            "limit_c": self._discipline.cool_down_c or None,
            "waits": self._waits,
            "waited_s": round(self._waited_s, 1),
            "hottest_c": self._hottest_c,
        }
        return found

    def _temperature_c(self) -> float | None:
        degrees = hottest_c(
            [meter.counter for meter in self._meters.values() if isinstance(meter, SharedMeter)],
            processor=self._processor_c,
        )
        if degrees is not None:
            self._hottest_c = degrees if self._hottest_c is None else max(self._hottest_c, degrees)
        return degrees

    def _throttle_reasons(self) -> tuple[str, ...]:
        counters = [meter.counter for meter in self._meters.values() if isinstance(meter, SharedMeter)]
        reasons = throttling(counters)
        before, self._throttles = self._throttles, self._processor_throttled()
        if before is not None and self._throttles is not None and self._throttles > before:
            reasons = (*reasons, "processor: thermal")
        return reasons
