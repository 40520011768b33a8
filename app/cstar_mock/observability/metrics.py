"""Metrics for Prometheus: requests, answers, durations.

Imported only with the setting `metrics`, as it needs the extra of that name. No label ever has what a client sent:
each has a bounded set of values, whatever comes over the wire. With several workers each one writes its numbers to
files of a folder that they share, and whichever is asked tells the sum.
"""

import os
import platform
import re
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cstar_mock import VERSION, bounds
from cstar_mock.http.context import RequestContext
from cstar_mock.http.facts import RequestFacts
from cstar_mock.http.routes import OTHER, method_of, route_of

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder of several workers' numbers; the library reads it when it is imported."""

_REQUEST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10)
_LIVE_GAUGE = re.compile(r"gauge_live[a-z]+_(\d+)\.db")


class Monitoring:
    """The metrics of one application."""

    def __init__(self, *, team_label: bool) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the text, and no query uses them
        self._registry = CollectorRegistry()
        self._folder = os.environ.get(FOLDER_VARIABLE)
        self._team_label = team_label
        labels = ["route", "method", "status", "code", *(["team"] if team_label else [])]
        self._requests = Counter(
            "cstar_mock_requests", "Requests that were answered; status 0: broken off.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "cstar_mock_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "cstar_mock_requests_in_progress",
            "Requests that are being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        decisions = Counter(
            "cstar_mock_rate_limit_decisions", "Requests counted by the limiter.", ["decision"], registry=self._registry
        )
        self._decisions = {False: decisions.labels("allowed"), True: decisions.labels("refused")}
        store = Histogram(
            "cstar_mock_store_seconds",
            "Time of one piece of work in the database.",
            ["operation"],
            buckets=_STORE_SECONDS,
            registry=self._registry,
        )
        self._store = {operation: store.labels(operation) for operation in ("read", "write")}
        Gauge(
            "cstar_mock_build_info",
            "1, with the version of what runs.",
            ["version", "python"],
            registry=self._registry,
            multiprocess_mode="livemax",
        ).labels(VERSION, platform.python_version()).set(1)
        # Looking up a child by its labels costs more than counting.
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._teams: set[str] = set()

    def begun(self) -> None:
        """Count a request as in progress."""
        self._in_progress.inc()

    def ended(self) -> None:
        """Count a request as no longer in progress."""
        self._in_progress.dec()

    def answered(self, context: RequestContext, facts: RequestFacts) -> None:
        """Count a request that was answered, or whose connection was broken."""
        route = route_of(facts.path)
        self._counter(context, facts.method, route).inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        histogram.observe(context.seconds())
        if context.rate_limit is not None:
            self._decisions[context.rate_limit.exceeded].inc()

    def store(self, operation: str, seconds: float) -> None:
        """Count a piece of work in the database."""
        self._store[operation].observe(seconds)

    def _counter(self, context: RequestContext, method: str, route: str) -> Counter:
        labels = (
            route,
            method_of(method),
            str(context.status),
            context.code or "",
            *((self._team(context),) if self._team_label else ()),
        )
        counter = self._counters.get(labels)
        if counter is None:
            if len(self._counters) >= bounds.MOST_METRIC_LABELS:
                # `Prefer` and fault rules can ask for any status.
                labels = (route, OTHER, OTHER, OTHER, *labels[4:])
            counter = self._counters[labels] = self._requests.labels(*labels)
        return counter

    def _team(self, context: RequestContext) -> str:
        if context.caller is None:
            return ""
        slug = context.caller.team_slug
        if slug not in self._teams:
            if len(self._teams) >= bounds.MOST_METRIC_TEAMS:
                return OTHER
            self._teams.add(slug)
        return slug

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the metrics, in Prometheus' text format."""
        if scope["path"] != "/metrics":
            response = Response(status_code=404)
        elif scope["method"] != "GET":
            response = Response(status_code=405, headers={"Allow": "GET"})
        else:
            response = Response(generate_latest(self._collected()), headers={"Content-Type": CONTENT_TYPE_LATEST})
        await response(scope, receive, send)

    def _collected(self) -> CollectorRegistry:
        if self._folder is None:
            return self._registry
        for file in Path(self._folder).iterdir():
            # A worker that was killed could not take its requests in progress back.
            live = _LIVE_GAUGE.fullmatch(file.name)
            if live is not None and not _is_alive(int(live[1])):
                mark_process_dead(int(live[1]), self._folder)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        return registry


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
