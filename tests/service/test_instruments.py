"""Which meters and intensity sources a federation gets on the machine it runs on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.carbon.cached import CachedIntensity
from router.carbon.fixed import FixedIntensity
from router.domain.catalogue import Site
from router.domain.errors import ConfigError
from router.domain.ports import WatchedSource
from router.service.instruments import TOKEN, build_meters, build_source, local_meter, open_meters, runs_here
from tests.service import federation


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:11434", "http://localhost:1", "http://[::1]:11434"])
def test_a_loopback_site_runs_here(url: str | None) -> None:
    assert runs_here(Site("s", url=url))


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


def test_what_a_meter_lacks_is_kept_with_it() -> None:
    opened = open_meters(federation.catalogue())
    assert set(opened.meters) == {"local"}
    assert opened.lacking == local_meter(10.0).lacking
