"""A web source made safe to ask at any time: cached, asked once at a time, left alone when it fails.

For a zone, in this order:

1. a value younger than its time to live is given as it is, its age counted on;
2. else the source is asked, once however many ask at the same time; whoever can be given the last value waits for the
   answer no longer than ``patience_s``;
3. a source that failed is not asked again before a delay that doubles, with jitter so that many routers do not come
   back together; a Retry-After is kept at the least;
4. meanwhile the last known value is given, marked stale, until it is older than ``max_stale_s``; so is one that was
   old already when the source gave it;
5. then the configured fallback, marked stale and named as a fallback; without one, None.

A forecast goes the same way, but nobody ever waits for it: what is there is given, and what is asked for meanwhile
is there the next time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

from router.domain.errors import IntensityError
from router.domain.ports import IntensitySource
from router.domain.reading import ForecastPoint, Intensity, Serving, SourceHealth
from router.domain.units import SECONDS_PER_HOUR

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Upstream(Protocol):
    """A source that says why it has no answer."""

    @property
    def name(self) -> str:
        """As it is shown."""
        ...

    async def fetch(self, zone: str | None) -> Intensity:
        """The latest value.

        Raises:
            IntensityError: If there is none to believe.
        """
        ...


@runtime_checkable
class ForecastUpstream(Protocol):
    """A source that knows the coming hours too."""

    async def fetch_forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        """What is expected, soonest first.

        Raises:
            IntensityError: If there is nothing to believe.
        """
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a source is asked and how long its answers are good for, all in seconds.

    Attributes:
        ttl_s: Age up to which a value is fresh. Sources change every quarter hour or hour.
        max_stale_s: Age up to which the last value is better than the fallback.
        current_s: Age up to which a value that the source gives as its latest counts as current: they change every
            hour, and some an hour late.
        patience_s: Longest wait for an answer while there is a last value to give.
        first_delay_s: Pause after the first failure.
        longest_delay_s: Longest pause.
        forecast_ttl_s: Age up to which a forecast is not asked for again.
    """

    ttl_s: float = 300.0
    max_stale_s: float = 6 * SECONDS_PER_HOUR
    current_s: float = 2 * SECONDS_PER_HOUR
    patience_s: float = 0.5
    first_delay_s: float = 5.0
    longest_delay_s: float = SECONDS_PER_HOUR / 2
    forecast_ttl_s: float = SECONDS_PER_HOUR / 2


@dataclass(slots=True)
class _Kept(Generic[T]):
    """Something that was fetched, and how that goes; times are of the injected clock."""

    what: str
    value: T | None = None
    fetched_at: float = 0.0
    failures: int = 0
    retry_at: float = float("-inf")
    last_error: str | None = None
    flight: asyncio.Task[None] | None = None


