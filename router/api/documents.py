"""The OpenAPI document: which answers and errors a call has, in the dialect of its path."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from router.api.answers_schema import OllamaError, OpenAIError
from router.api.auth import OPEN_PATHS

Responses = dict[int | str, dict[str, Any]]

SSE = "text/event-stream"
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
# OpenAPI before 3.2 lets the schema of a stream of events describe one event.
_EVENT: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "A `chat.completion.chunk`; an error, after which the stream ends; at the end `[DONE]`.",
            }
        },
    }
}
_WORDS = {
    400: "the request is wrong; the message names the field",
    401: "an API key is needed, or the one given is not known",
    403: "not served: see the message",
    404: "no model, alias or path has that name",
    413: "the body is larger than allowed",
    421: "the router does not answer under this host name",
    429: "too many requests; `Retry-After` says when to come back",
    502: "the engine answered nonsense",
    503: "no engine answers, or none has the model",
    504: "the answer was not whole within its deadline",
}
_WITH_BODY = (400, 413, 429)
ENGINE = (502, 503, 504)


def answers(
    shape: type[BaseModel] | None = None,
    *,
    stream: str | None = None,
    text: str | None = None,
    words: str = "the answer",
) -> Responses:
    """What a call answers when all is well.

    Args:
        shape: Of the JSON body, or None where there is none.
        stream: Content type of the same answer as lines, where a client may ask for that.
        text: Content type of an answer that is plain text.
        words: What it is.
    """
    answer: dict[str, Any] = {"description": words}
    if shape is not None:
        answer["model"] = shape
    if kind := stream or text:
        answer["content"] = {kind: _EVENT if kind == SSE else _TEXT}
    return {200: answer}


def errors(path: str, *statuses: int, body: bool = False) -> Responses:
    """The errors of a call, those that any call may have included.

    Args:
        path: The call's path, which decides the dialect.
        statuses: Its own.
        body: Whether it takes one, with what can be wrong with that.
    """
    shape = OllamaError if path.startswith("/api/") else OpenAIError
    anywhere = (421,) if path in OPEN_PATHS else (401, 421)
    every = sorted({*anywhere, *(_WITH_BODY if body else ()), *statuses})
    return {status: {"description": _WORDS[status], "model": shape} for status in every}


def install(app: FastAPI, *, needs_key: bool) -> None:
    """Have the application describe itself as it is.

    Args:
        app: With all its routes.
        needs_key: Whether every call needs an API key.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = describe()
            _correct(document)
            if needs_key:
                document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"key": []}]
                for path in OPEN_PATHS:
                    for operation in document["paths"].get(path, {}).values():
                        operation["security"] = []
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change the document


def _correct(document: dict[str, Any]) -> None:
    """Leave out what FastAPI adds on its own account and is not so here.

    That is its own status for a wrong request with its shape, and beside the shape of an answer the one it read off
    the function's annotation.
    """
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    if "$ref" in content["schema"]:
                        content["schema"] = {"$ref": content["schema"]["$ref"]}
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
