"""A counter that something samples for, until it is closed: for tests of who closes it."""

from __future__ import annotations

from router.meters.replay import ReplayCounter


class Sampled(ReplayCounter):
    """Reads 0 J for ever, and knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__([0.0])
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True
