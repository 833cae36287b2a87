"""Power of a whole machine, from a plug or its power supply: over HTTP, or from a command's output.

What a plug says is everything behind it: processor, GPU, memory, fans, conversion losses. It is slow (about once a
second) and coarse (about 1 W), so it is right for a benchmark's minutes and for reconciling the parts
(``meters.combined``), not for a single short answer.

- HTTP: any device that answers JSON, the watts named by a path of keys and indices. Shelly (second generation):
  ``http://plug/rpc/Switch.GetStatus?id=0`` with ``apower``; first generation: ``/meter/0`` with ``power``; Tasmota:
  ``/cm?cmnd=Status%208`` with ``StatusSNS.ENERGY.Power``.
- Command: ``ipmitool dcmi power reading``, or whatever prints a serial meter's line. It is run without a shell, with
  a time limit, and the first group of a pattern is the watts.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from router.domain.errors import ConfigError, MeterError
from router.domain.reading import Method
from router.meters.sampling import PowerIntegral, Sampler

PERIOD_S = 1.0
LONGEST_GAP_S = 5.0
IPMI_COMMAND = ("ipmitool", "dcmi", "power", "reading")
IPMI_PATTERN = r"Instantaneous power reading:\s*([\d.]+)\s*Watts"


class HttpPower:
    """Watts from a JSON answer over HTTP; may be called from several threads, one after the other."""

    def __init__(
        self,
        url: str,
        path: str = "apower",
        *,
        timeout_s: float = 2.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Take where to ask and where in the answer the watts are, such as ``meters.0.power``.

        Raises:
            ConfigError: If the path is empty.
        """
        self._keys = [key for key in path.split(".") if key]
        if not self._keys:
            raise ConfigError("no path to the watts in the plug's answer", hint="such as apower or meters.0.power")
        self._url = url
        self._path = path
        self._lock = threading.Lock()
        self._client = httpx.Client(transport=transport, timeout=timeout_s)

    @property
    def source(self) -> str:
        """Which plug."""
        return f"{self._url} ({self._path})"

    def __call__(self) -> float:
        """Present watts.

        Raises:
            MeterError: If they cannot be read.
        """
        try:
            with self._lock:
                answer = self._client.get(self._url)
            answer.raise_for_status()
            body = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise MeterError(f"the plug at {self._url} does not answer: {error or type(error).__name__}") from error
        return _number(_at(body, self._keys), f"`{self._path}` in the answer of {self._url}")

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class CommandPower:
    """Watts from the output of a command (IPMI, a serial meter)."""

    def __init__(
        self, command: Sequence[str] = IPMI_COMMAND, pattern: str = IPMI_PATTERN, *, timeout_s: float = 5.0
    ) -> None:
        """Take the command as a list of words (there is no shell) and the pattern whose first group is the watts.

        Raises:
            ConfigError: If the command is empty or the pattern has no group.
        """
        if isinstance(command, str) or not command:
            raise ConfigError(
                "the command of a wall meter is a list of words", hint='such as ["ipmitool", "dcmi", ...]'
            )
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"the pattern {pattern!r} cannot be used: {error}") from error
        if self._pattern.groups < 1:
            raise ConfigError(f"the pattern {pattern!r} has no group", hint="put ( ) around the watts")
        self._command = tuple(command)
        self._timeout_s = timeout_s

    @property
    def source(self) -> str:
        """Which command."""
        return " ".join(self._command)

    def __call__(self) -> float:
        """Present watts.

        Raises:
            MeterError: If they cannot be read.
        """
        try:
            done = subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            raise MeterError(f"`{self.source}` took longer than {self._timeout_s:g} s") from error
        except OSError as error:
            raise MeterError(f"`{self.source}` cannot be run: {error}", hint="is it installed?") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise MeterError(
                f"`{self.source}` ended with {done.returncode}: {said[-1][:200] if said else 'no message'}",
                hint="IPMI needs root or a rule for /dev/ipmi0",
            )
        found = self._pattern.search(done.stdout)
        if found is None:
            raise MeterError(f"no watts in the output of `{self.source}`", hint=f"expected {self._pattern.pattern!r}")
        return _number(found[1], f"the output of `{self.source}`")

    def close(self) -> None:
        """Nothing to let go of."""


class WallCounter:
    """Joules at the wall, integrated from samples, for one reader."""

    def __init__(
        self,
        power: HttpPower | CommandPower,
        *,
        idle_w: float | None = None,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
        sample_in_background: bool = True,
    ) -> None:
        """Begin sampling.

        Args:
            power: What reads the watts.
            idle_w: Watts of the machine with nothing to do, measured in a phase of its own, or None.
            period_s: Between samples.
            clock: Seconds; replaced in replays.
            sample_in_background: Whether a thread samples; a replay calls :meth:`sample` itself.
        """
        self._power = power
        self._idle_w = idle_w
        self._integral = PowerIntegral(power, longest_gap_s=max(LONGEST_GAP_S, 3 * period_s), clock=clock)
        self._sampler = Sampler(self.sample, period_s).start() if sample_in_background else None

    @property
    def method(self) -> Method:
        """Always ``measured``."""
        return "measured"

    @property
    def source(self) -> str:
        """Which plug or command."""
        return f"wall: {self._power.source}"

    @property
    def idle_w(self) -> float | None:
        """As measured, or None."""
        return self._idle_w

    @property
    def problem(self) -> str | None:
        """Why readings fail now, or None."""
        return self._integral.problem

    def read_j(self) -> float | None:
        """Joules so far; None where samples are missing since the last look.

        With a thread that samples, nobody waits for the plug: what it said last is taken to hold until now.
        """
        return self._integral.read_j() if self._sampler is None else self._integral.look_j()

    def sample(self) -> None:
        """Take one sample."""
        self._integral.sample()

    def close(self) -> None:
        """Stop sampling."""
        if self._sampler is not None:
            self._sampler.close()
        self._power.close()


def _at(body: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if isinstance(body, dict):
            body = body.get(key)
        elif isinstance(body, list) and key.isdecimal() and int(key) < len(body):
            body = body[int(key)]
        else:
            return None
    return body


def _number(value: Any, where: str) -> float:
    """Watts; the integral checks that they can be.

    Raises:
        MeterError: If it is no number.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise MeterError(f"no watts at {where}: {str(value)[:80]!r}") from None
