from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from router.backends import embedded
from router.backends.embedded import EmbeddedBackend
from router.backends.gguf import GgufHead
from router.backends.weights import cached_path
from router.domain.catalogue import Model, Weights
from router.domain.chat import Delta, Finish, Generation, Message, Sampling
from router.domain.errors import BackendError, ModelMissingError, RequestError
from tests.backends.smollm2 import CACHE_DIR, SMOLLM2
from tests.backends.test_gguf import HEAD, entry, text


@pytest.fixture
def weights_file() -> Path:
    path = cached_path(SMOLLM2, CACHE_DIR)
    if path is None:
        pytest.skip(f"the weights of {SMOLLM2.name} are missing; run: carbon-router models pull {SMOLLM2.name}")
    return path


@pytest.fixture
async def backend(weights_file: Path) -> AsyncIterator[EmbeddedBackend]:
    made = EmbeddedBackend({SMOLLM2.name: replace(SMOLLM2, context=512)}, CACHE_DIR)
    yield made
    await made.close()


def ask(text: str, *, model: str = SMOLLM2.name, **more: Any) -> Generation:
    chosen = {"sampling": Sampling(max_tokens=8, temperature=0.0, seed=1), **more}
    return Generation(model, (Message("user", text),), **chosen)


async def collect(backend: EmbeddedBackend, generation: Generation) -> tuple[str, Finish]:
    items = [item async for item in backend.stream(generation)]
    assert isinstance(items[-1], Finish)
    return "".join(item.text for item in items if isinstance(item, Delta)), items[-1]


@pytest.mark.smollm2
async def test_loads_on_first_use_and_says_how_long_that_took(backend: EmbeddedBackend) -> None:
    _text, first = await collect(backend, ask("Hello."))
    _text, second = await collect(backend, ask("Hello."))
    assert first.usage.load_s is not None
    assert first.usage.load_s > 0
    assert second.usage.load_s is None


@pytest.mark.smollm2
async def test_listens_nowhere(backend: EmbeddedBackend) -> None:
    process = psutil.Process()

    def listening() -> set[object]:
        return {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}

    before = listening()  # other tests' servers live in this process too
    await collect(backend, ask("Hello."))
    assert listening() <= before
    sockets = [Path(str(c.laddr)) for c in process.net_connections("unix") if "llama" in str(c.laddr)]
    assert sockets, "llama.cpp's server has its socket"
    assert not any(socket.exists() for socket in sockets), "and nobody can find it"


@pytest.mark.smollm2
async def test_a_prompt_longer_than_the_context_is_the_callers_error(backend: EmbeddedBackend) -> None:
    with pytest.raises(RequestError, match=r"too long.*512 tokens.*shorten the conversation"):
        await collect(backend, ask("word " * 20_000))
    assert (await collect(backend, ask("Hello.")))[0], "and the engine is well afterwards"


@pytest.mark.smollm2
async def test_an_answer_that_fills_the_context_ends_with_length(backend: EmbeddedBackend) -> None:
    generation = ask(
        "Tell me a long story. " * 80, sampling=Sampling(temperature=0.0, seed=1), extra={"ignore_eos": True}
    )
    _text, finish = await collect(backend, generation)
    assert finish.reason == "length"


@pytest.mark.smollm2
@pytest.mark.parametrize("text", ["", "null \0 byte", "half \ud83d a character", "ü \u202e 😀", "<|im_start|>system"])
async def test_odd_prompts_are_answered(backend: EmbeddedBackend, text: str) -> None:
    _answer, finish = await collect(backend, ask(text))
    assert finish.usage.output_tokens


@pytest.mark.smollm2
async def test_a_request_llama_cpp_cannot_read_is_an_error_not_a_crash(backend: EmbeddedBackend) -> None:
    with pytest.raises((RequestError, BackendError)):
        await collect(backend, ask("Hello.", extra={"response_format": {"type": "nonsense"}}))
    with pytest.raises((RequestError, BackendError)):
        await collect(backend, ask("Hello.", extra={"odd": object()}))
    with pytest.raises((RequestError, BackendError)):
        await collect(backend, ask("Hello.", extra={"odd": "half \ud83d"}))
    assert (await collect(backend, ask("Hello.")))[0]


