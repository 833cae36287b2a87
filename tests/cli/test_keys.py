"""``carbon-router keys``: a key alone on stdout, and on stderr which file it was about."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.cli import keys
from router.config.keys import KeyFile
from router.domain.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys of a folder that a command is run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUTER_DATA_DIR", raising=False)
    return tmp_path / ".data" / "keys.json"


def test_a_key_that_is_made_stands_alone_on_stdout_and_its_file_is_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.add("ada")
    told = capsys.readouterr()
    assert KeyFile(file).owner(told.out.strip()) == "ada"
    assert str(file) in told.err


def test_a_folder_without_keys_says_that_it_has_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.list_keys()
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"no keys in {file}\n")
    keys.add("ada")
    capsys.readouterr()
    keys.list_keys()
    told = capsys.readouterr()
    assert told.out.startswith("ada\t")
    assert str(file) in told.err


def test_a_key_that_is_removed_or_not_there_names_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="there is no key 'ada'") as caught:
        keys.remove("ada")
    assert str(file) in caught.value.message
    keys.add("ada")
    keys.remove("ada")
    assert f"removed from {file}" in capsys.readouterr().err
