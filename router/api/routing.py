"""What the router knows and would do: dry runs, the plan, and whether it is up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from router.api import answers_schema as shapes
from router.api import documents
from router.api.bodies import WireRoute
from router.api.explain import decision_json, plan_json
from router.api.headers import with_conversation
from router.api.openai_schema import ChatRequest, WireMessage
from router.domain.chat import Message
from router.domain.errors import RequestError
from router.service.ask import AUTO, Ask
from router.service.assembly import Service


class RouteRequest(BaseModel):
    """Body of ``POST /v1/route``: a prompt, or messages as in a chat request."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    messages: list[WireMessage] | None = Field(default=None, min_length=1)
    model: str = AUTO
    directive: str | None = None

    def ask(self) -> Ask:
        """The request in the domain's words.

        Raises:
            RequestError: If neither or both of prompt and messages are there.
        """
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("send either `prompt` or `messages`", param="prompt")
        if self.messages is not None:
            return ChatRequest(messages=self.messages, model=self.model, directive=self.directive).ask()
        prompt = self.prompt or ""
        if not prompt.strip():
            raise RequestError("the prompt is empty", param="prompt", hint="send a prompt with text")
        if "\x00" in prompt:
            raise RequestError("the prompt holds a null character", param="prompt", hint="remove \\u0000")
        return Ask((Message("user", prompt),), self.model, self.directive)


def build(service: Service) -> APIRouter:
    """The routes, bound to a running service."""
    routes = APIRouter(route_class=WireRoute)

    @routes.post(
        "/v1/route",
        summary="Dry run: which option would answer, and why",
        responses=documents.answers(shapes.RouteAnswer) | documents.errors("/v1/", 404, 503, body=True),
    )
    async def route(body: RouteRequest, request: Request) -> dict[str, Any]:
        ask = with_conversation(body.ask(), request.headers)
        choice = await service.chooser.choose(ask, dry_run=True)
        return decision_json(choice.decision)

    @routes.get(
        "/v1/plan",
        summary="The current plan: shares per category, grams, quality, and its price",
        responses=documents.answers(shapes.PlanAnswer) | documents.errors("/v1/"),
    )
    async def plan() -> dict[str, Any]:
        return plan_json(service.planner.current)

    @routes.get(
        "/healthz",
        summary="The process lives",
        responses=documents.answers(shapes.Health) | documents.errors("/healthz"),
    )
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get(
        "/readyz",
        summary="Requests can be answered; says what is missing where they cannot",
        responses=documents.answers(shapes.Readiness)
        | {503: {"description": "not yet", "model": shapes.Readiness}}
        | documents.errors("/readyz"),
    )
    async def readyz() -> JSONResponse:
        checks = service.readiness()
        ready = checks["engine"]["ok"]
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    return routes
