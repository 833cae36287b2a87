"""What the dialects share in handing an answer on: several runs as one stream, pieces joined, clients that go away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from router.domain.chat import Usage
from router.domain.errors import RouterError
from router.domain.reading import weakest
from router.domain.record import CarbonRecord
from router.service.ask import Ask
from router.service.progress import Done, Event, Started
from router.service.turn import TurnRunner

logger = logging.getLogger(__name__)

T = TypeVar("T")
Events = AsyncGenerator[tuple[int, Event], None]

CLIENT_GONE = 499  # nginx's status for it; nobody is left to read the response
STALL_S = 60.0
"""A client that takes nothing of a stream for so long is taken to have gone."""

_MOST_EVENTS_WAITING = 64
_MOST_AT_ONCE = 4  # of the n answers of one request: it must neither fill a site's queue alone nor be refused by it


async def answers(runner: TurnRunner, ask: Ask, n: int = 1) -> Events:
    """Run a request n times, some at once; yields (which run, event) as they come.

    The first run chooses; the others begin with its first byte and stay on its model and directive, so that the n
    answers can be compared. A seed is counted up from run to run, or all would say the same.

    Raises:
        RouterError: As the runner does; an error of one run ends all.
    """
    if n == 1:
        async with aclosing(_run(runner, ask)) as events:
            async for event in events:
                yield 0, event
        return
    queue: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue(_MOST_EVENTS_WAITING)
    at_once = asyncio.Semaphore(1)

    async def pump(index: int, its_ask: Ask) -> None:
        try:
            async with at_once, aclosing(_run(runner, its_ask)) as events:
                async for event in events:
                    await queue.put((index, event))
        except Exception as error:  # not swallowed: raised below, in the generator that the client waits for
            await queue.put((index, error))

    tasks = [asyncio.create_task(pump(0, ask))]
    to_come = n
    try:
        while to_come:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Started) and index == 0:
                for _ in range(1, min(_MOST_AT_ONCE, runner.slots(item.option.site))):
                    at_once.release()
                tasks += [asyncio.create_task(pump(i, _sibling(ask, item, i))) for i in range(1, n)]
            to_come -= isinstance(item, Done)
            yield index, item
    finally:
        await _end(*tasks)


async def _run(runner: TurnRunner, ask: Ask) -> AsyncGenerator[Event, None]:
    """One run, whose end is handed on once the runner has ended too.

    A client that leaves upon the last line has then cancelled nothing, and the turn stays journalled as it was.
    """
    done: Done | None = None
    async with aclosing(runner.run(ask)) as events:
        async for event in events:
            if isinstance(event, Done):
                done = event
            else:
                yield event
    if done is not None:
        yield done


def _sibling(ask: Ask, started: Started, index: int) -> Ask:
    seed = None if ask.sampling.seed is None else ask.sampling.seed + index
    option = started.option
    side = started.decision.side or ask.side  # its model's name no longer says so
    sampling = replace(ask.sampling, seed=seed)
    return replace(ask, model=option.model, directive=option.directive, sampling=sampling, side=side)


class ToolCalls:
    """Joins the pieces of tool calls, which engines stream by index."""

    def __init__(self) -> None:
        """Begin with none."""
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take pieces in; returns them with the index that OpenAI's clients require of each."""
        indexed = []
        for piece in pieces:
            index = int(piece.get("index", len(self._calls)))
            function = piece.get("function") or {}
            call = self._calls.setdefault(
                index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            call["id"] = piece.get("id") or call["id"]
            call["function"]["name"] += function.get("name") or ""
            call["function"]["arguments"] += function.get("arguments") or ""
            indexed.append({**piece, "index": index})
        return indexed

    def whole(self) -> list[dict[str, Any]]:
        """The calls, in order."""
        return [self._calls[index] for index in sorted(self._calls)]


@dataclass(slots=True)
class Whole:
    """One answer, joined from its events."""

    started: Started | None = None
    done: Done | None = None
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)
    calls: ToolCalls = field(default_factory=ToolCalls)

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.texts)

    @property
    def thinking(self) -> str:
        """The reasoning that came with it, apart."""
        return "".join(self.thoughts)

    def take(self, event: Event) -> None:
        """Add what an event brings."""
        if isinstance(event, Started):
            self.started = event
        elif isinstance(event, Done):
            self.done = event
        else:
            self.texts.append(event.text)
            self.thoughts.append(event.thinking)
            self.logprobs += event.logprobs
            self.calls.add(event.tool_calls)

    def ends(self) -> tuple[Started, Done]:
        """Beginning and end; the runner promises both of an answer that raised nothing."""
        assert self.started is not None
        assert self.done is not None
        return self.started, self.done


