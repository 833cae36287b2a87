"""The life of one request: choose, generate with fallbacks, close.

Until the first piece of an answer has come from an engine, a failure costs the user nothing but time: the next
best option is tried. After it the error ends the stream. Whatever was started is charged, and journalled.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.chat import Delta, Finish
from router.domain.errors import (
    BackendError,
    BackendUnavailableError,
    DeadlineError,
    OverloadedError,
    RequestError,
    RouterError,
)
from router.domain.ports import Meter
from router.service.accounting import total
from router.service.ask import Ask
from router.service.breaker import Breakers, Place
from router.service.chooser import Choice, Chooser
from router.service.closing import Closing
from router.service.engines import Engines
from router.service.generations import Generations
from router.service.judging import Held, doubt
from router.service.ledger import Ledger
from router.service.limits import Limits
from router.service.progress import Event, Progress, Started, too_late
from router.service.steps import Observe

logger = logging.getLogger(__name__)


class TurnRunner:
    """Runs requests."""

    def __init__(
        self,
        chooser: Chooser,
        engines: Engines,
        ledger: Ledger,
        router_meter: Meter,
        limits: Limits,
        breakers: Breakers,
        observers: tuple[Observe, ...] = (),
    ) -> None:
        """Take the parts.

        Args:
            chooser: Decides.
            engines: Where options run.
            ledger: Where turns go.
            router_meter: Meters the router's own work on this machine.
            limits: How often and how long to try.
            breakers: Who is left alone for having failed.
            observers: Told of every turn when it has ended: the log, a trace.
        """
        self._chooser = chooser
        self._router_meter = router_meter
        self._limits = limits
        self._breakers = breakers
        self._generations = Generations(engines, breakers)
        self._closing = Closing(ledger, observers)
        self._random = random.Random()
        self._carried_j: float | None = 0.0

    def carry(self, energy_j: float | None) -> None:
        """Take joules of the router that no turn holds: the next one will; None where they are not known."""
        self._carried_j = total((self._carried_j, energy_j))

    def slots(self, site: str) -> int:
        """How many generations a site takes at a time; 1 where it has gone."""
        return self._generations.slots(site)

    async def run(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Answer: one :class:`Started`, the deltas, one :class:`Done`.

        Closing the generator stops the engine; what it had spent is journalled.

        Raises:
            RequestError: If the request cannot be served as it stands.
            BackendError: If no engine could answer, or the one that answered broke off.
            OverloadedError: If too many requests wait already.
            DeadlineError: If the answer was not whole in time.
        """
        progress = Progress(deadline_at=asyncio.get_running_loop().time() + self._limits.deadline_s)
        progress.earlier_answers = sum(message.role == "assistant" for message in ask.messages)
        window = self._router_meter.start()
        try:
            with progress.steps.step("choose"):
                patience_s = min(self._limits.decide_s, self._limits.deadline_s / 4)
                choice = await self._chooser.choose(ask, within_s=patience_s, steps=progress.steps)
        except BaseException:
            # Refused or cancelled before there was a choice: no turn of its own, so the next one carries its joules.
            self.carry(window.stop().energy_j)
            raise
        progress.router_energy_j = total((window.stop().energy_j, self._carried_j))
        self._carried_j = 0.0
        progress.overhead_s = progress.elapsed_s()
        progress.fallback = choice.decision.fallback
        answered: Option | None = None
        try:
            async with aclosing(self._answer(ask, choice, progress)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        answered = event.option
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            await self._closing.write(ask, choice, progress, "cancelled")
            raise
        except RouterError as error:
            answered = None  # who asks again after an error does not complain of an answer
            await self._closing.write(ask, choice, progress, "error", error=error.code)
            raise
        except Exception:
            answered = None
            # A mistake of ours: told at the edge, but what was spent has to be in the journal.
            await self._closing.write(ask, choice, progress, "error", error="internal_error")
            raise
        finally:
            if answered is not None:
                self._chooser.answered(choice, answered)

    async def _answer(self, ask: Ask, choice: Choice, progress: Progress) -> AsyncGenerator[Event, None]:
        """Try the options in order; where all failed and some may recover, wait a little and try those again."""
        options = choice.order
        failures: dict[Place, RouterError] = {}
        for trial in range(self._limits.rounds):
            if trial:
                await self._pause(progress, trial)
            failures = {}
            for option in options:
                place = (option.site, option.model)
                if place in failures or len(progress.attempts) >= self._limits.most_attempts:
                    continue
                try:
                    run = self._cascade if isinstance(option, Cascade) else self._attempt
                    async with aclosing(run(ask, choice, option, progress)) as events:
                        async for event in events:
                            yield event
                    return
                except (BackendError, RequestError, OverloadedError) as error:
                    if progress.first_token_s is not None:
                        raise
                    if progress.is_late:
                        raise too_late() from error
                    logger.info("%s failed before the first byte: %s", option, error.code)
                    failures[place] = error
                    progress.fallback = f"{option} failed: {error.code}"
            options = tuple(
                option
                for option in options
                if _may_recover(failures.get((option.site, option.model)))
                and not self._breakers.blocked((option.site, option.model))
            )
            if not options or len(progress.attempts) >= self._limits.most_attempts:
                break
        raise _worst(failures)

    async def _pause(self, progress: Progress, trial: int) -> None:
        """Back off, longer from trial to trial; the jitter keeps clients that failed together apart."""
        pause_s = self._limits.backoff_s * 2 ** (trial - 1) * self._random.uniform(0.5, 1.5)
        await asyncio.sleep(min(pause_s, progress.left_s))

    async def _attempt(
        self, ask: Ask, choice: Choice, option: Option, progress: Progress
    ) -> AsyncGenerator[Event, None]:
        """One generation, handed on as it comes."""
        finish: Finish | None = None
        async with aclosing(self._generations.run(ask, choice, option, progress)) as pieces:
            async for piece in pieces:
                if progress.first_token_s is None:
                    progress.first_token_s = progress.elapsed_s()
                    yield Started(progress.id, option, choice.decision)
                if isinstance(piece, Finish):
                    finish = piece
                else:
                    yield piece
        assert finish is not None  # promised by _generate
        yield await self._closing.done(ask, choice, progress, finish)

    async def _cascade(
        self, ask: Ask, choice: Choice, cascade: Option, progress: Progress
    ) -> AsyncGenerator[Event, None]:
        """The first answer, held back until it has been judged; where it does not stand, the next option answers."""
        assert isinstance(cascade, Cascade)
        first: Held | None = None
        try:
            first = await self._hold_back(ask, choice, cascade.first, progress, logprobs=cascade.signal == "logprob")
            beside = None
            if cascade.beside is not None:
                beside = await self._hold_back(ask, choice, cascade.beside, progress)
            why = await asyncio.to_thread(doubt, cascade, ask.messages, first, beside)
        except (BackendError, RequestError, OverloadedError) as error:
            if progress.is_late:
                raise too_late() from error
            why = f"{cascade.first if first is None else cascade.beside} failed: {error.code}"
        if why is not None:
            progress.escalations += 1
            progress.fallback = f"escalated: {why}"
            try:
                async with aclosing(self._attempt(ask, choice, cascade.then, progress)) as events:
                    async for event in events:
                        yield event
                return
            except (BackendError, RequestError, OverloadedError, DeadlineError) as error:
                if first is None or progress.first_token_s is not None:
                    raise
                progress.fallback += f"; {cascade.then} failed: {error.code}, so the first answer stands"
        assert first is not None
        # The attempt that answers comes last in the record: what ran after it was for nothing.
        progress.attempts = [a for a in progress.attempts if a is not first.attempt] + [first.attempt]
        progress.first_token_s = progress.elapsed_s()
        yield Started(progress.id, cascade.first, choice.decision)
        for piece in first.as_asked(logprobs=ask.logprobs):
            yield piece
        yield await self._closing.done(ask, choice, progress, first.finish)

    async def _hold_back(
        self, ask: Ask, choice: Choice, option: Option, progress: Progress, *, logprobs: bool = False
    ) -> Held:
        """One generation whose pieces nobody sees yet."""
        deltas: list[Delta] = []
        finish: Finish | None = None
        async with aclosing(self._generations.run(ask, choice, option, progress, logprobs=logprobs)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    finish = piece
                else:
                    deltas.append(piece)
        assert finish is not None  # promised by _generate
        return Held(tuple(deltas), finish, progress.attempts[-1])


def _may_recover(error: RouterError | None) -> bool:
    return isinstance(error, BackendError) and error.retryable


def _worst(failures: Mapping[Place, RouterError]) -> RouterError:
    """What to tell of several failures: what the client can mend, then what time mends, then the last one."""
    for kind in (RequestError, OverloadedError):
        for error in failures.values():
            if isinstance(error, kind):
                return error
    return list(failures.values())[-1] if failures else _nobody()


def _nobody() -> BackendUnavailableError:
    return BackendUnavailableError(
        "no engine has a model that could answer", hint="run `carbon-router doctor` to see what is missing"
    )
