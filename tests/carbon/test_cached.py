"""A source that fails costs nobody an answer, and everybody sees what they got instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from router.carbon.cached import CachedIntensity, Timing
from router.carbon.electricitymaps import ElectricityMaps
from router.carbon.fetch import Web
from router.carbon.fixed import FixedIntensity
from router.domain.errors import IntensityError
from router.domain.reading import Intensity


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Answers or fails as told; counts how often it is asked."""

    name = "the grid"

    def __init__(self, *answers: float | IntensityError, age_s: float = 60.0) -> None:
        self.answers = list(answers)
        self.age_s = age_s
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, zone: str | None) -> Intensity:
        self.asked += 1
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, IntensityError):
            raise answer
        return Intensity(answer, zone, self.name, age_s=self.age_s)


def wrapped(upstream: Scripted, clock: Clock, fallback: float | None = 385.0) -> CachedIntensity:
    return CachedIntensity(
        upstream,
        fallback=None if fallback is None else FixedIntensity(fallback),
        timing=Timing(ttl_s=300, max_stale_s=3600, patience_s=0.05, first_delay_s=10, longest_delay_s=100),
        clock=clock,
        uniform=lambda low, high: high,
    )


async def value_of(source: CachedIntensity, zone: str | None = "DE") -> Intensity:
    value = await source.intensity(zone)
    assert value is not None
    return value


DOWN = IntensityError("the grid answered 500")


async def test_within_its_time_to_live_a_value_is_asked_for_once_and_grows_older() -> None:
    clock, upstream = Clock(), Scripted(300.0, 200.0)
    source = wrapped(upstream, clock)
    first = await value_of(source)
    clock.now += 299
    second = await value_of(source)
    assert upstream.asked == 1
    assert (first.age_s, second.age_s) == (60.0, 359.0)
    assert not second.stale
    clock.now += 1
    assert (await value_of(source)).g_per_kwh == 200.0


async def test_many_who_ask_at_once_ask_the_source_once() -> None:
    upstream = Scripted(300.0)
    upstream.gate.clear()
    source = wrapped(upstream, Clock())
    asking = [asyncio.create_task(source.intensity("DE")) for _ in range(20)]
    await asyncio.sleep(0)
    upstream.gate.set()
    values = await asyncio.gather(*asking)
    assert upstream.asked == 1
    assert {value.g_per_kwh for value in values if value is not None} == {300.0}


