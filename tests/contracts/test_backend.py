"""What every engine must do, checked on all of them.

The scripted engine and, over real HTTP on the loopback, the adapters of Ollama and OpenAI-compatible servers; the
embedded engine with SmolLM2 where its weights are; a real Ollama where the live tests run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router.backends.auto import AutoBackend
from router.backends.embedded import EmbeddedBackend
from router.backends.ollama import OllamaBackend
from router.backends.openai_http import OpenAIBackend
from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.backends.weights import cached_path
from router.domain.chat import Delta, Finish, Generation, Message, Sampling
from router.domain.errors import BackendUnavailableError, ModelMissingError
from router.domain.ports import Backend
from tests.backends.fake_servers import ScriptedServer, closed_port, listening
from tests.backends.smollm2 import CACHE_DIR, SMOLLM2
from tests.live.ollama_server import OPTIONS, serving_smollm2

COUNT = "one two three four five six seven eight nine ten " * 20
NUMBERS = "List the numbers from 1 to 50, separated by commas."


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine under test.

    Attributes:
        backend: It.
        model: A model that it has.
        running: How many generations run upstream, as told by the upstream itself; None where it cannot be asked.
        down: Makes an engine of the same kind that is not there; None for one that cannot be away.
        prompt: Makes it answer at length.
        stop: A text that its answer to the prompt contains.
    """

    backend: Backend
    model: str
    running: Callable[[], int] | None
    down: Callable[[], Backend] | None
    prompt: str = "Count."
    stop: str = "five"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[ScriptedServer, str]]:
    made = ScriptedServer(ScriptedBackend(COUNT, models=["counter"], pace=Pace(delay_s=0.005)))
    with listening(made.app) as url:
        yield made, url


@pytest.fixture(scope="module")
def real_ollama() -> Iterator[str]:
    with serving_smollm2() as url:
        yield url


def refusing() -> Backend:
    return ScriptedBackend(models=["counter"], faults={"*": Fault("refuse")})


@pytest.fixture(
    params=[
        "scripted",
        "openai",
        "ollama",
        "auto",
        pytest.param("embedded", marks=pytest.mark.smollm2),
        pytest.param("real ollama", marks=pytest.mark.live),
    ]
)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = make(request)
    yield made
    await made.backend.close()


def make(request: pytest.FixtureRequest) -> Rig:
    if request.param == "scripted":
        script = ScriptedBackend(COUNT, models=["counter"], pace=Pace(delay_s=0.005))
        return Rig(script, "counter", lambda: script.running, refusing)
    if request.param == "embedded":
        return embedded()
    if request.param == "real ollama":
        url = request.getfixturevalue("real_ollama")
        real = OllamaBackend(url, options=OPTIONS)
        return Rig(real, SMOLLM2.name, None, lambda: OllamaBackend(closed_port()), NUMBERS, "3")
    upstream, url = request.getfixturevalue("server")
    if request.param == "openai":
        down: Callable[[], Backend] = lambda: OpenAIBackend(closed_port())  # noqa: E731
        return Rig(OpenAIBackend(url), "counter", lambda: upstream.script.running, down)
    ollama = OllamaBackend(url)
    if request.param == "auto":
        auto = AutoBackend(ollama, ScriptedBackend(models=[]))
        return Rig(
            auto,
            "counter",
            lambda: upstream.script.running,
            lambda: AutoBackend(OllamaBackend(closed_port()), refusing()),
        )
    return Rig(ollama, "counter", lambda: upstream.script.running, lambda: OllamaBackend(closed_port()))


def embedded() -> Rig:
    cache_dir = CACHE_DIR
    if cached_path(SMOLLM2, cache_dir) is None:
        pytest.skip(
            f"the weights of {SMOLLM2.name} are not in {cache_dir}; run: carbon-router models pull {SMOLLM2.name}"
        )
    backend = EmbeddedBackend({SMOLLM2.name: replace(SMOLLM2, context=2048)}, cache_dir, slots=2)
    return Rig(backend, SMOLLM2.name, lambda: backend.running, None, NUMBERS, "3")


def ask(rig: Rig, *, model: str | None = None, logprobs: bool = False, **sampling: Any) -> Generation:
    chosen = Sampling(**{"max_tokens": 24, "temperature": 0.0, "seed": 1, **sampling})
    return Generation(model or rig.model, (Message("user", rig.prompt),), chosen, logprobs=logprobs)


