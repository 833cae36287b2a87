"""What a turn did and when, noted while it runs and shown when it has ended: in a log line, in a trace.

A turn is an asynchronous generator that its client may close at any piece, so nothing here is held open in the
context of a task: a step is written down when it ends, with both its times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from router.domain.errors import RouterError
from router.domain.record import Turn
from router.service.ask import Ask

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a turn did.

    Attributes:
        name: ``choose``, ``embed``, ``attempt`` or ``journal``.
        began_s: Unix seconds.
        ended_s: Unix seconds.
        attributes: What is known of it, never a text of the user's or the model's; None is left out.
        error: Code of what ended it, or None.
    """

    name: str
    began_s: float
    ended_s: float
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class Steps:
    """The steps of one turn, in the order in which they ended."""

    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Value]]:
        """Time what happens inside; attributes are put into what it gives."""
        attributes: dict[str, Value] = {}
        began_s, clock_s = time.time(), time.perf_counter()
        error: str | None = None
        try:
            yield attributes
        except RouterError as failure:
            error = failure.code
            raise
        except GeneratorExit:
            error = "cancelled"
            raise
        except BaseException as failure:
            error = type(failure).__name__
            raise
        finally:
            self.done.append(Step(name, began_s, began_s + time.perf_counter() - clock_s, attributes, error))


Observe = Callable[[Turn, Ask, tuple[Step, ...]], None]
"""Told of every turn once it is in the journal; must be quick and must not raise."""