@pytest.mark.smollm2
async def test_with_the_prompt_cache_off_the_whole_prompt_is_read_each_time(backend: EmbeddedBackend) -> None:
    prompt = "Say one word. " * 30
    await collect(backend, ask(prompt))
    _text, cached = await collect(backend, ask(prompt))
    _text, fresh = await collect(backend, ask(prompt, cache_prompt=False))
    assert cached.usage.prompt_tokens == fresh.usage.prompt_tokens, "tokens from the cache count"
    assert cached.usage.prefill_s is not None
    assert fresh.usage.prefill_s is not None
    assert fresh.usage.prefill_s > 2 * cached.usage.prefill_s


@pytest.mark.smollm2
async def test_the_seed_decides_a_random_answer(backend: EmbeddedBackend) -> None:
    def draw(seed: int) -> Generation:
        sampling = Sampling(max_tokens=12, temperature=2.0, seed=seed)
        return ask("Invent a word.", sampling=sampling, cache_prompt=False)

    first, again, other = [(await collect(backend, draw(seed)))[0] for seed in (1, 1, 2)]
    assert first == again
    assert first != other


@pytest.mark.smollm2
async def test_closing_stops_it_within_a_tenth_of_a_second_even_while_it_reads(weights_file: Path) -> None:
    backend = EmbeddedBackend({SMOLLM2.name: SMOLLM2}, CACHE_DIR)
    await collect(backend, ask("Hello."))
    reading = asyncio.create_task(collect(backend, ask("word " * 6000, cache_prompt=False)))
    while not backend.running:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    reading.cancel()
    began = time.monotonic()
    await asyncio.wait({reading})
    assert time.monotonic() - began < 0.5, "a tenth, and something for a busy machine"
    began = time.monotonic()
    await backend.close()
    assert backend.running == 0
    assert time.monotonic() - began < 10, "6000 tokens take far longer"


@pytest.mark.smollm2
async def test_more_than_its_slots_wait_their_turn_and_a_waiting_one_can_be_closed(backend: EmbeddedBackend) -> None:
    story = ask("Tell me a story.", sampling=Sampling(max_tokens=300, temperature=0.0))
    async with aclosing(backend.stream(story)) as stream:
        await anext(stream)
        waiting = asyncio.create_task(collect(backend, ask("Hello.")))
        await asyncio.sleep(0.1)
        assert backend.running == 1
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=1)
        assert waiting.cancelled()


@pytest.mark.smollm2
async def test_a_small_memory_holds_one_model_at_a_time(weights_file: Path) -> None:
    own = {name: Model(name, weights=Weights(path=str(weights_file))) for name in ("one", "two")}
    backend = EmbeddedBackend(own, CACHE_DIR, memory_bytes=300_000_000, context_tokens=512)
    loads = [
        (await collect(backend, ask("Hello.", model=name)))[1].usage.load_s for name in ("one", "two", "two", "one")
    ]
    assert [load_s is not None for load_s in loads] == [True, True, False, True]
    await backend.close()
    tiny = EmbeddedBackend(own, CACHE_DIR, memory_bytes=100_000_000)
    with pytest.raises(BackendError, match="raise memory_bytes"):
        await collect(tiny, ask("Hello.", model="one"))
    await tiny.close()


@pytest.mark.smollm2
async def test_lists_what_is_on_this_machine_under_the_hash_of_its_weights(weights_file: Path, tmp_path: Path) -> None:
    assert SMOLLM2.weights is not None
    absent = Model("absent:1b", weights=replace(SMOLLM2.weights, sha256="0" * 64))
    remote = Model("remote:70b")
    models = {model.name: model for model in (SMOLLM2, absent, remote)}
    backend = EmbeddedBackend(models, CACHE_DIR)
    (served,) = await backend.models()
    assert (served.name, served.digest, served.bytes) == (SMOLLM2.name, SMOLLM2.weights.sha256, SMOLLM2.weights.bytes)


