"""llama.cpp in the process, by way of xllamacpp: answers on a machine with nothing installed.

xllamacpp brings llama.cpp's whole server along, which wants to listen somewhere. It is given a socket in a private
folder, which is removed as soon as it stands: nobody but this process can reach it. Requests go in by a call.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from router.backends.gguf import GgufError, GgufHead, read_head
from router.backends.openai_chunks import ChunkReader, to_openai
from router.backends.residents import Residents
from router.backends.weights import distrust, locate
from router.domain.catalogue import Model, Weights
from router.domain.chat import Delta, Finish, Generation
from router.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendUnavailableError,
    ModelMissingError,
    WeightsError,
)
from router.domain.ports import ServedModel

logger = logging.getLogger(__name__)

ENGINE = "the embedded engine"
DEFAULT_CONTEXT_TOKENS = 8192
# Prompt tokens read between two looks at whether to go on. On 2 cores 64 read as fast as 128 (0.5B: 194 and 192
# tokens/s) and a prompt can be stopped within a third of a second.
BATCH_TOKENS = 64
OVERHEAD_BYTES = 128 << 20  # compute buffers and vocabulary; measured 60-110 MB for 135M and 0.5B models
# How long OpenMP's threads spin at each of the hundreds of barriers of a token before they let go of their core. Its
# default of 300,000 turns ruinous as soon as something else runs, and burns joules: beside other work 2 threads wrote
# 2-8 tokens/s so, 13-31 with this (135M). Alone on 2 cores this costs nothing (113 and 112), never spinning much (46).
SPINS = "1000"
READ_BYTES = 8 << 20
STOPPING_S = 0.1  # how long a closed stream waits for its thread, which ends at its next token
MANY_THREADS = 256  # of which nearly all stay unused: the slots of the models bound them

Chat = Callable[[dict[str, Any], Callable[[Any], bool]], None]
END = object()
_TAKES_TOOLS = re.compile(r"\btools\b")  # the name under which a template is given them


@dataclass(slots=True)
class _Loaded:
    chat: Chat | None
    slots: asyncio.Semaphore


class EmbeddedBackend:
    """The models of the catalogue whose weights are on this machine."""

    def __init__(
        self,
        models: Mapping[str, Model],
        cache_dir: Path,
        *,
        memory_bytes: int | None = None,
        slots: int = 1,
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        threads: int | None = None,
    ) -> None:
        """Take the models; nothing is loaded before it is used.

        Args:
            models: By name; those without weights, or whose weights are not here, are missing.
            cache_dir: Where fetched weights are.
            memory_bytes: For all loaded models together; None for no limit.
            slots: Generations of one model at a time.
            context_tokens: Context window of a model that states none; never larger than it was trained for.
            threads: For computing; None for one per physical core.
        """
        self._models = {name: (model, model.weights) for name, model in models.items() if model.weights is not None}
        self._cache_dir = cache_dir
        self._slots = slots
        self._context_tokens = context_tokens
        self._threads = threads or physical_cores()
        self._residents: Residents[_Loaded] = Residents(memory_bytes, _unload)
        self._pool = ThreadPoolExecutor(MANY_THREADS, thread_name_prefix="embedded")
        self._runs: set[asyncio.Task[None]] = set()
        self._troubles: dict[str, str | None] = {}
        self.running = 0
        """Generations under way."""

    async def stream(self, generation: Generation) -> AsyncGenerator[Delta | Finish, None]:
        """Chat; see :meth:`router.domain.ports.Backend.stream`."""
        name, weights = self._find(generation.model)
        run = _Run(generation)
        task = asyncio.create_task(self._run(run, name, weights))
        self._runs.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _task: run.chunks.put_nowait(END))
        reader = ChunkReader(ENGINE)
        try:
            while (chunk := await run.chunks.get()) is not END:
                if delta := reader.take(chunk):
                    yield delta
            if task.cancelled():
                raise BackendUnavailableError(f"{ENGINE} was closed in the middle of its answer")
            task.result()
            if not reader.ended:
                raise BackendUnavailableError(f"{ENGINE} stopped in the middle of its answer")
            yield reader.finish(run.load_s)
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=STOPPING_S)

    async def models(self) -> tuple[ServedModel, ...]:
        """The models whose weights are on this machine, loaded or not."""
        return await asyncio.to_thread(self._present)

    async def capabilities(self, model: str) -> frozenset[str] | None:
        """``tools`` where the model's own template writes them into the prompt."""
        return await asyncio.to_thread(self._capabilities, model)

    async def close(self) -> None:
        """Stop what runs and free the memory."""
        while self._runs:
            for task in self._runs:
                task.cancel()
            await asyncio.wait(self._runs)
        await self._residents.close()
        self._pool.shutdown(wait=False)

    async def _run(self, run: _Run, name: str, weights: Weights) -> None:
        path = await asyncio.to_thread(self._locate, name, weights)
        context_tokens, size_bytes = await asyncio.to_thread(self._dimensions, name, path)

        def load() -> _Loaded:
            chat = load_chat(path, context_tokens, self._slots, self._threads)
            return _Loaded(chat, asyncio.Semaphore(self._slots))

        async with self._residents.use(name, size_bytes, load) as seat:
            run.load_s = seat.load_s
            async with seat.value.slots:
                self.running += 1
                try:
                    assert seat.value.chat is not None
                    await run.in_thread(self._pool, seat.value.chat)
                except (RuntimeError, TypeError, ValueError) as error:
                    raise BackendProtocolError(f"{ENGINE} cannot take the request: {error}") from error
                finally:
                    self.running -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._runs.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever closed the stream before does not want to know

    def _find(self, model: str) -> tuple[str, Weights]:
        if found := self._models.get(model):
            return model, found[1]
        for name, (entry, weights) in self._models.items():
            if model in entry.tags.values():
                return name, weights
        raise ModelMissingError(
            f"{ENGINE} has no weights for {model!r}",
            hint="add weights to the model in models.yaml, or use another engine",
        )

    def _locate(self, name: str, weights: Weights) -> Path:
        path = _found(name, weights, self._cache_dir)
        if path is None:
            raise ModelMissingError(
                f"the weights of {name} are not on this machine, or are damaged",
                hint=f"run: carbon-router models pull {name}",
            )
        return path

    def _dimensions(self, name: str, path: Path) -> tuple[int, int]:
        """Context window of a slot in tokens, and about how many bytes the loaded model takes."""
        try:
            head = _head(path, path.stat().st_mtime_ns)
        except (GgufError, OSError) as error:
            raise _unloadable(path) from error
        model, _weights = self._models[name]
        stated = model.context or self._context_tokens
        context_tokens = min(stated, head.context or stated)
        cache_bytes = (head.kv_bytes_per_token or 0) * context_tokens * self._slots
        return context_tokens, path.stat().st_size + cache_bytes + OVERHEAD_BYTES

    def _capabilities(self, name: str) -> frozenset[str] | None:
        known = self._models.get(name)
        try:
            path = _found(name, known[1], self._cache_dir) if known else None
            template = _head(path, path.stat().st_mtime_ns).template if path else None
        except (BackendError, GgufError, OSError):
            return None
        if template is None:
            return None
        return frozenset({"tools"}) if _TAKES_TOOLS.search(template) else frozenset()

    def _present(self) -> tuple[ServedModel, ...]:
        served = []
        for name, (_model, weights) in self._models.items():
            try:
                path = locate(name, weights, self._cache_dir)
                if path is not None:
                    served.append(ServedModel(name, weights.sha256, path.stat().st_size))
                trouble = None
            except (WeightsError, OSError) as error:  # one file that cannot be had must not hold up the others
                trouble = str(error)
            if trouble is not None and self._troubles.get(name) != trouble:
                logger.warning("%s cannot run: %s", name, trouble)
            self._troubles[name] = trouble
        return tuple(served)


