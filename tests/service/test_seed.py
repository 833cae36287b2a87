"""Shipped measurements get into every store that lacks them, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from router.config.settings import Settings
from router.domain.catalogue import Catalogue, Model
from router.embed.hashed import HashedEmbedder
from router.service import wiring
from router.service.seed import Seeding
from router.store.codec import write_measurements
from router.store.importing import prune
from tests.service import federation

Opened = Callable[[Catalogue], list[str]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the store of a data folder as a process would, and says which prompts it holds."""
    shipped = tmp_path / "shipped.jsonl"
    write_measurements(shipped, federation.measurements(1))
    monkeypatch.setattr(wiring, "shipped_file", lambda: shipped)
    monkeypatch.setattr(wiring, "SentenceEmbedder", lambda name, threads: HashedEmbedder())

    def open_(catalogue: Catalogue) -> list[str]:
        store = wiring.open_store(Settings(data_dir=tmp_path / "data"), catalogue).store
        try:
            return [measurement.id for measurement in store.all()[0]]
        finally:
            store.close()

    return open_


def test_a_store_that_was_moved_away_is_filled_again(opened: Opened, tmp_path: Path) -> None:
    before = opened(federation.catalogue())
    assert len(before) == 3
    shutil.rmtree(Settings(data_dir=tmp_path / "data").store_dir)
    assert opened(federation.catalogue()) == before


def test_a_model_that_comes_back_has_its_measurements_again(opened: Opened, tmp_path: Path) -> None:
    whole = federation.catalogue()
    small = federation.catalogue(models=("small",))
    opened(whole)
    settings = Settings(data_dir=tmp_path / "data")
    store = wiring.open_store(settings, small).store
    prune(store, small.options())
    assert {o.model for m in store.all()[0] for o in m.outcomes} == {"small"}
    store.close()
    store = wiring.open_store(settings, whole).store
    assert {o.model for m in store.all()[0] for o in m.outcomes} == {"small", "large"}
    store.close()


def test_it_is_done_once_for_a_file_an_embedder_a_store_and_its_options(tmp_path: Path) -> None:
    source = tmp_path / "shipped.jsonl"
    source.write_text("a")
    catalogue = federation.catalogue()
    seeding = Seeding.of(source, "minilm", tmp_path, catalogue.options())
    assert not seeding.is_done(tmp_path)
    seeding.mark(tmp_path)
    assert seeding.is_done(tmp_path)
    more = replace(catalogue, models={**catalogue.models, "new": Model("new", parameters=1e9, context=4096)})
    for other in (
        Seeding.of(source, "another", tmp_path, catalogue.options()),
        Seeding.of(source, "minilm", "http://chroma:8000", catalogue.options()),
        Seeding.of(source, "minilm", tmp_path, more.options()),
    ):
        assert not other.is_done(tmp_path)
    source.write_text("b")
    assert not seeding.is_done(tmp_path)


@pytest.fixture
def seeding(tmp_path: Path) -> Seeding:
    source = tmp_path / "shipped.jsonl"
    source.write_text("a")
    return Seeding.of(source, "minilm", "http://chroma:8000", federation.catalogue().options())


def test_the_marker_makes_the_data_folder_that_nobody_has_made_yet(seeding: Seeding, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    seeding.mark(folder)
    assert seeding.is_done(folder)


def test_a_marker_that_cannot_be_written_is_logged_and_stops_no_start(
    seeding: Seeding, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.write_text("a file in its place")
    seeding.mark(folder)
    assert "again at the next start" in caplog.text
    assert not seeding.is_done(folder)


def test_a_damaged_marker_says_nothing(seeding: Seeding, tmp_path: Path) -> None:
    seeding.mark(tmp_path)
    (tmp_path / "shipped.sha256").write_bytes(b"\xff\xfe\x80")
    assert not seeding.is_done(tmp_path)
