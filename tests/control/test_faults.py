"""Faults: rules, the request's own `Prefer`, and keys that always fail; each exactly as often as it was told."""

import time
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, update
from tests.conftest import Api, MakeApi, assert_envelope
from tests.control.conftest import Control, Team

from cstar_mock import bounds
from cstar_mock.contract.errors import CATALOGUE
from cstar_mock.store.models import Team as TeamRow
from cstar_mock.traffic.fault_rules import FaultRule, activated, stored
from cstar_mock.traffic.faults import ConnectionBroken

PERIODS = ("day", "week", "month", "quarter", "year")


def statuses(team: Team, count: int, path: str = "agents", key: str = "sk_test") -> list[int]:
    """Return the statuses of some requests."""
    return [team.get(path, key).status_code for _ in range(count)]


def counts(team: Team) -> list[tuple[int, int]]:
    """Return what each rule has seen, and let fail."""
    return [(rule["seen"], rule["failed"]) for rule in team.call("GET", "/faults")["faults"]]


def test_fail_twice_with_429_and_retry_after_1_then_succeed_is_one_call(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 429, "retryAfter": 1, "failRequestCount": 2})
    answers = [team.get() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 200, 200]
    for answer in answers[:2]:
        error = assert_envelope(answer, 429, "rate_limit_exceeded")
        assert error["message"] == "Rate limit exceeded. Try again in 1 second"
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert int(answer.headers["X-RateLimit-Reset"]) - int(time.time()) in {0, 1}
        assert answer.headers["X-RateLimit-Limit"] == "1000"
    assert int(answers[2].headers["X-RateLimit-Remaining"]) > 900
    assert counts(team) == [(2, 2)]


def test_the_first_rule_that_matches_decides(team: Team) -> None:
    rules = [
        {"id": "first", "match": {"endpoint": "agents"}, "status": 503},
        {"id": "second", "status": 500},
        {"id": "third", "match": {"endpoint": "agents"}, "status": 429},
    ]
    shown = team.call("PUT", "/faults", rules)["faults"]
    assert [rule["id"] for rule in shown] == ["first", "second", "third"]
    assert statuses(team, 1) == [503]
    assert statuses(team, 2, "overview") == [500, 500]
    assert counts(team) == [(1, 1), (2, 2), (0, 0)]
    team.call("DELETE", "/faults/first")
    assert statuses(team, 1) == [500]


def test_a_spent_rule_leaves_the_next_one_to_decide(team: Team) -> None:
    team.call("PUT", "/faults", [{"status": 503, "failRequestCount": 1}, {"status": 500, "failRequestCount": 2}])
    assert statuses(team, 5) == [503, 500, 500, 200, 200]


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, {"overview", "agents", "whoami", "pk", "live", "day"}),
        ({"endpoint": "overview"}, {"overview", "live", "day"}),
        ({"endpoint": "agents"}, {"agents", "pk"}),
        ({"endpoint": "whoami"}, {"whoami"}),
        ({"keyType": "publishable"}, {"pk"}),
        ({"keyType": "secret"}, {"overview", "agents", "whoami", "live", "day"}),
        ({"environment": "live"}, {"live"}),
        ({"environment": "test"}, {"overview", "agents", "whoami", "pk", "day"}),
        ({"period": "day"}, {"day"}),
        ({"period": "week"}, {"overview", "live"}),
        ({"endpoint": "overview", "environment": "test", "keyType": "secret", "period": "week"}, {"overview"}),
        ({"key": "mine"}, set()),
    ],
)
def test_each_field_of_a_match_narrows_it(team: Team, match: dict[str, Any], hit: set[str]) -> None:
    team.call("PUT", "/faults", {"match": match, "status": 503})
    sent = {
        "overview": ("overview", "sk_test"),
        "agents": ("agents", "sk_test"),
        "whoami": ("/api/v1/auth/whoami", "sk_test"),
        "pk": ("agents", "pk_test"),
        "live": ("overview", "sk_live"),
        "day": ("overview?period=day", "sk_test"),
    }
    assert {name for name, (path, key) in sent.items() if team.get(path, key).status_code == 503} == hit


def test_a_match_on_a_key_is_about_that_key_alone(team: Team) -> None:
    mine = team.call("POST", "/keys", {"name": "mine"})["key"]
    team.call("PUT", "/faults", {"match": {"key": "mine"}, "status": 503})
    assert statuses(team, 1, key=mine) == [503]
    assert statuses(team, 1) == [200]


