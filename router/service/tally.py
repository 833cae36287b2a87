"""The journal added up, site by site: what reports and savings are computed from, in one pass over the turns.

A turn whose joules or grams are not known is counted and left out of every sum, so that means stay means of the same
requests. One that started no generation took none, and that is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from router.domain.record import Turn
from router.domain.units import seconds_from_ms


@dataclass(slots=True)
class Total:
    """A sum that remembers how many of its parts are unknown."""

    known: float = 0.0
    unknown: int = 0

    def add(self, value: float | None) -> None:
        """Add one part."""
        if value is None:
            self.unknown += 1
        else:
            self.known += value

    @property
    def value(self) -> float | None:
        """The sum; None as soon as one part is unknown."""
        return None if self.unknown else self.known


@dataclass(slots=True)
class Spread:
    """Mean and extremes of a coefficient over the turns that know it."""

    n: int = 0
    sum: float = 0.0
    low: float | None = None
    high: float | None = None

    def add(self, value: float | None) -> None:
        """Add one turn's."""
        if value is None:
            return
        self.n += 1
        self.sum += value
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)

    @property
    def mean(self) -> float | None:
        """None where no turn knows it."""
        return self.sum / self.n if self.n else None


@dataclass(slots=True)
class Tally:
    """Turns of one site, or of one option, or all of them.

    Attributes:
        requests: All of them.
        by_status: Counts by status.
        answered: Answered ones of which joules and grams are known.
        unknown: Requests of which they are not; in none of the sums below.
        attempts: Generations started, those of unknown joules included.
        side: Requests that a client sent for itself.
        conversations: Requests that opened one, answered and known.
        output_tokens: Of the answered and known.
        energy_j: Marginal joules, wasted ones included.
        operational_g: Grams of them.
        embodied_g: Embodied grams of the device seconds.
        device_s: Device seconds.
        all_device_s: The same of every request, those of unknown joules too.
        idle_j: Idle joules that fell on the device seconds.
        idle_device_s: Device seconds of the turns that know their idle joules.
        unsplit_device_s: Device seconds of turns whose joules hold the idle ones, since idle was not known.
        wasted_j: Of ``energy_j``, what gave no answer.
        router_j: Joules of routing.
        baseline_energy_j: Joules of the reference for the answered and known.
        baseline_operational_g: Grams of them.
        baseline_device_s: Device seconds of the reference.
        unbaselined_g: Grams of energy of answers of which the reference's are not known.
        unbaselined_s: Device seconds of answers of which the reference's are not known.
        baseline_g: Its grams as they were decided on.
        saved_g: Request by request.
        intensity: g/kWh that the grams were computed with.
        pue: Likewise.
        intensity_age_s: How old the intensity was.
        counts: How often each value of a name occurred: sources, kinds, methods, references.
        first_at: Unix seconds of the first turn, or None.
        last_at: Unix seconds at which the last one ended, or None.
    """

    requests: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    unknown: int = 0
    attempts: int = 0
    side: int = 0
    conversations: Total = field(default_factory=Total)
    output_tokens: Total = field(default_factory=Total)
    energy_j: float = 0.0
    operational_g: float = 0.0
    embodied_g: Total = field(default_factory=Total)
    device_s: Total = field(default_factory=Total)
    all_device_s: Total = field(default_factory=Total)
    idle_j: float = 0.0
    idle_device_s: float = 0.0
    unsplit_device_s: float = 0.0
    wasted_j: Total = field(default_factory=Total)
    router_j: Total = field(default_factory=Total)
    baseline_energy_j: Total = field(default_factory=Total)
    baseline_operational_g: Total = field(default_factory=Total)
    baseline_device_s: Total = field(default_factory=Total)
    unbaselined_g: float = 0.0
    unbaselined_s: float = 0.0
    baseline_g: Total = field(default_factory=Total)
    saved_g: Total = field(default_factory=Total)
    intensity: Spread = field(default_factory=Spread)
    pue: Spread = field(default_factory=Spread)
    intensity_age_s: Spread = field(default_factory=Spread)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    first_at: float | None = None
    last_at: float | None = None

    @property
    def idle_w(self) -> float | None:
        """The device's idle watts as its meter had them; None where no turn says."""
        return self.idle_j / self.idle_device_s if self.idle_device_s > 0 else None

    @property
    def is_blank(self) -> bool:
        """Whether there are requests, and nothing is known of what any of them took."""
        return 0 < self.requests == self.unknown

    def add(self, turn: Turn) -> None:
        """Count one turn."""
        carbon, basis = turn.carbon, turn.basis
        self.requests += 1
        self.by_status[turn.status] += 1
        self.attempts += turn.attempts
        self.side += turn.side is not None
        ended_at = turn.started_at + (turn.duration_s or 0.0)
        self.first_at = turn.started_at if self.first_at is None else min(self.first_at, turn.started_at)
        self.last_at = ended_at if self.last_at is None else max(self.last_at, ended_at)
        self.intensity.add(carbon.intensity_g_per_kwh)
        self.pue.add(basis.pue)
        self.intensity_age_s.add(carbon.intensity_age_s)
        for name, value in (
            ("intensity_source", carbon.intensity_source),
            ("intensity_kind", carbon.intensity_kind),
            ("intensity_stale", "stale" if carbon.intensity_is_stale else None),
            ("intensity_estimated", "estimated" if carbon.intensity_is_estimated else None),
            ("energy_method", carbon.energy_method),
            ("energy_source", basis.energy_source),
            ("reference", basis.reference),
            ("policy", carbon.policy),
            ("floor", carbon.floor),
        ):
            if value is not None:
                self.counts.setdefault(name, Counter())[value] += 1
        self._add_sums(turn)

    def _add_sums(self, turn: Turn) -> None:
        carbon, basis = turn.carbon, turn.basis
        started = turn.attempts > 0
        device_s = basis.device_s if started else 0.0
        self.all_device_s.add(device_s)
        self.router_j.add(carbon.router_energy_j)
        if started and (carbon.energy_j is None or carbon.operational_g is None):
            self.unknown += 1
            return
        self.energy_j += carbon.energy_j or 0.0 if started else 0.0
        self.operational_g += carbon.operational_g or 0.0 if started else 0.0
        self.embodied_g.add(carbon.embodied_g if started else 0.0)
        self.device_s.add(device_s)
        self.wasted_j.add(basis.wasted_j if started else 0.0)
        if started and device_s is not None:
            if basis.idle_j is not None:
                self.idle_j += basis.idle_j
                self.idle_device_s += device_s
            elif _holds_idle(turn):
                self.unsplit_device_s += device_s
        if turn.status == "ok":
            self.answered += 1
            self.output_tokens.add(turn.output_tokens)
            self.conversations.add(None if basis.earlier_answers is None else float(basis.earlier_answers == 0))
            self.baseline_energy_j.add(basis.reference_energy_j)
            self.baseline_operational_g.add(basis.reference_operational_g)
            self.baseline_device_s.add(basis.reference_device_s)
            if basis.reference_operational_g is None and started:
                self.unbaselined_g += carbon.operational_g or 0.0
            if basis.reference_device_s is None:
                self.unbaselined_s += device_s or 0.0
            self.baseline_g.add(None if carbon.saved_g is None else carbon.reference_g)
            self.saved_g.add(carbon.saved_g)
        elif started:
            self.saved_g.add(saved_g_of(turn))


