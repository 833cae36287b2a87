"""The life of one request: choose, generate with fallbacks, meter, account, journal.

Until the first piece of an answer has come from an engine, a failure costs the user nothing but time: the next
best option is tried. After it the error ends the stream. Whatever was started is charged, and journalled.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.chat import Delta, Finish, Generation, with_directive
from router.domain.decision import Decision
from router.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
    DeadlineError,
    OverloadedError,
    RequestError,
    RouterError,
)
from router.domain.ports import Meter
from router.domain.record import CarbonRecord, Turn
from router.service.accounting import Attempt, Places, basis_of, carbon_record
from router.service.ask import Ask
from router.service.breaker import Breakers, Place, resting
from router.service.chooser import Choice, Chooser
from router.service.engines import Engines
from router.service.judging import Held, doubt
from router.service.ledger import Ledger
from router.service.limits import Limits
from router.service.steps import Observe, Steps

logger = logging.getLogger(__name__)


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
class _Progress:
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
        return self.left_s == 0.0

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.clock_s


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
        self._engines = engines
        self._ledger = ledger
        self._router_meter = router_meter
        self._limits = limits
        self._breakers = breakers
        self._observers = observers
        self._random = random.Random()

    async def run(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Answer: one :class:`Started`, the deltas, one :class:`Done`.

        Closing the generator stops the engine; what it had spent is journalled.

        Raises:
            RequestError: If the request cannot be served as it stands.
            BackendError: If no engine could answer, or the one that answered broke off.
            OverloadedError: If too many requests wait already.
            DeadlineError: If the answer was not whole in time.
        """
        progress = _Progress(deadline_at=asyncio.get_running_loop().time() + self._limits.deadline_s)
        progress.earlier_answers = sum(message.role == "assistant" for message in ask.messages)
        window = self._router_meter.start()
        try:
            with progress.steps.step("choose"):
                patience_s = min(self._limits.decide_s, self._limits.deadline_s / 4)
                choice = await self._chooser.choose(ask, within_s=patience_s, steps=progress.steps)
        finally:
            progress.router_energy_j = window.stop().energy_j
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
            self._write(ask, choice, progress, "cancelled")
            raise
        except RouterError as error:
            answered = None  # who asks again after an error does not complain of an answer
            self._write(ask, choice, progress, "error", error=error.code)
            raise
        except Exception:
            answered = None
            # A mistake of ours: told at the edge, but what was spent has to be in the journal.
            self._write(ask, choice, progress, "error", error="internal_error")
            raise
        finally:
            if answered is not None:
                self._chooser.answered(choice, answered)

    async def _answer(self, ask: Ask, choice: Choice, progress: _Progress) -> AsyncGenerator[Event, None]:
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
                        raise _too_late() from error
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

    async def _pause(self, progress: _Progress, trial: int) -> None:
        """Back off, longer from trial to trial; the jitter keeps clients that failed together apart."""
        pause_s = self._limits.backoff_s * 2 ** (trial - 1) * self._random.uniform(0.5, 1.5)
        await asyncio.sleep(min(pause_s, progress.left_s))

    async def _attempt(
        self, ask: Ask, choice: Choice, option: Option, progress: _Progress
    ) -> AsyncGenerator[Event, None]:
        """One generation, handed on as it comes."""
        finish: Finish | None = None
        async with aclosing(self._generate(ask, choice, option, progress)) as pieces:
            async for piece in pieces:
                if progress.first_token_s is None:
                    progress.first_token_s = progress.elapsed_s()
                    yield Started(progress.id, option, choice.decision)
                if isinstance(piece, Finish):
                    finish = piece
                else:
                    yield piece
        assert finish is not None  # promised by _generate
        yield await self._done(ask, choice, progress, finish)

    async def _cascade(
        self, ask: Ask, choice: Choice, cascade: Option, progress: _Progress
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
                raise _too_late() from error
            why = f"{cascade.first if first is None else cascade.beside} failed: {error.code}"
        if why is not None:
            progress.escalations += 1
            progress.fallback = f"escalated: {why}"
            try:
                async with aclosing(self._attempt(ask, choice, cascade.then, progress)) as events:
                    async for event in events:
                        yield event
                return
            except (BackendError, OverloadedError, DeadlineError) as error:
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
        yield await self._done(ask, choice, progress, first.finish)

    async def _hold_back(
        self, ask: Ask, choice: Choice, option: Option, progress: _Progress, *, logprobs: bool = False
    ) -> Held:
        """One generation whose pieces nobody sees yet."""
        deltas: list[Delta] = []
        finish: Finish | None = None
        async with aclosing(self._generate(ask, choice, option, progress, logprobs=logprobs)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    finish = piece
                else:
                    deltas.append(piece)
        assert finish is not None  # promised by _generate
        return Held(tuple(deltas), finish, progress.attempts[-1])

    async def _generate(
        self, ask: Ask, choice: Choice, option: Option, progress: _Progress, *, logprobs: bool = False
    ) -> AsyncGenerator[Delta | Finish, None]:
        """One generation to its finish, metered whatever becomes of it."""
        place = (option.site, option.model)
        if self._breakers.blocked(place):
            raise resting(place)  # not worth waiting for a slot
        catalogue = choice.snapshot.catalogue
        generation = Generation(
            model=self._engines.tag(option, catalogue),
            messages=with_directive(ask.messages, catalogue.directives[option.directive].text),
            sampling=ask.sampling,
            logprobs=ask.logprobs or logprobs,
            extra=ask.extra,
        )
        finish: Finish | None = None
        ended_by: str | None = "cancelled"
        async with self._engines.hold(option.site, progress.deadline_at) as engine:
            with self._breakers.guard(place), progress.steps.step("attempt") as noted:
                noted |= {"model": option.model, "directive": option.directive, "site": option.site}
                noted |= {"engine": engine.site.engine}
                window = engine.meter.start()
                try:
                    async with aclosing(_punctual(engine.backend.stream(generation), progress)) as pieces:
                        async for piece in pieces:
                            if isinstance(piece, Finish):
                                finish = piece
                            yield piece
                    if finish is None:
                        raise BackendProtocolError(f"the engine ended {option} without a finish")
                    ended_by = None
                except RouterError as error:
                    ended_by = error.code
                    raise
                finally:
                    reading = window.stop()
                    progress.attempts.append(Attempt(option, reading, ended_by))
                    noted |= {"energy_j": reading.energy_j, "energy_method": reading.method}
                    noted |= {"device_s": reading.device_s, "first_token_s": progress.first_token_s}
                    if finish is not None:
                        noted |= {"prompt_tokens": finish.usage.prompt_tokens, "finish_reason": finish.reason}
                        noted |= {"output_tokens": finish.usage.output_tokens}

    async def _done(self, ask: Ask, choice: Choice, progress: _Progress, finish: Finish) -> Done:
        """The end of an answer that is whole."""
        turn = self._turn(choice, progress, "ok", finish=finish)
        # The client sees the end of the answer only when the turn is safe on disk.
        progress.is_journalled = True
        with progress.steps.step("journal"):
            await asyncio.to_thread(self._ledger.write, turn)
        self._observe(turn, ask, progress)
        return Done(turn, finish)

    def _record(self, choice: Choice, progress: _Progress) -> CarbonRecord:
        return carbon_record(
            choice.decision,
            progress.attempts,
            places=_places(choice),
            floor=choice.snapshot.catalogue.floor,
            overhead_s=progress.overhead_s,
            router_energy_j=progress.router_energy_j,
            fallback=progress.fallback,
        )

    def _turn(
        self,
        choice: Choice,
        progress: _Progress,
        status: str,
        *,
        finish: Finish | None = None,
        error: str | None = None,
    ) -> Turn:
        return Turn(
            id=progress.id,
            started_at=progress.started_at,
            status=status,
            carbon=self._record(choice, progress),
            prompt_tokens=finish.usage.prompt_tokens if finish else None,
            output_tokens=finish.usage.output_tokens if finish else None,
            duration_s=progress.elapsed_s(),
            first_token_s=progress.first_token_s,
            finish_reason=finish.reason if finish else None,
            mean_logprob=finish.usage.mean_logprob if finish else None,
            error=error,
            attempts=len(progress.attempts),
            escalations=progress.escalations,
            side=choice.decision.side,
            conversation=choice.decision.conversation,
            basis=basis_of(
                choice.decision,
                progress.attempts,
                places=_places(choice),
                earlier_answers=progress.earlier_answers,
            ),
        )

    def _observe(self, turn: Turn, ask: Ask, progress: _Progress) -> None:
        for observe in self._observers:
            observe(turn, ask, tuple(progress.steps.done))

    def _write(self, ask: Ask, choice: Choice, progress: _Progress, status: str, *, error: str | None = None) -> None:
        """Journal a turn that did not end well; not awaited, since it also runs while being cancelled."""
        if progress.is_journalled:
            return
        progress.is_journalled = True
        turn = self._turn(choice, progress, status, error=error)
        with progress.steps.step("journal"):
            self._ledger.write(turn)
        self._observe(turn, ask, progress)


async def _punctual(pieces: AsyncIterator[Delta | Finish], progress: _Progress) -> AsyncGenerator[Delta | Finish, None]:
    """The pieces, until the deadline.

    Raises:
        BackendTimeoutError: If it passed before the first piece: the engine is to blame.
        DeadlineError: If it passed later: the answer was too long.
    """
    has_begun = False
    async with aclosing(cast("AsyncGenerator[Delta | Finish, None]", pieces)) as open_pieces:
        while True:
            try:
                # Only around the waiting: a timeout must not strike while the client reads.
                async with asyncio.timeout_at(progress.deadline_at):
                    piece = await anext(open_pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not has_begun:
                    raise BackendTimeoutError("the engine did not begin to answer before the deadline") from None
                raise _too_late() from None
            has_begun = True
            yield piece


def _places(choice: Choice) -> Places:
    return Places(choice.snapshot.catalogue.sites, choice.snapshot.intensities)


def _may_recover(error: RouterError | None) -> bool:
    return isinstance(error, BackendError) and error.retryable


def _worst(failures: Mapping[Place, RouterError]) -> RouterError:
    """What to tell of several failures: what the client can mend, then what time mends, then the last one."""
    for kind in (RequestError, OverloadedError):
        for error in failures.values():
            if isinstance(error, kind):
                return error
    return list(failures.values())[-1] if failures else _nobody()


def _too_late() -> DeadlineError:
    return DeadlineError(
        "the answer was not whole within its deadline", hint="ask for fewer tokens, or raise ROUTER_DEADLINE_S"
    )


def _nobody() -> BackendUnavailableError:
    return BackendUnavailableError(
        "no engine has a model that could answer", hint="run `carbon-router doctor` to see what is missing"
    )
