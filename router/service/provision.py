"""Model weights for the embedded engine: which are missing, and fetching them with progress."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from router.backends.ollama import OllamaBackend, with_tag
from router.backends.weights import OnProgress, Progress, cached_path, fetch, silent
from router.domain.catalogue import Catalogue, Model
from router.domain.errors import RouterError, WeightsError

logger = logging.getLogger(__name__)

Pull = Callable[[Model, Path, OnProgress], Path]
Served = Callable[[Catalogue], Collection[str]]
_STAGES = {"waiting": "another process fetches it", "download": "fetched", "join": "unpacked and verified", "done": ""}


@dataclass(frozen=True, slots=True)
class Missing:
    """Weights that are not on this machine yet.

    Attributes:
        model: Whose they are.
        bytes: How much has to be fetched, or None where models.yaml does not say.
    """

    model: Model
    bytes: int | None


def served_by_ollama(catalogue: Catalogue) -> frozenset[str]:
    """Models that need no weights of ours: at each of their sites Ollama answers now and has them, or has to.

    An Ollama that does not answer within two seconds has nothing.
    """
    asked = {name: site.url for name, site in catalogue.sites.items() if site.engine == "auto" and site.url}
    listed = {name: _listed(url, catalogue.sites[name].api_key_env) for name, url in asked.items()}

    def has(model: Model, site: str) -> bool:
        brings_its_own = catalogue.sites[site].engine in ("ollama", "openai")
        return brings_its_own or with_tag(model.tags.get(site, model.name)) in listed.get(site, ())

    return frozenset(model.name for model in catalogue.models.values() if all(has(model, site) for site in model.sites))


def _listed(url: str, key_env: str | None) -> frozenset[str]:
    async def ask() -> frozenset[str]:
        backend = OllamaBackend(url, connect_s=1.0, api_key=os.environ.get(key_env) if key_env else None)
        try:
            return frozenset(with_tag(model.name) for model in await asyncio.wait_for(backend.models(), timeout=2.0))
        finally:
            await backend.close()

    try:
        return asyncio.run(ask())
    except (RouterError, TimeoutError):
        return frozenset()


def missing(catalogue: Catalogue, cache_dir: Path, *, only: Iterable[str] | None = None) -> list[Missing]:
    """Models whose weights can be fetched and are not there yet, smallest first, so that something runs soon.

    Args:
        catalogue: The federation.
        cache_dir: Where weights are kept.
        only: Names to look at; None for all.
    """
    names = set(catalogue.models if only is None else only)
    absent = [
        Missing(model, model.weights.bytes)
        for model in catalogue.models.values()
        if model.name in names
        and model.weights is not None
        and model.weights.packages
        and cached_path(model, cache_dir) is None
    ]
    return sorted(absent, key=lambda item: item.bytes or 0)


def fetchable(catalogue: Catalogue, cache_dir: Path, served: Served = served_by_ollama) -> list[Missing]:
    """What is missing, smallest first; an entry that cannot be looked at is told and left out.

    Args:
        catalogue: The federation.
        cache_dir: Where weights are kept.
        served: Names of the models that need no weights of ours; asked only where something is missing.
    """
    absent: list[Missing] = []
    for name in catalogue.models:
        try:
            absent += missing(catalogue, cache_dir, only=[name])
        except WeightsError as error:  # one file that cannot be read must not hold up the others
            logger.error("the weights of %s are not fetched: %s", name, error)
    if not absent:
        return []
    elsewhere = served(catalogue)
    return sorted((item for item in absent if item.model.name not in elsewhere), key=lambda item: item.bytes or 0)


def pull(model: Model, cache_dir: Path, on_progress: OnProgress = silent) -> Path:
    """Fetch and verify one model's weights.

    Raises:
        WeightsError: If they cannot be fetched or are not what models.yaml says.
    """
    if model.weights is None:
        raise WeightsError(
            f"models.yaml names no weights for {model.name}",
            hint=f"add `weights:` for the embedded engine, or run `ollama pull {model.name}`",
        )
    return fetch(model.name, model.weights, cache_dir, on_progress)


class Provisioner:
    """Fetches what is missing while the server answers with what is there: at its start, and after each reload.

    One thread, one fetch at a time, smallest first. What fails is told and left until the federation changes again;
    nothing here ends the service.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        pull: Pull = pull,
        served: Served = served_by_ollama,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where weights are kept; nothing runs yet.

        Args:
            cache_dir: The cache.
            pull: How one model's weights are fetched.
            served: Names of the models that need no weights of ours.
            every_s: Seconds between two lines of progress.
            clock: Seconds.
        """
        self._cache_dir = cache_dir
        self._pull = pull
        self._served = served
        self._every_s = every_s
        self._clock = clock
        self._wanted: SimpleQueue[Catalogue | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ensure(self, catalogue: Catalogue) -> None:
        """Fetch what this federation lacks, in the background; an unfinished fetch goes on at the next start."""
        self._wanted.put(catalogue)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="weights", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Begin no further fetch; the one under way ends with the process."""
        self._wanted.put(None)

    def _run(self) -> None:
        while (catalogue := self._wanted.get()) is not None:
            for item in fetchable(catalogue, self._cache_dir, self._served):
                if not self._wanted.empty():
                    break  # models.yaml has changed meanwhile: the newest one says what is still wanted
                self._fetch(item)

    def _fetch(self, item: Missing) -> None:
        name = item.model.name
        size = "" if item.bytes is None else f" ({item.bytes / 1e6:.0f} MB)"
        logger.info("fetching the weights of %s%s in the background", name, size)
        try:
            self._pull(item.model, self._cache_dir, self._progress())
        except WeightsError as error:
            logger.error("the weights of %s could not be fetched, the other models answer: %s", name, error)
        except Exception:
            # The edge of a thread: a mistake in one fetch must not end all later ones.
            logger.exception("the weights of %s could not be fetched, the other models answer", name)
        else:
            logger.info("%s is ready; the next plan includes it", name)

    def _progress(self) -> OnProgress:
        told_at = self._clock()

        def tell(step: Progress) -> None:
            nonlocal told_at
            if step.stage == "done" or self._clock() - told_at < self._every_s:
                return
            told_at = self._clock()
            share = f"{step.done_bytes / step.total_bytes:.0%}" if step.total_bytes else f"{step.done_bytes} bytes"
            logger.info("%s: %s, %s", step.model, _STAGES[step.stage], share)

        return tell
