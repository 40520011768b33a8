"""The journal: what clients sent and got, bounded, and without a key."""

import logging
import re
from typing import Any
from urllib.parse import quote

import pytest
from tests.conftest import MakeApi
from tests.control.conftest import Control, Team

from cstar_mock import bounds

KEY = "sk_live_0123456789-abcdefghij_KLMNOPQRSTUV"
"""Valid for nobody; what matters is that it looks like a key."""


def newest(team: Team) -> dict[str, Any]:
    """Return the last request of a team."""
    entry: dict[str, Any] = team.call("GET", "/requests", limit=1)["requests"][0]
    return entry


def test_a_request_is_recorded_as_it_came_and_as_it_was_answered(team: Team) -> None:
    response = team.get("overview?period=day", **{"User-Agent": "client/1", "X-Trace": "abc"})
    entry = newest(team)
    assert list(entry) == ["id", "state", "receivedAt", "teamTime", "request", "response"]
    assert entry["id"] == response.headers["X-Request-Id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", entry["receivedAt"])
    assert entry["teamTime"] == "2025-12-10T14:30:00Z"
    headers = entry["request"].pop("headers")
    assert entry["request"] == {
        "method": "GET",
        "path": f"/api/v1/teams/{team.id}/analytics/overview",
        "query": "period=day",
        "endpoint": "overview",
        "key": {"type": "secret", "environment": "test", "lastFour": team.keys["sk_test"][-4:], "name": None},
    }
    assert (headers["user-agent"], headers["x-trace"]) == ("client/1", "abc")
    assert headers["authorization"] == "[redacted]"
    assert entry["response"].pop("durationMs") > 0
    assert entry["response"] == {"status": 200, "code": None, "fault": None, "hint": None}
    assert team.call("GET", f"/requests/{entry['id']}")["id"] == entry["id"]


def test_the_answer_to_a_repeated_request_is_recorded_as_well(team: Team) -> None:
    ids = [team.get().headers["X-Request-Id"] for _ in range(3)]
    listed = team.call("GET", "/requests")
    assert [entry["id"] for entry in listed["requests"]] == ids[::-1]
    assert listed["meta"] == {"total": 3, "dropped": 0}


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        ("overview?period=x", "sk_test", 400, "parameter_invalid"),
        ("agents", "pk_test", 403, "insufficient_permissions"),
        ("/api/v1/teams/other/analytics/agents", "sk_test", 403, "insufficient_permissions"),
        ("/api/v1/auth/whoami", "sk_live", 200, None),
    ],
)
def test_refusals_are_recorded_with_their_code(
    team: Team, path: str, key: str, status: int, code: str | None
) -> None:  # fmt: skip
    team.get(path, key)
    assert (newest(team)["response"]["status"], newest(team)["response"]["code"]) == (status, code)


def test_the_fault_that_acted_is_recorded(team: Team) -> None:
    team.call("PUT", "/faults", {"id": "mine", "status": "internal_error", "failRequestCount": 1})
    team.get()
    assert newest(team)["response"] | {"durationMs": 0} == {
        "status": 500, "code": "internal_error", "durationMs": 0, "fault": "mine", "hint": None,
    }  # fmt: skip
    team.get()
    assert newest(team)["response"]["fault"] is None
    team.get(Prefer="code=503")
    assert newest(team)["response"]["fault"] == "Prefer"


