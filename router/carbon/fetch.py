"""One answer of a web source of grid intensity: asked for over HTTP, and believed only if it can be true.

Every way in which a source can fail ends in one :class:`~router.domain.errors.IntensityError` that says what to do;
what it says of itself (status, Retry-After) is kept. Values are refused where they are no number, negative, or above
anything a grid emits.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from router.domain.errors import IntensityError
from router.domain.reading import Intensity

HIGHEST_G_PER_KWH = 3000.0
"""Old lignite plants emit about 1,300 g/kWh; more than twice that is no reading."""
DEFAULT_TIMEOUT_S = 10.0


@dataclass(slots=True)
class AskedEachTime(ABC):
    """A source whose :meth:`fetch` says why there is no value, and whose :meth:`intensity` never raises.

    Attributes:
        last_error: Why the last question had no answer, or None.
    """

    last_error: str | None = field(default=None, init=False)

    @abstractmethod
    async def fetch(self, zone: str | None) -> Intensity:
        """The latest value.

        Raises:
            IntensityError: If there is none to believe.
        """

    async def intensity(self, zone: str | None) -> Intensity | None:
        """The latest value, or None; never raises."""
        try:
            value = await self.fetch(zone)
        except IntensityError as error:
            self.last_error = str(error)
            return None
        except Exception as error:  # nonsense nobody thought of is no value either
            self.last_error = f"{type(error).__name__}: {error}"
            return None
        self.last_error = None
        return value


@dataclass(frozen=True, slots=True)
class Web:
    """How sources reach the web: the part that tests replace.

    Attributes:
        timeout_s: Longest wait for one answer.
        transport: httpx transport, or None for the real one.
        clock: Unix seconds.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    transport: httpx.AsyncBaseTransport | None = None
    clock: Callable[[], float] = time.time

    async def json(
        self,
        name: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hints: Mapping[int, str] | None = None,
    ) -> Any:
        """The JSON at a URL.

        Args:
            name: Of the source, for messages.
            url: Where.
            query: Parameters.
            headers: Sent along; never part of a message.
            hints: What to do, by status.

        Raises:
            IntensityError: If there is none.
        """
        try:
            # httpx limits each read; the outer limit also ends an answer that trickles
            async with (
                asyncio.timeout(self.timeout_s),
                httpx.AsyncClient(transport=self.transport, timeout=self.timeout_s) as client,
            ):
                answer = await client.get(url, params=query, headers=headers)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise IntensityError(f"{name} did not answer in {self.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise IntensityError(
                f"{name} cannot be reached: {error or type(error).__name__}", hint=f"is {url} right?"
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise IntensityError(
                f"{name} answered {answer.status_code}",
                hint=(hints or {}).get(answer.status_code),
                retry_after_s=self._retry_after_s(answer),
            )
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            raise IntensityError(f"{name} answered something that is no JSON") from error

    def age_s(self, when_s: float) -> float:
        """Seconds since a moment; 0 for one that clocks say is still to come."""
        return max(0.0, self.clock() - when_s)

    def _retry_after_s(self, answer: httpx.Response) -> float | None:
        """The header as seconds; it may also be a date."""
        text = answer.headers.get("retry-after", "").strip()
        if not text:
            return None
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - self.clock()
            except (ValueError, TypeError, OverflowError):
                return None
        return max(0.0, seconds) if math.isfinite(seconds) else None


def believable(value: Any, name: str) -> float:
    """A number that can be an intensity.

    Raises:
        IntensityError: If it cannot.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= HIGHEST_G_PER_KWH:
        raise IntensityError(f"{name} answered {str(value)[:80]!r}, which is no intensity")
    return float(value)


def unix_s(value: Any, name: str) -> float:
    """Unix seconds of an ISO 8601 time, UTC where it names no offset.

    Raises:
        IntensityError: If it is none.
    """
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise IntensityError(f"{name} answered {str(value)[:80]!r}, which is no time") from None
