from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from router.config.settings import load_settings
from router.domain.errors import ConfigError


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_DIR", "CACHE_DIR", "MODELS_FILE", "HOST", "PORT", "LOG_LEVEL", "CHROMA_URL", "EMBED_THREADS"):
        monkeypatch.delenv(f"ROUTER_{name}", raising=False)


def test_without_settings_everything_lies_beside_the_user_and_listens_to_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.chroma_url) == ("127.0.0.1", 8000, None)
    assert settings.journal_file == Path(".data/journal.sqlite3")
    assert settings.cache_dir == Path.home() / ".cache/carbon-router"


def test_the_environment_sets_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROUTER_PORT", "8123")
    assert load_settings().store_dir == tmp_path / "store"
    assert load_settings(host=None).port == 8123
    assert load_settings(port=9000).port == 9000


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PORT", "")
    assert load_settings().port == 8000


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_DATA_DIR", "~/router")
    assert load_settings().data_dir == Path.home() / "router"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROUTER_PORT", "http"),
        ("ROUTER_PORT", "70000"),
        ("ROUTER_LOG_LEVEL", "loud"),
        ("ROUTER_CHROMA_URL", "localhost:8001"),
        ("ROUTER_EMBED_THREADS", "0"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        load_settings()
    assert value in str(caught.value)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]
