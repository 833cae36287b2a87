"""Engines that do not say what they can run: a site that is silent or refuses is down, and holds up no other."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.backends import auto as auto_module
from router.backends.auto import AutoBackend
from router.backends.scripted import ScriptedBackend
from router.domain.errors import RequestError
from router.domain.ports import ServedModel
from router.service import engines as engines_module
from tests.service import federation


class Silent(ScriptedBackend):
    async def models(self) -> tuple[ServedModel, ...]:
        await asyncio.Event().wait()
        raise AssertionError


class Refusing(ScriptedBackend):
    async def models(self) -> tuple[ServedModel, ...]:
        raise RequestError("405 on the list of models")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = auto_module.ASK_S / engines_module.ASK_S
    monkeypatch.setattr("router.service.engines.ASK_S", 0.5)
    monkeypatch.setattr("router.backends.auto.ASK_S", 0.5 * ratio)


@pytest.mark.parametrize(("kind", "why"), [(Silent, "does not say within"), (Refusing, "405")])
async def test_such_a_site_is_down_and_the_start_goes_on(kind: type[ScriptedBackend], why: str) -> None:
    service = federation.build(backend=kind("x", models=["small"]))
    began = time.monotonic()
    await service.planner.refresh(force=True)
    assert time.monotonic() - began < 20.0
    assert why in service.engines.down["local"]
    await service.close()


async def test_a_silent_ollama_leaves_the_embedded_engine_to_answer() -> None:
    auto = AutoBackend(Silent("x", models=["a"]), ScriptedBackend("Embedded.", models=["a"]))
    assert await auto.engine_for("a") == "embedded"


async def test_a_silent_ollama_does_not_take_its_site_down() -> None:
    auto = AutoBackend(Silent("x", models=["small"]), ScriptedBackend("Embedded.", models=["small"]))
    service = federation.build(backend=auto)
    await service.planner.refresh(force=True)
    assert service.engines.down == {}
    assert {option.model for option in service.planner.current.available} == {"small"}
    await service.close()
