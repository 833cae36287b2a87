"""Mixed traffic of a client that counts: both dialects, streams and not, faults, wrong requests, and leaving early."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

PATHS = ("/v1/chat/completions", "/api/chat", "/api/generate")
FAULTS = ("fall back", "refuse", "garbage", "break")  # 5 % of all requests
LEAVES = ("hang", "pause")  # 3 %: the engine falls silent and the client goes
WRONG = ("unknown model", "no prompt", "no field")  # 2 %
TOPICS = (
    "Add the numbers {i} and {j} and say how much the sum is",
    "Write a Python function called work{i} that returns item {j} of a list",
    "Which river flows through the capital of country number {i} near city {j}",
    "Tell me something that nobody has measured, number {i}, about {j}",
)
STAY_S = 0.7  # how long a client waits for an engine that is silent from the start; by then it surely is asked
FELL_BACK = re.compile(r'"fallback": ?"[^"]* failed: ')
ANSWER = "It is 42, of course."


@dataclass
class Counts:
    """What the client has seen.

    Attributes:
        turns: Requests that the router ran, by how they ended.
        statuses: Responses by status; 499 where the client left before there was one.
        fallbacks: Answers that another option gave than the one that was asked first.
        wrong: What was not as it should be.
    """

    turns: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    fallbacks: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """One request of the traffic, and what is to become of it."""

    number: int
    path: str
    stream: bool
    fault: str | None
    body: dict[str, Any]


def requests(n: int, seed: int) -> Iterator[Request]:
    """The traffic, the same for the same seed."""
    draw = random.Random(seed)
    for number in range(n):
        roll = draw.random()
        fault = (
            draw.choice(FAULTS)
            if roll < 0.05
            else draw.choice(LEAVES)
            if roll < 0.08
            else draw.choice(WRONG)
            if roll < 0.10
            else None
        )
        path, stream = draw.choice(PATHS), draw.random() < 0.5
        prompt = draw.choice(TOPICS).format(i=number, j=draw.randrange(1000))
        model = draw.choice(("auto", "auto", "auto:latest", "gpt-4o", "auto@L1"))
        if fault in (*FAULTS, *LEAVES):
            prompt += f" [{fault}]"
        if fault == "unknown model":
            model = "nobody"
        if fault == "no prompt":
            prompt = " "
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        if draw.random() < 0.3 and fault != "no prompt":
            messages = [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": f"Hello, I am number {draw.randrange(50)}."},
                {"role": "assistant", "content": "Hello."},
                *messages,
            ]
        body: dict[str, Any] = {"model": model, "stream": stream}
        body |= {"prompt": prompt} if path == "/api/generate" else {"messages": messages}
        if fault == "no field":
            body["messages" if path == "/v1/chat/completions" else "model"] = None
        yield Request(number, path, stream, fault, body)


async def send_all(
    url: str, traffic: Iterator[Request], *, at_once: int, after: Callable[[int], None] = lambda _: None
) -> Counts:
    """Send it all, some at once.

    Args:
        url: Where the router is.
        traffic: What to send.
        at_once: How many clients.
        after: Told how many requests have ended, after each.
    """
    counts, ended = Counts(), 0
    limits = httpx.Limits(max_connections=at_once)

    async def client() -> None:
        nonlocal ended
        async with httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False, limits=limits) as http:
            for request in traffic:
                await _send(http, request, counts)
                ended += 1
                after(ended)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return counts


async def _send(http: httpx.AsyncClient, request: Request, counts: Counts) -> None:
    status, text = 499, ""
    try:
        async with asyncio.timeout(STAY_S if request.fault in LEAVES else None):
            async with http.stream("POST", request.path, json=request.body) as response:
                status = response.status_code
                async for piece in response.aiter_text():
                    text += piece
    except TimeoutError:
        pass
    counts.statuses[status] += 1
    if request.fault in WRONG:
        expected = status in (400, 404) and "error" in text
    elif request.fault in LEAVES:
        counts.turns["cancelled"] += 1
        begun = request.fault == "pause" and request.stream
        expected = status == (200 if begun else 499) and ("It is" in said(request.path, text)) == begun
    elif request.fault in ("refuse", "garbage", "break"):
        counts.turns["error"] += 1
        begun = request.fault == "break" and request.stream
        expected = status == (200 if begun else 502 if request.fault == "garbage" else 503) and '"error"' in text
    else:
        counts.turns["ok"] += 1
        fell_back = FELL_BACK.search(text) is not None
        counts.fallbacks += fell_back
        expected = status == 200 and said(request.path, text) == ANSWER and fell_back == (request.fault == "fall back")
    if not expected:
        counts.wrong.append(f"{request}: {status} {text[:300]}")


def said(path: str, text: str) -> str:
    """The answer's text, joined from what came of a body or a stream."""
    words = ""
    for line in text.splitlines():
        data = line.removeprefix("data: ")
        if not data.startswith("{"):
            continue
        try:
            body = json.loads(data)
        except ValueError:
            continue  # cut where the client left
        if path == "/api/generate":
            words += body.get("response", "")
        elif path == "/api/chat":
            words += body.get("message", {}).get("content", "")
        else:
            for choice in body.get("choices", ()):
                words += choice.get("delta", choice.get("message", {})).get("content") or ""
    return words
