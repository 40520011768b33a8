"""The error envelope, on every way an error can arise, and the order of the checks."""

import json
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from tests.conftest import Api, MakeApi, assert_envelope

from cstar_mock.analytics import service
from cstar_mock.contract import errors

UNKNOWN_TEAM = "00000000-0000-4000-8000-000000000000"
DOCS = "https://www.cstar.help/developers/api-reference"


def documented(kind: str, code: str, message: str, section: str) -> str:
    """Return a documented body, for the request id and the timestamp of the documentation."""
    return json.dumps(
        {
            "success": False,
            "error": {
                "type": kind,
                "code": code,
                "message": message,
                "doc_url": f"{DOCS}#{section}",
                "request_id": "req_abc123",
            },
            "meta": {"timestamp": "2025-12-10T14:30:00Z"},
        }
    )


def as_documented(body: dict[str, Any], *, timestamp: bool = True) -> str:
    """Return a body with the documented request id, and the documented timestamp if it may differ."""
    body["error"]["request_id"] = "req_abc123"
    if timestamp:
        body["meta"]["timestamp"] = "2025-12-10T14:30:00Z"
    return json.dumps(body)


UNAUTHENTICATED = documented(
    "authentication_error", "authentication_required", "Invalid or expired API key", "authentication"
)


@pytest.mark.states("errors.authentication_required", "error.envelope", "auth.www-authenticate")
def test_the_documented_401(api: Api) -> None:
    response = api.get("overview", None)
    assert_envelope(response, 401, "authentication_required")
    assert as_documented(response.json()) == UNAUTHENTICATED
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


@pytest.mark.states("errors.secret_key_required", "key.secret-only")
def test_the_documented_403(api: Api) -> None:
    response = api.get("overview", "pk_live")
    assert_envelope(response, 403, "insufficient_permissions")
    # The documented timestamp too: it is the team's clock that tells it.
    assert as_documented(response.json(), timestamp=False) == documented(
        "authorization_error",
        "insufficient_permissions",
        "Secret key required for this endpoint",
        "authentication",
    )


@pytest.mark.states("errors.rate_limit_exceeded", "limit.retry-after")
def test_the_documented_429(make_api: MakeApi) -> None:
    api = make_api("documented", secret_rate_limit=1, rate_limit_window=60)
    api.get("overview")
    response = api.get("overview")
    assert_envelope(response, 429, "rate_limit_exceeded")
    body = response.json()
    seconds = int(response.headers["Retry-After"])
    assert seconds in {59, 60}
    body["error"]["message"] = body["error"]["message"].replace(str(seconds), "60")
    assert as_documented(body, timestamp=False) == documented(
        "rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded. Try again in 60 seconds", "rate-limiting"
    )


@pytest.mark.states("auth.one-401")
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  sk_live_your_key",
        "Bearer sk_live_your_key ",
        "Bearer sk_live_other",
        "Basic sk_live_your_key",
        "sk_live_your_key",
        "Bearer SK_LIVE_YOUR_KEY",
        "Bearer sk_live_your_key, Bearer sk_live_your_key",
        "Bearer \x01\x02",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 65_536,
    ],
)
def test_every_bad_key_gets_the_same_401(api: Api, header: str) -> None:
    response = api.client.get("/api/v1/auth/whoami", headers=[(b"Authorization", header.encode("latin-1"))])
    # HTTP clients and servers strip white space around a header's value, so a trailing space is none.
    if header.endswith("your_key ") and response.status_code == 200:
        return
    assert_envelope(response, 401, "authentication_required")
    assert as_documented(response.json()) == UNAUTHENTICATED


@pytest.mark.states("auth.scheme-case")
def test_the_scheme_is_case_insensitive(api: Api) -> None:
    for scheme in ("bearer", "BEARER", "bEaReR"):
        response = api.get("/api/v1/auth/whoami", None, Authorization=f"{scheme} sk_live_your_key")
        assert response.status_code == 200


@pytest.mark.states("auth.two-headers")
def test_two_authorization_headers_are_refused(api: Api) -> None:
    headers = [("Authorization", "Bearer sk_live_your_key")] * 2
    response = api.client.get("/api/v1/auth/whoami", headers=headers)
    assert_envelope(response, 401, "authentication_required")


@pytest.mark.states("auth.hint")
def test_a_401_hints_at_what_is_wrong_in_a_header(api: Api) -> None:
    def hint(key: str | None) -> str:
        return api.get("/api/v1/auth/whoami", key).headers["X-Cstar-Mock-Hint"]

    assert "Authorization: Bearer" in hint(None)
    assert "sk_live_" in hint("nonsense")
    assert "unknown" in hint("sk_live_nonsense")
    assert "X-Cstar-Mock-Hint" not in api.get("/api/v1/auth/whoami").headers


def test_the_hint_can_be_turned_off(make_api: MakeApi) -> None:
    response = make_api("documented", key_hint=False).get("overview", None)
    assert "X-Cstar-Mock-Hint" not in response.headers


