"""Which meters and intensity sources a federation gets on the machine it runs on."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from router.carbon.cached import CachedIntensity
from router.carbon.fixed import FixedIntensity
from router.domain.catalogue import Site, Wall
from router.domain.errors import AbsentMeterError, ConfigError, MeterError
from router.domain.ports import WatchedSource
from router.meters.combined import CombinedCounter
from router.meters.discipline import IdleKnown
from router.meters.discipline import instruments as instruments_of
from router.meters.wall import WallCounter
from router.meters.window import SharedMeter
from router.service import instruments
from router.service.benchmarks import measured_idle_w
from router.service.instruments import (
    TOKEN,
    build_meters,
    build_source,
    build_sources,
    local_meter,
    open_meters,
)
from tests.service import federation


@pytest.mark.parametrize(
    "url",
    [None, "http://127.0.0.1:11434", "http://localhost:1", "http://[::1]:11434", "http://0.0.0.0:1", "http://[::]:1"],
)
def test_a_loopback_site_runs_here(url: str | None) -> None:
    assert Site("s", url=url).runs_here


def test_another_machine_is_not_metered_by_the_cores_of_this_one() -> None:
    catalogue = federation.catalogue()
    lab = Site("lab", url="http://10.0.0.7:11434", watts_per_core=5.0)
    meters = build_meters(replace(catalogue, sites={**catalogue.sites, "lab": lab}))
    reading = meters["lab"].start().stop()
    assert reading.energy_j is None
    assert "another machine" in meters["lab"].source


def test_sites_on_this_machine_share_one_meter() -> None:
    catalogue = federation.catalogue()
    twin = replace(catalogue.sites["local"], name="twin")
    meters = build_meters(replace(catalogue, sites={**catalogue.sites, "twin": twin}))
    assert meters["local"] is meters["twin"]
    reading = meters["local"].start().stop()
    assert reading.energy_j is not None


def test_a_fixed_figure_is_taken_as_it_is_and_a_site_without_one_asks_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert isinstance(build_source(Site("s", intensity_g_per_kwh=100.0)), FixedIntensity)
    without = build_source(Site("s", zone="DE"))
    assert isinstance(without, CachedIntensity)
    assert "Energy-Charts" in without.name
    monkeypatch.setenv(TOKEN, "secret")
    with_token = build_source(Site("s", zone="DE"))
    assert isinstance(with_token, CachedIntensity)
    assert "Electricity Maps" in with_token.name


TRACE = "datetime_utc,DE,NL\n1970-01-01 00:00:00,300,200\n"


async def test_a_trace_is_read_for_the_sites_zone_with_its_kind_and_its_fallback(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    site = Site(
        "s", zone="NL", intensity_trace=str(file), intensity_kind="marginal", intensity_fallback_g_per_kwh=385.0
    )
    source = build_source(site)
    value = await source.intensity("NL")
    assert value is not None  # the trace ended long ago
    assert (value.g_per_kwh, value.stale) == (385.0, True)
    assert value.source == "fallback for trace.csv: intensity_fallback_g_per_kwh in models.yaml"
    assert isinstance(source, WatchedSource)
    (health,) = source.health()
    assert health.serving == "fallback"
    assert "no value of the last 6 h" in (health.last_error or "")


@pytest.mark.parametrize(
    ("text", "zone", "says"), [(TRACE, "FR", "no zone FR"), ("", "DE", "no zones"), (None, "DE", "cannot read")]
)
def test_a_trace_that_cannot_be_used_is_refused_when_it_is_named(
    tmp_path: Path, text: str | None, zone: str, says: str
) -> None:
    file = tmp_path / "trace.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        build_source(Site("s", zone=zone, intensity_trace=str(file)))


async def test_a_source_that_is_asked_falls_back_to_what_models_yaml_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    source = build_source(Site("s", zone="XX", intensity_fallback_g_per_kwh=111.0))
    value = await source.intensity("XX")  # a zone that no source without a key has: nothing is asked over the network
    assert value is not None
    assert (value.g_per_kwh, value.stale) == (111.0, True)


def test_a_site_elsewhere_is_metered_by_its_own_plug() -> None:
    catalogue = federation.catalogue()
    lab = Site("lab", url="http://10.0.0.7:11434", wall=Wall(url="http://127.0.0.1:9/x"), idle_w=12.0)
    meter = build_meters(replace(catalogue, sites={**catalogue.sites, "lab": lab}))["lab"]
    assert isinstance(meter, SharedMeter)
    assert isinstance(meter.counter, IdleKnown)
    assert isinstance(meter.counter.counter, WallCounter)
    meter.counter.counter.close()


def test_an_instrument_that_refuses_is_told_also_where_another_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise MeterError("/sys/x may not be read by this user")

    def none() -> None:
        raise AbsentMeterError("no NVIDIA driver answers")

    monkeypatch.setattr(instruments, "RaplCounter", refuse)
    monkeypatch.setattr(instruments, "open_gpus", none)
    local = local_meter(Site("s", watts_per_core=10.0))
    assert [text.split(":")[0] for text in local.lacking] == ["GPU", "processor"]
    assert local.refused == ("processor: /sys/x may not be read by this user",)


def test_what_a_meter_lacks_is_kept_with_it() -> None:
    opened = open_meters(federation.catalogue())
    assert set(opened.meters) == {"local"}
    assert opened.lacking == local_meter(Site("s", watts_per_core=10.0)).lacking


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without meters of its own."""

    def none() -> None:
        raise MeterError("there is none here")

    monkeypatch.setattr(instruments, "open_gpus", none)
    monkeypatch.setattr(instruments, "RaplCounter", none)