def test_requests_are_found_and_counted_by_all_that_they_are(team: Team) -> None:
    team.call("PUT", "/faults", {"id": "f", "match": {"endpoint": "agents", "environment": "live"}, "status": 503})
    sent = [("overview", "sk_test"), ("overview?period=x", "sk_test"), ("agents", "pk_test"), ("agents", "sk_live")]
    ids = [team.get(path, key).headers["X-Request-Id"] for path, key in sent]
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [0, 1, 2, 3]),
        ({"endpoint": "overview"}, [0, 1]),
        ({"method": "GET"}, [0, 1, 2, 3]),
        ({"method": "POST"}, []),
        ({"path": f"/api/v1/teams/{team.id}/analytics/agents"}, [2, 3]),
        ({"query": "period=x"}, [1]),
        ({"query": ""}, [0, 2, 3]),
        ({"queryString": "period=x"}, [1]),
        ({"queryString": "period"}, []),
        ({"state": "answered"}, [0, 1, 2, 3]),
        ({"state": "pending"}, []),
        ({"key_type": "publishable"}, [2]),
        ({"keyType": "publishable"}, [2]),
        ({"environment": "live"}, [3]),
        ({"status": 400}, [1]),
        ({"code": "insufficient_permissions"}, [2]),
        ({"fault": "f"}, [3]),
        ({"endpoint": "agents", "status": 503}, [3]),
        ({"endpoint": "whoami"}, []),
    ]
    for criteria, wanted in cases:
        found = team.call("POST", "/requests/find", criteria)
        assert [entry["id"] for entry in found["requests"]] == [ids[number] for number in reversed(wanted)], criteria
        assert found["meta"]["total"] == len(wanted)
        assert team.call("POST", "/requests/count", criteria) == {"count": len(wanted), "dropped": 0}
    limited = team.call("POST", "/requests/find", {}, limit=2)
    assert ([entry["id"] for entry in limited["requests"]], limited["meta"]["total"]) == (ids[:1:-1], 4)


@pytest.mark.parametrize("criteria", [{"colour": 1}, {"status": 600}, {"endpoint": "tickets"}, {"state": "lost"}])
def test_criteria_that_are_not_known_are_refused(team: Team, criteria: dict[str, Any]) -> None:
    for path in ("/requests/find", "/requests/count"):
        assert next(iter(criteria)) in str(team.refused(400, "POST", path, criteria)["errors"])
    team.refused(400, "GET", "/requests", limit=0)


def test_requests_are_forgotten_when_told(team: Team) -> None:
    request_id = team.get().headers["X-Request-Id"]
    assert team.call("DELETE", "/requests") is None
    assert team.call("GET", "/requests") == {"requests": [], "meta": {"total": 0, "dropped": 0}}
    team.refused(404, "GET", f"/requests/{request_id}")


def test_a_request_of_another_team_is_not_found(control: Control) -> None:
    one, two = control.team(), control.team()
    request_id = one.get().headers["X-Request-Id"]
    two.refused(404, "GET", f"/requests/{request_id}")
    assert one.call("GET", f"/requests/{request_id}")["id"] == request_id


def test_what_belonged_to_no_team_is_unmatched(control: Control) -> None:
    team = control.team()
    sent = [
        team.get(key="sk_test_nobodys_key"),
        team.get("/api/v2/nothing"),
        control.api.client.get(f"/api/v1/teams/{team.id}/analytics/overview"),
        control.api.client.post("/api/v1/auth/whoami"),
    ]
    team.get()
    listed = control.call("GET", "/requests/unmatched")
    assert [entry["id"] for entry in listed["requests"]] == [answer.headers["X-Request-Id"] for answer in sent[::-1]]
    assert [entry["response"]["status"] for entry in listed["requests"]] == [405, 401, 404, 401]
    assert all(entry["request"]["key"] is None for entry in listed["requests"])
    assert listed["meta"] == {"total": 4, "dropped": 0}
    assert [entry["response"]["hint"] for entry in listed["requests"]] == [
        None, sent[2].headers["X-Cstar-Mock-Hint"], None, sent[0].headers["X-Cstar-Mock-Hint"],
    ]  # fmt: skip
    assert control.call("GET", "/requests/unmatched", limit=1)["meta"]["total"] == 4
    assert team.call("GET", "/requests")["meta"]["total"] == 1


