"""Ollama's endpoints: chat, generate, embeddings and the lists of models."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field

import router
from router.api import answers_schema as shapes
from router.api import documents, embeddings
from router.api.administration import refused
from router.api.bodies import AnyContentTypeRoute
from router.api.errors import ollama_error_body
from router.api.headers import carbon_headers, decision_headers, with_conversation
from router.api.ollama_models import running_json, show_json, tags_json
from router.api.ollama_schema import (
    GenerateRequest,
    OllamaChatRequest,
    finish_json,
    full_name,
    logprobs_field,
    now_iso,
    plain_name,
    tool_calls_json,
)
from router.api.openai import names
from router.api.residents import Residents
from router.api.streams import Events, LineStream, Whole, answers, collect, first, gone, in_band, unless_gone
from router.api.wire_json import WholeAnswer, to_json
from router.domain.chat import Delta
from router.domain.errors import RequestError, RouterError
from router.domain.units import ns_from_seconds
from router.service.ask import resolve
from router.service.assembly import Service
from router.service.progress import Done, Started

# The Ollama whose API this is; clients compare it with the least they need.
API_VERSION = "0.9.3"
NDJSON = "application/x-ndjson"

Voice = Callable[[str, Whole | Delta], dict[str, Any]]


class ShowRequest(BaseModel):
    """Body of ``POST /api/show``; ``name`` is the field's older name."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    name: str | None = None


class EmbedRequest(BaseModel):
    """Body of ``POST /api/embed``."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1)
    input: str | list[str] = ""
    truncate: bool | None = None
    dimensions: int | None = Field(default=None, ge=1)


class OlderEmbedRequest(BaseModel):
    """Body of ``POST /api/embeddings``, the older form for one text."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1)
    prompt: str = ""


def build(service: Service, residents: Residents) -> APIRouter:
    """The routes, bound to a running service; what answers is noted among the residents."""
    routes = APIRouter(route_class=AnyContentTypeRoute)
    since_s = time.time()

    @routes.head("/", include_in_schema=False)
    @routes.get(
        "/",
        response_class=Response,  # its errors are JSON all the same
        summary="Is anybody there?",
        responses=documents.answers(text="text/plain") | documents.errors("/"),
    )
    async def root() -> Response:
        return PlainTextResponse("carbon-router is running")

    @routes.post(
        "/api/chat",
        summary="Answer a chat, as Ollama does",
        responses=documents.answers(shapes.OllamaChatAnswer, stream=NDJSON)
        | documents.errors("/api/", 403, 404, *documents.ENGINE, body=True),
    )
    async def chat(body: OllamaChatRequest, request: Request) -> Response:
        if body.is_load:
            return _load(service, body, {"message": {"role": "assistant", "content": ""}})
        return await _answer(service, residents, body, request, _chat_voice)

    @routes.post(
        "/api/generate",
        summary="Answer a prompt, as Ollama does",
        responses=documents.answers(shapes.OllamaGenerateAnswer, stream=NDJSON)
        | documents.errors("/api/", 403, 404, *documents.ENGINE, body=True),
    )
    async def generate(body: GenerateRequest, request: Request) -> Response:
        if body.is_load:
            return _load(service, body, {"response": ""})
        return await _answer(service, residents, body, request, _generate_voice)

    @routes.post(
        "/api/embed",
        summary="Vectors of the embedder that the router decides by",
        responses=documents.answers(shapes.OllamaEmbedAnswer) | documents.errors("/api/", 404, 503, body=True),
    )
    async def embed(body: EmbedRequest, request: Request) -> Any:
        started_s = time.perf_counter()
        embeddings.check_model(service, body.model)
        if body.truncate is False:
            raise RequestError(
                "`truncate: false` is not served: the embedder does not tell what is too long for it",
                param="truncate",
                hint="leave `truncate` out",
            )
        texts = [body.input] if isinstance(body.input, str) else body.input
        texts = [] if texts == [""] else texts  # asks for the model to be loaded, which it is
        rows: list[list[float]] = []
        if texts:
            vectors = await unless_gone(request, embeddings.embed(service, texts, dimensions=body.dimensions))
            if vectors is None:
                return gone()
            rows = vectors.tolist()
        took_ns = ns_from_seconds(time.perf_counter() - started_s)
        return {"model": service.embedder.name, "embeddings": rows, "total_duration": took_ns}

    @routes.post(
        "/api/embeddings",
        summary="The vector of one text, in Ollama's older form",
        responses=documents.answers(shapes.OllamaEmbeddingAnswer) | documents.errors("/api/", 404, 503, body=True),
    )
    async def embed_one(body: OlderEmbedRequest, request: Request) -> Any:
        embeddings.check_model(service, body.model)
        if not body.prompt:
            return {"embedding": []}
        vectors = await unless_gone(request, embeddings.embed(service, [body.prompt]))
        return gone() if vectors is None else {"embedding": vectors[0].tolist()}

    @routes.post(
        "/api/show",
        summary="What is known of a model",
        responses=documents.answers(shapes.OllamaShown) | documents.errors("/api/", 404, body=True),
    )
    async def show(body: ShowRequest) -> dict[str, Any]:
        name = body.model or body.name
        if not name:
            raise RequestError("`model` is missing", param="model", hint="name one of /api/tags")
        return await show_json(service, plain_name(name), since_s)

    @routes.get(
        "/api/tags",
        summary="Models that can be asked for; `auto` routes",
        responses=documents.answers(shapes.OllamaTags) | documents.errors("/api/"),
    )
    async def tags() -> dict[str, Any]:
        return tags_json(service, names(service), since_s)

    @routes.get(
        "/api/ps",
        summary="Models that answered lately",
        responses=documents.answers(shapes.OllamaRunning) | documents.errors("/api/"),
    )
    async def running() -> dict[str, Any]:
        return running_json(service, residents.now())

    @routes.get(
        "/api/version",
        summary="The Ollama whose API this is, and the router's own version",
        responses=documents.answers(shapes.OllamaVersion) | documents.errors("/api/"),
    )
    async def version() -> dict[str, str]:
        return {"version": API_VERSION, "carbon_router": router.__version__}

    return routes


