"""What routing and metering cost: the sums are right, on parts whose times are known. No machine is timed here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.overhead import WARM_UP, Bench, Spread, _Ready, routing
from bench.overhead_metering import paired
from router.domain.errors import MeasurementError
from router.domain.estimates import FloatArray
from router.embed.hashed import HashedEmbedder
from router.journal.memory import MemoryJournal
from router.meters.recording import ReplayClock
from tests.service import federation


class Slow(HashedEmbedder):
    """Takes 20 ms of the test's clock a text."""

    def __init__(self, clock: ReplayClock) -> None:
        super().__init__()
        self._clock = clock

    def embed(self, texts: Sequence[str]) -> FloatArray:
        self._clock.sleep(0.02 * len(texts))
        return super().embed(texts)


PROMPTS = [f"Which river flows through the capital of country number {i}?" for i in range(WARM_UP + 6)]


async def test_each_phase_is_timed_for_itself_and_the_warm_up_is_left_out() -> None:
    clock = ReplayClock()
    service = federation.build()
    await service.planner.refresh()
    slow, journal = Slow(clock), MemoryJournal()
    bench = Bench(service, _Ready(service.embedder), slow, service.store, journal)
    found = await routing(bench, PROMPTS, clock)

    assert list(found) == ["embed", "chroma", "decide", "journal", "router", "turn"]
    assert {spread.n for spread in found.values()} == {6}
    assert found["embed"].p50_ms == pytest.approx(20.0)
    assert found["chroma"].p95_ms == found["decide"].p95_ms == pytest.approx(0.0)
    assert found["router"].p50_ms > 0
    assert len(list(journal.turns())) == len(PROMPTS)
    await service.close()


async def test_a_router_that_gives_no_answer_is_an_error() -> None:
    service = federation.build()
    await service.planner.refresh()

    class Mute:
        async def run(self, ask: object) -> object:
            nothing: tuple[object, ...] = ()
            for event in nothing:
                yield event

    service.runner = Mute()  # type: ignore[assignment]
    bench = Bench(service, _Ready(service.embedder), service.embedder, service.store, MemoryJournal())
    with pytest.raises(MeasurementError, match="no answer"):
        await routing(bench, PROMPTS)
    await service.close()


def test_a_ready_embedder_embeds_only_what_it_was_not_given() -> None:
    clock = ReplayClock()
    ready = _Ready(Slow(clock))
    ready.vectors["known"] = np.ones(3)
    assert ready.embed(["known"]).tolist() == [[1.0, 1.0, 1.0]]
    assert clock.now_s == 0.0
    ready.embed(["new"])
    assert clock.now_s == pytest.approx(0.02)


def test_a_spread_is_median_and_95th_percentile_in_milliseconds() -> None:
    spread = Spread.of([i / 1000 for i in range(101)])
    assert (spread.n, spread.p50_ms, spread.p95_ms, spread.mean_ms) == (101, *map(pytest.approx, (50.0, 95.0, 50.0)))
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


async def test_the_share_is_a_ratio_of_sums_with_its_interval_and_the_order_alternates() -> None:
    order: list[str] = []
    rng = np.random.default_rng(0)

    async def metered() -> tuple[float, float]:
        order.append("metered")
        return 1.02 * (1 + 0.001 * rng.standard_normal()), 0.5

    async def plain() -> tuple[float, float]:
        order.append("plain")
        return 1.0, 0.5

    found = await paired(metered, plain, 20)
    assert order[:5] == ["plain", "plain", "metered", "metered", "plain"]
    assert found["pairs"] == 20
    assert found["seconds"]["share"] == pytest.approx(0.02, abs=0.002)
    assert found["seconds"]["low"] < 0.02 < found["seconds"]["high"]
    assert found["seconds"]["low"] > 0.015
    assert found["cpu_seconds"] == {"share": 0.0, "low": 0.0, "high": 0.0}


def test_the_help_says_what_is_measured() -> None:
    answer = CliRunner().invoke(app, ["overhead", "--help"])
    assert answer.exit_code == 0
    assert "without meters" in " ".join(answer.output.split())
