"""How much a request may ask of the router: waiting, time, attempts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request.

    Attributes:
        queue: Requests that may wait for a site's slots; one more is told to come back later.
        deadline_s: Seconds until an answer has to be whole, waiting included.
        decide_s: Seconds that embedding and deciding may take, and a quarter of the deadline at most; then the
            reference answers.
        most_attempts: Generations tried before giving up.
        rounds: How often the options are gone through; after the first time only those that may recover.
        backoff_s: Seconds between the first two rounds, doubled for the next, half to one and a half times as long.
        failures_to_open: Failures in a row after which a model at a site is left alone for a while.
    """

    queue: int = 64
    deadline_s: float = 600.0
    decide_s: float = 10.0
    most_attempts: int = 4
    rounds: int = 2
    backoff_s: float = 0.2
    failures_to_open: int = 5
