"""OpenAI's words for messages, tool calls and options in Ollama's, and back."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import ollama

from router.backends.openai_chunks import encodable
from router.domain.chat import Generation, Message
from router.domain.errors import RequestError

OPTIONS = frozenset(ollama.Options.model_fields) | {"min_p"}


def to_ollama_chat(generation: Generation, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a streaming chat request; tools and schemas as they came.

    Args:
        generation: What to generate.
        defaults: Ollama options that hold where the request does not name them.

    Raises:
        RequestError: If a message cannot be said in Ollama's words.
    """
    extra = generation.extra
    calls = [call for message in generation.messages for call in message.extra.get("tool_calls") or ()]
    called = {str(call["id"]): (call.get("function") or {}).get("name") for call in calls if call.get("id")}
    body = {
        "model": generation.model,
        "messages": [to_ollama(message, called) for message in generation.messages],
        "stream": True,
        "tools": extra.get("tools"),
        "think": extra.get("think"),
        "logprobs": generation.logprobs or None,
        "top_logprobs": extra.get("top_logprobs"),
        "format": format_of(extra),
        "options": {**defaults, **options_of(generation)},
        "keep_alive": extra.get("keep_alive"),
    }
    return {key: value for key, value in body.items() if value is not None}


def to_ollama(message: Message, called: Mapping[str, str | None]) -> dict[str, Any]:
    """A message as Ollama's chat API takes it.

    Args:
        message: In OpenAI's words or Ollama's.
        called: Names of the tools called so far, by the id of the call: OpenAI's results give the id alone, and Ollama
            knows results by their tool's name.
    """
    extra = message.extra
    wire: dict[str, Any] = {"role": message.role, "content": encodable(message.content)}
    if extra.get("tool_calls"):
        wire["tool_calls"] = [_to_ollama_call(call) for call in extra["tool_calls"]]
    if extra.get("images"):
        wire["images"] = [_image(image) for image in extra["images"]]
    if message.role == "tool":
        name = extra.get("tool_name") or extra.get("name") or called.get(str(extra.get("tool_call_id")))
        if name:
            wire["tool_name"] = name
    if extra.get("thinking"):
        wire["thinking"] = extra["thinking"]
    return wire


def options_of(generation: Generation) -> dict[str, Any]:
    """Sampling and other generation parameters as Ollama options; what the request names itself wins."""
    sampling = generation.sampling
    chosen = {
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    own = generation.extra.get("options") or {}
    flat = {key: value for key, value in generation.extra.items() if key in OPTIONS}
    return {**own, **flat, **{key: value for key, value in chosen.items() if value is not None}}


def format_of(extra: Mapping[str, Any]) -> Any:
    """Ollama's ``format``: its own, or what OpenAI's ``response_format`` amounts to."""
    if extra.get("format"):
        return extra["format"]
    wanted = extra.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return "json"
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or {}).get("schema")
    return None


def openai_tool_calls(
    calls: Sequence[ollama.Message.ToolCall], *, first_index: int = 0
) -> tuple[Mapping[str, Any], ...]:
    """Ollama's tool calls in OpenAI's form; Ollama gives them no ids, so they get fresh ones."""
    return tuple(
        {
            "index": index,
            "id": f"call_{secrets.token_hex(8)}",
            "type": "function",
            "function": {"name": call.function.name, "arguments": json.dumps(dict(call.function.arguments))},
        }
        for index, call in enumerate(calls, start=first_index)
    )


def _to_ollama_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise RequestError("the arguments of a tool call are not JSON", param="messages") from error
    return {"function": {"name": function.get("name", ""), "arguments": arguments}}


def _image(image: Any) -> str:
    """The image as plain base64, whichever way it came."""
    if isinstance(image, bytes):
        return base64.b64encode(image).decode()
    text = str(image)
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64encode(base64.b64decode(encoded, validate=True)).decode()
    except (binascii.Error, ValueError) as error:
        raise RequestError("an image is not base64", param="messages") from error
