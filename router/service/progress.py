"""What a turn has come to so far, and what it tells on the way."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

from router.domain.catalogue import Option
from router.domain.chat import Delta, Finish
from router.domain.decision import Decision
from router.domain.errors import DeadlineError
from router.domain.record import Turn
from router.service.accounting import Attempt
from router.service.steps import Steps


@dataclass(frozen=True, slots=True)
class Started:
    """An engine has begun to answer: from here on the option is fixed."""

    id: str
    option: Option
    decision: Decision


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is whole."""

    turn: Turn
    finish: Finish


Event = Started | Delta | Done


@dataclass(slots=True)
class Progress:
    """What one turn has come to so far."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: float = field(default_factory=time.time)
    clock_s: float = field(default_factory=time.perf_counter)
    overhead_s: float = 0.0
    first_token_s: float | None = None
    router_energy_j: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    fallback: str | None = None
    escalations: int = 0
    deadline_at: float = float("inf")
    is_journalled: bool = False
    earlier_answers: int = 0
    steps: Steps = field(default_factory=Steps)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, which is a time of the event loop's clock."""
        return max(0.0, self.deadline_at - asyncio.get_running_loop().time())

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.left_s == 0.0

    def elapsed_s(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.clock_s


def too_late() -> DeadlineError:
    """What a client is told whose answer was not whole in time."""
    return DeadlineError(
        "the answer was not whole within its deadline", hint="ask for fewer tokens, or raise ROUTER_DEADLINE_S"
    )
