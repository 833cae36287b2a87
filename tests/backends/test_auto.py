from __future__ import annotations

import pytest

from router.backends.auto import AutoBackend
from router.backends.scripted import Fault, ScriptedBackend
from router.domain.chat import Delta, Generation, Message
from router.domain.errors import BackendUnavailableError, ModelMissingError

ASK = (Message("user", "Who are you?"),)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting(ScriptedBackend):
    """Counts how often it is asked what it has."""

    questions = 0

    async def models(self):  # type: ignore[no-untyped-def]
        self.questions += 1
        return await super().models()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ollama() -> Counting:
    return Counting("Ollama.", models=["both", "large:latest"])


@pytest.fixture
def embedded() -> ScriptedBackend:
    return ScriptedBackend("Embedded.", models=["both", "small"])


@pytest.fixture
def auto(ollama: Counting, embedded: ScriptedBackend, clock: Clock) -> AutoBackend:
    return AutoBackend(ollama, embedded, good_for_s=10, clock=clock)


async def who_answers(auto: AutoBackend, model: str) -> str:
    items = [item async for item in auto.stream(Generation(model, ASK))]
    return "".join(item.text for item in items if isinstance(item, Delta))


async def test_ollama_answers_where_it_has_the_model(auto: AutoBackend) -> None:
    assert await who_answers(auto, "both") == "Ollama."
    assert await who_answers(auto, "small") == "Embedded."


async def test_says_which_engine_would_serve(auto: AutoBackend) -> None:
    engines = [await auto.engine_for(model) for model in ("both", "small", "large", "nobody")]
    assert engines == ["ollama", "embedded", "ollama", "embedded"]


async def test_without_ollama_the_embedded_engine_answers(auto: AutoBackend, ollama: Counting) -> None:
    ollama.faults["*"] = Fault("refuse")
    assert await who_answers(auto, "both") == "Embedded."
    assert {model.name for model in await auto.models()} == {"both", "small"}


async def test_lists_what_either_has_once(auto: AutoBackend) -> None:
    assert [model.name for model in await auto.models()] == ["both", "large:latest", "small"]


async def test_asks_again_only_after_some_seconds(auto: AutoBackend, ollama: Counting, clock: Clock) -> None:
    for _ in range(5):
        await auto.engine_for("both")
    assert ollama.questions == 1
    clock.now = 10.5
    await auto.engine_for("both")
    assert ollama.questions == 2


async def test_a_failure_makes_it_ask_at_once(auto: AutoBackend, ollama: Counting) -> None:
    await auto.engine_for("both")
    ollama.faults["*"] = Fault("refuse")
    with pytest.raises(BackendUnavailableError):
        await who_answers(auto, "both")
    assert await who_answers(auto, "both") == "Embedded."


async def test_a_model_nobody_has_is_missing(auto: AutoBackend) -> None:
    with pytest.raises(ModelMissingError):
        await who_answers(auto, "nobody")


async def test_a_pinned_model_stays_with_its_engine_when_that_fails(auto: AutoBackend, ollama: Counting) -> None:
    await auto.pin()
    ollama.faults = {"*": Fault("refuse")}
    with pytest.raises(BackendUnavailableError):
        await who_answers(auto, "both")
    assert await auto.engine_for("both") == "ollama"
    assert await who_answers(auto, "small") == "Embedded."
