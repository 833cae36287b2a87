"""OpenAI's endpoints: chat completions and the list of models."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from router.api import answers_schema as shapes
from router.api import documents
from router.api.bodies import WireRoute
from router.api.errors import body_of
from router.api.headers import carbon_headers, decision_headers, with_conversation
from router.api.openai_schema import ChatRequest, carbon_json, completion_json, logprobs_json, usage_json
from router.api.residents import Residents
from router.api.streams import (
    Events,
    LineStream,
    ToolCalls,
    answers,
    collect,
    first,
    gone,
    in_band,
    total_carbon,
    total_usage,
    unless_gone,
)
from router.api.wire_json import WholeAnswer, to_json
from router.domain.chat import Delta
from router.domain.errors import RequestError, RouterError, UnknownModelError
from router.service.ask import AUTO, resolve
from router.service.assembly import Service
from router.service.progress import Done, Started


def build(service: Service, residents: Residents) -> APIRouter:
    """The routes, bound to a running service; what answers is noted among the residents."""
    routes = APIRouter(route_class=WireRoute)

    @routes.post(
        "/v1/chat/completions",
        summary="Answer a chat with the least carbon at the stated accuracy",
        responses=documents.answers(shapes.ChatCompletion, stream=documents.SSE)
        | documents.errors("/v1/", 404, *documents.ENGINE, body=True),
    )
    async def chat(body: ChatRequest, request: Request) -> Response:
        events = residents.noted(answers(service.runner, with_conversation(body.ask(), request.headers), body.choices))
        if body.stream:
            started = await unless_gone(request, first(events))
            if started is None:
                return gone()
            return LineStream(
                in_band(_sse(events, started, body), _error_line),
                media_type=documents.SSE,
                headers=decision_headers(started.option, started.decision),
            )
        wholes = await unless_gone(request, collect(events, body.choices))
        if wholes is None:
            return gone()
        started, _ = wholes[0].ends()
        carbon = total_carbon([whole.ends()[1].turn.carbon for whole in wholes])
        headers = decision_headers(started.option, started.decision) | carbon_headers(carbon)
        return WholeAnswer(completion_json(wholes, wants_logprobs=bool(body.logprobs)), headers=headers)

    @routes.get(
        "/v1/models",
        summary="Models that can be asked for; `auto` routes",
        responses=documents.answers(shapes.ModelList) | documents.errors("/v1/"),
    )
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service, name) for name in names(service)]}

    @routes.get(
        "/v1/models/{name:path}",
        summary="One model",
        responses=documents.answers(shapes.ModelEntry) | documents.errors("/v1/", 404),
    )
    async def model(name: str) -> dict[str, Any]:
        catalogue = service.planner.current.catalogue
        if name not in names(service):
            try:
                resolve(name, catalogue)
            except RequestError as error:  # nobody knows the model, or the directive behind it
                raise UnknownModelError(error.message, param="model", hint=error.hint) from error
            raise UnknownModelError(f"{name!r} stands for another model; it is not one itself", param="model")
        return _model(service, name)

    return routes


def names(service: Service) -> list[str]:
    """Every name a client may ask for: ``auto``, the models and the aliases."""
    catalogue = service.planner.current.catalogue
    return list(dict.fromkeys([AUTO, *catalogue.models, *catalogue.aliases]))


def _model(service: Service, name: str) -> dict[str, Any]:
    snapshot = service.planner.current
    model = snapshot.catalogue.models.get(name)
    # When a model was made is not known; the field is a required integer, and the epoch is the usual way to say so.
    entry: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": "carbon-router"}
    if name in snapshot.catalogue.aliases:
        entry["alias_of"] = snapshot.catalogue.aliases[name]
    if model is not None:
        entry |= {
            "parameters": model.parameters,
            "context_length": model.context,
            "licence": model.licence,
            "available": any(option.model == name for option in snapshot.available),
            "measured": name in snapshot.measured_models,
        }
    return entry


async def _sse(events: Events, started: Started, body: ChatRequest) -> AsyncGenerator[str, None]:
    """The stream's lines: role first, then text, the finish with the carbon record, usage if asked for, [DONE].

    The carbon object stands on the last chunk. With usage that is one without choices, which some clients pass
    over, so the chunk that finishes the last choice carries the same object.
    """
    head = {
        "id": f"chatcmpl-{started.id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": started.option.model,
    }
    usage_slot: dict[str, Any] = {"usage": None} if body.wants_usage else {}

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None, logprobs: Any = None, **more: Any) -> str:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return _line({**head, "choices": [choice], **usage_slot, **more})

    calls = [ToolCalls() for _ in range(body.choices)]
    done: list[Done] = []
    async with aclosing(events):
        yield chunk(0, {"role": "assistant", "content": ""})
        async for index, event in events:
            if isinstance(event, Delta):
                logprobs = logprobs_json(event.logprobs if body.logprobs else ())
                if event.thinking:
                    yield chunk(index, {"reasoning_content": event.thinking})
                if event.tool_calls:
                    yield chunk(index, {"tool_calls": calls[index].add(event.tool_calls)})
                if event.text or logprobs:
                    yield chunk(index, {"content": event.text}, logprobs=logprobs)
            elif isinstance(event, Started):
                yield chunk(index, {"role": "assistant", "content": ""})
            else:
                done.append(event)
                last = len(done) == body.choices
                carbon = {"carbon": carbon_json(total_carbon([d.turn.carbon for d in done]))} if last else {}
                yield chunk(index, {}, event.finish.reason, **carbon)
    if body.wants_usage:
        usage = usage_json(total_usage([d.finish.usage for d in done]))
        yield _line({**head, "choices": [], "usage": usage, **carbon})
    yield "data: [DONE]\n\n"


def _error_line(error: RouterError) -> str:
    """OpenAI's way to fail in a stream: an error event, after which the stream ends."""
    return _line(body_of(error))


def _line(body: dict[str, Any]) -> str:
    return f"data: {to_json(body)}\n\n"
