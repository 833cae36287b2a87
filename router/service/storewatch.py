"""The measured prompts as the planner reads them: anew when somebody has written, and kept while nobody can tell.

The store may be on another machine, and reading it blocks: it is asked on a thread. Requests are answered without it,
so that what else a plan rests on is followed while it is away.
"""

from __future__ import annotations

import asyncio
import logging

import numpy as np

from router.domain.errors import StoreError
from router.domain.estimates import FloatArray
from router.domain.ports import MeasurementStore
from router.domain.record import Measurement

logger = logging.getLogger(__name__)


class StoreWatch:
    """Keeps the rows that were read last."""

    def __init__(self, store: MeasurementStore) -> None:
        """Take the store; nothing is read before the first look."""
        self._store = store
        self.generation: int | None = None
        """Of the rows; None before they have been read."""
        self.measurements: tuple[Measurement, ...] = ()
        self.embeddings: FloatArray = np.zeros((0, 0))  # (n, d)
        self.trouble: str | None = None
        """Why what is in the store is not used, or None."""

    async def look(self) -> int | None:
        """Read the rows if there are others; the generation of those there are."""
        await asyncio.to_thread(self._look)
        return self.generation

    def _look(self) -> None:
        try:
            generation = self._store.generation
            if generation != self.generation:
                self.measurements, self.embeddings = self._store.all()
                self.generation = generation
        except StoreError as error:
            if self.trouble is None:
                instead = "every prompt takes the reference" if self.generation is None else "those read last stay"
                self.trouble = f"the measured prompts cannot be read, {instead}: {error}"
                logger.warning("%s", self.trouble)
            return
        if self.trouble is not None:
            logger.info("the measured prompts can be read again")
        self.trouble = None
