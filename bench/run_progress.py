"""Telling people how far a run is and how long it still takes."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

PLAIN_EVERY_S = 15.0


class Reporter(Protocol):
    """Hears of a run's progress."""

    def start(self, rows: int, seconds: float) -> None:
        """A run of so many rows begins; it will take about so long."""
        ...

    def row(self, text: str, seconds_left: float) -> None:
        """One more row is saved; so much is left."""
        ...

    def say(self, text: str) -> None:
        """A sentence for people, such as a warning."""
        ...

    def close(self) -> None:
        """The run ended, one way or the other."""
        ...


def in_words(seconds: float) -> str:
    """A stretch of time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{int(minutes // 60)} h {int(minutes % 60)} min"


class SilentReporter:
    """Says nothing."""

    def start(self, rows: int, seconds: float) -> None:
        """Nothing."""

    def row(self, text: str, seconds_left: float) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainReporter:
    """Lines, for logs: the first row, the last, and one every few seconds."""

    def __init__(self, stream: TextIO | None = None, every_s: float = PLAIN_EVERY_S) -> None:
        """Take the stream (standard error, so that results on standard output stay clean) and the pause."""
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._rows = self._done = 0
        self._last = float("-inf")

    def start(self, rows: int, seconds: float) -> None:
        """See :class:`Reporter`."""
        self._rows, self._done = rows, 0  # a run has a part for each level of concurrency
        self.say(f"{rows} rows to measure, about {in_words(seconds)}")

    def row(self, text: str, seconds_left: float) -> None:
        """See :class:`Reporter`."""
        self._done += 1
        now = time.monotonic()
        if now - self._last >= self._every_s or self._done == self._rows:
            self._last = now
            self.say(f"{self._done}/{self._rows}  {text}  {in_words(seconds_left)} left")

    def say(self, text: str) -> None:
        """See :class:`Reporter`."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """See :class:`Reporter`."""


class RichReporter:
    """A bar with the time left, for terminals."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=None, left="")

    def start(self, rows: int, seconds: float) -> None:
        """See :class:`Reporter`."""
        self._progress.update(self._task, total=rows, completed=0, left=in_words(seconds))
        self._progress.start()

    def row(self, text: str, seconds_left: float) -> None:
        """See :class:`Reporter`."""
        self._progress.update(self._task, advance=1, description=text, left=in_words(seconds_left))

    def say(self, text: str) -> None:
        """See :class:`Reporter`."""
        self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """See :class:`Reporter`."""
        self._progress.stop()


def reporter(*, quiet: bool = False) -> Reporter:
    """The one that suits where we are: a bar on a terminal, else lines, or nothing."""
    if quiet:
        return SilentReporter()
    return RichReporter() if sys.stderr.isatty() else PlainReporter()
