"""The measurements file a run appends to: durable row by row, repaired after a crash, one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bench.run_jobs import Present
from router.domain.errors import MeasurementError
from router.domain.record import Measurement
from router.store.codec import measurement_from_json, measurement_to_json, read_measurements


class OutputLockedError(MeasurementError):
    """Another run writes to the same file."""

    code = "output_locked"


def runs_file(path: Path) -> Path:
    """The file beside a measurements file that describes its runs."""
    return path.with_name(f"{path.name.removesuffix('.gz')}.runs.json")


def read_runs(path: Path) -> dict[str, dict[str, Any]]:
    """Entries of the ``.runs.json`` beside a measurements file; empty where there is none.

    Raises:
        MeasurementError: If it is there and no JSON object.
    """
    file = runs_file(path)
    try:
        runs = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MeasurementError(f"cannot be read: {error}", file=str(file), hint="repair or remove it") from error
    if not isinstance(runs, dict) or not all(isinstance(entry, dict) for entry in runs.values()):
        raise MeasurementError("must be an object of objects, one a run", file=str(file), hint="repair or remove it")
    return runs


def read_present(path: Path | None, disqualified: Sequence[str] = (), *, is_torn: bool = False) -> Present:
    """What a measurements file and its runs hold; nothing where there is no file.

    Args:
        path: The file.
        disqualified: Keys of a row that make it count as missing.
        is_torn: Read past a last line that an interrupted run did not finish; a run mends it before it reads.

    Raises:
        MeasurementError: With file and line, where a line is broken.
    """
    if path is None or not path.exists():
        return Present()
    if is_torn and path.suffix != ".gz" and not (content := path.read_bytes()).endswith(b"\n"):
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(content[: content.rfind(b"\n") + 1])
            return Present(read_measurements(whole), read_runs(path), disqualified)
    return Present(read_measurements(path), read_runs(path), disqualified)


class Output:
    """An open measurements file.

    Use as a context manager: entering takes the lock and repairs a torn last line, leaving releases both.

    Attributes:
        path: The file.
        repaired_bytes: How many bytes of an unfinished last line were cut off.
    """

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is touched before entering."""
        self.path = path
        self.repaired_bytes = 0
        self._lock: IO[str] | None = None
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        """Lock, repair and open for appending.

        Raises:
            OutputLockedError: If another run holds the lock; names its process.
            MeasurementError: If the file cannot be opened.
        """
        if self.path.suffix == ".gz":
            raise MeasurementError("rows are appended as plain lines", file=str(self.path), hint="name it .jsonl")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._repair()
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            self._release()
            raise MeasurementError(f"cannot be written: {error}", file=str(self.path)) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close and unlock."""
        self._release()

    def append(self, measurement: Measurement) -> None:
        """Add one line; when this returns the row survives a crash.

        Raises:
            MeasurementError: If it cannot be written, e.g. because the disk is full; what was there stays.
        """
        assert self._file is not None, "append outside of the context"
        body = measurement_to_json(measurement)
        measurement_from_json(body)  # nothing is written that could not be read again
        line = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        before = self._file.seek(0, os.SEEK_END)
        try:
            # Unbuffered: what a full disk did not take must not come later.
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            os.ftruncate(self._file.fileno(), before)
            raise MeasurementError(
                f"cannot be written: {error}", file=str(self.path), hint="make room and run the same command again"
            ) from error

    def write_run(self, name: str, entry: Mapping[str, Any]) -> None:
        """Replace one entry of the ``.runs.json``, all or nothing.

        Raises:
            MeasurementError: If it cannot be written.
        """
        runs = read_runs(self.path)
        runs[name] = dict(entry)
        try:
            self._replace(runs_file(self.path), runs)
        except OSError as error:
            raise MeasurementError(
                f"cannot be written: {error}",
                file=str(runs_file(self.path)),
                hint="make room and run the same command again",
            ) from error

    def _replace(self, file: Path, runs: Mapping[str, Any]) -> None:
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=file.name, delete=False, encoding="utf-8") as new:
            try:
                json.dump(runs, new, indent=1, ensure_ascii=False, allow_nan=False)
                new.flush()
                os.fsync(new.fileno())
                os.chmod(new.name, 0o644)  # NamedTemporaryFile makes private files
                os.replace(new.name, file)
            except BaseException:
                os.unlink(new.name)
                raise

    def _take_lock(self) -> IO[str]:
        lock = self.path.with_name(f"{self.path.name}.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise OutputLockedError(
                f"another run (process {owner}) is writing this file",
                file=str(self.path),
                hint="wait for it, or give --output another name",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def _repair(self) -> None:
        """Cut off an unfinished last line, as a kill in the middle of a write leaves it."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        if not content or content.endswith(b"\n"):
            return
        start = content.rfind(b"\n") + 1
        with self.path.open("r+b") as file:
            try:
                json.loads(content[start:])
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            except ValueError:
                self.repaired_bytes = len(content) - start
                file.truncate(start)
            file.flush()
            os.fsync(file.fileno())

    def _release(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None
