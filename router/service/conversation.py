"""Which conversation a request belongs to, and which option answered in it last; hashes only, bounded, forgetful.

A conversation is known by an id its client sends (Open WebUI's chat id, or a header of the router's own), else by its
prefix. The prefix of a request are its messages up to the last answer, and that is what was asked before: leaving the
answers' own words out (clients trim them, cut the reasoning out, or keep half of a stopped one), it equals the request
before it. So a request is noted under the hash of all that was asked in it, and the next one is found by the hash of
all that was asked up to its last answer. Examples written into a prompt are not found: nobody has asked them.

The same messages once more are a *regeneration* only where a person must have asked for it: within a conversation
with an id; or, without one, after an answer, shortly after the first time, and not with the seed fixed or the
temperature at zero (who does that wants the same again). One and the same opening question of many users, a
benchmark's repetitions and the n answers of one request are none: what is noted is an answer that has ended.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.domain.catalogue import Option
from router.domain.chat import Message
from router.service.ask import Ask

MOST = 10_000
"""Conversations remembered, the least recently used is forgotten first: about 400 bytes each."""

IDLE_S = 3600.0
"""A conversation that rests so long is forgotten; an answer asked for again after that is a new question."""

REGENERATED_WITHIN_S = 120.0
"""Without an id, the same messages count as a regeneration within this time only."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who answered last in a conversation.

    Attributes:
        option: The option that did.
        whole: Hash of the messages it answered.
        ended_at: When, on the memory's clock.
    """

    option: Option
    whole: bytes
    ended_at: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands.

    Attributes:
        key: Under which its answer is noted.
        whole: Hash of all its messages.
        seat: Who answered before it; None where that is not known.
        idle_s: Seconds since that answer ended.
        is_regeneration: Whether the same messages were answered before, and a person wants another answer.
    """

    key: bytes
    whole: bytes
    seat: Seat | None = None
    idle_s: float = 0.0
    is_regeneration: bool = False


class Conversations:
    """The memory; safe to share between threads."""

    def __init__(
        self, *, most: int = MOST, idle_s: float = IDLE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember nothing yet; hashes are salted anew in every process, so they say nothing outside it."""
        self._most = most
        self._idle_s = idle_s
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._seats: OrderedDict[bytes, Seat] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._seats)

    def find(self, ask: Ask) -> Place:
        """Where a request stands; changes nothing."""
        whole = self._hash("whole", [(m.role, m.content.strip(), _images(m)) for m in ask.messages])
        before: bytes | None
        if ask.conversation is not None:
            key = before = self._hash("id", ask.conversation)
        else:
            key = self._asked(ask.messages)
            before = self._asked(_before_last_answer(ask.messages)) if _has_answer(ask.messages) else None
        with self._lock:
            again = self._fresh(key)
            seat = None if before is None else self._fresh(before)
        is_again = again is not None and again.whole == whole and self._may_be_regeneration(ask, again)
        seat = again if is_again else seat
        idle_s = 0.0 if seat is None else self._clock() - seat.ended_at
        return Place(key, whole, seat, idle_s, is_again)

    def note(self, place: Place, option: Option) -> None:
        """An option has answered a request, to its end or until its reader left."""
        with self._lock:
            self._seats[place.key] = Seat(option, place.whole, self._clock())
            self._seats.move_to_end(place.key)
            while len(self._seats) > self._most:
                self._seats.popitem(last=False)
            # The oldest stand first: idle ones are dropped as time goes on, not only when they are asked for.
            while self._seats and self._is_idle(next(iter(self._seats.values()))):
                self._seats.popitem(last=False)

    def _fresh(self, key: bytes) -> Seat | None:
        seat = self._seats.get(key)
        return None if seat is None or self._is_idle(seat) else seat

    def _is_idle(self, seat: Seat) -> bool:
        return self._clock() - seat.ended_at > self._idle_s

    def _may_be_regeneration(self, ask: Ask, again: Seat) -> bool:
        if ask.conversation is not None:
            return True
        wants_the_same = ask.sampling.seed is not None or ask.sampling.temperature == 0
        is_soon = self._clock() - again.ended_at <= REGENERATED_WITHIN_S
        return _has_answer(ask.messages) and is_soon and not wants_the_same

    def _asked(self, messages: Sequence[Message]) -> bytes:
        """Hash of what was asked: every message, of answers only that they were there."""
        said = [(m.role, "" if m.role == "assistant" else m.content.strip(), _images(m)) for m in messages]
        return self._hash("asked", said)

    def _hash(self, kind: str, what: object) -> bytes:
        text = json.dumps([kind, what], ensure_ascii=False)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=16).digest()


def earlier_characters(messages: Sequence[Message]) -> int:
    """Characters that an engine which gave the last answer has read or written already."""
    last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    return sum(len(m.content) for m in messages[: last + 1])


def _has_answer(messages: Sequence[Message]) -> bool:
    return any(m.role == "assistant" for m in messages)


def _before_last_answer(messages: Sequence[Message]) -> Sequence[Message]:
    last = max(i for i, m in enumerate(messages) if m.role == "assistant")
    return messages[:last]


def _images(message: Message) -> object:
    return message.extra.get("images") if message.role == "user" else None