def seconds_awake_or_not() -> float:
    """Seconds that never go back and go on while the machine sleeps: a value is as old as the calendar says."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(slots=True)
class _Zone:
    """What is known of one zone."""

    now: _Kept[Intensity] = field(default_factory=lambda: _Kept("the intensity"))
    coming: _Kept[tuple[ForecastPoint, ...]] = field(default_factory=lambda: _Kept("the forecast"))


class CachedIntensity:
    """See the module's text. One instance serves one event loop at a time."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        fallback: IntensitySource | None = None,
        timing: Timing = Timing(),
        clock: Callable[[], float] = seconds_awake_or_not,
        uniform: Callable[[float, float], float] = random.uniform,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        """Take the source, what to answer when it is gone for long, and clocks and jitter (replaced in tests)."""
        self._upstream = upstream
        self._fallback = fallback
        self._timing = timing
        self._clock = clock
        self._uniform = uniform
        self._calendar = calendar
        self._zones: dict[str | None, _Zone] = {}

    @property
    def name(self) -> str:
        """The source's."""
        return self._upstream.name

    @property
    def last_error(self) -> str | None:
        """Why a zone's source last failed, of those that fail now; None where all answer."""
        return next((zone.now.last_error for zone in self._zones.values() if zone.now.last_error), None)

    def health(self) -> tuple[SourceHealth, ...]:
        """How each zone asked for so far is doing."""
        now = self._clock()
        return tuple(
            SourceHealth(
                self.name,
                zone,
                self._serving(state.now, now),
                state.now.last_error,
                state.now.failures,
                None if state.now.value is None else now - state.now.fetched_at,
                max(0.0, state.now.retry_at - now),
                state.coming.last_error,
            )
            for zone, state in self._zones.items()
        )

    async def intensity(self, zone: str | None) -> Intensity | None:
        """The best value at hand; never raises."""
        kept = self._zones.setdefault(zone, _Zone()).now
        if self._serving(kept, self._clock()) != "fresh" and self._clock() >= kept.retry_at:
            patience_s = self._timing.patience_s if self._serving(kept, self._clock()) == "stale" else None
            await self._refresh(zone, kept, lambda: self._latest(zone), patience_s)
        serving = self._serving(kept, self._clock())
        if serving in ("fresh", "stale") and kept.value is not None:
            elapsed_s = self._clock() - kept.fetched_at
            age_s = None if kept.value.age_s is None else kept.value.age_s + elapsed_s
            is_old = age_s is not None and age_s > self._timing.current_s
            return replace(kept.value, age_s=age_s, stale=serving == "stale" or is_old or kept.value.stale)
        return await self._from_fallback(zone)

    async def forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        """What was last said of the hours that are still to come; never waits, never raises."""
        upstream = self._upstream
        if not isinstance(upstream, ForecastUpstream):
            return ()
        kept = self._zones.setdefault(zone, _Zone()).coming
        is_old = kept.value is None or self._clock() - kept.fetched_at >= self._timing.forecast_ttl_s
        if is_old and self._clock() >= kept.retry_at:
            await self._refresh(zone, kept, lambda: upstream.fetch_forecast(zone), 0.0)
        return tuple(point for point in kept.value or () if point.begins_s > self._calendar())

    async def close(self) -> None:
        """Stop asking."""
        kept = [kept for state in self._zones.values() for kept in (state.now, state.coming)]
        flights = [one.flight for one in kept if one.flight is not None]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _serving(self, kept: _Kept[Intensity], now: float) -> Serving:
        if kept.value is not None:
            elapsed_s = now - kept.fetched_at
            if elapsed_s < self._timing.ttl_s:
                return "fresh"
            if elapsed_s + (kept.value.age_s or 0.0) <= self._timing.max_stale_s:
                return "stale"
        return "fallback" if self._fallback is not None else "nothing"

    async def _refresh(
        self, zone: str | None, kept: _Kept[T], fetch: Callable[[], Awaitable[T]], patience_s: float | None
    ) -> None:
        """Ask the source, or wait for whoever asks it already."""
        flight = kept.flight
        if flight is None or flight.done() or flight.get_loop() is not asyncio.get_running_loop():
            flight = kept.flight = asyncio.create_task(self._ask(zone, kept, fetch))
        # wait, not wait_for: one caller that gives up must not end the question of the others
        await asyncio.wait({flight}, timeout=patience_s)

    async def _latest(self, zone: str | None) -> Intensity:
        value = await self._upstream.fetch(zone)
        if value.age_s is not None and value.age_s > self._timing.max_stale_s:
            raise IntensityError(f"{self.name} answered a value that is {value.age_s / SECONDS_PER_HOUR:.1f} h old")
        return value

    async def _ask(self, zone: str | None, kept: _Kept[T], fetch: Callable[[], Awaitable[T]]) -> None:
        try:
            value = await fetch()
        except IntensityError as error:
            self._failed(zone, kept, error)
        except Exception as error:
            # Nonsense that no source was written for: the same care as for any other failure.
            logger.debug("%s failed unexpectedly", self.name, exc_info=True)
            self._failed(zone, kept, IntensityError(f"{self.name} failed: {type(error).__name__}: {error}"))
        else:
            if kept.failures:
                logger.info("%s answers %s of zone %s again", self.name, kept.what, zone)
            kept.value, kept.fetched_at = value, self._clock()
            kept.failures, kept.retry_at, kept.last_error = 0, float("-inf"), None

    def _failed(self, zone: str | None, kept: _Kept[T], error: IntensityError) -> None:
        kept.failures += 1
        kept.last_error = str(error)
        delay_s = min(self._timing.longest_delay_s, self._timing.first_delay_s * 2.0 ** min(kept.failures - 1, 32))
        delay_s = self._uniform(delay_s / 2, delay_s)
        if error.retry_after_s is not None:
            delay_s = max(delay_s, min(error.retry_after_s, 24 * SECONDS_PER_HOUR))
        kept.retry_at = self._clock() + delay_s
        # the first failure is news; the same one every few seconds is not
        log = logger.warning if kept.failures == 1 else logger.debug
        log("%s, %s of zone %s: %s; next try in %.0f s", self.name, kept.what, zone, error, delay_s)

    async def _from_fallback(self, zone: str | None) -> Intensity | None:
        value = None if self._fallback is None else await self._fallback.intensity(zone)
        return None if value is None else replace(value, source=f"fallback for {self.name}: {value.source}", stale=True)
