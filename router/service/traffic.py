"""What is asked for, and how often: shares of the categories and a forecast rate, both forgetting exponentially.

    S_c(t) = sum_i 2^(-(t - t_i) / H) p(c | prompt i)            H = HALF_LIFE_S
    n      = sum_c S_c                                           effective number of prompts
    w_c    = (n_0 w0_c + S_c) / (n_0 + n)                        w0 as measured, worth n_0 = PRIOR_PROMPTS prompts
    rate   = sum_i 2^(-(t - t_i) / H_r) / integral               integral of the same weights over the time observed

Counted is every request that was decided, answered or not: who had to be refused belongs to the demand. Prompts that a
plan does not govern (pinned, unfamiliar) count for the rate alone. Only numbers are kept: no text, no id, no time of a
single request.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from router.domain.estimates import FloatArray
from router.domain.units import SECONDS_PER_HOUR
from router.service.saved import read_saved, write_saved

HALF_LIFE_S = 7 * 24 * SECONDS_PER_HOUR
"""A week: shorter, and each weekend would unlearn the week; longer, and a new use would not show for a month."""

PRIOR_PROMPTS = 50.0
"""What the measured prompts' shares are worth: with fewer real prompts a share is known to no better than .07."""

RATE_HALF_LIFE_S = 600.0
"""Ten minutes: capacity is about now, and re-solving on every burst would chase noise."""

_LEAST_SPAN_S = 60.0
_FORGOTTEN = 1e-6
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the categories.

    Attributes:
        w: (C,) summing to 1.
        effective_n: Prompts behind them, forgotten ones counted down.
        prior_n: What the measured shares count for beside them.
        half_life_s: After which a prompt counts half.
    """

    w: FloatArray
    effective_n: float
    prior_n: float = PRIOR_PROMPTS
    half_life_s: float = HALF_LIFE_S


class Traffic:
    """Counts requests; safe to feed from any thread."""

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Go on where the file left off; without one, remember for this process only."""
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        data = read_saved(file, _VERSION)
        self._sums: dict[str, float] = _shares(data.get("sums"))
        self._rate_sum = _amount(data.get("rate_sum"))
        self._at = min(_amount(data.get("at")) or clock(), clock())
        self._since: float | None = _amount(data.get("since")) or None
        self._is_new = False

    def arrived(self) -> None:
        """Count a request for the rate."""
        with self._lock:
            self._forget()
            self._is_new = True
            self._since = self._at if self._since is None else self._since
            self._rate_sum += 1.0

    def saw(self, probabilities: Iterable[tuple[str, float]]) -> None:
        """Count a prompt that the plan governs for the shares, by the probabilities of its categories."""
        with self._lock:
            self._forget()
            self._is_new = True
            for category, p in probabilities:
                if math.isfinite(p) and p > 0:
                    self._sums[category] = self._sums.get(category, 0.0) + float(p)

    def mix(self, categories: Sequence[str], measured: FloatArray) -> Mix:
        """Shares of categories (C,), starting from those among the measured prompts (C,)."""
        with self._lock:
            self._forget()
            counts = np.array([self._sums.get(name, 0.0) for name in categories])
        n = float(counts.sum())
        return Mix((PRIOR_PROMPTS * measured + counts) / (PRIOR_PROMPTS + n), n)

    def rate_per_s(self) -> float | None:
        """Forecast requests per second; None before the first request."""
        with self._lock:
            self._forget()
            if self._since is None:
                return None
            span_s = max(self._at - self._since, _LEAST_SPAN_S)
            k = math.log(2.0) / RATE_HALF_LIFE_S
            return self._rate_sum * k / (1.0 - math.exp(-k * span_s))

    def save(self) -> None:
        """Write what is new to the file."""
        with self._lock:
            if not self._is_new:
                return
            self._forget()
            self._is_new = False
            data = {
                "version": _VERSION,
                "at": self._at,
                "since": self._since,
                "rate_sum": self._rate_sum,
                "sums": dict(self._sums),
            }
        write_saved(self._file, data)

    def _forget(self) -> None:
        """Count everything down to now; where a clock was set back, now is when counting went on."""
        now = self._clock()
        elapsed_s = now - self._at
        self._at = now
        if elapsed_s <= 0:
            self._since = None if self._since is None else min(self._since, now)
            return
        left = 2.0 ** (-elapsed_s / HALF_LIFE_S)
        self._sums = {name: s * left for name, s in self._sums.items() if s * left > _FORGOTTEN}
        self._rate_sum *= 2.0 ** (-elapsed_s / RATE_HALF_LIFE_S)


def moved(a: FloatArray, b: FloatArray) -> float:
    """Total variation between two mixes: the share of prompts that changed category."""
    return float(np.abs(a - b).sum() / 2.0) if a.shape == b.shape else 1.0


def _amount(value: Any) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if usable else 0.0


def _shares(value: Any) -> dict[str, float]:
    return {str(k): _amount(v) for k, v in value.items()} if isinstance(value, Mapping) else {}