async def test_weights_that_are_not_here_are_missing_with_the_command_to_fetch_them(tmp_path: Path) -> None:
    backend = EmbeddedBackend({SMOLLM2.name: SMOLLM2}, tmp_path)
    with pytest.raises(ModelMissingError, match="carbon-router models pull smollm2:135m"):
        await collect(backend, ask("Hello."))
    assert await backend.models() == ()


@pytest.mark.parametrize("content", [b"GGUF", HEAD, b"GGUF" + b"\xff" * 100])
async def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(content)
    backend = EmbeddedBackend({"own": Model("own", weights=Weights(path=str(damaged)))}, tmp_path)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"the file is damaged.*carbon-router models check"):
            await collect(backend, ask("Hello.", model="own"))
    await backend.close()


async def test_tools_are_claimed_where_the_template_takes_them(tmp_path: Path) -> None:
    def engine(template: str | None) -> EmbeddedBackend:
        entries = [] if template is None else [entry("tokenizer.chat_template", 8, text(template))]
        file = tmp_path / f"{len(template or '')}.gguf"
        file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries))
        return EmbeddedBackend({"tiny": Model("tiny", weights=Weights(path=str(file)))}, tmp_path)

    for template, found in (
        ("{% if tools %}{{ tools }}{% endif %}", frozenset({"tools"})),
        ("{{ messages }}", frozenset()),
        (None, None),
    ):
        backend = engine(template)
        assert await backend.capabilities("tiny") == found
        assert await backend.capabilities("another") is None
        await backend.close()


async def test_a_models_head_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(path: Path) -> GgufHead:
        reads.append(path)
        return GgufHead("llama", 4096, 1024)

    monkeypatch.setattr(embedded, "read_head", counted)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    backend = EmbeddedBackend({"m": Model("m", weights=Weights(path=str(file)))}, tmp_path)
    for _ in range(3):
        assert backend._dimensions("m", file)[0] == 4096
    assert len(reads) == 1
    os.utime(file, ns=(1, 1))  # another file under the same name
    backend._dimensions("m", file)
    assert len(reads) == 2
    await backend.close()


@pytest.mark.parametrize(
    ("stated", "trained", "given"),
    [(None, 32768, 8192), (None, 2048, 2048), (None, None, 8192), (16384, 32768, 16384), (131072, 32768, 32768)],
)
async def test_a_model_gets_the_window_that_is_stated_up_to_what_it_was_trained_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int | None, trained: int | None, given: int
) -> None:
    monkeypatch.setattr(embedded, "read_head", lambda path: GgufHead("llama", trained, 1024))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    backend = EmbeddedBackend({"m": Model("m", context=stated, weights=Weights(path=str(file)))}, tmp_path, slots=2)
    context_tokens, size_bytes = backend._dimensions("m", file)
    assert context_tokens == given
    assert size_bytes > 2 * 1024 * given
    await backend.close()


async def test_one_file_that_cannot_be_read_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = (tmp_path / f"{name}.gguf" for name in ("good", "bad"))
    for file in (good, bad):
        file.write_bytes(b"GGUF" + bytes(100))

    def has_magic(path: Path) -> bool:
        if path == bad:
            raise PermissionError(13, "Permission denied")
        return True

    monkeypatch.setattr("router.backends.weights.has_magic", has_magic)
    models = {name: Model(name, weights=Weights(path=str(tmp_path / f"{name}.gguf"))) for name in ("bad", "good")}
    backend = EmbeddedBackend(models, tmp_path)
    for _ in range(2):
        assert [served.name for served in await backend.models()] == ["good"]
    assert caplog.text.count("bad cannot run") == 1
    await backend.close()
