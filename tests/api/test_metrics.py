"""Figures agree with the journal and with what clients saw; nothing that a user wrote is among them or in the log."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from router.backends.scripted import Fault, ScriptedBackend
from router.domain.chat import Delta, Finish, Usage
from router.service.limits import Limits
from tests.api.in_process import CHAT, asked
from tests.api.stage import StageBackend
from tests.service.federation import measurements
from tests.service.held_journal import HeldJournal

# The grammar of a sample: name, labels with escaped values, a number.
SAMPLE = re.compile(
    r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="(\\[\\n"]|[^\\"\n])*",?)*\})? '
    r"(-?[0-9.]+(e[+-]?[0-9]+)?|NaN)$"
)


def samples(text: str, name: str) -> dict[str, float]:
    found = re.findall(rf"^carbon_router_{name}(\{{.*\}})? (\S+)$", text, flags=re.MULTILINE)
    return {labels: float(value) for labels, value in found}


async def test_every_line_is_one_that_prometheus_reads() -> None:
    async with asked() as (http, _):
        await http.post("/v1/chat/completions", json=CHAT)
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names: list[str] = []
    for line in answer.text.splitlines():
        if line.startswith("# TYPE"):
            names.append(line.split()[2])
        elif not line.startswith("#"):
            assert SAMPLE.match(line), line
            assert line.startswith(names[-1])
    assert len(names) == len(set(names))
    assert answer.text.endswith("\n")


async def test_counts_joules_and_grams_agree_with_the_journal() -> None:
    backend = ScriptedBackend("It is 42.", models=("small", "large"))
    async with asked(backend=backend) as (http, service):
        seen = []
        for number in range(6):
            if number == 2:
                backend.faults["large"] = Fault("refuse", times=1)
            if number == 4:
                backend.faults["large"] = Fault("garbage", times=1)
                backend.faults["small"] = Fault("garbage", times=1)
            seen.append((await http.post("/v1/chat/completions", json=CHAT)).status_code)
        turns = list(service.journal.turns())
        text = (await http.get("/metrics")).text
        stats = (await http.get("/v1/stats")).json()
    assert seen == [200] * 4 + [502] + [200]
    assert sum(samples(text, "requests_total").values()) == len(turns) == stats["turns"] == 6
    assert samples(text, "http_responses_total") == {'{status="200"}': 5.0, '{status="502"}': 1.0}
    energy_j = sum(turn.carbon.energy_j or 0.0 for turn in turns)
    assert sum(samples(text, "energy_joules_total").values()) == pytest.approx(energy_j)
    assert stats["energy_j"] == pytest.approx(energy_j)
    assert stats["by_status"] == {"ok": 5, "error": 1}
    assert stats["attempts"] == sum(turn.attempts for turn in turns) == 8
    grams = samples(text, "carbon_grams_total")
    operational = sum(value for labels, value in grams.items() if 'kind="operational"' in labels)
    assert operational == pytest.approx(sum(turn.carbon.operational_g or 0.0 for turn in turns))
    # Nothing measured, so no reference to save against; the one that was not answered cost what it took all the same.
    failed = next(turn.carbon for turn in turns if turn.status == "error")
    assert stats["saved_g"] == pytest.approx(-(failed.operational_g or 0.0) - (failed.embodied_g or 0.0))
    assert stats["unknown"]["saved_g"] == 5


async def test_the_overhead_histogram_is_cumulative() -> None:
    async with asked() as (http, _):
        for _ in range(3):
            await http.post("/v1/chat/completions", json=CHAT)
        text = (await http.get("/metrics")).text
    buckets = list(samples(text, "overhead_seconds_bucket").values())
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3 == samples(text, "overhead_seconds_count")[""]
    assert samples(text, "overhead_seconds_sum")[""] > 0


async def test_breakers_queues_and_intensity_are_shown() -> None:
    async with asked(faults={"large": Fault("refuse")}, limits=Limits(failures_to_open=2)) as (http, _):
        for _ in range(3):
            await http.post("/v1/chat/completions", json=CHAT)
        text = (await http.get("/metrics")).text
    assert samples(text, "breaker_state")['{site="local",model="large"}'] == 2
    assert samples(text, "breaker_state")['{site="local",model="small"}'] == 0
    assert samples(text, "queue_depth") == {'{site="local"}': 0}
    assert samples(text, "intensity_grams_per_kwh") == {'{site="local"}': 385}


async def test_stats_can_begin_later() -> None:
    async with asked() as (http, service):
        await http.post("/v1/chat/completions", json=CHAT)
        (turn,) = service.journal.turns()
        assert (await http.get("/v1/stats", params={"since": turn.started_at + 1})).json()["turns"] == 0
        assert (await http.get("/v1/stats", params={"since": turn.started_at - 1})).json()["turns"] == 1
        assert (await http.get("/v1/stats", params={"since": "yesterday"})).status_code == 400


async def test_tokens_that_nobody_counted_are_not_none() -> None:
    backend = StageBackend()
    backend.scenes["uncounted"] = [Delta("so it goes"), Finish("stop", Usage())]
    async with asked(backend=backend) as (http, _):
        assert (await http.get("/v1/stats")).json()["output_tokens"] is None
        await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "uncounted"}]})
        first = (await http.get("/v1/stats")).json()
        await http.post("/v1/chat/completions", json=CHAT)
        second = (await http.get("/v1/stats")).json()
    assert (first["prompt_tokens"], first["output_tokens"], first["unknown"]["output_tokens"]) == (None, None, 1)
    assert isinstance(second["output_tokens"], int)
    assert second["output_tokens"] > 0
    assert second["unknown"]["prompt_tokens"] == 1


async def test_polls_of_a_long_journal_hold_up_no_answer_and_share_one_reading() -> None:
    journal = HeldJournal(reads=True)
    async with asked(journal=journal) as (http, _):
        polls = [asyncio.create_task(http.get("/v1/stats")) for _ in range(40)]
        await journal.until_held()
        answer = await asyncio.wait_for(http.post("/v1/chat/completions", json=CHAT), 3.0)
        journal.let_go.set()
        answers = await asyncio.gather(*polls)
    assert answer.status_code == 200
    assert [poll.status_code for poll in answers] == [200] * 40
    assert (len(journal.readers), journal.ran_out) == (1, 0)


async def test_what_a_user_writes_and_an_engine_answers_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backend = ScriptedBackend("marker-of-the-answer", models=("small", "large"))
    body = {"model": "auto", "messages": [{"role": "user", "content": "marker-of-the-prompt"}]}
    async with asked(backend=backend) as (http, _):
        for path in ("/v1/chat/completions", "/api/chat", "/v1/route"):
            await http.post(
                path, json={**body, "stream": False} if path != "/v1/route" else {"prompt": "marker-of-the-prompt"}
            )
            await http.post(
                path, json={**body, "wrong": "marker-of-the-prompt", "n": -1, "stream": "marker-of-the-prompt"}
            )
        for phase in ("refuse", "garbage", "break"):
            backend.faults["large"] = Fault(phase, after=int(phase == "break"), times=1)
            await http.post("/v1/chat/completions", json=body)
        text = (await http.get("/metrics")).text + (await http.get("/v1/stats")).text
    assert caplog.records
    assert "marker-of" not in caplog.text
    assert "marker-of" not in text


async def test_both_savings_are_shown_and_what_is_not_known_is_null() -> None:
    async with asked() as (http, _):
        empty = (await http.get("/v1/stats")).json()
        await http.post("/v1/chat/completions", json=CHAT)
        stats = (await http.get("/v1/stats", params={"utilisation": 0.5})).json()
        refused = await http.get("/v1/stats", params={"utilisation": 1.5})
    assert empty["saving"]["requests"]["saved_g"] is None
    site, requests = stats["saving"]["site"], stats["saving"]["requests"]
    assert (requests["saved_g"], requests["share"]) == (None, None)  # nothing measured: no baseline
    assert site["share"] is None
    assert "idle watts of local" in site["unknown"]
    assert (site["utilisation"], site["is_stated"]) == (0.5, True)
    assert stats["score"]["marginal"]["g_per_request"] > 0
    assert stats["score"]["attributed"]["g_per_request"] is None
    assert refused.status_code in (400, 422)


async def test_measured_prompts_give_the_saving_of_the_requests() -> None:
    async with asked(measured=measurements()) as (http, service):
        await http.post("/v1/chat/completions", json=CHAT)
        stats = (await http.get("/v1/stats")).json()
        (turn,) = service.journal.turns()
    assert stats["saving"]["requests"]["saved_g"] == pytest.approx(turn.carbon.saved_g)
    assert turn.basis.reference_operational_g is not None
    assert turn.carbon.operational_g is not None
    assert stats["saving"]["site"]["saved_g"] is not None
    assert stats["saving"]["site"]["saved_g"] == pytest.approx(
        turn.basis.reference_operational_g - turn.carbon.operational_g - stats["saving"]["site"]["router_g"]
    )