def test_the_control_api_the_pages_and_health_checks_are_not_recorded(control: Control) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/__admin/health"):
        assert control.api.client.get(path).status_code == 200
    assert control.call("GET", "/requests/unmatched")["meta"]["total"] == 0


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_ring_keeps_the_newest_and_no_more(make_api: MakeApi, size: int) -> None:
    control = Control(make_api(journal_size=size))
    one, two = control.team(), control.team()
    two_id = two.get().headers["X-Request-Id"]
    ids = [one.get().headers["X-Request-Id"] for _ in range(12)]
    for _ in range(12):
        control.api.client.get("/api/nothing")
    kept = ids[::-1][:size]
    assert [entry["id"] for entry in one.call("GET", "/requests")["requests"]] == kept
    assert [entry["id"] for entry in two.call("GET", "/requests")["requests"]] == [two_id][:size]
    assert control.call("GET", "/requests/unmatched")["meta"]["total"] == size
    if size:  # with 0, nothing is recorded
        assert one.call("GET", "/requests")["meta"] == {"total": size, "dropped": 12 - size}
        assert one.call("POST", "/requests/count", {}) == {"count": size, "dropped": 12 - size}
        one.call("DELETE", "/requests")
    assert one.call("POST", "/requests/count", {}) == {"count": 0, "dropped": 0}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("period=week", [0, 1, 2]),
        ("trace=1", [1, 2]),
        ("trace=1&period=week", [1, 2]),
        ("tag=a", [2]),
        ("tag=a&tag=b", [2]),
        ("tag=a&tag=a", []),
        ("tag=a%20%C3%A9", [3]),
        ("tag=a+é", [3]),
        ("tag", [4]),
        ("tag=", [4]),
        ("period", []),
        ("period=wee", []),
        ("", [5]),
    ],
)
@pytest.mark.one_engine("the criteria are compared in Python")
def test_a_query_is_found_by_its_parameters(team: Team, query: str, found: list[int]) -> None:
    queries = ["?period=week", "?period=week&trace=1", "?trace=1&tag=b&tag=a&period=week", "?tag=a+%c3%a9", "?tag=", ""]
    ids = [team.get(f"overview{sent}").headers["X-Request-Id"] for sent in queries]
    listed = team.call("POST", "/requests/find", {"query": query})["requests"]
    assert [entry["id"] for entry in listed] == [ids[number] for number in reversed(found)]


@pytest.mark.parametrize(
    "headers",
    [
        {f"x-{number}": "x" * 5000 for number in range(99)},
        {f"x-{number}-{'n' * 300}": "x" * 300 for number in range(90)},
        {f"x-{'n' * 30_000}": "x"},
    ],
)
def test_long_and_many_headers_do_not_fill_the_memory(team: Team, headers: dict[str, str]) -> None:
    team.get(f"overview?padding={'x' * 5000}", **headers)
    assert len(str(newest(team))) < 6_000
    kept = newest(team)["request"]["headers"]
    assert kept
    assert len(kept) <= bounds.MOST_JOURNAL_HEADERS
    assert max(map(len, kept)) <= bounds.LONGEST_JOURNAL_NAME
    assert max(map(len, kept.values())) <= bounds.LONGEST_JOURNAL_VALUE
    assert sum(map(len, [*kept, *kept.values()])) <= bounds.JOURNAL_HEADERS_BYTES


# --- No key, anywhere -----------------------------------------------------------------------------------------------