async def collect(events: Events, n: int = 1) -> list[Whole]:
    """The n answers whole."""
    wholes = [Whole() for _ in range(n)]
    async with aclosing(events):
        async for index, event in events:
            wholes[index].take(event)
    return wholes


async def first(events: Events) -> Started:
    """The first event, which comes with the engine's first piece: until then an error still gets its status."""
    _, started = await anext(events)
    assert isinstance(started, Started)
    return started


def total(values: Sequence[float | None]) -> float | None:
    """Their sum, unknown as soon as one of them is."""
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def total_usage(usages: Sequence[Usage]) -> Usage:
    """Tokens of several runs together."""

    def tokens(values: list[int | None]) -> int | None:
        summed = total(values)
        return None if summed is None else int(summed)

    return Usage(tokens([u.prompt_tokens for u in usages]), tokens([u.output_tokens for u in usages]))


def total_carbon(records: Sequence[CarbonRecord]) -> CarbonRecord:
    """The record of several runs of one request: the first one's words, everyone's joules, grams and milliseconds."""
    if len(records) == 1:
        return records[0]
    energy_j = total([r.energy_j for r in records])
    return replace(
        records[0],
        energy_j=energy_j,
        energy_method=None if energy_j is None else weakest({r.energy_method for r in records}),
        operational_g=total([r.operational_g for r in records]),
        embodied_g=total([r.embodied_g for r in records]),
        reference_g=total([r.reference_g for r in records]),
        saved_g=total([r.saved_g for r in records]),
        overhead_ms=sum(r.overhead_ms for r in records),
        router_energy_j=total([r.router_energy_j for r in records]),
        fallback=next((r.fallback for r in records if r.fallback), None),
    )


async def unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """The result of the work, or None once the client has gone, in which case the work has been stopped."""
    working = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await _end(working, gone)


async def _disconnected(receive: Receive) -> None:
    """Return once the client has gone; the body has been read, so nothing else can arrive."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class LineStream(StreamingResponse):
    """Lines as they come. When the client goes, the lines are closed at once, and with them the engine stops.

    Starlette's own leaves a generator that waits at a ``yield`` to the garbage collector, and under ASGI 2.4 does
    not see a client go while nothing is sent.
    """

    def __init__(self, lines: AsyncGenerator[str, None], *, media_type: str, headers: Mapping[str, str]) -> None:
        """Take the lines, each with its line end."""
        super().__init__(lines, media_type=media_type, headers={"Cache-Control": "no-store", **headers})
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the lines end or the client goes."""

        async def prompt(message: Message) -> None:
            # A client that stays and reads nothing would keep its engine for ever.
            async with asyncio.timeout(STALL_S):
                await send(message)

        writing = asyncio.create_task(self.stream_response(prompt))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        except OSError:
            pass  # how servers of ASGI 2.4 say that the client has gone; and a timeout, which is as good as gone
        finally:
            await _end(writing, gone)
            await self._lines.aclose()


async def in_band(
    lines: AsyncGenerator[str, None], error_line: Callable[[RouterError], str]
) -> AsyncGenerator[str, None]:
    """The lines; an error becomes a last line, since the status has been sent."""
    try:
        async with aclosing(lines):
            async for line in lines:
                yield line
    except RouterError as error:
        yield error_line(error)
    except Exception:
        # The outer edge of a stream: logged whole, told to the client without a trace.
        logger.exception("a stream failed")
        yield error_line(RouterError("the router failed; its log says why"))


def gone() -> Response:
    """The response to nobody."""
    return Response(status_code=CLIENT_GONE)