def test_a_period_that_is_not_allowed_matches_no_rule_about_one(team: Team) -> None:
    team.call("PUT", "/faults", [{"match": {"period": period}, "status": 503} for period in PERIODS])
    assert_envelope(team.get("overview?period=decade"), 400, "parameter_invalid")


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_documented_error_is_answered_by_name(team: Team, name: str) -> None:
    team.call("PUT", "/faults", {"status": name})
    response = team.get()
    kind = CATALOGUE[name]
    assert_envelope(response, kind.status, kind.code)
    assert ("Retry-After" in response.headers) == (kind.status in {429, 503})
    assert ("WWW-Authenticate" in response.headers) == (kind.status == 401)
    assert "{" not in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "parameter_invalid"),
        (401, "authentication_required"),
        (403, "insufficient_permissions"),
        (404, "resource_missing"),
        (405, "method_not_allowed"),
        (429, "rate_limit_exceeded"),
        (500, "internal_error"),
        (503, "service_unavailable"),
    ],
)
def test_each_documented_error_is_answered_by_number(team: Team, status: int, code: str) -> None:
    team.call("PUT", "/faults", {"status": status})
    assert_envelope(team.get(), status, code)


@pytest.mark.parametrize(
    ("rule", "content_type", "content"),
    [
        ({"status": 418}, None, b""),
        ({"status": 204}, None, b""),
        ({"status": 304}, None, b""),
        ({"status": 200, "body": {"success": True, "data": None}}, "application/json", b'{"success":true,"data":null}'),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, "text/plain; charset=utf-8", b"<html>Bad Gateway</html>"),
        ({"status": 500, "body": []}, "application/json", b"[]"),
        ({"status": "internal_error", "body": 0}, "application/json", b"0"),
        ({"status": 599, "body": False}, "application/json", b"false"),
    ],
)
def test_any_status_and_body_is_answered(
    team: Team, rule: dict[str, Any], content_type: str | None, content: bytes
) -> None:
    team.call("PUT", "/faults", rule)
    response = team.get()
    assert response.status_code == (500 if rule["status"] == "internal_error" else rule["status"])
    assert response.headers.get("Content-Type") == content_type
    assert response.content == content
    assert response.headers["X-Request-Id"].startswith("req_")
    if rule["status"] in {204, 304}:
        assert response.headers.get("Content-Length", "0") == "0"
    (shown,) = team.call("GET", "/faults")["faults"]
    assert shown["rule"] == rule


@pytest.mark.parametrize("status", [418, 429, 500, 503, "service_unavailable"])
def test_retry_after_goes_with_any_status(team: Team, status: int | str) -> None:
    team.call("PUT", "/faults", {"status": status, "retryAfter": 77})
    response = team.get()
    assert response.headers["Retry-After"] == "77"
    ahead = int(response.headers["X-RateLimit-Reset"]) - time.time()
    if status == 429:
        assert "77 seconds" in response.json()["error"]["message"]
        assert 75 < ahead <= 77
        assert response.headers["X-RateLimit-Remaining"] == "0"
    else:
        assert int(response.headers["X-RateLimit-Remaining"]) > 900


@pytest.mark.parametrize("status", [429, 503, 418, "rate_limit_exceeded"])
@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "0"), (0.1, "0.1"), (1.0, "1"), (0.00001, "0.00001"), (None, None)]
)
def test_retry_after_may_be_nothing_a_fraction_or_left_out(
    team: Team, status: int | str, seconds: float | None, header: str | None
) -> None:
    team.call("PUT", "/faults", {"status": status, "retryAfter": seconds})
    response = team.get()
    assert response.headers.get("Retry-After") == header
    (shown,) = team.call("GET", "/faults")["faults"]
    assert shown["rule"] == {"status": status, "retryAfter": seconds}
    if response.status_code == 429:
        assert "in 1 second" in response.json()["error"]["message"]


def test_a_429_with_a_body_of_its_own_has_consistent_headers(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 429, "body": {"slow": "down"}})
    response = team.get()
    assert response.json() == {"slow": "down"}
    assert (response.headers["Retry-After"], response.headers["X-RateLimit-Remaining"]) == ("1", "0")


