"""What clients see of a cascade: one well-formed answer of whoever gave it, and why, in both dialects."""

from __future__ import annotations

import json

import pytest

from tests.api.in_process import asked
from tests.service.test_cascade import QUESTION, backend, telling

ASKS = [f"{QUESTION} {i}" for i in range(6)]


@pytest.mark.parametrize(
    ("logprob", "who", "text"), [(-1.5, "large", "The large one says 43."), (-0.1, "small", "It is 42.")]
)
async def test_openai_streams_one_answer(logprob: float, who: str, text: str) -> None:
    seen = []
    async with asked(measured=telling(), backend=backend(logprob=logprob)) as (client, _):
        for prompt in ASKS:
            body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": prompt}]}
            response = await client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200
            lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
            assert lines[-1] == "[DONE]"
            chunks = [json.loads(line) for line in lines[:-1]]
            assert len({chunk["id"] for chunk in chunks}) == 1
            choices = [choice for chunk in chunks for choice in chunk["choices"]]
            said = "".join(choice["delta"].get("content") or "" for choice in choices)
            assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
            (carbon,) = [chunk["carbon"] for chunk in chunks if chunk.get("carbon")]
            assert response.headers["X-Router-Model"] == carbon["model"]
            assert said == ("The large one says 43." if carbon["model"] == "large" else "It is 42.")
            assert all(choice.get("logprobs") is None for choice in choices)
            seen.append((carbon["model"], said, carbon["fallback"]))
    told = "escalated: mean log-probability -1.50 under" if who == "large" else None
    assert (
        sum(m == who and s == text and (f or "").startswith(told or "") and bool(f) == bool(told) for m, s, f in seen)
        >= 4
    )


async def test_ollama_streams_one_answer() -> None:
    escalated = 0
    async with asked(measured=telling(), backend=backend(logprob=-1.5)) as (client, _):
        for prompt in ASKS:
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
            response = await client.post("/api/chat", json=body)
            assert response.headers["content-type"].startswith("application/x-ndjson")
            lines = [json.loads(line) for line in response.text.splitlines()]
            assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
            said = "".join(line["message"]["content"] for line in lines)
            carbon = lines[-1]["carbon"]
            assert said == ("The large one says 43." if carbon["model"] == "large" else "It is 42.")
            escalated += (carbon["fallback"] or "").startswith("escalated: ")
    assert escalated >= 4


async def test_dry_runs_and_the_plan_name_the_cascade() -> None:
    async with asked(measured=telling(), backend=backend()) as (client, _):
        routed = (await client.post("/v1/route", json={"prompt": QUESTION})).json()
        plan = (await client.get("/v1/plan")).json()
    assert "small@L0, then large@L0 if mean log-probability under" in routed["cascade"]
    assert any(note.startswith("cascade in: small@L0, then large@L0") for note in plan["notes"])
    assert any("then large@L0" in part.get("cascade", "") for c in plan["plan"]["categories"] for part in c["mix"])