def _load(service: Service, body: OllamaChatRequest | GenerateRequest, silence: dict[str, Any]) -> Response:
    """The answer to no prompt: the model exists, and its engine loads it when it is first needed."""
    resolve(plain_name(body.model), service.planner.current.catalogue, body.directive)
    if body.unloads:
        return refused("unloading is not served: the engine keeps and frees its memory on its own")
    said = {"model": full_name(body.model), "created_at": now_iso(), **silence, "done": True, "done_reason": "load"}
    if body.streams:
        return Response(_line(said), media_type=NDJSON)
    return JSONResponse(said)


def _chat_voice(text: str, whole: Whole | Delta) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if whole.thinking:
        message["thinking"] = whole.thinking
    if isinstance(whole, Whole) and (calls := tool_calls_json(whole)):
        message["tool_calls"] = calls
    return {"message": message}


def _generate_voice(text: str, whole: Whole | Delta) -> dict[str, Any]:
    return {"response": text, "thinking": whole.thinking} if whole.thinking else {"response": text}


async def _answer(
    service: Service, residents: Residents, body: OllamaChatRequest | GenerateRequest, request: Request, voice: Voice
) -> Response:
    events = residents.noted(answers(service.runner, with_conversation(body.ask(), request.headers)))
    if body.streams:
        started = await unless_gone(request, first(events))
        if started is None:
            return gone()
        return LineStream(
            in_band(_ndjson(events, started, body, voice), _error_line),
            media_type=NDJSON,
            headers=decision_headers(started.option, started.decision),
        )
    wholes = await unless_gone(request, collect(events))
    if wholes is None:
        return gone()
    whole = wholes[0]
    started, done = whole.ends()
    said = {
        "model": started.option.model,
        "created_at": now_iso(),
        **voice(whole.text, whole),
        **logprobs_field(whole.logprobs if body.logprobs else ()),
        **finish_json(done),
    }
    headers = decision_headers(started.option, started.decision) | carbon_headers(done.turn.carbon)
    return WholeAnswer(said, headers=headers)


async def _ndjson(
    events: Events, started: Started, body: OllamaChatRequest | GenerateRequest, voice: Voice
) -> AsyncGenerator[str, None]:
    """A line a piece of text, one with the tool calls if there are any, and the last with counts and carbon."""

    def said(content: dict[str, Any], **more: Any) -> str:
        return _line({"model": started.option.model, "created_at": now_iso(), **content, "done": False, **more})

    calls = Whole()  # tool calls only: Ollama sends each whole, engines stream them in pieces
    async with aclosing(events):
        async for _, event in events:
            if isinstance(event, Delta):
                calls.calls.add(event.tool_calls)
                if event.text or event.thinking or (body.logprobs and event.logprobs):
                    yield said(voice(event.text, event), **logprobs_field(event.logprobs if body.logprobs else ()))
            elif isinstance(event, Done):
                content = voice("", calls)
                if content.get("message", {}).get("tool_calls"):
                    yield said(content)
                yield said(voice("", Delta("")), **finish_json(event))


def _error_line(error: RouterError) -> str:
    """Ollama's way to fail in a stream: status 200 stays, and a last line says what happened."""
    return _line(ollama_error_body(str(error)))


def _line(body: dict[str, Any]) -> str:
    return to_json(body) + "\n"
