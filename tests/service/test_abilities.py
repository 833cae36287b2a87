"""Requests with tools or images go to models that can take them, as far as engines say what theirs can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from router.backends.scripted import ScriptedBackend
from router.domain.chat import Message
from router.domain.ports import ServedModel
from router.service.ask import Ask
from router.service.assembly import Service
from tests.service import federation

QUESTION = "Which river flows through the capital of country number 3 near city 10"
TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}]}


class Describing(ScriptedBackend):
    """A scripted engine that says what its models can do."""

    def __init__(self, abilities: Mapping[str, frozenset[str] | None]) -> None:
        super().__init__(models=tuple(abilities))
        self.abilities = dict(abilities)
        self.digests = dict.fromkeys(abilities, "one")
        self.asked: list[str] = []

    async def models(self) -> tuple[ServedModel, ...]:
        return tuple(replace(model, digest=self.digests[model.name]) for model in await super().models())

    async def capabilities(self, model: str) -> frozenset[str] | None:
        self.asked.append(model)
        return self.abilities[model]


@asynccontextmanager
async def routed(
    small: frozenset[str] | None, large: frozenset[str] | None
) -> AsyncIterator[tuple[Service, Describing]]:
    backend = Describing({"small": small, "large": large})
    service = federation.build(backend=backend)
    await service.start()
    try:
        yield service, backend
    finally:
        await service.stop()


def ask(*, tools: bool = False, image: bool = False, text: str = QUESTION, model: str = "auto") -> Ask:
    message = Message("user", text, {"images": ["aGVsbG8="]} if image else {})
    return Ask((message,), model, extra=TOOLS if tools else {})


async def test_a_question_for_the_small_model_goes_to_the_large_one_with_tools() -> None:
    async with routed(frozenset(), frozenset({"tools"})) as (service, _):
        assert (await service.chooser.choose(ask())).decision.option.model == "small"
        choice = await service.chooser.choose(ask(tools=True))
    assert (choice.decision.option.model, choice.decision.option.directive) == ("large", "L0")
    assert {option.model for option in choice.order} == {"large"}, "nor does it fall back to one that cannot"
    assert choice.decision.reason


@pytest.mark.parametrize(("image", "model"), [(True, "large"), (False, "small")])
async def test_an_image_goes_to_who_can_see(*, image: bool, model: str) -> None:
    async with routed(frozenset({"tools"}), frozenset({"vision"})) as (service, _):
        choice = await service.chooser.choose(ask(image=image))
    assert choice.decision.option.model == model


async def test_tools_and_an_image_need_both() -> None:
    async with routed(frozenset({"tools"}), frozenset({"vision", "tools"})) as (service, _):
        choice = await service.chooser.choose(ask(image=True, tools=True))
    assert choice.decision.option.model == "large"


@pytest.mark.parametrize("said", [None, frozenset({"tools"})])
async def test_an_engine_that_does_not_say_is_believed_able(said: frozenset[str] | None) -> None:
    async with routed(said, frozenset()) as (service, _):
        assert (await service.chooser.choose(ask(tools=True))).decision.option.model == "small"


async def test_where_none_can_the_engine_is_asked_all_the_same() -> None:
    async with routed(frozenset(), frozenset()) as (service, _):
        choice = await service.chooser.choose(ask(tools=True))
        assert choice.decision.option.model == "small"
        pinned = await service.chooser.choose(ask(tools=True, model="small"))
    assert pinned.decision.option.model == "small"


async def test_a_pinned_model_that_cannot_is_not_replaced() -> None:
    async with routed(frozenset(), frozenset({"tools"})) as (service, _):
        choice = await service.chooser.choose(ask(tools=True, model="small"))
    assert choice.decision.option.model == "small"


async def test_something_unfamiliar_goes_to_who_can() -> None:
    async with routed(frozenset({"tools"}), frozenset()) as (service, _):
        choice = await service.chooser.choose(ask(tools=True, text="zzz qqq xxx vvv kkk"))
    assert choice.decision.option.model == "small"


async def test_each_model_is_asked_once_until_it_is_another_or_has_not_said() -> None:
    async with routed(frozenset({"tools"}), None) as (service, backend):
        assert backend.asked == ["small", "large"]
        await service.planner.refresh(force=True)
        assert backend.asked == ["small", "large", "large"]
        backend.digests["small"], backend.abilities["small"] = "two", frozenset()
        backend.abilities["large"] = frozenset({"tools"})
        await service.planner.refresh(force=True)
        assert sorted(backend.asked[3:]) == ["large", "small"]
        assert (await service.chooser.choose(ask(tools=True))).decision.option.model == "large"
