"""Traces by OpenTelemetry: a span for each request, which FastAPI makes, and one for each statement in it.

Imported only with the setting `traces`, as it needs the extra `opentelemetry`. Where spans go is OpenTelemetry's own
business: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME` and the rest of its variables. No key leaves the process:
whatever a span says is redacted before it is handed to the exporter.
"""

import os
from collections.abc import Sequence

from fastapi.telemetry import TelemetryConfig
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes, AttributeValue
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from cstar_mock import VERSION
from cstar_mock.contract.redaction import redacted

_WATCHERS = ("/healthz", "/readyz", "/metrics")


class RedactingExporter(SpanExporter):
    """Exports spans without a whole key in any path, query, header or exception."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export redacted copies of spans."""
        return self._exporter.export([_redacted_span(span) for span in spans])

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let the exporter send its spans."""
        return self._exporter.force_flush(timeout_millis)


class Tracing:
    """The tracer of one application and its engine.

    Args:
        engine: the engine whose statements become spans.
        exporter: where spans go; by default over OTLP, as OpenTelemetry's variables say.
    """

    def __init__(self, engine: Engine, exporter: SpanExporter | None = None) -> None:
        if "OTEL_PROPAGATORS" not in os.environ:
            # The default reads baggage, too: we have no use for it, and a list of spaces takes it quadratic time.
            propagate.set_global_textmap(TraceContextTextMapPropagator())
        resource = Resource({"service.name": "cstar-mock", "service.version": VERSION})
        self._provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(RedactingExporter(exporter or OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("cstar_mock", VERSION)
        self._spans: dict[ExecutionContext, Span] = {}
        self._system = engine.dialect.name
        event.listen(engine, "before_cursor_execute", self._statement_begins)
        event.listen(engine, "after_cursor_execute", self._statement_ends)
        event.listen(engine, "handle_error", self._statement_fails)

    @property
    def telemetry(self) -> TelemetryConfig:
        """FastAPI's part: a span for each request, except probes and scrapes."""
        return {
            "tracer_provider": self._provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope.get("path") in _WATCHERS,
        }

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()

    def _statement_begins(
        self,
        _connection: object,
        _cursor: object,
        statement: str,
        _parameters: object,
        context: ExecutionContext,
        _many: bool,
    ) -> None:
        if trace.get_current_span().is_recording():
            attributes = {"db.system.name": self._system, "db.query.text": statement}
            name = statement.split(maxsplit=1)[0]
            self._spans[context] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def _statement_ends(
        self,
        _connection: object,
        _cursor: object,
        _statement: str,
        _parameters: object,
        context: ExecutionContext,
        _many: bool,
    ) -> None:
        span = self._spans.pop(context, None)
        if span is not None:
            span.end()

    def _statement_fails(self, failure: ExceptionContext) -> None:
        context = failure.execution_context
        span = None if context is None else self._spans.pop(context, None)
        if span is not None:
            # The exception's own text may have the statement's parameters in it.
            span.set_status(StatusCode.ERROR, type(failure.original_exception).__name__)
            span.end()


def _redacted_span(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=redacted(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_redacted_attributes(span.attributes),
        events=[Event(one.name, _redacted_attributes(one.attributes), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, span.status.description and redacted(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _redacted_attributes(attributes: Attributes) -> dict[str, AttributeValue]:
    return {name: _redacted_value(value) for name, value in (attributes or {}).items()}


def _redacted_value(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Sequence):
        return [redacted(one) if isinstance(one, str) else one for one in value]
    return value