def _holds_idle(turn: Turn) -> bool:
    """Whether a turn's joules hold the idle ones; in journals that do not say, those of meters that see them."""
    holds = turn.basis.holds_idle
    return turn.carbon.energy_method == "measured" if holds is None else holds


def saved_g_of(turn: Turn) -> float | None:
    """Grams a turn saved against the reference, None unknown.

    An answer that was not given saved nothing, and what it took is charged: by the method that the reference is priced
    by where there is one, else all that is known of it.
    """
    carbon = turn.carbon
    if turn.status == "ok" or not turn.attempts:
        return carbon.saved_g
    if carbon.saved_g is not None and carbon.reference_g is not None:
        return carbon.saved_g - carbon.reference_g
    return None if carbon.operational_g is None else -(carbon.operational_g + (carbon.embodied_g or 0.0))


@dataclass(slots=True)
class Tallies:
    """Everything, and the same by site, option and category.

    Attributes:
        all: Every turn.
        by_site: By the site of the last attempt.
        by_option: By site and option.
        by_category: By site and category.
        overhead_s: Seconds of routing.
    """

    all: Tally = field(default_factory=Tally)
    by_site: dict[str, Tally] = field(default_factory=dict)
    by_option: dict[tuple[str, str], Tally] = field(default_factory=dict)
    by_category: dict[tuple[str, str], Tally] = field(default_factory=dict)
    overhead_s: float = 0.0

    def add(self, turn: Turn) -> None:
        """Count one turn everywhere it belongs."""
        carbon = turn.carbon
        option = f"{carbon.model}@{carbon.directive}"
        if carbon.setting != "default":
            option += f"+{carbon.setting}"
        self.all.add(turn)
        self.by_site.setdefault(carbon.site, Tally()).add(turn)
        self.by_option.setdefault((carbon.site, option), Tally()).add(turn)
        self.by_category.setdefault((carbon.site, carbon.category or "unknown"), Tally()).add(turn)
        self.overhead_s += seconds_from_ms(carbon.overhead_ms)


def tally(turns: Iterable[Turn], *, until: float | None = None) -> Tallies:
    """Add up turns that began before ``until`` (Unix seconds)."""
    found = Tallies()
    for turn in turns:
        if until is None or turn.started_at < until:
            found.add(turn)
    return found
