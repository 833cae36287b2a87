"""Engines that do not say what they can run: a site that is silent or refuses is down, and holds up no other."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.backends.auto import AutoBackend
from router.backends.scripted import ScriptedBackend
from router.domain.errors import RequestError
from router.domain.ports import ServedModel
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
    monkeypatch.setattr("router.service.engines.ASK_S", 0.05)
    monkeypatch.setattr("router.backends.auto.ASK_S", 0.05)


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