async def test_one_who_gives_up_does_not_end_the_question_of_the_others() -> None:
    upstream = Scripted(300.0)
    upstream.gate.clear()
    source = wrapped(upstream, Clock())
    impatient = asyncio.create_task(source.intensity("DE"))
    patient = asyncio.create_task(source.intensity("DE"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    upstream.gate.set()
    value = await patient
    assert value is not None
    assert value.g_per_kwh == 300.0


async def test_zones_are_kept_apart() -> None:
    upstream = Scripted(300.0)
    source = wrapped(upstream, Clock())
    assert (await value_of(source, "DE")).zone == "DE"
    assert (await value_of(source, "FR")).zone == "FR"
    assert upstream.asked == 2


async def test_a_failing_source_leaves_the_last_value_marked_stale_then_the_fallback_named_as_such() -> None:
    clock, upstream = Clock(), Scripted(300.0, DOWN)
    source = wrapped(upstream, clock)
    await value_of(source)
    clock.now += 3540
    late = await value_of(source)
    assert (late.g_per_kwh, late.stale, late.age_s) == (300.0, True, 3600.0)
    clock.now += 1
    gone = await value_of(source)
    assert (gone.g_per_kwh, gone.stale) == (385.0, True)
    assert gone.source == "fallback for the grid: fixed figure"
    assert source.last_error is not None
    assert "500" in source.last_error


async def test_a_source_that_never_answered_gives_the_fallback_or_nothing() -> None:
    assert (await value_of(wrapped(Scripted(DOWN), Clock()))).g_per_kwh == 385.0
    assert await wrapped(Scripted(DOWN), Clock(), fallback=None).intensity("DE") is None


async def test_delays_double_up_to_the_longest_and_start_anew_after_an_answer() -> None:
    clock, upstream = Clock(), Scripted(*[DOWN] * 6, 300.0, DOWN)
    source = wrapped(upstream, clock)
    delays = []
    for _ in range(6):
        await source.intensity("DE")
        asked = upstream.asked
        (health,) = source.health()
        delays.append(health.retry_in_s)
        clock.now += health.retry_in_s - 0.001
        await source.intensity("DE")
        assert upstream.asked == asked  # left alone until the very end of the delay
        clock.now += 0.001
    assert delays == pytest.approx([10, 20, 40, 80, 100, 100])
    assert (await value_of(source)).g_per_kwh == 300.0
    clock.now += 300
    await source.intensity("DE")
    assert source.health()[0].retry_in_s == pytest.approx(10)


async def test_jitter_keeps_a_delay_between_half_and_whole() -> None:
    spans = []

    def uniform(low: float, high: float) -> float:
        spans.append((low, high))
        return low

    source = CachedIntensity(Scripted(DOWN), clock=Clock(), uniform=uniform, timing=Timing(first_delay_s=8.0))
    await source.intensity("DE")
    assert spans == [(4.0, 8.0)]
    assert source.health()[0].retry_in_s == pytest.approx(4.0)


async def test_a_source_that_asks_to_wait_is_left_alone_that_long() -> None:
    clock = Clock()
    upstream = Scripted(IntensityError("the grid answered 429", retry_after_s=700.0), 300.0)
    source = wrapped(upstream, clock)
    await source.intensity("DE")
    clock.now += 699
    assert (await value_of(source)).g_per_kwh == 385.0
    assert upstream.asked == 1
    clock.now += 1
    assert (await value_of(source)).g_per_kwh == 300.0


async def test_with_a_last_value_nobody_waits_long_for_a_slow_source_and_the_next_gets_its_answer() -> None:
    clock, upstream = Clock(), Scripted(300.0, 200.0)
    source = wrapped(upstream, clock)
    await value_of(source)
    clock.now += 400
    upstream.gate.clear()
    async with asyncio.timeout(2):
        meanwhile = await value_of(source)
    assert (meanwhile.g_per_kwh, meanwhile.stale) == (300.0, True)
    upstream.gate.set()
    await asyncio.sleep(0.01)
    assert (await value_of(source)).g_per_kwh == 200.0
    assert upstream.asked == 2


async def test_a_source_that_repeats_an_old_hour_for_ever_counts_as_failing() -> None:
    source = wrapped(Scripted(300.0, age_s=4000.0), Clock())
    assert (await value_of(source)).g_per_kwh == 385.0
    assert "1.1 h old" in (source.last_error or "")


async def test_the_latest_value_of_a_source_that_lags_is_marked_and_kept_no_longer_for_it() -> None:
    clock, upstream = Clock(), Scripted(300.0, DOWN, age_s=5 * 3600.0)
    source = CachedIntensity(upstream, fallback=FixedIntensity(385.0), clock=clock)
    fresh = await value_of(source)
    assert (fresh.g_per_kwh, fresh.stale) == (300.0, True)
    clock.now += 3599
    assert (await value_of(source)).g_per_kwh == 300.0
    clock.now += 2
    assert (await value_of(source)).g_per_kwh == 385.0, "six hours old by now, though fetched an hour ago"


async def test_whatever_a_source_raises_is_a_failure_like_any_other() -> None:
    class Broken(Scripted):
        async def fetch(self, zone: str | None) -> Intensity:
            self.asked += 1
            raise OverflowError("int too large to convert to float")

    upstream, clock = Broken(1.0), Clock()
    source = wrapped(upstream, clock)
    assert (await value_of(source)).g_per_kwh == 385.0
    await value_of(source)
    (health,) = source.health()
    assert (upstream.asked, health.failures) == (1, 1), "it is left alone for a while"
    assert health.last_error == "the grid failed: OverflowError: int too large to convert to float"


async def test_its_health_tells_what_is_served_and_why() -> None:
    clock, upstream = Clock(), Scripted(300.0, DOWN)
    source = wrapped(upstream, clock)
    assert source.health() == ()
    await source.intensity("DE")
    assert (source.health()[0].serving, source.last_error) == ("fresh", None)
    clock.now += 301
    await source.intensity("DE")
    (health,) = source.health()
    assert (health.serving, health.failures, health.fetched_s_ago) == ("stale", 1, 301.0)
    clock.now += 4000
    assert source.health()[0].serving == "fallback"


async def test_closing_ends_a_question_that_is_under_way() -> None:
    upstream = Scripted(300.0)
    upstream.gate.clear()
    source = wrapped(upstream, Clock())
    asking = asyncio.create_task(source.intensity("DE"))
    await asyncio.sleep(0)
    await source.close()
    assert (await asyncio.wait_for(asking, 2)) is not None  # the fallback


@asynccontextmanager
async def server(answers: Callable[[int], bytes | None]) -> AsyncIterator[str]:
    """A real HTTP server on this machine; None keeps the client waiting."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        count += 1
        answer = answers(count)
        if answer is None:
            await reader.read()  # until the client hangs up
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def http(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


async def test_over_a_real_connection_it_goes_from_value_to_stale_to_value_through_429_nonsense_and_silence() -> None:
    good = '{"zone": "DE", "carbonIntensity": %d, "datetime": "2026-03-01T12:00:00Z"}'
    script = {
        1: http("200 OK", good % 300),
        2: http("429 Too Many Requests", "", "retry-after: 50"),
        3: http("200 OK", good % -300),
        4: None,
        5: http("200 OK", good % 250),
    }
    clock = Clock()
    async with server(script.__getitem__) as url:
        maps = ElectricityMaps("token", url, Web(timeout_s=0.3, clock=lambda: 1772366400.0 + clock.now - 1000))
        source = CachedIntensity(
            maps, timing=Timing(ttl_s=10, patience_s=5, first_delay_s=1), clock=clock, uniform=lambda low, high: high
        )
        seen, errors = [await value_of(source)], list[str]()
        for pause_s in (11, 50, 2, 4):
            clock.now += pause_s
            seen.append(await value_of(source))
            errors.append(source.last_error or "")
    assert [value.g_per_kwh for value in seen] == [300, 300, 300, 300, 250]
    assert [value.stale for value in seen] == [False, True, True, True, False]
    for error, says in zip(errors, ("429", "no intensity", "did not answer in 0.3 s", ""), strict=True):
        assert says in error
    assert errors[-1] == ""
