"""A router in a process of its own, with an engine that goes wrong where the prompt says so, and a journal on disk.

``python -m tests.api.traffic_server FOLDER`` writes its address to standard output and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from router.api.app import create_app
from router.backends.scripted import ScriptedBackend
from router.carbon.fixed import FixedIntensity
from router.domain.chat import Delta, Finish, Generation, last_user_text
from router.domain.errors import BackendProtocolError, BackendUnavailableError
from router.embed.hashed import HashedEmbedder
from router.journal.sqlite import SqliteJournal
from router.meters.replay import ReplayCounter
from router.meters.window import SharedMeter
from router.service.assembly import Parts, Service, assemble
from router.service.engines import Engine
from router.service.limits import Limits
from router.store.memory import MemoryStore
from tests.api.server import serve
from tests.service import federation

FAULT = re.compile(r"\[([a-z ]+)\]$")
AFTER = 2  # words of an answer that come before it breaks or pauses


class FaultyBackend(ScriptedBackend):
    """Reads at the end of a prompt what is to go wrong, e.g. ``[refuse]``."""

    def __init__(self) -> None:
        super().__init__("It is 42, of course.", models=("small", "large"))
        self._refused_once: set[str] = set()

    async def stream(self, generation: Generation) -> AsyncGenerator[Delta | Finish, None]:
        self.calls.clear()  # whoever looks for memory that grows should not find the fake's
        prompt = last_user_text(generation.messages)
        found = FAULT.search(prompt)
        fault = found[1] if found else None
        async with aclosing(super().stream(generation)) as pieces:
            sent = 0
            async for piece in pieces:
                if fault == "refuse" or (fault == "fall back" and not sent and self._is_first_try(prompt)):
                    raise BackendUnavailableError("refused")
                if fault == "garbage":
                    raise BackendProtocolError("garbage")
                if fault == "break" and sent == AFTER:
                    raise BackendUnavailableError("broke off")
                if fault == "hang" or (fault == "pause" and sent == AFTER):
                    await asyncio.Event().wait()
                yield piece
                sent += 1

    def _is_first_try(self, prompt: str) -> bool:
        if prompt in self._refused_once:
            self._refused_once.discard(prompt)
            return False
        self._refused_once.add(prompt)
        return True


def build(folder: Path) -> Service:
    catalogue = federation.catalogue(slots=16)
    rows = federation.measurements()
    store, embedder = MemoryStore(), HashedEmbedder()
    store.add(rows, embedder.embed([row.prompt for row in rows]))
    meter = SharedMeter(ReplayCounter([5.0 * step for step in range(100_000)]))
    return assemble(
        catalogue,
        Parts(
            store=store,
            embedder=embedder,
            engines={"local": Engine(catalogue.sites["local"], FaultyBackend(), meter)},
            journal=SqliteJournal(folder / "journal.sqlite3"),
            sources={"local": FixedIntensity(385.0)},
            # A circuit that opens would let a request fail that its prompt lets pass.
            limits=Limits(backoff_s=0.01, failures_to_open=100_000),
        ),
    )


if __name__ == "__main__":
    with serve(create_app(build(Path(sys.argv[1])))) as url:
        print(url, flush=True)
        sys.stdin.read()