def printing(watts: float) -> Wall:
    return Wall(command=(sys.executable, "-c", f"print('P={watts}')"), pattern="P=([0-9.]+)")


def opened(site: Site, idle_w: dict[str, float] | None = None) -> SharedMeter:
    meter = local_meter(site, idle_w).meter
    assert isinstance(meter, SharedMeter)
    return meter


@pytest.mark.usefixtures("bare")
def test_a_wall_meter_counts_and_the_cores_are_its_breakdown() -> None:
    meter = opened(Site("s", watts_per_core=10.0, wall=printing(50.0), idle_w=20.0))
    (counter,) = [part for part in (meter.counter,) if isinstance(part, IdleKnown)]
    assert isinstance(counter.counter, CombinedCounter)
    wall = counter.counter.parts["wall"]
    assert isinstance(wall, WallCounter)
    try:
        wall.sample()
        window = meter.start()
        time.sleep(0.2)
        wall.sample()
        reading = window.stop()
    finally:
        wall.close()
    assert reading.method == "measured"
    assert reading.energy_j is not None
    assert reading.idle_j is not None
    assert reading.device_s is not None
    assert reading.energy_j == pytest.approx(30.0 * reading.device_s, rel=0.3)
    assert reading.idle_j == pytest.approx(20.0 * reading.device_s, rel=0.01)
    assert set(counter.counter.breakdown().parts_j) == {"cpu", "unaccounted"}


@pytest.mark.usefixtures("bare")
def test_a_wall_meter_alone() -> None:
    meter = opened(Site("s", wall=Wall(url="http://127.0.0.1:9/x")))
    assert isinstance(meter.counter, WallCounter)
    try:
        assert meter.start().stop().energy_j is None, "no plug answers there"
    finally:
        meter.counter.close()


@pytest.mark.usefixtures("bare")
def test_idle_watts_are_those_of_the_same_meter() -> None:
    site = Site("s", wall=printing(50.0))
    plain = opened(site)
    source = plain.source
    known, other, stated = (
        opened(site, {source: 12.0}),
        opened(site, {"another meter": 12.0}),
        opened(replace(site, idle_w=15.0), {source: 12.0}),
    )
    try:
        assert known.counter.idle_w == 12.0
        assert other.counter.idle_w is None
        assert stated.counter.idle_w == 15.0
    finally:
        for meter in (plain, known, other, stated):
            for part in instruments_of(meter.counter):
                part.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("bare")
def test_idle_watts_of_a_meter_that_sees_none_are_refused_in_words() -> None:
    local = local_meter(Site("s", watts_per_core=10.0, idle_w=15.0))
    assert isinstance(local.meter, SharedMeter)
    assert local.meter.counter.idle_w is None
    assert any("idle_w of s" in said for said in local.lacking)


@pytest.mark.usefixtures("bare")
def test_what_any_site_here_says_of_the_machine_holds() -> None:
    catalogue = federation.catalogue()
    twin = replace(catalogue.sites["local"], name="twin", memory_watts_per_gb=0.5, watts_per_core=99.0)
    meters = build_meters(replace(catalogue, sites={**catalogue.sites, "twin": twin}))
    assert "10 W per core + memory x 0.5 W per GB" in meters["local"].source


def test_idle_watts_of_runs_go_by_the_meter_and_the_latest_wins(tmp_path: Path) -> None:
    def phase(watts: object, source: str = "plug") -> dict[str, object]:
        return {"local": {"idle_w": watts, "source": source}}

    entries = {
        "b": {"date": "2026-02-01", "baseline": phase(20.0)},
        "a": {"date": "2026-01-01", "baseline": phase(10.0)},
        "c": {"date": "2026-03-01", "baseline": phase(None)},
        "d": {"date": "2026-03-02", "baseline": phase(5.0, "gpu")},
        "e": {"date": "2026-03-03", "baseline": {"local": {"idle_w": None, "why": "sees busy work only"}}},
        "f": {"date": "2026-03-03"},
    }
    good, broken = tmp_path / "x.runs.json", tmp_path / "y.runs.json"
    good.write_text(json.dumps(entries), "utf-8")
    broken.write_text("{", "utf-8")
    assert measured_idle_w([good, broken, tmp_path / "none"]) == {"plug": 20.0, "gpu": 5.0}


def test_sites_that_would_ask_the_same_share_what_it_said() -> None:
    def on(name: str, **said: object) -> Site:
        return replace(Site(name), **{"zone": "DE", **said})  # type: ignore[arg-type]

    sites = (
        on("a"),
        on("b"),
        on("c", intensity_fallback_g_per_kwh=100.0),
        on("d", intensity_g_per_kwh=385.0),
        on("e", zone="FR"),
    )
    found = build_sources(replace(federation.catalogue(), sites={site.name: site for site in sites}))
    assert found["a"] is found["b"]
    assert found["a"] is not found["c"]
    assert found["a"] is not found["e"]
    assert isinstance(found["d"], FixedIntensity)
