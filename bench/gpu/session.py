"""What is measured on a GPU, in order, each piece bounded: idle, a long generation, sizes x batches, the embedder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.gpu.networks import ANSWER_TOKENS, PROMPT_TOKENS, SHAPES, Decoder, Encoder, Shape, Work, fits, release
from bench.gpu.trace import Trace, counter_j, idle_w, integral_j
from router.domain.errors import MeterError
from router.meters.discipline import COOL_C, cool_down

BATCHES = (1, 8, 64)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take.

    Attributes:
        idle_s: The baseline.
        long_s: The long generation, at least.
        cell_s: Each size and batch, at least (one generation may run over).
        cool_s: Longest wait for 60 degrees before a cell.
        budget_s: All together; what does not fit is left out and named.
        margin_s: Idle seconds kept on both sides of the long generation: some boards' power is an average over the last
            second, and what it says after the end belongs to the generation.
        answer_tokens: Length of every answer.
    """

    idle_s: float = 15.0
    long_s: float = 60.0
    cell_s: float = 5.0
    cool_s: float = 20.0
    budget_s: float = 780.0
    margin_s: float = 2.0
    answer_tokens: int = ANSWER_TOKENS


@dataclass(frozen=True, slots=True)
class Cell:
    """One piece of work, metered.

    Attributes:
        name: What worked.
        parameters: Its weights.
        batch: Answered at a time.
        unit: ``token`` or ``prompt``.
        units: How many.
        duration_s: Wall seconds.
        counter_j: By the energy counter, idle included; None where it cannot be told.
        integral_j: By the integral of power sampled every 99 ms; None likewise.
        idle_w: Watts of the baseline.
        joules_per_unit: By the counter, else the integral, idle included.
        marginal_joules_per_unit: Less idle watts times seconds; None where idle is unknown.
        began_c: Degrees C at the start, or None.
        throttle: Why its clock was held down meanwhile.
    """

    name: str
    parameters: int
    batch: int
    unit: str
    units: int
    duration_s: float
    counter_j: float | None
    integral_j: float | None
    idle_w: float | None
    joules_per_unit: float | None
    marginal_joules_per_unit: float | None
    began_c: float | None
    throttle: tuple[str, ...]


