"""A span for each request, one for each of its statements, and never a key in them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from cstar_mock import Settings, create_app
from cstar_mock.datasets.files import find, read
from cstar_mock.observability import tracing
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.teams.load import load

KEY = "sk_live_your_key"
ENCODED = "".join(f"%{ord(letter):02x}" for letter in KEY)


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TestClient, str, InMemorySpanExporter, Database]]:
    """Serve an application whose spans stay in memory; they are there after the block."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "OTLPSpanExporter", lambda: exporter)
    monkeypatch.setattr(exporter, "shutdown", lambda: None)
    database = Database("sqlite://")
    migrations.prepare(database)
    team, *_ = database.write_now(load, read(find("documented")))
    app = create_app(Settings(traces=True), database)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client, f"/api/v1/teams/{team.id}/analytics", exporter, database
    database.close()


def everything(spans: tuple[ReadableSpan, ...]) -> str:
    """Return all that spans say."""
    return "\n".join(span.to_json() for span in spans)


def test_a_request_and_its_statements_have_spans_of_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (client, path, exporter, _):
        client.get(f"{path}/overview", headers={"Authorization": f"Bearer {KEY}"})
        client.get("/readyz")
    spans = exporter.get_finished_spans()
    (request,) = [span for span in spans if span.kind is SpanKind.SERVER]
    assert request.name == "GET /api/v1/teams/{teamId}/analytics/overview"
    statements = [span for span in spans if span.kind is SpanKind.CLIENT]
    assert {span.name for span in statements} == {"SELECT"}
    assert request.context is not None
    assert {span.parent and span.parent.span_id for span in statements} == {request.context.span_id}
    assert request.resource.attributes["service.name"] == "cstar-mock"


def test_no_key_is_in_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (client, path, exporter, _):
        headers = {"Authorization": f"Bearer {KEY}", "X-Copy": KEY, "Cookie": f"key={KEY}"}
        client.get(f"{path}/overview?key={KEY}&other={ENCODED}", headers=headers)
        client.get(f"/api/v1/{KEY}/{ENCODED}", headers={"Authorization": "Bearer the-control-token"})
    spans = exporter.get_finished_spans()
    told = everything(spans)
    assert "sk_live_\\u2026" in told, "the query is shown, redacted"
    for secret in (KEY, ENCODED, "your_key", "the-control-token"):
        assert secret not in told


def test_a_statement_that_fails_ends_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (client, path, exporter, database):
        database.write_now(lambda connection: connection.exec_driver_sql("DROP TABLE tickets"))
        client.get(f"{path}/overview", headers={"Authorization": f"Bearer {KEY}"})
    failed = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.status.status_code for span in failed].count(StatusCode.ERROR) == 1


def test_baggage_is_not_read_as_that_takes_quadratic_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_PROPAGATORS", raising=False)
    with traced(monkeypatch):
        assert propagate.get_global_textmap().fields == {"traceparent", "tracestate"}
