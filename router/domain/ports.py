"""The seams of the system: one Protocol a port. Every implementation passes its port's contract test.

A fake for each ships with the package: ``backends.scripted``, ``embed.hashed``, ``store.memory``,
``journal.memory``, ``carbon.fixed``, ``meters.replay``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from router.domain.chat import Delta, Finish, Generation
from router.domain.decision import Plan
from router.domain.estimates import Estimates, FloatArray, Known, PromptView, Terms
from router.domain.reading import ForecastPoint, Intensity, Reading, SourceHealth
from router.domain.record import Measurement, Turn


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model an engine can run now.

    Attributes:
        name: Its tag at the engine.
        digest: Hash of its weights, or None where the engine does not say.
        bytes: Size on disk, or None.
    """

    name: str
    digest: str | None = None
    bytes: int | None = None


class Backend(Protocol):
    """An engine that generates text."""

    def stream(self, generation: Generation) -> AsyncIterator[Delta | Finish]:
        """Generate: any number of :class:`Delta`, then exactly one :class:`Finish`.

        Closing the iterator early (``aclose``) stops the generation upstream.

        Raises:
            ModelMissingError: The engine lacks the model.
            BackendUnavailableError: It does not answer, or broke off.
            BackendTimeoutError: It was too slow to begin.
            BackendProtocolError: It answered nonsense.
            RequestError: It refused the request as wrong (context exceeded, bad schema).
        """
        ...

    async def models(self) -> tuple[ServedModel, ...]:
        """What it can run now.

        Raises:
            BackendError: If the engine cannot be asked.
        """
        ...

    async def close(self) -> None:
        """Free connections and memory; running generations are stopped."""
        ...


@runtime_checkable
class DescribingBackend(Protocol):
    """An engine that knows what its models can do beyond answering in text."""

    async def capabilities(self, model: str) -> frozenset[str] | None:
        """In Ollama's words (``tools``, ``vision``, ``thinking``, ...); None where it cannot be told. Never raises.

        Args:
            model: Its tag at the engine.
        """
        ...


@runtime_checkable
class ChoosingBackend(Protocol):
    """An engine that is several, of which it takes one for each model."""

    async def engine_for(self, model: str) -> str | None:
        """Which of them would run a model now, by its kind in ``models.yaml``; None if none has it.

        Args:
            model: Its tag at the engine.
        """
        ...


@dataclass(frozen=True, slots=True)
class AdministrationReply:
    """What an engine answers to a call of administration.

    Attributes:
        status: HTTP status.
        content_type: Of the pieces, or None where there are none.
        pieces: The body as it comes.
    """

    status: int
    content_type: str | None
    pieces: AsyncIterator[bytes]


@runtime_checkable
class AdministeredBackend(Protocol):
    """An engine whose models can be pulled, made, copied and deleted over its own HTTP API."""

    def administer(
        self, method: str, path: str, body: AsyncIterator[bytes]
    ) -> AbstractAsyncContextManager[AdministrationReply]:
        """Hand a call on as it is; leaving the context ends it.

        Raises:
            BackendError: If the engine does not answer.
        """
        ...


class Embedder(Protocol):
    """Turns prompts into vectors."""

    @property
    def name(self) -> str:
        """Identity: two embedders with the same name give the same vectors."""
        ...

    @property
    def window_tokens(self) -> int | None:
        """Longest prompt it sees whole, in its own tokens; None for no limit."""
        ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of unit length, (n, d); thread-safe.

        Raises:
            EmbedError: If the model cannot be loaded or run.
        """
        ...


class MeasurementStore(Protocol):
    """The measured prompts. One writer; ``generation`` changes with every write."""

    @property
    def generation(self) -> int:
        """Number that grows with every write, also another process's."""
        ...

    def add(self, measurements: Sequence[Measurement], embeddings: FloatArray) -> None:
        """Insert or merge by id; an outcome with the same key replaces the earlier one. All or nothing.

        Raises:
            StoreError: If it cannot be written; what was there stays.
        """
        ...

    def all(self) -> tuple[tuple[Measurement, ...], FloatArray]:
        """Every measurement with its embedding, (n, d), in order of insertion."""
        ...

    def nearest(self, embeddings: FloatArray, k: int) -> tuple[list[list[str]], FloatArray]:
        """Ids of the k nearest prompts of each row, nearest first, and squared Euclidean distances (n, k)."""
        ...

    def replace(self, measurements: Sequence[Measurement]) -> None:
        """Overwrite the outcomes of prompts already there (for pruning); one left without outcomes is removed."""
        ...


