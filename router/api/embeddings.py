"""Embeddings by the router's own embedder: OpenAI's endpoint, and what Ollama's two need."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from router.api import documents
from router.api.answers_schema import EmbeddingList
from router.api.bodies import WireRoute
from router.api.messages import no_null
from router.api.streams import gone, unless_gone
from router.domain.errors import DeadlineError, RequestError, UnknownModelError
from router.domain.estimates import FloatArray
from router.service.ask import AUTO
from router.service.assembly import Service

MOST_INPUTS = 2048
# Names that clients ask for by default; the answer names the embedder that really made the vectors.
_USUAL_NAMES = frozenset(
    {AUTO, "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "all-minilm"}
)
_CHARACTERS_PER_TOKEN = 4  # OpenAI's rule of thumb for English


class EmbeddingsRequest(BaseModel):
    """Body of ``POST /v1/embeddings``."""

    model_config = ConfigDict(extra="ignore")

    input: str | list[str] | list[int] | list[list[int]]
    model: str = AUTO
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(default=None, ge=1)

    def texts(self) -> list[str]:
        """The texts.

        Raises:
            RequestError: If there are none, or tokens instead.
        """
        inputs = [self.input] if isinstance(self.input, str) else self.input
        if not inputs:
            raise RequestError("the input is empty", param="input", hint="send a text, or a list of texts")
        texts = [text for text in inputs if isinstance(text, str)]
        if len(texts) < len(inputs):
            raise RequestError(
                "tokens are another model's, and cannot be embedded here",
                param="input",
                hint="send texts; in LangChain set check_embedding_ctx_length=False",
            )
        if any(not text for text in texts):
            raise RequestError("an input is empty", param="input", hint="leave empty texts out")
        return texts


def build(service: Service) -> APIRouter:
    """The route, bound to a running service."""
    routes = APIRouter(route_class=WireRoute)

    @routes.post(
        "/v1/embeddings",
        summary="Vectors of the embedder that the router decides by",
        responses=documents.answers(EmbeddingList) | documents.errors("/v1/", 404, 503, 504, body=True),
    )
    async def embeddings(body: EmbeddingsRequest, request: Request) -> Any:
        check_model(service, body.model)
        texts = body.texts()
        vectors = await unless_gone(request, embed(service, texts, dimensions=body.dimensions))
        if vectors is None:
            return gone()
        as_base64 = body.encoding_format == "base64"
        # The port does not count tokens and the field is required of integers: an estimate that says so.
        tokens = sum(max(1, round(len(text) / _CHARACTERS_PER_TOKEN)) for text in texts)
        return {
            "object": "list",
            "model": service.embedder.name,
            "data": [
                {"object": "embedding", "index": index, "embedding": _base64(row) if as_base64 else row.tolist()}
                for index, row in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "estimated": True},
        }

    return routes


def check_model(service: Service, name: str) -> None:
    """Refuse a name that does not stand for the embedder.

    Raises:
        UnknownModelError: If it does not.
    """
    catalogue = service.planner.current.catalogue
    own = {service.embedder.name, catalogue.embedding_model}
    to_auto = {alias for alias, goal in catalogue.aliases.items() if goal == AUTO}
    known = {known.lower() for known in own | to_auto | _USUAL_NAMES}
    if name.lower().removesuffix(":latest") not in known and name.lower() not in known:
        raise UnknownModelError(
            f"no embedding model is called {name!r}",
            param="model",
            hint=f"ask for {service.embedder.name!r} or `auto`; models that chat do not embed",
        )


async def embed(service: Service, texts: list[str], *, dimensions: int | None = None) -> FloatArray:
    """Vectors of unit length, (n, d).

    Raises:
        RequestError: If there are too many texts, or vectors of another length are wanted.
        EmbedError: If the embedder fails.
        DeadlineError: If it does not answer in time.
    """
    if len(texts) > MOST_INPUTS:
        raise RequestError(
            f"{len(texts):,} inputs are too many", param="input", hint=f"send at most {MOST_INPUTS:,} at a time"
        )
    for index, text in enumerate(texts):
        no_null(text, param=f"input.{index}")
    try:
        vectors = await service.embed(texts)  # (n, d)
    except TimeoutError:
        raise DeadlineError(
            "the embedder did not answer in time", hint="send fewer texts, or raise ROUTER_DEADLINE_S"
        ) from None
    if dimensions is not None and dimensions != vectors.shape[1]:
        raise RequestError(
            f"the embedder makes vectors of {vectors.shape[1]} numbers, not {dimensions}",
            param="dimensions",
            hint="leave `dimensions` out",
        )
    return vectors


def _base64(row: FloatArray) -> str:
    """Little-endian 32-bit floats, the form OpenAI's clients unpack."""
    return base64.b64encode(row.astype(np.dtype("<f4")).tobytes()).decode()