class Session:
    """Runs everything on one GPU."""

    def __init__(
        self,
        trace: Trace,
        temperature_c: Callable[[], float | None],
        device: str,
        bounds: Bounds,
        *,
        free_bytes: Callable[[], int],
        say: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the running trace, a thermometer, where to compute, and how long."""
        self._trace = trace
        self._temperature_c = temperature_c
        self._device = device
        self._bounds = bounds
        self._free_bytes = free_bytes
        self._say = say
        self._sleep = sleep
        self.idle_w: float | None = None
        self.left_out: list[str] = []

    def baseline(self) -> float | None:
        """Idle watts, before torch has touched the GPU: a process on it raises its clocks."""
        self._say(f"idle for {self._bounds.idle_s:.0f} s")
        with self._trace.phase("idle") as phase:
            self._sleep(self._bounds.idle_s)
        self.idle_w = idle_w(self._trace.rows, phase["from_s"], phase["until_s"])
        return self.idle_w

    def long_generation(self, shape: Shape, batch: int = 8) -> dict[str, Any]:
        """Counter against integral over one window, idle margins included, and where in the trace it is."""
        decoder = Decoder(shape, self._device)
        work = self._tokens(decoder, batch)
        work()  # compiles kernels
        self._sleep(self._bounds.margin_s)
        self._say(f"a generation of {self._bounds.long_s:.0f} s ({shape.name}, {batch} at a time)")
        began_s = self._trace.now_s()
        self._sleep(self._bounds.margin_s)
        with self._trace.phase("generation") as phase:
            tokens = self._repeat(work, self._bounds.long_s)
        self._sleep(self._bounds.margin_s)
        until_s = self._trace.now_s()
        self._trace.sample()
        del decoder, work
        release(self._device)
        counted, sampled = self._joules(began_s, until_s)
        return {
            "network": shape.name,
            "batch": batch,
            "output_tokens": tokens,
            "window_s": until_s - began_s,
            "generation_s": phase["until_s"] - phase["from_s"],
            "counter_j": counted,
            "integral_j": sampled,
            "difference": None if not counted or sampled is None else sampled / counted - 1.0,
            "from_s": began_s,
            "until_s": until_s,
        }

    def cells(self, shapes: Sequence[Shape] = SHAPES, batches: Sequence[int] = BATCHES) -> list[Cell]:
        """Joules per token of every size at every batch, the smallest first."""
        found = []
        for shape in shapes:
            if not fits(shape, self._free_bytes()):
                self.left_out.append(f"{shape.name}: does not fit in the memory that is free")
                continue
            if self._is_late():
                self.left_out.append(f"{shape.name}: no time was left")
                continue
            decoder = Decoder(shape, self._device)
            decoder.generate(1, answer_tokens=8)
            for batch in batches:
                if self._is_late():
                    self.left_out.append(f"{shape.name} at batch {batch}: no time was left")
                    continue
                cell = self._cell(shape.name, decoder.parameters, batch, "token", self._tokens(decoder, batch))
                found.append(cell)
                self._say(_line(cell))
            del decoder
            release(self._device)
        return found

    def embedder(self, batches: Sequence[int] = BATCHES, *, layers: int = 6) -> list[Cell]:
        """Joules per prompt of an embedder."""
        encoder = Encoder(self._device, layers=layers)
        parameters = 22_700_000  # MiniLM's, as published; random weights change nothing about the work
        found = []
        for batch in batches:
            encoder.embed(batch)
            cell = self._cell("like all-MiniLM-L6-v2", parameters, batch, "prompt", _prompts(encoder, batch))
            found.append(cell)
            self._say(_line(cell))
        del encoder
        release(self._device)
        return found

    def _cell(self, name: str, parameters: int, batch: int, unit: str, work: Work) -> Cell:
        cool = cool_down(self._temperature_c, limit_c=COOL_C, longest_s=self._bounds.cool_s, sleep=self._sleep)
        work()
        with self._trace.phase(f"{name}, batch {batch}") as phase:
            units = self._repeat(work, self._bounds.cell_s)
        seconds = phase["until_s"] - phase["from_s"]
        counted, sampled = self._joules(phase["from_s"], phase["until_s"])
        joules = sampled if counted is None else counted
        marginal = None if joules is None or self.idle_w is None else joules - self.idle_w * seconds
        throttle = {
            reason
            for row in self._trace.rows
            if phase["from_s"] <= row["t_s"] <= phase["until_s"]
            for reason in row.get("throttle", ())
        }
        return Cell(
            name=name,
            parameters=parameters,
            batch=batch,
            unit=unit,
            units=units,
            duration_s=seconds,
            counter_j=counted,
            integral_j=sampled,
            idle_w=self.idle_w,
            joules_per_unit=None if joules is None else joules / units,
            marginal_joules_per_unit=None if marginal is None else marginal / units,
            began_c=cool.temperature_c,
            throttle=tuple(sorted(throttle)),
        )

    def _repeat(self, work: Work, seconds: float) -> int:
        """Work until the time is over; the units done."""
        until_s, units = self._trace.now_s() + seconds, 0
        while not units or self._trace.now_s() < until_s:
            units += work()
        return units

    def _joules(self, from_s: float, until_s: float) -> tuple[float | None, float | None]:
        return counter_j(self._trace.rows, from_s, until_s), integral_j(self._trace.rows, from_s, until_s)

    def _tokens(self, decoder: Decoder, batch: int) -> Work:
        return lambda: decoder.generate(batch, answer_tokens=self._bounds.answer_tokens)

    def _is_late(self) -> bool:
        return self._trace.now_s() > self._bounds.budget_s


def thermometer(read: Callable[[], float]) -> Callable[[], float | None]:
    """A temperature that is None where it cannot be read."""

    def degrees() -> float | None:
        try:
            return read()
        except MeterError:
            return None

    return degrees


def as_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """For the results file."""
    return [{**asdict(cell), "prompt_tokens": PROMPT_TOKENS} for cell in cells]


def _prompts(encoder: Encoder, batch: int) -> Work:
    return lambda: encoder.embed(batch)


def _line(cell: Cell) -> str:
    joules = "unknown" if cell.joules_per_unit is None else f"{cell.joules_per_unit:.4g} J"
    return f"{cell.name}, {cell.batch} at a time: {joules} a {cell.unit}, {cell.units / cell.duration_s:.0f} a second"
