"""Turns as traces: whole, with the conventions' names, without a word of what was asked, and off unless asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from router.backends.scripted import Fault, ScriptedBackend
from router.domain.chat import Message
from router.domain.errors import BackendError, ConfigError
from router.service.ask import Ask
from router.service.assembly import Service
from router.service.limits import Limits
from router.service.otel import Tracing, build_tracing, is_asked_for
from router.service.progress import Done, Event
from tests.service import federation

PROMPT = "Which river flows through the capital marker-of-the-prompt"
PUBLISHED = {
    value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI") and "." in str(value)
}


async def traced(backend: ScriptedBackend, *, limits: Limits | None = None) -> tuple[Service, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter, batched=False)
    service = federation.build(backend=backend, observers=(tracing,), on_close=(tracing.close,), limits=limits)
    await service.planner.refresh(force=True)
    return service, exporter


async def run(service: Service) -> list[Event]:
    return [event async for event in service.runner.run(Ask((Message("user", PROMPT),)))]


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


async def test_a_turn_is_a_tree_of_its_steps_with_figures_and_published_names() -> None:
    service, exporter = await traced(ScriptedBackend("marker-of-the-answer", models=("small", "large")))
    done = (await run(service))[-1]
    await service.close()
    assert isinstance(done, Done)
    spans = {span.name if span.parent else "turn": span for span in exporter.get_finished_spans()}
    model = done.turn.carbon.model
    assert set(spans) == {"turn", "choose", "embed", f"chat {model}", "journal"}
    root = spans["turn"]
    assert root.context is not None
    for name in ("choose", f"chat {model}", "journal"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == root.context.span_id
    choose, embed = spans["choose"], spans["embed"]
    assert choose.context is not None
    assert embed.parent is not None
    assert embed.parent.span_id == choose.context.span_id
    for span in spans.values():
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time  # type: ignore[operator]
        assert span.status.status_code is not StatusCode.ERROR
        assert "marker-of" not in span.to_json()
        for key in attributes(span):
            assert key.startswith("carbon_router.") or key in PUBLISHED, key
    said = attributes(root)
    assert root.kind is SpanKind.SERVER
    assert said["gen_ai.response.id"] == done.turn.id
    assert said["gen_ai.response.model"] == model
    assert said["gen_ai.usage.output_tokens"] == done.finish.usage.output_tokens
    assert said["gen_ai.response.finish_reasons"] == ("stop",)
    assert said["carbon_router.energy_j"] == done.turn.carbon.energy_j
    assert said["carbon_router.saved_g"] == done.turn.carbon.saved_g
    assert spans[f"chat {model}"].kind is SpanKind.CLIENT
    assert attributes(spans[f"chat {model}"])["carbon_router.energy_j"] == done.turn.carbon.energy_j


async def test_every_attempt_has_a_span_and_a_failed_one_says_why() -> None:
    backend = ScriptedBackend("It is 42.", models=("small", "large"), faults={"large": Fault("refuse", times=1)})
    service, exporter = await traced(backend)
    await run(service)
    await service.close()
    attempts = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert attributes(attempts[0])["error.type"] == "backend_unavailable"
    (root,) = [span for span in exporter.get_finished_spans() if span.parent is None]
    assert attributes(root)["carbon_router.attempts"] == 2
    assert "backend_unavailable" in str(attributes(root)["carbon_router.fallback"])
    assert root.status.status_code is not StatusCode.ERROR


async def test_a_turn_that_fails_is_an_error_and_one_that_is_left_is_not() -> None:
    backend = ScriptedBackend("It is 42.", models=("small", "large"), faults={"*": Fault("garbage")})
    service, exporter = await traced(backend)
    with pytest.raises(BackendError):
        await run(service)
    backend.faults.clear()
    events = service.runner.run(Ask((Message("user", PROMPT),)))
    await anext(events)
    await events.aclose()
    await service.close()
    failed, left = (span for span in exporter.get_finished_spans() if span.parent is None)
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(failed)["error.type"] == "backend_protocol"
    assert left.status.status_code is not StatusCode.ERROR
    assert attributes(left)["carbon_router.status"] == "cancelled"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_switch_it_on(environment: dict[str, str], asked: bool) -> None:
    assert is_asked_for(environment) is asked


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ],
)
def test_an_exporter_nobody_knows_is_refused_by_its_variable(environment: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        build_tracing(environment)


def test_the_exporters_of_the_extra_can_be_built() -> None:
    tracing = build_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert tracing is not None
    tracing.close()
    assert build_tracing({}) is None


def test_asked_for_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from router.service.otel import build_tracing\n"
        "assert build_tracing({}) is None\n"
        "try:\n    build_tracing({'OTEL_TRACES_EXPORTER': 'otlp'})\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("ConfigError")
    assert "pip install -e '.[otel]'" in answer.stdout
