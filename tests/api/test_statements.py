"""Statements that no other test is about, one by one."""

import re
from typing import Any

import pytest
from tests.conftest import Api, MakeApi, assert_envelope

PERIODS = ("day", "week", "month", "quarter", "year")


@pytest.mark.states("path.team-id.case")
def test_a_team_id_in_upper_case_is_no_team_of_the_key(api: Api) -> None:
    path = f"/api/v1/teams/{api.teams[0].id.upper()}/analytics/overview"
    assert_envelope(api.get(path), 403, "insufficient_permissions")


@pytest.mark.states("path.trailing-slash")
@pytest.mark.parametrize("name", ["overview/", "agents/"])
def test_a_trailing_slash_is_a_404(api: Api, name: str) -> None:
    assert_envelope(api.get(name), 404, "resource_missing")


@pytest.mark.states("request-id.header")
@pytest.mark.parametrize("path", ["overview", "overview?period=x", "/api/none", "/healthz", "/__admin/teams", "/none"])
def test_every_response_has_a_request_id_of_its_own(api: Api, path: str) -> None:
    found = {api.get(path).headers["X-Request-Id"] for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch(r"req_[A-Za-z0-9]{12}", one) for one in found)


@pytest.mark.states("error.timestamp.clock")
def test_an_error_has_the_time_of_the_team_once_the_key_is_known(api: Api) -> None:
    assert api.get("overview?period=x").json()["meta"]["timestamp"] == "2025-12-10T14:30:00Z"
    assert api.get("overview?period=x", "wrong").json()["meta"]["timestamp"] != "2025-12-10T14:30:00Z"


@pytest.mark.states("error.429.seconds")
@pytest.mark.parametrize(("seconds", "words"), [(1, "1 second"), (2, "2 seconds"), (60, "60 seconds")])
def test_a_429_names_the_seconds(api: Api, seconds: int, words: str) -> None:
    rule = {"status": 429, "retryAfter": seconds}
    assert api.client.post("/__admin/teams/acme/faults", json=rule).status_code == 201
    response = api.get("overview")
    assert response.json()["error"]["message"] == f"Rate limit exceeded. Try again in {words}"
    assert response.headers["Retry-After"] == str(seconds)


@pytest.mark.states("limit.secret", "limit.publishable")
def test_a_key_has_the_requests_of_its_type(api: Api) -> None:
    whoami = "/api/v1/auth/whoami"
    limits = {key: api.get(whoami, key).headers["X-RateLimit-Limit"] for key in ("sk_live", "sk_test", "pk_live")}
    assert limits == {"sk_live": "1000", "sk_test": "1000", "pk_live": "100"}


@pytest.mark.states("limit.headers.401")
def test_a_401_has_no_rate_limit_headers(api: Api) -> None:
    assert not [name for name in api.get("overview", "wrong").headers if name.startswith("x-ratelimit")]


@pytest.mark.states("figure.nested", "mean.decimals")
def test_a_longer_period_has_at_least_the_figures_of_a_shorter_one(make_api: MakeApi) -> None:
    api = make_api("busy")
    overviews: list[dict[str, Any]] = [api.data(f"overview?period={period}") for period in PERIODS]
    for group, name in (
        ("tickets", "total"),
        ("tickets", "resolved"),
        ("customers", "new"),
        ("csat", "totalResponses"),
    ):
        figures = [overview[group][name] for overview in overviews]
        assert figures == sorted(figures)
        assert figures[0] < figures[-1]
    means = [overview["csat"]["average"] for overview in overviews]
    means += [agent[name] for agent in api.data("agents") for name in ("avgResponseTime", "csatAverage")]
    assert all(mean == round(mean, 1) for mean in means if mean is not None)


@pytest.mark.states("figure.statuses", "csat.scale")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tickets", {"customerId": "cus_1", "status": "waiting"}),
        ("csat-responses", {"ticketId": "tkt_1", "score": 0}),
        ("csat-responses", {"ticketId": "tkt_1", "score": 6}),
        ("csat-responses", {"ticketId": "tkt_1", "score": 4.5}),
    ],
)
def test_a_status_or_score_that_cstar_does_not_have_is_refused(api: Api, path: str, body: dict[str, Any]) -> None:
    url = f"/__admin/teams/acme/{path}"
    refused = api.client.post(url, json=body)
    assert refused.status_code == 400
    assert ("status" if "status" in body else "score") in refused.text


@pytest.mark.states("prefer")
def test_a_request_can_ask_for_its_error(api: Api) -> None:
    response = api.get("overview", Prefer="code=503")
    assert_envelope(response, 503, "service_unavailable")
    assert response.headers["Preference-Applied"] == "code=503"