class Journal(Protocol):
    """Durable record of turns; what was written survives a crash."""

    def write(self, turn: Turn) -> None:
        """Append one turn.

        Raises:
            JournalError: If it cannot be written.
        """
        ...

    def turns(self, *, since: float = 0.0, limit: int | None = None) -> Iterable[Turn]:
        """Turns from ``since`` (Unix seconds) on, oldest first."""
        ...

    def close(self) -> None:
        """Flush and release the file."""
        ...


class MeterWindow(Protocol):
    """An open energy window."""

    def stop(self) -> Reading:
        """Close the window; a second call returns the same reading. Never raises: a failed reading is None."""
        ...


@runtime_checkable
class ExplainingMeter(Protocol):
    """A meter that says what ails it, and of what its joules are made."""

    @property
    def problem(self) -> str | None:
        """Why joules are not known, or not to be believed, now; None where all is well."""
        ...

    @property
    def parts_j(self) -> Mapping[str, float | None]:
        """Joules by part of the device since the start, idle ones included; empty where there is but one part."""
        ...


class Meter(Protocol):
    """An energy meter; windows may overlap and then share the device's joules by device-time."""

    @property
    def source(self) -> str:
        """Which instrument, with its parameters, in words."""
        ...

    def start(self) -> MeterWindow:
        """Open a window."""
        ...


class IntensitySource(Protocol):
    """Carbon intensity of a zone."""

    async def intensity(self, zone: str | None) -> Intensity | None:
        """The value now, or None where there is none for the zone; never raises."""
        ...


@runtime_checkable
class ForecastSource(Protocol):
    """A source of intensity that knows the coming hours."""

    async def forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        """What is expected from the next hours on, soonest first; empty where nothing is known; never raises."""
        ...


@runtime_checkable
class WatchedSource(Protocol):
    """A source of intensity that can fail, and tells how it is doing."""

    def health(self) -> tuple[SourceHealth, ...]:
        """Zone by zone, of those that were asked for."""
        ...


class Policy(Protocol):
    """Chooses options. One instance is fitted once and then only read, so it may be shared by threads."""

    @property
    def name(self) -> str:
        """Under which it is configured and reported."""
        ...

    def fit(self, known: Known, estimates: Estimates, terms: Terms) -> Policy:
        """Learn from the measured prompts; returns itself.

        Raises:
            PolicyError: If no decision can be computed from them.
        """
        ...

    def weights(self, view: PromptView) -> FloatArray:
        """(n, O) probability of each option for each prompt, rows summing to 1."""
        ...

    @property
    def plan(self) -> Plan | None:
        """The plan it follows, or None where it decides prompt by prompt."""
        ...


class Probe(Protocol):
    """Names the category of a prompt."""

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) in the order of the columns."""
        ...

    def probabilities(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        """(n, C) calibrated probabilities, rows summing to 1."""
        ...


__all__ = [
    "AdministeredBackend",
    "AdministrationReply",
    "Backend",
    "DescribingBackend",
    "Embedder",
    "ForecastSource",
    "IntensitySource",
    "Journal",
    "MeasurementStore",
    "Meter",
    "MeterWindow",
    "Policy",
    "Probe",
    "ServedModel",
    "WatchedSource",
]
