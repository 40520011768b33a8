"""The metrics say what happened, in a bounded number of words, whatever clients send."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Api, MakeApi, running
from tests.contract.test_server import BEARER, only, workers

from cstar_mock import settings
from cstar_mock.http.routes import route_of
from cstar_mock.settings import SettingsError

pytestmark = pytest.mark.one_engine("counts in this process, whatever is below")

TEAM = "f07114d7-c66e-5709-b0ff-21e45192d472"


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a name, by the values of their labels, sorted by the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def scraped(api: Api) -> str:
    """Ask for the metrics."""
    response = api.get("/metrics", None)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    return response.text


@pytest.fixture(name="watched")
def _watched(make_api: MakeApi) -> Api:
    return make_api("documented", metrics=True, publishable_rate_limit=1)


def test_requests_are_counted_by_route_method_status_and_code(watched: Api) -> None:
    for path, key in [("overview", "sk_live"), ("overview", "sk_live"), ("agents", "pk_live"), ("agents", "pk_live")]:
        watched.get(path, key)
    watched.get("overview", "sk_live_unknown_key")
    watched.client.request("BREW", "/api/v1/auth/whoami")
    watched.get("/api/v1/nothing", None)
    watched.get("/__admin/health", None)
    assert samples(scraped(watched), "cstar_mock_requests_total") == {
        ("", "GET", "overview", "200"): 2,
        ("insufficient_permissions", "GET", "agents", "403"): 1,
        ("rate_limit_exceeded", "GET", "agents", "429"): 1,
        ("authentication_required", "GET", "overview", "401"): 1,
        ("method_not_allowed", "other", "whoami", "405"): 1,
        ("resource_missing", "GET", "other", "404"): 1,
        ("", "GET", "control", "200"): 1,
    }


def test_time_the_limiter_and_the_store_are_counted(watched: Api) -> None:
    watched.get("overview")
    watched.get("agents", "pk_live")
    watched.get("agents", "pk_live")
    text = scraped(watched)
    assert samples(text, "cstar_mock_request_seconds_count") == {("overview",): 1, ("agents",): 2}
    assert all(value > 0 for value in samples(text, "cstar_mock_request_seconds_sum").values())
    assert samples(text, "cstar_mock_rate_limit_decisions_total") == {("allowed",): 2, ("refused",): 1}
    assert samples(text, "cstar_mock_store_seconds_count")[("read",)] >= 2
    assert samples(text, "cstar_mock_requests_in_progress") == {(): 1}, "the scrape itself"
    assert list(samples(text, "cstar_mock_build_info").values()) == [1]


def test_no_key_and_no_team_is_in_them_unless_the_setting_says_so(make_api: MakeApi) -> None:
    for labelled in (False, True):
        api = make_api("documented", metrics=True, metrics_team_label=labelled)
        api.get("overview")
        api.get("/api/v1/nothing?key=sk_live_your_key", "sk_live")
        text = scraped(api)
        assert "your_key" not in text
        assert TEAM not in text
        assert ("acme" in text) is labelled
        if labelled:
            assert samples(text, "cstar_mock_requests_total")[("", "GET", "overview", "200", "acme")] == 1


def test_the_number_of_teams_and_of_series_is_bounded(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar_mock.bounds.MOST_METRIC_TEAMS", 1)
    monkeypatch.setattr("cstar_mock.bounds.MOST_METRIC_LABELS", 4)
    api = make_api("documented", metrics=True, metrics_team_label=True)
    for status in range(500, 510):
        api.get("overview", Prefer=f"code={status}")
    api.get("overview", "sk_live", team=1)
    counted = samples(scraped(api), "cstar_mock_requests_total")
    assert sum(counted.values()) == 11
    assert counted[("other", "other", "overview", "other", "acme")] == 6
    assert counted[("other", "other", "overview", "other", "other")] == 1
    assert len(counted) == 6


def test_who_scrapes_needs_the_token(make_api: MakeApi) -> None:
    for tokens in ({"metrics_token": "for-metrics"}, {"control_token": "for-metrics"}):
        api = make_api("documented", metrics=True, **tokens)
        assert api.get("/metrics", None).status_code == 401
        assert api.get("/metrics", None, Authorization="Bearer wrong").status_code == 401
        assert api.get("/metrics", None, Authorization="Bearer for-metrics").status_code == 200
    api = make_api("documented", metrics=True)
    assert api.get("/metrics", None, Host="rebound.example").status_code == 403


def test_without_the_setting_there_are_none_and_nothing_is_imported(api: Api) -> None:
    assert api.get("/metrics", None).status_code == 404
    program = (
        "import sys; from cstar_mock import create_app; create_app();"
        "names = ('prometheus_client', 'opentelemetry.sdk', 'opentelemetry.exporter');"
        "print([name for name in names if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_only_the_path_itself_is_answered_and_only_to_get(watched: Api) -> None:
    assert watched.get("/metrics/more", None).status_code == 404
    assert watched.client.post("/metrics").status_code == 405


@pytest.mark.parametrize(("setting", "extra"), [("metrics", "metrics"), ("traces", "opentelemetry")])
def test_a_missing_extra_is_one_line(setting: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingsError) as refused:
        settings.load(**dict[str, Any]({setting: True}))
    assert str(refused.value) == f"{setting}: they need an extra: pip install 'cstar-mock[{extra}]'"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"/api/v1/teams/{TEAM}/analytics/overview", "overview"),
        ("/api/v1/teams/x/y/analytics/overview", "other"),
        ("/__admin", "control"),
        ("/__administrator", "other"),
        ("/docs/favicon.png", "docs"),
    ],
)
def test_a_path_has_one_of_few_names(path: str, route: str) -> None:
    assert route_of(path) == route


def test_whichever_worker_is_asked_tells_the_sum(tmp_path: Path, valkey: str) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--workers", "2", "--database", database, "--dataset", "documented", "--metrics")
    with running(tmp_path, *options, "--state", valkey, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "stale")) as server:
        pids = workers(server)
        for pid in pids:
            with only(pid, pids):
                assert httpx2.get(server.path("agents"), headers=BEARER, timeout=30).status_code == 200
                # A request is counted once its answer is out: not yet, if the worker is stopped at that very moment.
                assert httpx2.get(f"{server.url}/healthz", timeout=30).status_code == 200
        for pid in pids:
            with only(pid, pids):
                text = httpx2.get(f"{server.url}/metrics", timeout=30).text
                assert samples(text, "cstar_mock_requests_total")[("", "GET", "agents", "200")] == 2
                assert samples(text, "cstar_mock_requests_in_progress") == {(): 1}
        os.kill(pids[0], 9)
        text = httpx2.get(f"{server.url}/metrics", timeout=30).text
        assert samples(text, "cstar_mock_requests_total")[("", "GET", "agents", "200")] == 2, "counts outlive a worker"
