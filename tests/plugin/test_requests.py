"""The handle's requests: waiting for them, asserting about them, and what a failure says."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from cstar_mock.testing import Server, Team, server

KEPT = 30


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[Server]:
    with server("--journal-size", str(KEPT)) as running:
        yield running


@pytest.fixture(name="cstar")
def _cstar(running: Server) -> Iterator[Team]:
    with running.team() as team:
        yield team


def get(cstar: Team, path: str = "overview", key: str | None = None, **options: Any) -> int:
    headers = {"Authorization": f"Bearer {key or cstar.secret_key}"}
    url = f"{cstar.url}/analytics/{path}"
    return httpx2.get(url, headers=headers, trust_env=False, **options).status_code


def failure(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        call(*arguments, **named)
    return str(raised.value)


def test_a_client_that_gave_up_comes_before_its_next_try(cstar: Team) -> None:
    cstar.faults.add({"delay": {"type": "fixed", "milliseconds": 20_000}, "failRequestCount": 1})
    with pytest.raises(httpx2.TimeoutException):
        get(cstar, timeout=0.5)
    assert get(cstar) == 200
    cstar.requests.wait_for(1, state="client_gone")
    cstar.requests.assert_sequence([{"state": "client_gone", "status": None}, {"state": "answered", "status": 200}])
    assert " -> client gone fault_" in failure(cstar.requests.assert_count, 3)


def test_waiting_returns_what_came_or_fails_with_it(cstar: Team) -> None:
    get(cstar)
    get(cstar, "agents")
    assert len(cstar.requests.wait_for(2)) == 2
    (agents,) = cstar.requests.wait_for(endpoint="agents")
    assert agents["request"]["endpoint"] == "agents"
    text = failure(cstar.requests.wait_for, 2, timeout=0.1, endpoint="agents")
    assert text.startswith("expected at least 2 requests within 0.1 s (endpoint='agents'), but there were 1\n")
    assert re.search(r"^  \* GET \S+/agents -> 200$", text, re.MULTILINE)


def test_counts_have_limits(cstar: Team) -> None:
    get(cstar)
    get(cstar)
    cstar.requests.assert_count(at_least=2)
    cstar.requests.assert_count(at_most=2, key_type="secret")
    cstar.requests.assert_count(at_least=1, at_most=3)
    assert failure(cstar.requests.assert_count, at_least=3).startswith(
        "expected at least 3 requests (any), but there w"
    )
    assert failure(cstar.requests.assert_count, at_most=1).startswith("expected at most 1 requests (any), but there w")
    for named in ({}, {"expected": 1, "at_least": 1}):
        with pytest.raises(TypeError, match="either a number"):
            cstar.requests.assert_count(**named)


def test_a_sequence_is_asserted_in_order(cstar: Team) -> None:
    cstar.faults.next(429)
    assert [get(cstar, "overview?period=week&trace=1"), get(cstar), get(cstar, "agents")] == [429, 200, 200]
    cstar.requests.assert_sequence([{"status": 429, "query": "period=week"}, {"status": 200}, {"endpoint": "agents"}])
    cstar.requests.assert_sequence([{"status": 429}, {}], endpoint="overview")
    text = failure(cstar.requests.assert_sequence, [{"status": 429}, {"status": 503}], endpoint="overview")
    assert text.startswith("expected request 2 of 2 to match status=503 (endpoint='overview'), but it was GET ")
    text = failure(cstar.requests.assert_sequence, [{"status": 429}])
    assert text.startswith("expected a sequence of 1 requests (any), but there were 3\n")


def test_a_wrong_key_is_told_with_its_hint(cstar: Team, running: Server) -> None:
    assert get(cstar, key="sk_test_nobody_has_this_one") == 401
    with running.team() as other:
        get(other, key="sk_test_nobody_has_this_one")
        assert [entry["request"]["path"] for entry in other.requests.unmatched()] == [
            f"/api/v1/teams/{other.team_id}/analytics/overview"
        ]
    (entry,) = cstar.requests.unmatched()
    text = failure(cstar.requests.assert_count, 1)
    assert "no request came at all" not in text
    assert text.endswith(
        "  requests that belonged to no team:\n"
        f"    GET /api/v1/teams/{cstar.team_id}/analytics/overview -> 401 authentication_required"
        f" ({entry['response']['hint']})"
    )


def test_a_full_journal_says_so_and_long_lists_are_cut(cstar: Team) -> None:
    for _ in range(KEPT + 5):
        get(cstar)
    lines = failure(cstar.requests.assert_count, KEPT + 5).splitlines()
    assert lines[0] == f"expected {KEPT + 5} requests (any), but there were {KEPT}"
    assert lines[1] == f"  … {KEPT - 20} earlier ones …"
    assert lines[-1] == f"  only the last {KEPT} requests are kept (--journal-size): 5 older ones were dropped"
    assert len(lines) == 23
