"""Engines over HTTP: the only file here that knows httpx. What goes wrong is said in the project's own errors."""

from __future__ import annotations

import ipaddress
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from router.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelMissingError,
    RequestError,
)

Response = httpx.Response

OVERLOADED = (408, 425, 429)
LONGEST_DETAIL = 500


class Peer:
    """One engine at one address, for messages."""

    def __init__(self, engine: str, url: str) -> None:
        """Take what to call it and where it is."""
        self.engine = engine
        self.url = url

    def __str__(self) -> str:
        """As it stands in messages."""
        return f"{self.engine} at {self.url}"


class Exchange:
    """Context of one request: httpx's exceptions become the project's.

    Attributes:
        started: Whether anything of the answer has arrived; set by the caller. Silence before means the engine
            was too slow to begin, silence after means that it broke off.
    """

    def __init__(self, peer: Peer) -> None:
        """Take the engine that is asked."""
        self._peer = peer
        self.started = False

    def __enter__(self) -> Exchange:
        """Begin."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Translate what went wrong, if anything did."""
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            raise self._translated(error) from error
        if isinstance(error, UnicodeEncodeError):
            raise RequestError(f"the request cannot be sent as UTF-8: {error}") from error

    def _translated(self, error: Exception) -> BackendError:
        peer = self._peer
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol):
            return unreachable(peer, error)
        if self.started:
            return BackendUnavailableError(f"{peer} broke off in the middle of its answer: {name(error)}")
        if isinstance(error, httpx.TimeoutException):
            return BackendTimeoutError(
                f"{peer} did not begin to answer in time", hint="it may be loading the model: try again, or wait longer"
            )
        if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
            return BackendProtocolError(
                f"{peer} does not speak HTTP: {name(error)}", hint=f"is {peer.engine} really there?"
            )
        if isinstance(error, httpx.DecodingError | httpx.TooManyRedirects):
            return BackendProtocolError(f"{peer} answered nonsense: {name(error)}")
        return BackendUnavailableError(f"{peer} closed the connection before it answered: {name(error)}")


def patience(connect_s: float, silence_s: float) -> httpx.Timeout:
    """How long to wait for a connection, and without a byte."""
    return httpx.Timeout(silence_s, connect=connect_s)


def open_client(url: str, *, api_key: str | None, connect_s: float, silence_s: float) -> httpx.AsyncClient:
    """Connections to an engine, as many as it is asked for; nothing is sent yet."""
    return httpx.AsyncClient(
        timeout=patience(connect_s, silence_s),
        headers={"authorization": f"Bearer {api_key}"} if api_key else None,
        trust_env=trusts_environment(url),
        limits=httpx.Limits(max_connections=None),
    )


def name(error: BaseException) -> str:
    """An exception in few words, also where it has no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def unreachable(peer: Peer, error: BaseException) -> BackendUnavailableError:
    """The engine cannot be connected to."""
    return BackendUnavailableError(
        f"{peer} cannot be reached: {name(error)}", hint="start it, or correct the site's url in models.yaml"
    )


def refused(peer: Peer, status: int, detail: str, model: str) -> BackendError | RequestError:
    """The error that an HTTP status other than success stands for.

    Args:
        peer: Who answered.
        status: HTTP status.
        detail: The engine's message.
        model: The model that was asked for.
    """
    detail = detail.strip()[:LONGEST_DETAIL] or f"HTTP status {status}"
    if status == 404 and "model" in detail.lower():
        return ModelMissingError(f"{peer} has no model {model!r}: {detail}")
    if status == 404 or status < 400:
        return BackendProtocolError(
            f"{peer} does not know the address it was asked at: {detail}", hint=f"is {peer.engine} really there?"
        )
    if status in (401, 403):
        return BackendError(f"{peer} refuses us: {detail}", hint="set the variable that the site's api_key_env names")
    if status in OVERLOADED or status >= 500:
        return BackendUnavailableError(f"{peer} failed (HTTP status {status}): {detail}")
    return RequestError(f"{peer} refuses the request: {detail}")


def trusts_environment(url: str) -> bool:
    """Whether proxy variables apply; an engine on this machine is never asked by way of a proxy."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or "localhost"
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
