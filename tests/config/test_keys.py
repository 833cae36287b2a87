"""The file of API keys: whose it is, and what is told where the system does not give it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.config.keys import KeyFile
from router.domain.errors import ConfigError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@AS_ROOT
def test_a_file_that_root_writes_stays_with_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = KeyFile(file)
    keys.add("ada")
    os.chown(file, 1234, 1235)
    keys.add("bob")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)
    keys.remove("ada")
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (1234, 0o600)


@AS_ROOT
def test_the_first_key_and_a_file_of_roots_go_to_whom_the_folder_belongs(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    KeyFile(file).add("ada")
    assert file.stat().st_uid == 0
    os.chown(tmp_path, 1234, 1235)
    KeyFile(file).add("bob")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)
    file.unlink()
    KeyFile(file).add("ada")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)


def test_a_file_that_may_not_be_read_is_a_matter_of_ownership_and_not_of_new_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    KeyFile(file).add("ada")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    # Root may read everything, so the system's refusal is made up.
    for method in ("read_text", "stat"):
        with monkeypatch.context() as refusing:
            refusing.setattr(Path, method, refuse)
            with pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
                KeyFile(file).all()
        assert "chown" in (caught.value.hint or "")
        assert "remove" not in (caught.value.hint or "")


def test_a_data_folder_that_is_a_file_is_told_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    keys = KeyFile(tmp_path / "data" / "keys.json")
    with pytest.raises(ConfigError, match=r"keys\.json") as caught:
        keys.all()
    assert "ROUTER_DATA_DIR" in (caught.value.hint or "")


def test_only_content_that_cannot_be_read_asks_for_new_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for content in (b"[{", b"\xff\xfe", b'[{"name": "ada"}]'):
        file.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            KeyFile(file).all()
        assert "make new keys" in (caught.value.hint or "")
