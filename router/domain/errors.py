"""Every error the project raises on purpose.

::

    RouterError
    ├── ConfigError               models.yaml, settings or a command's arguments
    ├── MeasurementError          a measurements file or a row of it
    ├── WeightsError              fetching or verifying model weights
    ├── EmbedError                the embedder cannot be loaded or run
    ├── StoreError                the store of measured prompts
    ├── JournalError              the record of turns
    │   └── TurnRefusedError      one turn can never be written
    ├── MeterError                an energy reading cannot be taken
    │   └── AbsentMeterError      there is no such instrument here
    ├── IntensityError            a source of grid intensity has no usable answer
    ├── PolicyError               no decision can be computed
    ├── OverloadedError           more requests than can wait (retryable)
    ├── DeadlineError             the answer was not whole in time
    ├── RequestError              the caller's request is wrong
    │   ├── UnknownModelError     it names a model nobody serves
    │   ├── UnauthorizedError     it has no key, or a wrong one
    │   ├── MisdirectedError      it was meant for another host
    │   └── TooLargeError         its body is larger than allowed
    └── BackendError              an engine failed
        ├── ModelMissingError     the engine runs but lacks the model
        ├── BackendUnavailableError   it does not answer (retryable)
        ├── BackendTimeoutError   it answered too late (retryable)
        └── BackendProtocolError  it answered nonsense

A library's exception never crosses an adapter: the adapter raises one of these, with the original as its cause.
"""

from __future__ import annotations

from typing import ClassVar


class RouterError(Exception):
    """Base of all errors.

    Attributes:
        code: Stable machine-readable name, sent to API clients.
        retryable: Whether the same call may succeed later without a change.
        hint: What the reader can do about it, as a sentence with a command where there is one; or None.
    """

    code: ClassVar[str] = "router_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message, and the hint apart from it."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint as one text for logs and terminals."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(RouterError):
    """The configuration cannot be used; says file, line and key where they are known."""

    code = "config_error"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Prefix the message with where in the file the mistake is."""
        where = ":".join(str(part) for part in (file, line) if part is not None)
        what = f"`{key}`: {message}" if key else message
        super().__init__(f"{where}: {what}" if where else what, hint=hint)
        self.file = file
        self.line = line
        self.key = key


class MeasurementError(RouterError):
    """A measurements file cannot be read; says file and line."""

    code = "measurement_error"

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        """Prefix the message with where in the file the mistake is."""
        where = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.line = line


class WeightsError(RouterError):
    """Model weights cannot be fetched, or are not the file that was asked for."""

    code = "weights_error"


class EmbedError(RouterError):
    """A prompt cannot be embedded."""

    code = "embed_error"


class StoreError(RouterError):
    """The store of measured prompts cannot be opened, read or written."""

    code = "store_error"


class JournalError(RouterError):
    """The journal cannot be opened, read or written."""

    code = "journal_error"


class TurnRefusedError(JournalError):
    """The journal is fine, but this turn can never be written: its id is there already."""

    code = "turn_refused"


class MeterError(RouterError):
    """An energy meter cannot be opened or read."""

    code = "meter_error"


class AbsentMeterError(MeterError):
    """There is no such instrument on this machine; one that is here and may not be read is a MeterError."""


class IntensityError(RouterError):
    """A source of grid intensity has no usable answer.

    Attributes:
        retry_after_s: Seconds the source asks to wait, or None where it does not say.
    """

    code = "intensity_error"
    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        """Keep how long the source wants to be left alone."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class PolicyError(RouterError):
    """No plan can be computed from what is known."""

    code = "policy_error"


class RequestError(RouterError):
    """The caller's request cannot be served as it stands.

    Attributes:
        param: The request field at fault, or None.
    """

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        """Keep the field at fault for API clients."""
        super().__init__(message, hint=hint)
        self.param = param


class UnknownModelError(RequestError):
    """The request names a model that the federation does not have."""

    code = "model_not_found"


class UnauthorizedError(RequestError):
    """The request has no API key, or one that is not known."""

    code = "invalid_api_key"


class MisdirectedError(RequestError):
    """The request's Host header names somebody else."""

    code = "misdirected_request"


class TooLargeError(RequestError):
    """The request's body is larger than allowed."""

    code = "request_too_large"


class OverloadedError(RouterError):
    """More requests than may wait, or more than a client may send.

    Attributes:
        retry_after_s: After how many seconds another try is worth it.
    """

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0, hint: str | None = None) -> None:
        """Keep when to come back."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineError(RouterError):
    """The answer was not whole within its deadline; trying again would only spend as much again."""

    code = "deadline_exceeded"


class BackendError(RouterError):
    """An engine failed to answer."""

    code = "backend_error"


class ModelMissingError(BackendError):
    """The engine runs, but does not have the model."""

    code = "model_missing"


class BackendUnavailableError(BackendError):
    """The engine does not answer, or broke off."""

    code = "backend_unavailable"
    retryable = True


class BackendTimeoutError(BackendError):
    """The engine did not answer in time."""

    code = "backend_timeout"
    retryable = True


class BackendProtocolError(BackendError):
    """The engine answered something that is not its protocol."""

    code = "backend_protocol"