@pytest.mark.parametrize(
    ("delay", "at_least"),
    [
        ({"type": "fixed", "milliseconds": 150}, 0.15),
        ({"type": "uniform", "lower": 120, "upper": 180}, 0.12),
        ({"type": "uniform", "lower": 180, "upper": 120}, 0.12),
        ({"type": "lognormal", "median": 150, "sigma": 0}, 0.15),
        ({"type": "lognormal", "median": 60000, "sigma": 3, "maxValue": 130}, 0.001),
    ],
)
def test_a_delay_delays_and_then_answers_as_always(team: Team, delay: dict[str, Any], at_least: float) -> None:
    team.call("PUT", "/faults", {"delay": delay, "failRequestCount": 1})
    began = time.monotonic()
    assert team.get().status_code == 200
    assert time.monotonic() - began >= at_least
    assert time.monotonic() - began < 30


def test_a_delay_can_stand_before_an_error(team: Team) -> None:
    team.call("PUT", "/faults", {"delay": {"type": "fixed", "milliseconds": 150}, "status": 503})
    began = time.monotonic()
    assert statuses(team, 1) == [503]
    assert time.monotonic() - began >= 0.15


def test_probability_with_a_seed_fails_the_same_requests_every_time(control: Control) -> None:
    rule = {"status": 500, "probability": 0.5, "seed": 7}
    teams = [control.team(), control.team()]
    seen = []
    for team in (*teams, teams[0]):
        team.call("PUT", "/faults", rule)
        seen.append(statuses(team, 60))
    assert seen[0] == seen[1] == seen[2]
    assert 15 < seen[0].count(500) < 45
    assert counts(teams[0]) == [(60, seen[0].count(500))]
    teams[0].call("PUT", "/faults", {**rule, "seed": 8})
    assert statuses(teams[0], 60) != seen[0]


@pytest.mark.parametrize(("probability", "expected"), [(0, [200] * 8), (1, [500] * 8)])
def test_probabilities_at_both_ends_are_certain(team: Team, probability: int, expected: list[int]) -> None:
    team.call("PUT", "/faults", {"status": 500, "probability": probability})
    assert statuses(team, 8) == expected


def test_succeed_first_and_fail_request_count(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 500, "succeedFirst": 2, "failRequestCount": 3})
    assert statuses(team, 8) == [200, 200, 500, 500, 500, 200, 200, 200]
    assert counts(team) == [(5, 3)]


def test_fail_request_count_counts_failures_not_requests(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 500, "probability": 0.5, "failRequestCount": 3, "seed": 1})
    seen = statuses(team, 40)
    assert seen.count(500) == 3


@pytest.mark.parametrize("ttl", [30, "PT30S"])
def test_a_rule_heals_itself_when_its_time_is_over(team: Team, ttl: float | str) -> None:
    (shown,) = team.call("PUT", "/faults", {"status": 500, "timeToLive": ttl})["faults"]
    assert shown["healsAt"].endswith("Z")
    assert statuses(team, 1) == [500]
    team.advance("PT29S")
    assert statuses(team, 1) == [500]
    team.freeze("2040-01-01T00:00:00Z")
    assert statuses(team, 1) == [500]
    team.advance("PT1S")
    assert statuses(team, 2) == [200, 200]


def test_a_rule_heals_in_real_time_too(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 500, "timeToLive": 0.3})
    assert statuses(team, 1) == [500]
    time.sleep(0.35)
    assert statuses(team, 1) == [200]


