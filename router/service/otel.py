"""Turns as OpenTelemetry traces: the only file that knows OpenTelemetry.

Configured by the standard ``OTEL_`` variables alone. A turn is a server span ``chat MODEL`` with children ``choose``
(and ``embed`` in it), one ``chat MODEL`` of kind client for every generation started, and ``journal``. Names are those
of the semantic conventions for generative AI where there is one (``gen_ai.*``), ``carbon_router.*`` else. Spans hold
no text that a user wrote or a model answered.

Spans are made when a turn has ended, with the times noted on the way: nothing is open while a client reads, and a
router without tracing pays nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import router
from router.domain.catalogue import Option
from router.domain.errors import ConfigError
from router.domain.record import Turn
from router.domain.sci import Footprint
from router.domain.units import ns_from_seconds
from router.service.ask import Ask
from router.service.steps import Step, Value

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

EXTRA = "pip install -e '.[otel]'"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_GEN_AI = {
    "model": "gen_ai.request.model",
    "engine": "gen_ai.provider.name",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "first_token_s": "gen_ai.response.time_to_first_chunk",
}


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter != "none" if exporter else any(environment.get(name) for name in _ENDPOINTS)


def build_tracing(environment: Mapping[str, str] = os.environ) -> Tracing | None:
    """Traces as the environment asks for them; None where it does not.

    Raises:
        ConfigError: If the extra is not installed, or the exporter is unknown.
    """
    return Tracing(_exporter(environment)) if is_asked_for(environment) else None


class Tracing:
    """Makes a trace of every turn; an observer of :class:`router.service.turn.TurnRunner`."""

    def __init__(self, exporter: SpanExporter, *, batched: bool = True) -> None:
        """Take where spans go; what else there is to choose, the SDK reads from the environment.

        Args:
            exporter: Of the SDK.
            batched: Export in the background; tests export at once.
        """
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        own = {"service.version": router.__version__}
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            own["service.name"] = "carbon-router"
        self._provider: TracerProvider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter) if batched else SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("carbon-router", router.__version__)

    def __call__(self, turn: Turn, ask: Ask, steps: tuple[Step, ...]) -> None:
        """Make the trace of a turn."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        ended_s = max([turn.started_at + (turn.duration_s or 0.0), *(step.ended_s for step in steps)])
        root = self._tracer.start_span(
            f"chat {turn.carbon.model}",
            kind=SpanKind.SERVER,
            start_time=ns_from_seconds(turn.started_at),
            attributes=_turn_attributes(turn, ask),
        )
        inside = set_span_in_context(root)
        choose = next((step for step in steps if step.name == "choose"), None)
        inside_choose = inside
        for step in sorted(steps, key=lambda step: (step.began_s, step is not choose)):
            is_attempt = step.name == "attempt"
            span = self._tracer.start_span(
                f"chat {step.attributes.get('model')}" if is_attempt else step.name,
                inside_choose if step.name == "embed" else inside,
                kind=SpanKind.CLIENT if is_attempt else SpanKind.INTERNAL,
                start_time=ns_from_seconds(step.began_s),
                attributes=_step_attributes(step),
            )
            _end(span, step.error, step.ended_s)
            if step is choose:
                inside_choose = set_span_in_context(span)
        _end(root, turn.error or (turn.status if turn.status == "cancelled" else None), ended_s)

    def close(self) -> None:
        """Export what is left."""
        self._provider.shutdown()


def _end(span: Span, error: str | None, ended_s: float) -> None:
    from opentelemetry.trace import StatusCode

    if error is not None:
        span.set_attribute("error.type", error)
    if error is not None and error != "cancelled":  # a client that goes away is no error of ours
        span.set_status(StatusCode.ERROR, error)
    span.end(ns_from_seconds(ended_s))


def _turn_attributes(turn: Turn, ask: Ask) -> dict[str, Any]:
    carbon = turn.carbon
    known: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "carbon-router",
        "gen_ai.request.model": ask.model,
        "gen_ai.response.id": turn.id,
        "gen_ai.response.model": carbon.model,
        "gen_ai.usage.input_tokens": turn.prompt_tokens,
        "gen_ai.usage.output_tokens": turn.output_tokens,
        "gen_ai.response.time_to_first_chunk": turn.first_token_s,
        "gen_ai.request.max_tokens": ask.sampling.max_tokens,
        "carbon_router.status": turn.status,
        "carbon_router.option": str(Option(carbon.model, carbon.directive, carbon.site, carbon.setting)),
        "carbon_router.directive": carbon.directive,
        "carbon_router.site": carbon.site,
        "carbon_router.setting": carbon.setting,
        "carbon_router.category": carbon.category,
        "carbon_router.category_probability": carbon.category_probability,
        "carbon_router.policy": carbon.policy,
        "carbon_router.floor": carbon.floor,
        "carbon_router.fallback": carbon.fallback,
        "carbon_router.attempts": turn.attempts,
        "carbon_router.energy_j": carbon.energy_j,
        "carbon_router.energy_method": carbon.energy_method,
        "carbon_router.router_energy_j": carbon.router_energy_j,
        "carbon_router.operational_g": carbon.operational_g,
        "carbon_router.embodied_g": carbon.embodied_g,
        "carbon_router.total_g": Footprint(carbon.operational_g, carbon.embodied_g).total_g,
        "carbon_router.reference_g": carbon.reference_g,
        "carbon_router.saved_g": carbon.saved_g,
        "carbon_router.intensity_g_per_kwh": carbon.intensity_g_per_kwh,
        "carbon_router.intensity_source": carbon.intensity_source,
        "carbon_router.intensity_age_s": carbon.intensity_age_s,
        "carbon_router.overhead_ms": carbon.overhead_ms,
    }
    reasons = {} if turn.finish_reason is None else {"gen_ai.response.finish_reasons": (turn.finish_reason,)}
    return {**_without_unknown(known), **reasons}


def _step_attributes(step: Step) -> dict[str, Any]:
    named = {_GEN_AI.get(key, f"carbon_router.{key}"): value for key, value in step.attributes.items()}
    reason = named.pop("carbon_router.finish_reason", None)
    kind: dict[str, Any] = {"carbon_router.step": step.name}
    if step.name == "attempt":
        kind["gen_ai.operation.name"] = "chat"
    if step.name == "embed":
        kind |= {"gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "carbon-router"}
        named["gen_ai.request.model"] = named.pop("carbon_router.embedder", None)
    if reason is not None:
        kind["gen_ai.response.finish_reasons"] = (reason,)
    return {**kind, **_without_unknown(named)}


def _without_unknown(values: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    kind = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    protocol = (
        environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    try:
        if kind == "console":
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter

            return ConsoleSpanExporter()
        if kind == "otlp" and protocol == "http/protobuf":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter()
        if kind == "otlp" and protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter

            return GrpcSpanExporter()
    except ImportError as error:
        raise ConfigError(
            f"traces are asked for, but {error.name or 'OpenTelemetry'} is not installed",
            hint=f"run `{EXTRA}`, or unset the OTEL_ variables",
        ) from error
    if kind != "otlp":
        raise ConfigError(
            f"no such exporter of traces: {kind!r}", key="OTEL_TRACES_EXPORTER", hint="use otlp, console or none"
        )
    raise ConfigError(
        f"no such protocol: {protocol!r}", key="OTEL_EXPORTER_OTLP_PROTOCOL", hint="use http/protobuf or grpc"
    )
