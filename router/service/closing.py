"""The end of a turn: its carbon record, the journal, and whoever observes turns."""

from __future__ import annotations

import asyncio

from router.domain.chat import Finish
from router.domain.record import CarbonRecord, Turn
from router.service.accounting import Places, basis_of, carbon_record
from router.service.ask import Ask
from router.service.chooser import Choice
from router.service.ledger import Ledger
from router.service.progress import Done, Progress
from router.service.steps import Observe


class Closing:
    """Closes turns, each once."""

    def __init__(self, ledger: Ledger, observers: tuple[Observe, ...]) -> None:
        """Take where turns go, and who is told of them."""
        self._ledger = ledger
        self._observers = observers

    async def done(self, ask: Ask, choice: Choice, progress: Progress, finish: Finish) -> Done:
        """The end of an answer that is whole."""
        turn = self._turn(choice, progress, "ok", finish=finish)
        # The client sees the end of the answer only when the turn is safe on disk.
        await self._keep(turn, ask, progress)
        return Done(turn, finish)

    async def write(
        self, ask: Ask, choice: Choice, progress: Progress, status: str, *, error: str | None = None
    ) -> None:
        """Journal a turn that did not end well; may be cancelled, and cancelled again."""
        if not progress.is_journalled:
            await self._keep(self._turn(choice, progress, status, error=error), ask, progress)

    async def _keep(self, turn: Turn, ask: Ask, progress: Progress) -> None:
        """Hand the turn to the ledger, and wait until it is written; who is cancelled meanwhile only stops waiting."""
        progress.is_journalled = True
        written = self._ledger.write(turn)
        try:
            with progress.steps.step("journal"):
                await asyncio.shield(asyncio.wrap_future(written))
        finally:
            self._observe(turn, ask, progress)

    def _record(self, choice: Choice, progress: Progress) -> CarbonRecord:
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
        progress: Progress,
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

    def _observe(self, turn: Turn, ask: Ask, progress: Progress) -> None:
        for observe in self._observers:
            observe(turn, ask, tuple(progress.steps.done))


def _places(choice: Choice) -> Places:
    return Places(choice.snapshot.catalogue.sites, choice.snapshot.intensities)