async def answer(backend: Backend, generation: Generation) -> tuple[str, Finish]:
    """The whole answer; fails unless exactly one Finish comes, and last."""
    items = [item async for item in backend.stream(generation)]
    *deltas, finish = items
    assert isinstance(finish, Finish)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), finish


async def settled(running: Callable[[], int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return not running()


async def test_answers_in_pieces_then_finishes_once(rig: Rig) -> None:
    text, finish = await answer(rig.backend, ask(rig))
    again, _finish = await answer(rig.backend, ask(rig))
    assert text
    assert text == again, "the same seed at temperature 0 gives the same answer"
    assert finish.usage.prompt_tokens is not None
    assert finish.usage.prompt_tokens > 0


async def test_says_what_it_took(rig: Rig) -> None:
    began = time.monotonic()
    _text, finish = await answer(rig.backend, ask(rig, max_tokens=8))
    wall_s = time.monotonic() - began
    usage = finish.usage
    assert usage.output_tokens == 8
    assert usage.prefill_s is not None
    assert usage.decode_s is not None
    assert usage.prefill_s >= 0
    assert usage.decode_s > 0
    if rig.model != "counter":  # a scripted engine makes its seconds up
        assert usage.prefill_s + usage.decode_s <= wall_s + 0.1


async def test_a_cap_on_tokens_ends_with_length(rig: Rig) -> None:
    _text, finish = await answer(rig.backend, ask(rig, max_tokens=5))
    assert finish.reason == "length"
    assert finish.usage.output_tokens == 5


async def test_a_stop_text_ends_the_answer_before_it(rig: Rig) -> None:
    whole, _finish = await answer(rig.backend, ask(rig, max_tokens=40))
    assert rig.stop in whole, "the test's own prompt must bring the stop text about"
    text, finish = await answer(rig.backend, ask(rig, max_tokens=40, stop=(rig.stop,)))
    assert finish.reason == "stop"
    assert text.strip() == whole.partition(rig.stop)[0].strip()


async def test_the_mean_logprob_comes_where_it_was_asked_for_and_is_known(rig: Rig) -> None:
    _text, finish = await answer(rig.backend, ask(rig, logprobs=True))
    _text, without = await answer(rig.backend, ask(rig))
    assert without.usage.mean_logprob is None
    if finish.usage.mean_logprob is not None:  # an old Ollama has none
        assert finish.usage.mean_logprob <= 0


async def test_closing_early_stops_the_engine_promptly(rig: Rig) -> None:
    generation = ask(rig, max_tokens=400)
    async with aclosing(rig.backend.stream(generation)) as stream:  # type: ignore[type-var]
        first = await anext(stream)
        assert isinstance(first, Delta)
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    if rig.running is not None:
        assert await settled(rig.running, 1.0)
    text, _finish = await answer(rig.backend, ask(rig, max_tokens=4))
    assert text, "and the engine is well afterwards"


async def test_a_cancelled_consumer_stops_the_engine(rig: Rig) -> None:
    task = asyncio.create_task(answer(rig.backend, ask(rig, max_tokens=400)))
    if rig.running is not None:
        while not rig.running():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if rig.running is not None:
        assert await settled(rig.running, 1.0)


async def test_two_at_once_both_get_their_whole_answers(rig: Rig) -> None:
    (first, one), (second, other) = await asyncio.gather(
        answer(rig.backend, ask(rig, max_tokens=12)), answer(rig.backend, ask(rig, max_tokens=6))
    )
    assert (one.usage.output_tokens, other.usage.output_tokens) == (12, 6)
    assert first.startswith(second.rstrip()[:4])


async def test_a_model_it_lacks_is_named(rig: Rig) -> None:
    with pytest.raises(ModelMissingError, match="nobody-has-this"):
        await answer(rig.backend, ask(rig, model="nobody-has-this:1b"))


async def test_lists_the_models_it_can_run(rig: Rig) -> None:
    assert rig.model in {model.name for model in await rig.backend.models()}


async def test_an_engine_that_is_down_is_unavailable_and_says_so(rig: Rig) -> None:
    if rig.down is None:
        pytest.skip("an engine in the process cannot be away")
    backend = rig.down()
    with pytest.raises(BackendUnavailableError) as caught:
        await answer(backend, ask(rig))
    assert caught.value.retryable
    with pytest.raises(BackendUnavailableError):
        await backend.models()
    await backend.close()
