"""Ollama where it answers and has the model, the embedded engine otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import cast

from router.backends.ollama import with_tag
from router.domain.chat import Delta, Finish, Generation
from router.domain.errors import BackendError, RequestError
from router.domain.ports import AdministeredBackend, AdministrationReply, Backend, DescribingBackend, ServedModel

ASK_S = 3.0
"""A preferred engine that does not say within this time what it has is taken not to answer. Less than the router waits
for a whole site: else a silent Ollama would take the embedded engine down with it."""


class AutoBackend:
    """Two engines as one; what the preferred one has is asked now and then."""

    def __init__(
        self,
        ollama: Backend,
        embedded: Backend,
        *,
        names: tuple[str, str] = ("ollama", "embedded"),
        good_for_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the engines.

        Args:
            ollama: The one that is preferred where it has the model.
            embedded: The one that is always there.
            names: What :meth:`engine_for` calls them.
            good_for_s: How many seconds an answer about what the preferred one has is good for.
            clock: Seconds.
        """
        self._ollama = ollama
        self._embedded = embedded
        self._names = names
        self._good_for_s = good_for_s
        self._clock = clock
        self._asking = asyncio.Lock()
        self._served: tuple[ServedModel, ...] = ()
        self._asked_at: float | None = None
        self._pinned: frozenset[str] | None = None

    async def pin(self) -> None:
        """Stay with the engines as they are now: a benchmark must not go on elsewhere when one fails for a moment."""
        self._asked_at = None
        await self._ask()
        self._pinned = frozenset(with_tag(served.name) for served in self._served)

    async def engine_for(self, model: str) -> str:
        """Which engine would serve the model now, ``ollama`` or ``embedded``."""
        return self._names[0] if await self._ollama_has(model) else self._names[1]

    async def stream(self, generation: Generation) -> AsyncGenerator[Delta | Finish, None]:
        """Chat with the engine that serves the model; see :meth:`router.domain.ports.Backend.stream`."""
        backend = self._ollama if await self._ollama_has(generation.model) else self._embedded
        try:
            items = cast("AsyncGenerator[Delta | Finish, None]", backend.stream(generation))
            async with aclosing(items) as stream:
                async for item in stream:
                    yield item
        except BackendError:
            self._asked_at = None  # it may have gone, or lost the model: ask before the next time
            raise

    async def models(self) -> tuple[ServedModel, ...]:
        """What either can run; a model that both have is shown as the preferred one has it.

        Raises:
            BackendError: If neither can be asked.
        """
        await self._ask()
        served = {model.name: model for model in self._served}
        try:
            others = await self._embedded.models()
        except BackendError:
            if not served:
                raise
            others = ()
        for model in others:
            if with_tag(model.name) not in served:
                served.setdefault(model.name, model)
        return tuple(served.values())

    async def capabilities(self, model: str) -> frozenset[str] | None:
        """What the engine that would serve the model says of it."""
        backend = self._ollama if await self._ollama_has(model) else self._embedded
        return await backend.capabilities(model) if isinstance(backend, DescribingBackend) else None

    def administer(
        self, method: str, path: str, body: AsyncIterator[bytes]
    ) -> AbstractAsyncContextManager[AdministrationReply]:
        """Hand a call on to Ollama; the embedded engine's models are files that models.yaml names."""
        if not isinstance(self._ollama, AdministeredBackend):
            raise BackendError("the engine cannot be administered")
        self._asked_at = None  # what it has may change
        return self._ollama.administer(method, path, body)

    async def close(self) -> None:
        """Close both."""
        await self._ollama.close()
        await self._embedded.close()

    async def _ollama_has(self, model: str) -> bool:
        if self._pinned is not None:
            return with_tag(model) in self._pinned
        await self._ask()
        return with_tag(model) in {with_tag(served.name) for served in self._served}

    async def _ask(self) -> None:
        async with self._asking:  # one question for all who want to know
            if self._asked_at is not None and self._clock() - self._asked_at < self._good_for_s:
                return
            try:
                async with asyncio.timeout(ASK_S):
                    self._served = await self._ollama.models()
            except (BackendError, RequestError, TimeoutError):
                self._served = ()  # it does not answer, which is what the embedded engine is for
            self._asked_at = self._clock()
