"""What came of a run, counted row by row."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.datasets.item import Item
from router.domain.record import Outcome


@dataclass(slots=True)
class Summary:
    """What came of a run; grows while it goes on.

    Attributes:
        run: Its entry in ``.runs.json``; the last one where there are several.
        measured: Rows saved.
        regraded: Rows of earlier runs whose grade could be told only now.
        capped: Rows whose answer hit the cap, by category.
        stopped: Rows that we had to stop, since the engine did not.
        refused: Rows whose request the engine refused.
        ungraded: Rows whose grader failed.
        busy: Rows flagged because other processes, or the hypervisor, used the machine.
        throttled: Rows flagged because a chip was slowed or began too hot.
        missing_models: Models that their engine does not have.
        energy_j: Joules above idle of all rows, or None as soon as one is unknown.
    """

    run: str = ""
    measured: int = 0
    regraded: int = 0
    capped: dict[str, int] = field(default_factory=dict)
    stopped: int = 0
    refused: int = 0
    ungraded: int = 0
    busy: int = 0
    throttled: int = 0
    missing_models: list[str] = field(default_factory=list)
    energy_j: float | None = 0.0

    def count(self, item: Item, outcome: Outcome) -> None:
        """Take a saved row into account."""
        self.measured += 1
        if outcome.finish_reason == "length":
            self.capped[item.category] = self.capped.get(item.category, 0) + 1
        self.stopped += "stopped_by" in outcome.extra
        self.refused += "error" in outcome.extra
        self.ungraded += outcome.quality is None and item.grader != "judge" and "error" not in outcome.extra
        self.busy += "busy_share" in outcome.extra or "steal_share" in outcome.extra
        self.throttled += "throttled" in outcome.extra or "hot_c" in outcome.extra
        if outcome.energy_j is None or self.energy_j is None:
            self.energy_j = None
        else:
            self.energy_j += outcome.energy_j
