"""What ``/v1/plan`` says of who decides, and on how many prompts."""

from __future__ import annotations

from dataclasses import replace

from tests.api.in_process import asked
from tests.service.federation import measurements


async def test_it_says_what_decides() -> None:
    for parts, decided_by in (
        ({"measured": None}, "plan"),
        ({"measured": None, "policy": "nearest"}, "prompt"),
        ({"measured": []}, None),
    ):
        async with asked(**parts) as (client, _):
            told = (await client.get("/v1/plan")).json()
            assert told["decided_by"] == decided_by
            assert (told["plan"] is not None) == (decided_by == "plan")
            says_it = any("decides prompt by prompt" in note for note in told["notes"])
            assert says_it == (decided_by == "prompt")


async def test_prompts_kept_for_validation_are_not_among_those_it_is_made_from() -> None:
    rows = measurements()
    kept = [replace(row, split="validation") if i % 5 == 0 else row for i, row in enumerate(rows)]
    async with asked(measured=kept) as (client, service):
        told = (await client.get("/v1/plan")).json()
        assert told["measured_prompts"] == sum(row.split != "validation" for row in kept) < len(rows)
        assert f"{told['measured_prompts']} measured prompts" in service.banner()[0]
