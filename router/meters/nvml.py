"""Joules of NVIDIA GPUs: the driver's energy counter where there is one, sampled power where there is not.

Volta and later count millijoules since the driver was loaded; older GPUs only say the present power, which is then
sampled every 99 ms and integrated. Several GPUs are summed, each kept apart in the breakdown. What the driver counts is
the board: memory included, the host's processor and fans not. Under MIG it counts the whole GPU, whatever instance is
used, and this says so.

``pynvml`` is imported in :func:`open_gpus` only; everything else works on the small :class:`Gpu` interface, so that
recordings drive the same code.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from router.domain.errors import AbsentMeterError, MeterError
from router.domain.reading import Method
from router.meters.sampling import PERIOD_S, PowerIntegral, Sampler

STILL_S = 2.0
"""The counter moves every 20 to 100 ms, also on an idle GPU; unchanged for this long it is broken."""
_WATCH_S = 0.5
_MJ_PER_J = 1000.0
_MW_PER_W = 1000.0
_THROTTLE_BITS = {
    "hardware slowdown": 0x08,
    "software thermal slowdown": 0x20,
    "hardware thermal slowdown": 0x40,
    "power brake": 0x80,
}
"""Of nvml.h, ``nvmlClocksThrottleReason*``. The software power cap (0x04) is a setting, not a disturbance."""
_PERMISSION = (
    "the driver refuses this user the GPU's readings: check `ls -l /dev/nvidia*`, in a container start it with "
    "`--gpus all`"
)


class UnsupportedError(MeterError):
    """The GPU or its driver has no such reading; another kind may be there."""


class Gpu(Protocol):
    """What is asked of one GPU. Every reading raises MeterError where it cannot be taken."""

    @property
    def name(self) -> str:
        """Model and index, unique on this machine."""
        ...

    @property
    def mig(self) -> bool:
        """Whether it is split into instances (its readings are still of the whole)."""
        ...

    def energy_mj(self) -> int:
        """Millijoules since the driver was loaded.

        Raises:
            UnsupportedError: If the GPU does not count.
            MeterError: If it cannot be read.
        """
        ...

    def power_mw(self) -> int:
        """Present milliwatts."""
        ...

    def temperature_c(self) -> float:
        """Of the chip."""
        ...

    def throttle_reasons(self) -> tuple[str, ...]:
        """Why its clock is held down now; empty where it is not. A power cap that was set is no such reason."""
        ...


class _Counting:
    """A GPU that counts its energy; watched, so that a counter that fails between two readings is noticed."""

    kind = "energy counter"

    def __init__(self, gpu: Gpu, clock: Callable[[], float]) -> None:
        self._gpu = gpu
        self._clock = clock
        self._last_mj: int | None = None
        self._moved_s = 0.0
        self._hole = False
        self.problem: str | None = None

    def sample(self) -> None:
        try:
            now_mj, now_s = self._gpu.energy_mj(), self._clock()
        except MeterError as error:
            self.problem, self._last_mj, self._hole = str(error), None, True
            return
        if self._last_mj is not None and now_mj == self._last_mj:
            still_s = now_s - self._moved_s
            if still_s >= STILL_S:
                self.problem, self._hole = f"{self._gpu.name}: the counter stands still for {still_s:.1f} s", True
            return
        self.problem = None
        if self._last_mj is not None and now_mj < self._last_mj:
            self.problem, self._hole = f"{self._gpu.name}: the counter went back (was the driver loaded again?)", True
        self._last_mj, self._moved_s = now_mj, now_s

    def read_j(self) -> float | None:
        self.sample()
        hole, self._hole = self._hole, False
        return None if hole or self._last_mj is None else self._last_mj / _MJ_PER_J


class _Sampled:
    """A GPU that only says its present power."""

    kind = f"power every {1000 * PERIOD_S:.0f} ms"

    def __init__(self, gpu: Gpu, clock: Callable[[], float]) -> None:
        self._integral = PowerIntegral(lambda: gpu.power_mw() / _MW_PER_W, clock=clock)

    @property
    def problem(self) -> str | None:
        return self._integral.problem

    def sample(self) -> None:
        self._integral.sample()

    def read_j(self) -> float | None:
        return self._integral.read_j()


class NvmlCounter:
    """Joules of one or several GPUs as one counter, for one reader."""

    def __init__(
        self,
        gpus: Sequence[Gpu],
        *,
        idle_w: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sample_in_background: bool = True,
    ) -> None:
        """Look at what each GPU can say; begin sampling those that do not count, and watching those that do.

        Args:
            gpus: From :func:`open_gpus`, or recorded ones.
            idle_w: Watts with nothing to do, measured in a phase of its own (``meters.discipline``), or None.
            clock: Seconds; replaced in replays.
            sample_in_background: Whether a thread samples and watches; a replay calls :meth:`sample` itself.

        Raises:
            MeterError: If there is no GPU, or one can say neither energy nor power.
        """
        if not gpus:
            raise MeterError("no GPU to meter", hint="is the driver loaded? `nvidia-smi` lists what it sees")
        self._gpus = tuple(gpus)
        self._idle_w = idle_w
        self._lock = threading.Lock()
        self._meters = {gpu.name: _meter_of(gpu, clock) for gpu in gpus}
        self._throttled: dict[str, None] = {}
        sampled = any(isinstance(meter, _Sampled) for meter in self._meters.values())
        period_s = PERIOD_S if sampled else _WATCH_S
        self._sampler = Sampler(self.sample, period_s).start() if sample_in_background else None

    @property
    def method(self) -> Method:
        """Always ``measured``."""
        return "measured"

    @property
    def source(self) -> str:
        """Which GPUs, how they are read, and whether MIG makes the figure another."""
        text = "nvml: " + ", ".join(f"{name} ({meter.kind})" for name, meter in self._meters.items())
        if split := [gpu.name for gpu in self._gpus if gpu.mig]:
            text += f"; MIG is on for {', '.join(split)}: the whole GPU, other instances' work included"
        return text

    @property
    def idle_w(self) -> float | None:
        """As measured, or None."""
        return self._idle_w

    @property
    def problem(self) -> str | None:
        """Why readings fail now, or None."""
        return "; ".join(meter.problem for meter in self._meters.values() if meter.problem) or None

    def read_j(self) -> float | None:
        """Joules of all GPUs; None as soon as one cannot be read."""
        values = self.read_parts_j().values()
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def read_parts_j(self) -> Mapping[str, float | None]:
        """Joules of each GPU by name, None where it cannot be read."""
        with self._lock:
            return {name: meter.read_j() for name, meter in self._meters.items()}

    def sample(self) -> None:
        """Look at each GPU once, between readings."""
        with self._lock:
            for meter in self._meters.values():
                meter.sample()
            for gpu in self._gpus:
                with contextlib.suppress(MeterError):  # not every GPU says; its joules do not depend on it
                    self._throttled.update((f"{gpu.name}: {reason}", None) for reason in gpu.throttle_reasons())

    def throttling(self) -> tuple[str, ...]:
        """Which GPUs were slowed, and why, at any look since the last call."""
        self.sample()
        with self._lock:
            seen, self._throttled = tuple(self._throttled), {}
        return seen

    def temperature_c(self) -> float | None:
        """The hottest GPU's, or None where one does not say."""
        try:
            return max(gpu.temperature_c() for gpu in self._gpus)
        except MeterError:
            return None

    def close(self) -> None:
        """Stop sampling and watching."""
        if self._sampler is not None:
            self._sampler.close()