def test_rules_are_added_replaced_and_removed(team: Team) -> None:
    def ids() -> list[str]:
        return [rule["id"] for rule in team.call("GET", "/faults")["faults"]]

    team.call("POST", "/faults", {"id": "a", "status": 500})
    response = team.control.send("POST", f"/teams/{team.id}/faults", [{"id": "b", "status": 503}])
    assert response.status_code == 201
    assert ids() == ["a", "b"]
    assert statuses(team, 2) == [500, 500]
    assert "a" in team.refused(409, "POST", "/faults", {"id": "a", "status": 500})["detail"]
    team.refused(409, "PUT", "/faults", [{"id": "c", "status": 500}] * 2)
    assert ids() == ["a", "b"]
    assert counts(team) == [(2, 2), (0, 0)]
    team.call("PUT", "/faults", {"id": "a", "status": 500})
    assert counts(team) == [(0, 0)]
    team.refused(404, "DELETE", "/faults/b")
    assert team.call("DELETE", "/faults/a") is None
    assert ids() == []
    team.call("PUT", "/faults", [{"status": 500}] * 2)
    one, two = ids()
    assert one != two
    assert team.call("DELETE", "/faults") is None
    assert statuses(team, 1) == [200]
    assert team.call("PUT", "/faults", [])["faults"] == []


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({}, "needs a status, a fault or a delay"),
        ({"match": {}}, "needs a status"),
        ({"status": 500, "fault": "EMPTY_RESPONSE"}, "either a status or a fault"),
        ({"status": 204, "body": {}}, "a body needs a status"),
        ({"fault": "EMPTY_RESPONSE", "body": {}}, "a body needs a status"),
        ({"status": 199}, "status"),
        ({"status": 600}, "status"),
        ({"status": "teapot"}, "status"),
        ({"fault": "RESET"}, "fault"),
        ({"status": 500, "match": {"endpoints": "agents"}}, "match.endpoints"),
        ({"status": 500, "match": {"endpoint": "tickets"}}, "match.endpoint"),
        ({"status": 500, "match": {"period": "decade"}}, "match.period"),
        ({"status": 500, "probability": 1.1}, "probability"),
        ({"status": 500, "retryAfter": -1}, "retryAfter"),
        ({"status": 500, "retryAfter": 86_401}, "retryAfter"),
        ({"status": 500, "retryAfter": True}, "retryAfter"),
        ({"status": 500, "succeedFirst": -1}, "succeedFirst"),
        ({"status": 500, "failRequestCount": 0}, "failRequestCount"),
        ({"status": 500, "timeToLive": 0}, "timeToLive"),
        ({"status": 500, "timeToLive": "soon"}, "timeToLive"),
        ({"delay": {"type": "fixed", "milliseconds": 60_001}}, "delay.milliseconds"),
        ({"delay": {"type": "fixed"}}, "delay.milliseconds"),
        ({"delay": {"type": "gauss"}}, "delay"),
        ({"status": 500, "colour": "red"}, "colour"),
        ({"status": 500, "id": "no id"}, "id"),
    ],
)
def test_rules_that_make_no_sense_are_refused(team: Team, rule: dict[str, Any], field: str) -> None:
    team.call("PUT", "/faults", {"id": "kept", "status": 503})
    for method in ("PUT", "POST"):
        for body in (rule, [rule]):
            # What only makes no sense together is a conflict.
            status = 409 if "needs" in field or "either" in field else 400
            assert field in str(team.refused(status, method, "/faults", body))
    assert [shown["id"] for shown in team.call("GET", "/faults")["faults"]] == ["kept"]


@pytest.mark.parametrize("fault", ["CONNECTION_RESET_BY_PEER", "EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK"])
def test_without_a_socket_a_connection_fault_is_an_exception(control: Control, fault: str) -> None:
    team = control.team()
    team.call("PUT", "/faults", {"fault": fault, "failRequestCount": 1})
    with pytest.raises(ConnectionBroken, match=fault):
        _raising(control.api).get(
            f"/api/v1/teams/{team.id}/analytics/overview", headers={"Authorization": f"Bearer {team.keys['sk_test']}"}
        )
    (entry,) = team.call("GET", "/requests")["requests"]
    assert entry["response"]["status"] == 0
    assert entry["response"]["fault"] == team.call("GET", "/faults")["faults"][0]["id"]
    assert team.get().status_code == 200


def _raising(api: Api) -> Any:
    return api.another_client()


# --- Prefer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
def test_prefer_asks_for_a_documented_error_by_name(team: Team, name: str) -> None:
    response = team.get(Prefer=f"code={name}")
    assert_envelope(response, CATALOGUE[name].status, CATALOGUE[name].code)
    assert response.headers["Preference-Applied"] == f"code={name}"


def test_prefer_asks_for_an_error_by_number(team: Team) -> None:
    response = team.get(Prefer="code=429")
    assert_envelope(response, 429, "rate_limit_exceeded")
    assert (response.headers["Retry-After"], response.headers["X-RateLimit-Remaining"]) == ("1", "0")
    assert team.get(Prefer="code=418").status_code == 418
    assert team.get(Prefer='code="503"').status_code == 503
    assert team.get(Prefer="code=200").json() == team.get().json()