@pytest.mark.states("errors.team_access_denied", "error.team.hidden")
def test_a_team_of_others_and_an_unknown_team_answer_the_same(make_api: MakeApi) -> None:
    api = make_api("documented", "empty")
    answers = []
    for team in (api.teams[1].id, UNKNOWN_TEAM, "%00", "x" * 5000, api.teams[0].id.upper()):
        response = api.get(f"/api/v1/teams/{team}/analytics/overview")
        error = assert_envelope(response, 403, "insufficient_permissions")
        assert error["message"] == "API key does not have access to this team"
        answers.append(as_documented(response.json()))
    assert len(set(answers)) == 1


@pytest.mark.states("errors.resource_missing", "path.unknown")
@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v2", "/api/v1/teams", "/api/v1/auth/whoami/", "/nothing", "/api/%00", "/api/%zz"]
)
def test_an_unknown_route_is_a_404_for_everyone(api: Api, path: str) -> None:
    for key in ("sk_live", None):
        response = api.get(path, key)
        assert assert_envelope(response, 404, "resource_missing")["type"] == "not_found_error"
        assert "X-RateLimit-Limit" not in response.headers


@pytest.mark.states("errors.method_not_allowed", "method.other")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_a_405_that_lists_the_allowed_ones(api: Api, method: str) -> None:
    response = api.client.request(method, "/api/v1/auth/whoami")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"
    if method != "HEAD":
        error = assert_envelope(response, 405, "method_not_allowed")
        assert error["message"] == f"Method {method} is not allowed for this route. Allowed methods: GET"


@pytest.mark.states("errors.internal_error", "error.internals")
def test_a_crash_is_a_500_that_leaks_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("the secret of the database")

    monkeypatch.setattr(service, "mean", crash)
    response = api.get("overview")
    error = assert_envelope(response, 500, "internal_error")
    assert error["type"] == "api_error"
    assert "secret" not in response.text
    # The request was counted before it crashed.
    assert response.headers["X-RateLimit-Remaining"] == "999"


@pytest.mark.states("errors.service_unavailable")
def test_a_store_that_is_out_of_reach_is_a_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the host db.internal is down"))

    monkeypatch.setattr(service, "mean", fail)
    response = api.get("overview")
    error = assert_envelope(response, 503, "service_unavailable")
    assert response.headers["Retry-After"] == "1"
    assert error["message"] == "The service is temporarily unavailable. Try again in 1 second"
    assert "internal" not in response.text


@pytest.mark.states(
    "order.route-first",
    "order.key-before-team",
    "order.team-before-key-type",
    "order.parameters-last",
    "limit.counts.403",
    "limit.counts.400",
    "limit.counts.404",
)
def test_checks_are_made_in_the_documented_order(make_api: MakeApi) -> None:
    """Route, key, rate limit, team, key type, parameters: each error hides those after it."""
    api = make_api("documented", "empty", publishable_rate_limit=3, secret_rate_limit=2)
    other = f"/api/v1/teams/{api.teams[1].id}/analytics"
    # Wrong in every way: the route is what is said.
    assert api.get(f"{other}/nothing?period=x", "nonsense").status_code == 404
    assert api.client.post(f"{other}/overview?period=x").status_code == 405
    # Then the key.
    assert api.get(f"{other}/overview?period=x", "nonsense").status_code == 401
    # Then, while the limit lasts, the team, before the key's type …
    assert "team" in api.get(f"{other}/overview?period=x", "pk_live").json()["error"]["message"]
    # … then the type, before the parameter …
    assert "Secret key" in api.get("overview?period=x", "pk_live").json()["error"]["message"]
    # … then the parameter.
    assert api.get("overview?period=x", "sk_live").status_code == 400
    # 403s and 400s were counted, 401s, 404s and 405s were not: the limit hides the rest now.
    assert api.get("/api/v1/auth/whoami", "pk_live").status_code == 200
    assert api.get(f"{other}/overview?period=x", "pk_live").status_code == 429
    assert api.get("overview?period=x", "sk_live").status_code == 400
    assert api.get("overview?period=x", "sk_live").status_code == 429


def test_the_catalogue_says_what_the_contract_says() -> None:
    """Name, status, type and code of every error, so that a change of one is seen."""
    assert {name: (kind.status, kind.type, kind.code) for name, kind in errors.CATALOGUE.items()} == {
        "authentication_required": (401, "authentication_error", "authentication_required"),
        "secret_key_required": (403, "authorization_error", "insufficient_permissions"),
        "team_access_denied": (403, "authorization_error", "insufficient_permissions"),
        "rate_limit_exceeded": (429, "rate_limit_error", "rate_limit_exceeded"),
        "parameter_invalid": (400, "invalid_request_error", "parameter_invalid"),
        "request_malformed": (400, "invalid_request_error", "parameter_invalid"),
        "resource_missing": (404, "not_found_error", "resource_missing"),
        "method_not_allowed": (405, "invalid_request_error", "method_not_allowed"),
        "request_timeout": (408, "invalid_request_error", "request_timeout"),
        "content_too_large": (413, "invalid_request_error", "content_too_large"),
        "uri_too_long": (414, "invalid_request_error", "uri_too_long"),
        "headers_too_large": (431, "invalid_request_error", "headers_too_large"),
        "internal_error": (500, "api_error", "internal_error"),
        "service_unavailable": (503, "api_error", "service_unavailable"),
    }