class _Run:
    """One generation: what the thread tells the loop, and whether it is to go on."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.chunks: asyncio.Queue[Any] = asyncio.Queue()
        self.load_s: float | None = None
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()

    async def in_thread(self, pool: ThreadPoolExecutor, chat: Chat) -> None:
        """Generate in a thread. Cancelled, it tells the thread to stop, and waits: the model is in use until then."""
        body = to_openai(self.generation) | {"return_progress": True}  # progress, so that a prompt can be stopped too
        if self.generation.logprobs:
            body.setdefault("top_logprobs", 1)  # the default of 20 is work for nothing
        future = self._loop.run_in_executor(pool, chat, body, self._on_chunk)
        cancelled = False
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                cancelled = True
                self._stopped.set()
        if cancelled:
            raise asyncio.CancelledError
        future.result()

    def _on_chunk(self, chunk: Any) -> bool:
        """Called in the thread; True stops the generation."""
        if self._stopped.is_set():
            return True
        try:
            for part in chunk if isinstance(chunk, list) else [chunk]:
                self._loop.call_soon_threadsafe(self.chunks.put_nowait, part)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return True
        return False


def physical_cores() -> int:
    """Physical cores this process may use: hyper-threads do not make llama.cpp faster."""
    return max(1, min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0))))


def load_chat(path: Path, context_tokens: int, slots: int, threads: int) -> Chat:
    """Load a model into memory; what comes back holds it there.

    Raises:
        BackendError: If llama.cpp cannot load it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read once, when OpenMP is loaded with llama.cpp
    import xllamacpp

    _read_through(path)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context_tokens * slots
    params.n_parallel = slots
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.fit_params = False  # the context is ours to choose
    params.cache_ram_mib = 0  # no copies of old prompts beside the slots' own
    params.warmup = False  # the file is in memory already
    params.verbosity = -1
    params.ui = params.endpoint_slots = False
    params.api_keys = [secrets.token_hex(16)]
    folder = Path(tempfile.mkdtemp(prefix="carbon-router-"))
    params.hostnames = [str(folder / "llama.sock")]
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        distrust(path)
        raise _unloadable(path) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    chat: Chat = server.handle_chat_completions
    return chat


def _read_through(path: Path) -> None:
    """Bring the file into the page cache: the loader holds Python's global lock, reading a file here does not."""
    buffer = bytearray(READ_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    except OSError as error:
        raise _unloadable(path) from error


def _unload(loaded: _Loaded) -> None:
    loaded.chat = None  # the last hold on it: llama.cpp frees it here, in the thread this runs in


def _found(name: str, weights: Weights, cache_dir: Path) -> Path | None:
    try:
        return locate(name, weights, cache_dir)
    except WeightsError as error:
        raise BackendError(error.message, hint=error.hint) from error


@functools.cache
def _head(path: Path, _changed_ns: int) -> GgufHead:
    """What the file says of the model; reading past its vocabulary takes a quarter of a second, so it is read once."""
    return read_head(path)


def _unloadable(path: Path) -> BackendError:
    return BackendError(
        f"llama.cpp cannot load {path}: the file is damaged, or there is too little memory for it",
        hint="run: carbon-router models check; it says whether the file is damaged, and models pull fetches it again",
    )
