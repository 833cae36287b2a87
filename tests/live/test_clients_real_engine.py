"""Both stock clients against a router with a real engine: what they ask for, llama.cpp really does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import ollama
import openai
import pytest

from router.api.app import create_app
from router.backends.embedded import EmbeddedBackend
from router.backends.weights import fetch
from router.carbon.fixed import FixedIntensity
from router.config.settings import load_settings
from router.embed.hashed import HashedEmbedder
from router.journal.memory import MemoryJournal
from router.meters.none import NoMeter
from router.service.assembly import Parts, assemble
from router.service.engines import Engine
from router.store.memory import MemoryStore
from tests.api.server import serve, wait_until
from tests.backends.smollm2 import SMOLLM2
from tests.service import federation

pytestmark = [pytest.mark.live, pytest.mark.smollm2]

MODEL = SMOLLM2.name
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@dataclass(frozen=True)
class Real:
    url: str
    engine: EmbeddedBackend


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    cache_dir = load_settings().cache_dir
    assert SMOLLM2.weights is not None
    fetch(MODEL, SMOLLM2.weights, cache_dir)
    catalogue = replace(federation.catalogue(), models={MODEL: SMOLLM2}, aliases={})
    engine = EmbeddedBackend(catalogue.models, cache_dir, slots=2)
    service = assemble(
        catalogue,
        Parts(
            store=MemoryStore(),
            embedder=HashedEmbedder(),
            engines={"local": Engine(catalogue.sites["local"], engine, NoMeter())},
            journal=MemoryJournal(),
            sources={"local": FixedIntensity(385.0)},
        ),
    )
    with serve(create_app(service), start_s=60.0) as url:
        yield Real(url, engine)


@pytest.fixture
def by_openai(real: Real) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{real.url}/v1", api_key="none", max_retries=0, timeout=120, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def by_ollama(real: Real) -> Iterator[ollama.Client]:
    with ollama.Client(host=real.url, trust_env=False) as client:
        yield client


def say(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def test_the_same_seed_says_the_same_in_both_dialects(by_openai: openai.OpenAI, by_ollama: ollama.Client) -> None:
    prompt = say("Name three fruits.")
    one = by_openai.chat.completions.create(model="auto", messages=prompt, seed=3, temperature=0, max_tokens=24)
    two = by_ollama.chat("auto", prompt, options={"seed": 3, "temperature": 0, "num_predict": 24})
    assert one.choices[0].message.content == two.message.content
    assert one.usage is not None
    assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (two.prompt_eval_count, two.eval_count)
    streamed = by_ollama.chat("auto", prompt, stream=True, options={"seed": 3, "temperature": 0, "num_predict": 24})
    assert "".join(part.message.content or "" for part in streamed) == two.message.content


def test_a_limit_ends_with_length_and_a_stop_text_with_stop(by_openai: openai.OpenAI, by_ollama: ollama.Client) -> None:
    prompt = say("Count from one to twenty in words.")
    # One token: a small model asked to be brief may well end by itself after four.
    cut = by_openai.chat.completions.create(model="auto", messages=prompt, max_completion_tokens=1)
    assert cut.choices[0].finish_reason == "length"
    assert by_ollama.chat("auto", prompt, options={"num_predict": 1}).done_reason == "length"
    stopped = by_openai.chat.completions.create(
        model="auto", messages=say("Repeat exactly: apple banana cherry"), stop=["banana"], temperature=0, max_tokens=64
    )
    assert stopped.choices[0].finish_reason == "stop"
    assert "banana" not in (stopped.choices[0].message.content or "")


def test_a_schema_is_kept_in_both_dialects(by_openai: openai.OpenAI, by_ollama: ollama.Client) -> None:
    prompt = say("How many legs has a dog? Answer as JSON.")
    one = by_openai.chat.completions.create(
        model="auto",
        messages=prompt,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "legs", "schema": SCHEMA}},
    )
    assert isinstance(json.loads(one.choices[0].message.content or "")["n"], int)
    two = by_ollama.chat("auto", prompt, format=SCHEMA, options={"num_predict": 60})
    assert isinstance(json.loads(two.message.content or "")["n"], int)


def test_two_answers_stream_side_by_side(by_openai: openai.OpenAI) -> None:
    texts = {0: "", 1: ""}
    reasons = {}
    with by_openai.chat.completions.create(
        model="auto", messages=say("Write one line about rain."), n=2, seed=1, max_tokens=16, stream=True
    ) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                reasons[choice.index] = choice.finish_reason
    assert all(texts.values())
    assert set(reasons.values()) <= {"stop", "length"}
    assert len(reasons) == 2


def test_log_probabilities_are_the_engine_s(by_openai: openai.OpenAI) -> None:
    answer = by_openai.chat.completions.create(
        model="auto", messages=say("Say yes."), logprobs=True, top_logprobs=2, max_tokens=4
    )
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert all(token.logprob <= 0 and token.top_logprobs for token in tokens)


def test_a_prompt_longer_than_the_context_is_the_caller_s_fault(by_openai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        by_openai.chat.completions.create(model="auto", messages=say("word " * 20_000))


def test_leaving_stops_the_engine(real: Real, by_ollama: ollama.Client) -> None:
    prompt = say("Write a very long story about a river.")
    stream: Any = by_ollama.chat("auto", prompt, stream=True, options={"num_predict": 2000})
    with closing(stream):
        next(stream)
        assert real.engine.running == 1
    wait_until(lambda: real.engine.running == 0, 0.5)
