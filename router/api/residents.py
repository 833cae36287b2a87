"""Which models answered lately: what can be said of an engine's memory without asking it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing

from router.api.streams import Events
from router.service.progress import Done, Started

KEEP_S = 300.0  # how long Ollama keeps a model loaded unless told otherwise


class Residents:
    """Notes when each model last answered.

    Engines load and unload on their own, and their port does not tell. A model counts as resident while it answers
    and :data:`KEEP_S` seconds longer.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with none; the clock tells Unix seconds."""
        self._clock = clock
        self._until: dict[str, float] = {}

    async def noted(self, events: Events) -> Events:
        """The same events; notes who answers."""
        model: str | None = None
        async with aclosing(events):
            async for index, event in events:
                if isinstance(event, Started):
                    model = event.option.model
                if isinstance(event, Started | Done) and model is not None:
                    self._until[model] = self._clock() + KEEP_S
                yield index, event

    def now(self) -> dict[str, float]:
        """Resident models, and until when in Unix seconds, the latest first."""
        now = self._clock()
        self._until = {model: until for model, until in self._until.items() if until > now}
        return dict(sorted(self._until.items(), key=lambda item: -item[1]))