def test_prefer_waits(team: Team) -> None:
    began = time.monotonic()
    response = team.get(Prefer="wait=0.2")
    assert time.monotonic() - began >= 0.2
    assert (response.status_code, response.headers["Preference-Applied"]) == (200, "wait=0.2")


@pytest.mark.parametrize("prefer", ["code=503, wait=0.1", "wait=0.1,code=503", "code=503;x=y, foo, wait=0.1"])
def test_prefer_waits_and_then_fails(team: Team, prefer: str) -> None:
    began = time.monotonic()
    response = team.get(Prefer=prefer)
    assert response.status_code == 503
    assert time.monotonic() - began >= 0.1
    assert set(response.headers["Preference-Applied"].split(", ")) == {"code=503", "wait=0.1"}


@pytest.mark.parametrize(
    "prefer", ["return=minimal", "respond-async", "", "codes=429", "x=code=429", "handling=strict"]
)
def test_unknown_preferences_are_ignored(team: Team, prefer: str) -> None:
    response = team.get(Prefer=prefer)
    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize(
    ("prefer", "name"),
    [
        ("code=42", "code"),
        ("code=600", "code"),
        ("code=100", "code"),
        ("code=rate_limited", "code"),
        ("code", "code"),
        ("code=", "code"),
        ("wait=soon", "wait"),
        ("wait=61", "wait"),
        ("wait=-1", "wait"),
        ("wait", "wait"),
        ("code=429, wait=x", "wait"),
    ],
)
def test_a_misspelt_value_of_a_known_preference_is_refused(team: Team, prefer: str, name: str) -> None:
    response = team.get(Prefer=prefer)
    error = assert_envelope(response, 400, "parameter_invalid")
    assert error["param"] == "Prefer"
    assert name in error["message"]
    assert "Preference-Applied" not in response.headers


def test_of_two_preferences_the_first_counts(team: Team) -> None:
    response = team.get(Prefer="code=503, code=429")
    assert (response.status_code, response.headers["Preference-Applied"]) == (503, "code=503")


def test_prefer_in_two_header_lines_is_one_list(team: Team) -> None:
    response = team.control.api.client.get(
        f"/api/v1/teams/{team.id}/analytics/overview",
        headers=[
            ("Authorization", f"Bearer {team.keys['sk_test']}"),
            ("Prefer", "respond-async"),
            ("Prefer", "CODE=503"),
        ],
    )
    assert response.status_code == 503


def test_prefer_comes_before_the_rules_and_does_not_use_them_up(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 500, "failRequestCount": 1})
    assert team.get(Prefer="code=429").status_code == 429
    assert team.get(Prefer="code=200").status_code == 200
    assert counts(team) == [(0, 0)]
    assert statuses(team, 2) == [500, 200]
    assert [entry["response"]["fault"] for entry in team.call("GET", "/requests")["requests"][2:]] == ["Prefer"] * 2


def test_prefer_can_be_switched_off(make_api: MakeApi) -> None:
    team = Control(make_api(prefer=False)).team()
    for prefer in ("code=429", "code=x"):
        response = team.get(Prefer=prefer)
        assert response.status_code == 200
        assert "Preference-Applied" not in response.headers


def test_prefer_needs_a_valid_key_and_a_quota(team: Team) -> None:
    assert_envelope(team.get(key="sk_test_unknown", Prefer="code=503"), 401, "authentication_required")
    team.call("PUT", "/rate-limits", {"secret": 1})
    assert [team.get(Prefer="code=503").status_code for _ in range(2)] == [503, 429]


def test_faults_come_after_the_key_and_the_limit_and_before_the_rest(team: Team) -> None:
    team.call("PUT", "/faults", {"status": 503})
    assert team.get(key="sk_test_unknown").status_code == 401
    assert team.get(key="pk_test").status_code == 503
    assert team.get("overview?period=x").status_code == 503
    assert team.get("/api/v1/teams/another/analytics/overview").status_code == 503
    assert team.get("nothing").status_code == 404
    team.call("PUT", "/rate-limits", {"secret": 1})
    team.call("DELETE", "/rate-limits/counters")
    assert statuses(team, 2) == [503, 429]


# --- Magic keys -----------------------------------------------------------------------------------------------------


def _magic(api: Api, name: str) -> httpx2.Response:
    return api.get("overview", f"sk_live_magic_{name}")


