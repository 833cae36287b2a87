"""Embedding for clients: beside deciding, which must not wait for it, and on the router's own account.

An embedder takes one caller at a time, so a long list of texts is embedded in slices: who decides waits for one of
them at most. Each slice is metered, and the joules are the router's; as no turn is there to hold them, the next one
carries them, as it does those of requests that were refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from router.domain.estimates import FloatArray
from router.domain.ports import Embedder, Meter
from router.service.worker import Worker

SLICE = 16
"""Texts embedded at a time, half a second's work on two cores: a text is two pieces at most, an encoder's batch 32."""


class Embedding:
    """Vectors by the embedder that decides."""

    def __init__(self, embedder: Embedder, meter: Meter, charge: Callable[[float | None], None]) -> None:
        """Take the parts.

        Args:
            embedder: The one that decides.
            meter: That of this machine.
            charge: Takes joules that no turn holds; None where they are not known.
        """
        self._embedder = embedder
        self._meter = meter
        self._charge = charge
        self._worker = Worker("embed", threads=2)
        self._turn = asyncio.Lock()

    async def load(self, *, within_s: float) -> None:
        """Have the embedder load what it needs; on nobody's account, like all of starting up.

        Raises:
            EmbedError: If it fails.
            TimeoutError: If it does not answer in time.
        """
        await self._worker.run(lambda: self._embedder.embed(["warm-up"]), within_s=within_s)

    async def embed(self, texts: Sequence[str], *, within_s: float) -> FloatArray:
        """Vectors of unit length, (n, d); requests take turns slice by slice.

        Raises:
            EmbedError: If the embedder fails.
            TimeoutError: If it is not through in time; slices that have not begun by then never do.
        """
        slices = [texts[start : start + SLICE] for start in range(0, len(texts), SLICE)] or [texts]
        async with asyncio.timeout(within_s):
            return np.concatenate([await self._embed_slice(part, within_s) for part in slices])

    async def _embed_slice(self, texts: Sequence[str], within_s: float) -> FloatArray:
        async with self._turn:
            window = self._meter.start()
            try:
                return await self._worker.run(lambda: self._embedder.embed(texts), within_s=within_s)
            finally:
                self._charge(window.stop().energy_j)

    def close(self) -> None:
        """Let its threads end."""
        self._worker.close()
