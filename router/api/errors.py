"""Which HTTP status an error gets, and its body in the shape of the dialect it was asked in."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from router.domain.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    DeadlineError,
    EmbedError,
    JournalError,
    MisdirectedError,
    ModelMissingError,
    OverloadedError,
    RequestError,
    RouterError,
    StoreError,
    TooLargeError,
    UnauthorizedError,
    UnknownModelError,
)

logger = logging.getLogger(__name__)

OLLAMA_PREFIX = "/api/"

_STATUS: tuple[tuple[type[RouterError], int], ...] = (
    (UnauthorizedError, 401),
    (UnknownModelError, 404),
    (TooLargeError, 413),
    (MisdirectedError, 421),
    (RequestError, 400),
    (ModelMissingError, 503),
    (OverloadedError, 429),
    (DeadlineError, 504),
    (BackendTimeoutError, 504),
    (BackendUnavailableError, 503),
    (BackendError, 502),
    (EmbedError, 503),
    (JournalError, 503),
    (StoreError, 503),
)


def status_of(error: RouterError) -> int:
    """HTTP status of an error of ours; 500 for what should not have reached a client."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_body(message: str, *, code: str | None, status: int, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients parse it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def ollama_error_body(message: str) -> dict[str, Any]:
    """An error as Ollama's clients parse it."""
    return {"error": message}


def body_of(error: RouterError) -> dict[str, Any]:
    """The body for an error of ours, hint included."""
    param = error.param if isinstance(error, RequestError) else None
    return error_body(str(error), code=error.code, status=status_of(error), param=param)


def _response(request: Request, status: int, body: dict[str, Any], *, retryable: bool) -> JSONResponse:
    if request.url.path.startswith(OLLAMA_PREFIX):
        body = ollama_error_body(body["error"]["message"])
    # openai-python retries 408, 409, 429 and 5xx on its own; it obeys this header where we know better.
    return JSONResponse(body, status_code=status, headers={"x-should-retry": "true" if retryable else "false"})


def response_to(request: Request, error: RouterError) -> JSONResponse:
    """The response that an error of ours gets, in the dialect of the path."""
    response = _response(request, status_of(error), body_of(error), retryable=error.retryable)
    if isinstance(error, OverloadedError):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _router_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RouterError)
    status = status_of(error)
    if status >= 500:
        # The code alone: an engine may echo the prompt in its error text, and prompts are not for logs.
        logger.warning("%s %s -> %d %s", request.method, request.url.path, status, error.code)
    return response_to(request, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first.get("loc", ()) if part != "body") or None
    if isinstance(first.get("input"), bytes):
        message = "the request body is not taken for JSON: send it with `Content-Type: application/json`"
    elif first.get("type") == "json_invalid":
        message = f"the request body is not valid JSON: {first.get('ctx', {}).get('error', first['msg'])}"
    else:
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
    body = error_body(message, code="invalid_request", status=400, param=where)
    return _response(request, 400, body, retryable=False)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = {404: f"nothing is served at {request.url.path}", 405: f"{request.method} is not allowed here"}.get(
        error.status_code, str(error.detail)
    )
    code = {404: "not_found", 405: "method_not_allowed", 413: TooLargeError.code}.get(error.status_code, "http_error")
    response = _response(
        request, error.status_code, error_body(message, code=code, status=error.status_code), retryable=False
    )
    response.headers.update(error.headers or {})  # which methods are allowed, for one
    return response


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # The outer edge: whatever slipped through is logged whole and told to the client without a trace.
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = error_body("the router failed; its log says why", code="internal_error", status=500)
    return _response(request, 500, body, retryable=False)


def install(app: FastAPI) -> None:
    """Give every error of the application its status and body."""
    app.add_exception_handler(RouterError, _router_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