@pytest.mark.parametrize("name", ["expired", "revoked"])
def test_magic_keys_that_are_not_valid_any_more(api: Api, name: str) -> None:
    assert_envelope(_magic(api, name), 401, "authentication_required")


def test_the_magic_key_whose_limit_is_used_up(api: Api) -> None:
    for _ in range(2):
        response = _magic(api, "rate_limited")
        error = assert_envelope(response, 429, "rate_limit_exceeded")
        assert error["message"] == "Rate limit exceeded. Try again in 60 seconds"
        assert (response.headers["Retry-After"], response.headers["X-RateLimit-Remaining"]) == ("60", "0")


def test_the_magic_key_whose_every_request_is_a_500(api: Api) -> None:
    for path in ("overview", "agents", "/api/v1/auth/whoami"):
        assert_envelope(api.get(path, "sk_live_magic_internal_error"), 500, "internal_error")


def test_the_magic_key_of_another_team(api: Api) -> None:
    error = assert_envelope(_magic(api, "other_team"), 403, "insufficient_permissions")
    assert error["message"] == "API key does not have access to this team"


def test_the_magic_key_that_is_slow(api: Api) -> None:
    began = time.monotonic()
    response = _magic(api, "slow")
    assert time.monotonic() - began >= 2
    assert response.json()["data"]["tickets"]["total"] == 142


def test_magic_keys_touch_no_other_key(api: Api) -> None:
    for name in ("internal_error", "rate_limited"):
        _magic(api, name)
        assert api.get("overview").status_code == 200


def test_a_team_has_a_hundred_rules_at_most(team: Team) -> None:
    team.call("PUT", "/faults", [{"status": 500}] * 100)
    assert "100 fault rules at most" in str(team.refused(409, "POST", "/faults", {"status": 500}))
    assert len(team.call("GET", "/faults")["faults"]) == 100


def test_the_rules_of_a_team_and_their_bodies_are_bounded_in_bytes(team: Team, control: Control) -> None:
    longest = "x" * (bounds.LONGEST_FAULT_BODY - 2)
    team.call("PUT", "/faults", {"id": "kept", "status": 500, "body": longest})
    assert "'r' is too long" in str(
        team.refused(409, "PUT", "/faults", {"id": "r", "status": 500, "body": longest + "x"})
    )
    assert "262,144 bytes together" in str(team.refused(409, "PUT", "/faults", [{"status": 500, "body": longest}] * 4))
    team.call("POST", "/faults", [{"status": 500, "body": longest}] * 2)
    team.refused(409, "POST", "/faults", {"status": 500, "body": longest})
    assert next(rule["id"] for rule in team.call("GET", "/faults")["faults"]) == "kept"
    assert len(team.call("GET", "/faults")["faults"]) == 3
    content = {"faults": [{"status": 500, "body": longest}] * 4}
    assert "faults" in str(control.refused(409, "POST", "/teams", {"dataset": content}))
    assert "100 fault rules" in str(
        control.refused(409, "POST", "/teams", {"dataset": {"faults": [{"status": 500}] * 101}})
    )


def test_rules_of_an_earlier_version_that_exceed_the_bounds_can_be_removed_and_reset(team: Team) -> None:
    """A removal never fails for the size of the rules that are left, and a reset restores them."""
    body = "x" * (bounds.LONGEST_FAULT_BODY + 1)
    rules = [FaultRule.model_validate({"id": f"r{n}", "status": 500, "body": body}) for n in range(6)]
    origin = {"faults": [rule.model_dump(mode="json", by_alias=True, exclude_unset=True) for rule in rules]}

    def store(connection: Connection) -> None:
        values = {"faults": stored(activated(rules, 0)), "origin": origin}
        connection.execute(update(TeamRow).where(TeamRow.id == team.id).values(values))

    team.control.api.database.write_now(store)
    team.refused(409, "POST", "/faults", {"status": 503})
    team.call("DELETE", "/faults/r0")
    assert [rule["id"] for rule in team.call("GET", "/faults")["faults"]] == ["r1", "r2", "r3", "r4", "r5"]
    assert team.get().status_code == 500
    team.call("POST", "/reset")
    assert len(team.call("GET", "/faults")["faults"]) == 6
    team.call("DELETE", "/faults")
    assert team.get().status_code == 200
