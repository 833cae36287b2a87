"""Totals of the journal over a span of time; what is unknown is counted apart, never as zero."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from router.domain.catalogue import Catalogue
from router.domain.errors import DeadlineError, OverloadedError
from router.domain.ports import Journal
from router.domain.record import Turn
from router.service.report import build_report
from router.service.report_figures import Assumptions, Period
from router.service.tally import Tallies, saved_g_of
from router.service.worker import Worker

_OF_RECORD = ("energy_j", "operational_g", "embodied_g", "reference_g", "router_energy_j")
_OF_TURN = ("prompt_tokens", "output_tokens")
_SUMMED = (*_OF_RECORD, "saved_g", *_OF_TURN)
_WORTH_SHARING_S = 1.0
_MOST_PERIODS = 8


@dataclass(slots=True)
class Totals:
    """Sums over turns.

    Attributes:
        turns: How many.
        by: Counts by status, model, directive, site, category, error, side request and conversation.
        sums: Sum of what is known, by figure.
        unknown: Turns of which a figure is not known.
        attempts: Generations started.
        escalations: Cascades whose first answer did not stand.
        overhead_ms: Sum of the router's own time.
        first_at: Unix seconds of the first turn, or None.
        last_at: Unix seconds of the last one, or None.
        tallies: The same by site, for savings.
        side: Of these, what clients asked for their own sake; None where there was none.
    """

    turns: int = 0
    by: dict[str, Counter[str]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SUMMED, 0))
    unknown: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SUMMED, 0))
    attempts: int = 0
    escalations: int = 0
    overhead_ms: float = 0.0
    first_at: float | None = None
    last_at: float | None = None
    tallies: Tallies = field(default_factory=Tallies)
    side: Totals | None = None

    def add(self, turn: Turn) -> None:
        """Count one turn; a side request also apart."""
        self._add(turn)
        if turn.side is not None:
            self.side = self.side or Totals()
            self.side._add(turn)

    def side_requests(self) -> dict[str, float | None]:
        """The side requests' own count and sums; they are in the totals too. None where nothing of a sum is known."""
        side = self.side or Totals()
        return {"turns": side.turns, **side.known()}

    def known(self) -> dict[str, float | None]:
        """The sums; None where nothing of one is known."""
        return {name: None if self.unknown[name] == self.turns else value for name, value in self.sums.items()}

    def _add(self, turn: Turn) -> None:
        carbon = turn.carbon
        self.tallies.add(turn)
        self.turns += 1
        for name, value in (
            ("status", turn.status),
            ("model", carbon.model),
            ("directive", carbon.directive),
            ("site", carbon.site),
            ("category", carbon.category),
            ("error", turn.error),
            ("side", turn.side),
            ("conversation", turn.conversation),
        ):
            if value is not None:
                self.by.setdefault(name, Counter())[value] += 1
        figures = {name: getattr(carbon, name) for name in _OF_RECORD}
        figures |= {name: getattr(turn, name) for name in _OF_TURN} | {"saved_g": saved_g_of(turn)}
        for name, figure in figures.items():
            if figure is not None:
                self.sums[name] += figure
            elif turn.attempts or name == "router_energy_j":
                self.unknown[name] += 1  # what began nothing took nothing, and that is known
        self.attempts += turn.attempts
        self.escalations += turn.escalations
        self.overhead_ms += carbon.overhead_ms
        self.first_at = turn.started_at if self.first_at is None else self.first_at
        self.last_at = turn.started_at


def totals(turns: Iterable[Turn]) -> Totals:
    """Sums over the turns, which come oldest first."""
    found = Totals()
    for turn in turns:
        found.add(turn)
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """Totals, and until when they are given out again, by the clock."""

    found: Totals
    stale_at_s: float


class SharedTotals:
    """Totals of the journal for whoever polls them: one reading at a time, on a thread that does nothing else.

    A year of turns takes a minute of a core. So who asks for a period that is being read gets that reading, and one
    that took longer than a second is given out again for as long as it took: however many poll, at most half of one
    thread's time goes into the same totals. What takes less is always read anew.
    """

    def __init__(self, journal: Journal, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the journal and a clock in seconds."""
        self._journal = journal
        self._clock = clock
        self._worker = Worker("stats", threads=1)
        self._readings: dict[float, asyncio.Task[_Reading]] = {}

    async def since(self, since: float, *, within_s: float) -> Totals:
        """Totals from ``since`` (Unix seconds) on; not to be changed, since others hold them too.

        Raises:
            JournalError: If the journal cannot be read.
            OverloadedError: If too many other periods wait to be read.
            DeadlineError: If it is not read in time.
        """
        self._readings = {begin: task for begin, task in self._readings.items() if self._is_of_use(task)}
        if since not in self._readings:
            if sum(not task.done() for task in self._readings.values()) >= _MOST_PERIODS:
                raise OverloadedError(
                    "the totals of other periods are being made", retry_after_s=10.0, hint="ask with the same `since`"
                )
            reading = self._worker.run(lambda: self._read(since), within_s=within_s)
            self._readings[since] = asyncio.create_task(reading, name="stats")
        try:
            return (await asyncio.shield(self._readings[since])).found
        except TimeoutError:
            raise DeadlineError(
                "the journal could not be read in time", hint="ask for a shorter period with `since`"
            ) from None

    def close(self) -> None:
        """Let its thread end."""
        self._worker.close()

    def _read(self, since: float) -> _Reading:
        began_s = self._clock()
        found = totals(self._journal.turns(since=since))
        ended_s = self._clock()
        took_s = ended_s - began_s
        return _Reading(found, ended_s + (took_s if took_s >= _WORTH_SHARING_S else 0.0))

    def _is_of_use(self, task: asyncio.Task[_Reading]) -> bool:
        if not task.done():
            return True
        return not task.cancelled() and task.exception() is None and task.result().stale_at_s > self._clock()


def savings(
    found: Totals, catalogue: Catalogue, *, since: float, until: float, utilisation: float | None = None
) -> dict[str, Any]:
    """Both savings and both scores from ``since`` (or the first turn, if that was later) until now.

    Joules of benchmark runs are not in here: they lie in files of the data folder, and ``carbon-router report`` adds
    them.

    Args:
        found: The totals.
        catalogue: The sites.
        since: Unix seconds.
        until: Unix seconds.
        utilisation: To state the site's saving for; None takes the period's own.

    Raises:
        RequestError: If the utilisation is no share.
    """
    began_at = until if found.first_at is None else max(since, found.first_at)
    report = build_report(
        found.tallies,
        catalogue,
        Period(began_at, max(began_at, until)),
        assumptions=Assumptions(utilisation=utilisation),
    )
    site = asdict(report.saving_of_site)
    del site["benchmark_g"]
    return {
        "period_s": report.period.seconds,
        "saving": {"requests": asdict(report.saving_of_requests), "site": site},
        "score": {"attributed": asdict(report.attributed), "marginal": asdict(report.marginal)},
    }
