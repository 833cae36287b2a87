"""Several counters of one machine as one: the sum of its parts, or the wall with the parts as its breakdown.

Without a wall meter the joules are the sum of the parts, and what no part sees (fans, conversion losses, disks) is
missing. With one, the joules are the wall's, and what the parts do not account for is shown as a remainder. A part
that cannot be read makes the sum None, and the remainder; the wall's own joules stay known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from router.domain.errors import ConfigError
from router.domain.reading import Method, weakest
from router.meters.window import EnergyCounter, close_counter

UNACCOUNTED = "unaccounted"
_TOLERANCE = 0.05
"""Parts and wall are read some milliseconds apart, and plugs are a few percent off."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Joules by part, since a counter began or between two looks.

    Attributes:
        total_j: Of the machine, or None.
        parts_j: By part, ``unaccounted`` among them where there is a wall meter; None where unknown.
    """

    total_j: float | None
    parts_j: Mapping[str, float | None]

    def since(self, before: Breakdown) -> Breakdown:
        """What came in between; None wherever one end is unknown."""
        return Breakdown(
            _minus(self.total_j, before.total_j),
            MappingProxyType({name: _minus(value, before.parts_j.get(name)) for name, value in self.parts_j.items()}),
        )


class CombinedCounter:
    """See the module's text; for one reader."""

    def __init__(self, parts: Mapping[str, EnergyCounter], *, wall: EnergyCounter | None = None) -> None:
        """Take the parts by name, none of which may be in another, and the wall meter if there is one.

        Raises:
            ConfigError: If there is no part, or one has the remainder's name.
        """
        if not parts or UNACCOUNTED in parts:
            raise ConfigError(f"a combined meter needs parts, none of them called `{UNACCOUNTED}`")
        self._parts = dict(parts)
        self._wall = wall
        self._first: Breakdown | None = None
        self._last: Breakdown | None = None

    @property
    def method(self) -> Method:
        """The wall's; without one, the weakest of the parts: a sum is measured only if all of it is."""
        if self._wall is not None:
            return self._wall.method
        method = weakest({part.method for part in self._parts.values()})
        assert method is not None  # there are parts, and each has one
        return method

    @property
    def source(self) -> str:
        """All instruments."""
        parts = " + ".join(f"{name} [{part.source}]" for name, part in self._parts.items())
        return parts if self._wall is None else f"{self._wall.source}, of which {parts}"

    @property
    def idle_w(self) -> float | None:
        """The wall's, or the sum of the parts'; None as soon as one is unknown."""
        if self._wall is not None:
            return self._wall.idle_w
        return _sum(part.idle_w for part in self._parts.values())

    @property
    def parts(self) -> Mapping[str, EnergyCounter]:
        """The instruments by name, the wall's among them as ``wall``."""
        return self._parts if self._wall is None else {**self._parts, "wall": self._wall}

    @property
    def sees_idle(self) -> bool:
        """Whether a baseline phase tells anything: some part that counts sees more than busy work."""
        counted = self._parts.values() if self._wall is None else [self._wall]
        return any(getattr(part, "sees_idle", True) for part in counted)

    @property
    def seen(self) -> Breakdown | None:
        """Joules between the first and the last look at which all of it could be read, or None."""
        return None if self._first is None or self._last is None else self._last.since(self._first)

    @property
    def problem(self) -> str | None:
        """Why readings fail, or that parts exceed the wall (it then meters something else), or None."""
        counters = [*self._parts.values(), *([] if self._wall is None else [self._wall])]
        found = [problem for counter in counters if (problem := getattr(counter, "problem", None))]
        if (seen := self.seen) is not None:
            remainder = seen.parts_j.get(UNACCOUNTED)
            if remainder is not None and seen.total_j is not None and remainder < -_TOLERANCE * seen.total_j - 1.0:
                found.append("the parts drew more than the wall meter saw: is it this machine's, and all of its plugs?")
        return "; ".join(found) or None

    def read_j(self) -> float | None:
        """Joules of the machine so far."""
        return self.breakdown().total_j

    def breakdown(self) -> Breakdown:
        """Joules so far, whole and by part. Only differences mean anything: each counter begins where it will."""
        parts: dict[str, float | None] = {name: part.read_j() for name, part in self._parts.items()}
        total_j = _sum(parts.values())
        if self._wall is not None:
            accounted_j, total_j = total_j, self._wall.read_j()
            parts[UNACCOUNTED] = _minus(total_j, accounted_j)
        found = Breakdown(total_j, MappingProxyType(parts))
        if total_j is not None and all(value is not None for value in parts.values()):
            self._first, self._last = self._first or found, found
        return found

    def close(self) -> None:
        """Stop what samples for its parts and the wall."""
        for part in self.parts.values():
            close_counter(part)


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