def _meter_of(gpu: Gpu, clock: Callable[[], float]) -> _Counting | _Sampled:
    """How this GPU is read.

    Raises:
        MeterError: If it says neither energy nor power.
    """
    try:
        gpu.energy_mj()
    except UnsupportedError:
        try:
            gpu.power_mw()
        except UnsupportedError as error:
            raise MeterError(
                f"{gpu.name} says neither energy nor power", hint="meter the machine at the wall, or model it"
            ) from error
        return _Sampled(gpu, clock)
    return _Counting(gpu, clock)


class _PynvmlGpu:
    """A GPU asked through ``pynvml``; the library's errors become ours here."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._index = index
        self._handle = self._call(nvml.nvmlDeviceGetHandleByIndex, index)
        model = self._call(nvml.nvmlDeviceGetName, self._handle)
        self.name = f"{model.decode() if isinstance(model, bytes) else model} #{index}"
        self.mig = False
        with contextlib.suppress(MeterError):  # most GPUs have no MIG to ask about
            self.mig = self._call(nvml.nvmlDeviceGetMigMode, self._handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE

    def energy_mj(self) -> int:
        return int(self._call(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle))

    def power_mw(self) -> int:
        return int(self._call(self._nvml.nvmlDeviceGetPowerUsage, self._handle))

    def temperature_c(self) -> float:
        return float(self._call(self._nvml.nvmlDeviceGetTemperature, self._handle, self._nvml.NVML_TEMPERATURE_GPU))

    def throttle_reasons(self) -> tuple[str, ...]:
        # The driver renamed the call; old drivers know the old name only.
        for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            ask = getattr(self._nvml, name, None)
            if ask is None:
                continue
            try:
                bits = int(self._call(ask, self._handle))
            except UnsupportedError:
                continue  # pynvml knows the new name, this driver does not
            return tuple(name for name, bit in _THROTTLE_BITS.items() if bits & bit)
        raise UnsupportedError(f"{self.name}: this driver cannot say why a clock is held down")

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        nvml = self._nvml
        try:
            return function(*arguments)
        except nvml.NVMLError as error:
            code = getattr(error, "value", None)
            text = f"GPU {self._index}: {error}"
            if code in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                raise UnsupportedError(text) from error
            if code == nvml.NVML_ERROR_NO_PERMISSION:
                raise MeterError(text, hint=_PERMISSION) from error
            if code == nvml.NVML_ERROR_GPU_IS_LOST:
                raise MeterError(text, hint="the GPU fell off the bus: reset or reboot the machine") from error
            raise MeterError(text) from error


def open_gpus(indices: Sequence[int] | None = None, *, library: Any = None) -> tuple[Gpu, ...]:
    """The machine's GPUs.

    Args:
        indices: Which, as ``nvidia-smi`` counts them; None for all.
        library: The ``pynvml`` module, or what stands in for it.

    Raises:
        MeterError: If there is no driver, no GPU, or one may not be read; says what to do.
    """
    nvml = _pynvml() if library is None else library
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        code = getattr(error, "value", None)
        text = f"no NVIDIA driver answers: {error}"
        if code == nvml.NVML_ERROR_NO_PERMISSION:
            raise MeterError(text, hint=_PERMISSION) from error
        is_absent = code in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
        raise (AbsentMeterError if is_absent else MeterError)(
            text, hint="is there an NVIDIA GPU here? `nvidia-smi` must work"
        ) from error
    wanted = range(count) if indices is None else indices
    if absent := [index for index in wanted if not 0 <= index < count]:
        raise MeterError(f"there is no GPU {absent[0]}: the driver sees {count}", hint="see `nvidia-smi --list-gpus`")
    return tuple(_PynvmlGpu(nvml, index) for index in wanted)


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise AbsentMeterError("the module pynvml is missing", hint="run `pip install nvidia-ml-py`") from error
    return pynvml
