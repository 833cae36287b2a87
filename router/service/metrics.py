"""Counts of everything since the process started, fed by every turn; what is unknown is counted apart, not as zero."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict

from router.domain.record import Turn
from router.domain.units import seconds_from_ms
from router.service.tally import saved_g_of

OVERHEAD_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

Labels = tuple[tuple[str, str], ...]


class Rising:
    """A running total that never falls, as Prometheus' counters must not.

    Joules above idle of a short window are negative where a coarse counter had not moved yet: the total then waits
    until the sum has caught up, so that nothing is counted twice.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self._sum = 0.0
        self.value = 0.0

    def add(self, amount: float) -> None:
        """Add an amount, which may be negative."""
        self._sum += amount
        self.value = max(self.value, self._sum)


class Metrics:
    """Running totals; safe to feed from any thread."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self.turns: Counter[Labels] = Counter()
        self.energy_j: dict[Labels, Rising] = defaultdict(Rising)
        self.energy_unknown: Counter[Labels] = Counter()
        self.grams: dict[Labels, Rising] = defaultdict(Rising)
        self.saved_g = 0.0
        self.saved_unknown = 0
        self.router_energy_j = Rising()
        self.router_energy_unknown = 0
        self.attempts = 0
        self.escalations = 0
        self.side: Counter[Labels] = Counter()
        self.side_energy_j = Rising()
        self.side_energy_unknown = 0
        self.conversations: Counter[Labels] = Counter()
        self.overhead_counts = [0] * (len(OVERHEAD_BOUNDS_S) + 1)
        self.overhead_sum_s = 0.0
        self.responses: Counter[Labels] = Counter()

    def response(self, status: int) -> None:
        """Count an HTTP response."""
        with self._lock:
            self.responses[(("status", str(status)),)] += 1

    def turn(self, turn: Turn) -> None:
        """Count a turn."""
        carbon = turn.carbon
        option = (("model", carbon.model), ("directive", carbon.directive), ("site", carbon.site))
        with self._lock:
            self.turns[(("status", turn.status), *option, ("category", carbon.category or ""))] += 1
            started = turn.attempts > 0  # what began nothing took nothing, and that is known
            if carbon.energy_j is not None:
                self.energy_j[option].add(carbon.energy_j)
            elif started:
                self.energy_unknown[option] += 1
            for kind, grams in (("operational", carbon.operational_g), ("embodied", carbon.embodied_g)):
                if grams is not None:
                    self.grams[(*option, ("kind", kind))].add(grams)
            if (saved_g := saved_g_of(turn)) is not None:
                self.saved_g += saved_g
            elif started:
                self.saved_unknown += 1
            if carbon.router_energy_j is None:
                self.router_energy_unknown += 1
            else:
                self.router_energy_j.add(carbon.router_energy_j)
            self.attempts += turn.attempts
            self.escalations += turn.escalations
            if turn.side is not None:
                self.side[(("kind", turn.side),)] += 1
                if carbon.energy_j is not None:
                    self.side_energy_j.add(carbon.energy_j)
                elif started:
                    self.side_energy_unknown += 1
            if turn.conversation is not None:
                self.conversations[(("outcome", turn.conversation),)] += 1
            overhead_s = seconds_from_ms(carbon.overhead_ms)
            self.overhead_counts[bisect_left(OVERHEAD_BOUNDS_S, overhead_s)] += 1
            self.overhead_sum_s += overhead_s