ENCODED = KEY.replace("_", "%5F")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("overview", {"Authorization": f"Bearer {KEY}"}),
        ("overview", {"Authorization": KEY}),
        ("overview", {"X-Api-Key": KEY}),
        ("overview", {"X-Something": f"a {KEY} b"}),
        ("overview", {"Referer": f"http://x/?key={KEY}"}),
        ("overview", {"Referer": f"http://x/?key={ENCODED}"}),
        ("overview", {"Cookie": f"key={KEY}"}),
        ("overview", {KEY: "1"}),
        ("overview", {"User-Agent": "x" * 190 + KEY}),
        ("overview", {"Prefer": f"code={KEY}"}),
        ("overview", {"Prefer": f'wait="{KEY}"'}),
        ("overview", {"Prefer": f"code={KEY[:30]}, wait={KEY}"}),
        ("overview", {"Origin": f"http://{KEY}"}),
        (f"overview?key={KEY}", {}),
        (f"overview?key={ENCODED}", {}),
        (f"overview?period={KEY}", {}),
        (f"overview?period={ENCODED}", {}),
        (f"overview?period=day&period={KEY}", {}),
        (f"overview?{'x' * 480}={KEY}", {}),
        (f"overview?api_key={KEY.replace('-', '%2D')}", {}),
        (f"/api/v1/teams/{KEY}/analytics/overview", {}),
        (f"/api/v1/teams/{ENCODED}/analytics/overview", {}),
        (f"/api/v1/{KEY}", {}),
        (f"/{KEY}", {}),
        (f"/{quote(KEY)}?{KEY}", {"X-Key": KEY}),
        (f"/docs/{KEY}", {}),
        (f"/__admin/{KEY}", {}),
        (f"/__admin/teams/{KEY}", {}),
        (f"/__admin/teams?slug={KEY}", {}),
        (f"/__admin/teams/{{team}}/requests/{KEY}", {}),
        (f"/__admin/teams/{{team}}/members/{KEY}", {}),
        (f"/__admin/teams/{{team}}/members?environment={KEY}", {}),
        (f"/__admin/teams/{{team}}/members?{KEY}=1", {}),
        ("/__admin/health", {"Origin": f"http://{KEY}", "Host": KEY}),
    ],
)
def test_no_key_is_in_the_journal_in_the_log_or_in_an_answer(
    control: Control, caplog: pytest.LogCaptureFixture, path: str, headers: dict[str, str]
) -> None:
    caplog.set_level(logging.DEBUG, "cstar_mock")
    team = control.team()
    answer = team.get(path.replace("{team}", team.id), **headers)
    journal = control.send("GET", f"/teams/{team.id}/requests"), control.send("GET", "/requests/unmatched")
    texts = [answer.text, str(answer.headers), *(page.text for page in journal), caplog.text]
    texts += [str(vars(record)) for record in caplog.records if record.name.startswith("cstar_mock")]
    # The last four characters may be shown; any long piece of the rest may not.
    pieces = {KEY[8:24], KEY[16:32], KEY[22:38]}
    pieces |= {piece.lower() for piece in pieces} | {piece.replace("-", "%2D") for piece in pieces}
    for text in texts:
        for piece in pieces:
            assert piece not in text
    for key in team.keys.values():
        assert not any(key in text for text in texts)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/teams", {"slug": KEY}),
        ("POST", "/teams", {"dataset": "x", "clock": KEY}),
        ("POST", "/teams", {KEY: 1}),
        ("POST", "/teams/{team}/keys", {"prefix": KEY}),
        ("POST", "/teams/{team}/keys", {"expiresAt": KEY}),
        ("PUT", "/teams/{team}/clock", {"action": KEY}),
        ("PUT", "/teams/{team}/clock", {"action": "advance", "by": KEY}),
        ("PUT", "/teams/{team}/faults", {"status": KEY}),
        ("POST", "/teams/{team}/tickets", {"customerId": KEY}),
        ("POST", "/teams/{team}/tickets", {"customerId": "c", "createdAt": KEY}),
        ("DELETE", "/teams/{team}/faults/" + KEY, None),
        ("DELETE", "/teams/{team}/keys/" + KEY, None),
    ],
)
def test_no_key_is_in_a_refusal_of_the_control_api(control: Control, method: str, path: str, body: Any) -> None:
    team = control.team()
    response = control.send(method, path.replace("{team}", team.id), body)
    assert response.status_code in {400, 404, 409}
    assert KEY not in response.text
