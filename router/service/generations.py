"""One generation at one place: a slot, a breaker, a meter, and the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from router.domain.catalogue import Option
from router.domain.chat import Delta, Finish, Generation, with_directive
from router.domain.errors import BackendProtocolError, BackendTimeoutError, RouterError
from router.service.accounting import Attempt
from router.service.ask import Ask
from router.service.breaker import Breakers, resting
from router.service.chooser import Choice
from router.service.engines import Engines
from router.service.progress import Progress, too_late

FAIR_S = 5.0
"""An engine that got less time than this, and less than half of the deadline, is not to blame for missing it."""


class Generations:
    """Runs generations, each metered whatever becomes of it."""

    def __init__(self, engines: Engines, breakers: Breakers) -> None:
        """Take where options run, and who is left alone for having failed."""
        self._engines = engines
        self._breakers = breakers

    def slots(self, site: str) -> int:
        """How many generations a site takes at a time; 1 where it has gone."""
        engine = self._engines.all.get(site)
        return 1 if engine is None else engine.site.slots

    async def run(
        self, ask: Ask, choice: Choice, option: Option, progress: Progress, *, logprobs: bool = False
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


async def _punctual(pieces: AsyncIterator[Delta | Finish], progress: Progress) -> AsyncGenerator[Delta | Finish, None]:
    """The pieces, until the deadline.

    Raises:
        BackendTimeoutError: If it passed before the first piece: the engine is to blame, unless it had no time.
        DeadlineError: If it passed later: the answer was too long.
    """
    has_begun = False
    left_s = progress.deadline_at - asyncio.get_running_loop().time()
    had_time = left_s >= min(FAIR_S, 0.5 * (left_s + progress.elapsed_s()))
    async with aclosing(cast("AsyncGenerator[Delta | Finish, None]", pieces)) as open_pieces:
        while True:
            try:
                # Only around the waiting: a timeout must not strike while the client reads.
                async with asyncio.timeout_at(progress.deadline_at):
                    piece = await anext(open_pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not has_begun and had_time:
                    raise BackendTimeoutError("the engine did not begin to answer before the deadline") from None
                raise too_late() from None
            has_begun = True
            yield piece
