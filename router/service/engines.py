"""Which engine runs what, right now: backends, meters and gates by site; engines can be exchanged while they run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from router.domain.catalogue import Catalogue, Option, Site
from router.domain.errors import BackendError, BackendUnavailableError, RequestError
from router.domain.ports import Backend, DescribingBackend, Meter, ServedModel
from router.service.gate import Gate

logger = logging.getLogger(__name__)

ASK_S = 5.0
"""An engine that does not say within this time what it can run is taken to be down."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything needed to run and meter a generation at one site."""

    site: Site
    backend: Backend
    meter: Meter

    async def close(self) -> None:
        """Stop the backend, then the meter."""
        await self.backend.close()
        await asyncio.to_thread(self.close_meter)

    def close_meter(self) -> None:
        """Stop what samples for the meter, unless it is this machine's: other sites share that one, and the router."""
        close = getattr(self.meter, "close", None)
        if close is not None and not self.site.runs_here:
            close()


class Engines:
    """The engines of a federation and what each of them can run.

    Availability is asked for, not assumed: weights may still be on their way, an engine may be down. What it
    said last is kept until it is asked again.
    """

    def __init__(self, engines: Mapping[str, Engine], *, poll_s: float = 15.0, most_waiting: int = 64) -> None:
        """Take the engines.

        Args:
            engines: By site name.
            poll_s: How long an answer about availability is good for.
            most_waiting: Requests that may wait for a site's slots.
        """
        self._engines = dict(engines)
        self._poll_s = poll_s
        self._most_waiting = most_waiting
        self._served: dict[str, dict[str, ServedModel]] = {}
        self._abilities: dict[tuple[str, ServedModel], frozenset[str]] = {}
        self._down: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._gates = {name: self._gate(engine) for name, engine in engines.items()}
        self._leaving: list[tuple[Engine, Gate]] = []
        self._lent: Counter[int] = Counter()  # calls under way that are no generations, by engine

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites."""
        return tuple(self._engines)

    @property
    def gates(self) -> Mapping[str, Gate]:
        """Who runs and waits, by site."""
        return dict(self._gates)

    @property
    def all(self) -> Mapping[str, Engine]:
        """The engines by site."""
        return dict(self._engines)

    def engine(self, site: str) -> Engine:
        """The engine of a site."""
        return self._engines[site]

    @asynccontextmanager
    async def hold(self, site: str, deadline_at: float) -> AsyncGenerator[Engine, None]:
        """The engine of a site and one of its slots, so that it is never asked for more than it has.

        Raises:
            BackendUnavailableError: If models.yaml no longer has the site.
            OverloadedError: If too many wait already.
            DeadlineError: If no slot became free by the deadline (the event loop's clock).
        """
        if site not in self._engines:
            raise BackendUnavailableError(f"the site {site} has been removed", hint="ask again: the plan is new")
        engine, gate = self._engines[site], self._gates[site]
        async with gate.hold(deadline_at):
            yield engine

    @asynccontextmanager
    async def lend(self, site: str) -> AsyncGenerator[Engine, None]:
        """The engine of a site for a call that is no generation: it stays open until the call has ended.

        Raises:
            BackendUnavailableError: If models.yaml no longer has the site.
        """
        if site not in self._engines:
            raise BackendUnavailableError(f"the site {site} has been removed")
        engine = self._engines[site]
        self._lent[id(engine)] += 1
        try:
            yield engine
        finally:
            self._lent[id(engine)] -= 1

    def exchange(self, engines: Mapping[str, Engine]) -> None:
        """Go on with these engines; one that is not among them is closed when its last generation has ended."""
        for name, old in self._engines.items():
            if engines.get(name) is not old:
                self._leaving.append((old, self._gates[name]))
        self._gates = {
            name: self._gates[name] if self._engines.get(name) is engine else self._gate(engine)
            for name, engine in engines.items()
        }
        self._engines = dict(engines)
        self._served = {name: served for name, served in self._served.items() if name in engines}
        self._down = {name: why for name, why in self._down.items() if name in engines}

    def _gate(self, engine: Engine) -> Gate:
        return Gate(engine.site.name, engine.site.slots, self._most_waiting)

    @property
    def down(self) -> Mapping[str, str]:
        """Sites that could not be asked, and why."""
        return dict(self._down)

    def tag(self, option: Option, catalogue: Catalogue) -> str:
        """The model's name at its engine."""
        return catalogue.models[option.model].tags.get(option.site, option.model)

    def available(self, option: Option, catalogue: Catalogue) -> bool:
        """Whether the option's engine has its model, as last heard."""
        return self.tag(option, catalogue) in self._served.get(option.site, {})

    def served(self, option: Option, catalogue: Catalogue) -> ServedModel | None:
        """What the option's engine says of its model, or None."""
        return self._served.get(option.site, {}).get(self.tag(option, catalogue))

    def can(self, ability: str, option: Option, catalogue: Catalogue) -> bool | None:
        """Whether the option's model can do something (in Ollama's words); None where its engine has not said."""
        served = self.served(option, catalogue)
        said = None if served is None else self._abilities.get((option.site, served))
        return None if said is None else ability in said

    async def refresh(self, *, force: bool = False) -> bool:
        """Ask every engine what it can run, if the last answer is too old; True if anything changed."""
        await self._close_idle()
        if not force and time.monotonic() - self._asked_at < self._poll_s:
            return False
        self._asked_at = time.monotonic()
        before = self._served
        answers = await asyncio.gather(*(self._ask(name) for name in self._engines))
        self._served = dict(zip(self._engines, answers, strict=True))
        await asyncio.gather(*(self._describe(name) for name in self._engines))
        return self._served != before

    async def _describe(self, name: str) -> None:
        """Ask of every model what it can do, until its engine has said so, and again when the model is another."""
        engine = self._engines.get(name)
        if engine is None or not isinstance(engine.backend, DescribingBackend):
            return
        for model in self._served.get(name, {}).values():
            if (name, model) not in self._abilities:
                said = await engine.backend.capabilities(model.name)
                if said is not None:
                    self._abilities[name, model] = said

    async def _ask(self, name: str) -> dict[str, ServedModel]:
        try:
            async with asyncio.timeout(ASK_S):
                models = await self._engines[name].backend.models()
        except (BackendError, RequestError, TimeoutError) as error:
            why = str(error) or f"it does not say within {ASK_S:g} s what it can run"
            if name not in self._down:
                logger.warning("site %s: %s", name, why)
            self._down[name] = why
            return {}
        self._down.pop(name, None)
        return {model.name: model for model in models}

    async def _close_idle(self) -> None:
        idle = [(engine, gate) for engine, gate in self._leaving if gate.idle and not self._lent[id(engine)]]
        self._leaving = [pair for pair in self._leaving if pair not in idle]
        for engine, _ in idle:
            await engine.close()

    async def close(self) -> None:
        """Stop every engine and what meters it alone."""
        for engine in [*self._engines.values(), *(engine for engine, _ in self._leaving)]:
            await engine.close()
