"""The meter of a site nobody can meter: joules are unknown, device seconds are shared as anywhere."""

from __future__ import annotations

from router.domain.ports import MeterWindow
from router.domain.reading import Method
from router.meters.window import SharedMeter


class _Unread:
    """A counter that is never read."""

    method: Method = "modelled"
    idle_w: float | None = None
    sees_idle = False

    def __init__(self, source: str) -> None:
        self.source = source

    def read_j(self) -> float | None:
        """Unknown."""
        return None


class NoMeter:
    """Stands in where nothing can meter a site."""

    def __init__(self, why: str = "nothing meters it: set watts_per_core for this site in models.yaml") -> None:
        """Take the reason, which is shown wherever a source would be."""
        self._shared = SharedMeter(_Unread(why))

    @property
    def source(self) -> str:
        """Why there are no joules."""
        return self._shared.source

    def start(self) -> MeterWindow:
        """Open a window."""
        return self._shared.start()
