"""Health for machines, documents for people, CORS for browsers."""

import base64
import hashlib
import re

import pytest
from sqlalchemy.exc import OperationalError
from tests.conftest import Api

pytestmark = pytest.mark.one_engine("pages of this process, with nothing of a team in them")


def test_health_says_that_the_process_answers(api: Api) -> None:
    response = api.get("/healthz", None)
    assert response.json()["status"] == "ok"
    assert response.headers["X-Request-Id"].startswith("req_")


def test_ready_tells_the_truth_about_the_store(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.get("/readyz", None).json() == {"status": "ready", "store": "reachable"}

    def fail(_connection: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr("cstar_mock.api.pages._ask", fail)
    response = api.get("/readyz", None)
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "store": "unreachable"}


def test_the_docs_page_needs_nothing_from_elsewhere(api: Api) -> None:
    page = api.get("/docs", None)
    assert page.status_code == 200
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/{asset}" in page.text
        assert api.get(f"/docs/{asset}", None).status_code == 200
    assert api.get("/docs/other.js", None).status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/__admin/docs"])
def test_a_page_runs_its_own_scripts_only_and_is_not_framed(api: Api, path: str) -> None:
    page = api.get(path, None)
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert api.get("/docs/swagger-ui-bundle.js", None).headers["X-Content-Type-Options"] == "nosniff"


def test_the_root_leads_to_the_docs(api: Api) -> None:
    assert api.get("/", None).url.path == "/docs"


@pytest.mark.states("cors.origin")
def test_a_preflight_is_answered_for_any_origin(api: Api) -> None:
    response = api.client.options(
        "/api/v1/auth/whoami",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,x-custom",
        },
    )
    assert response.status_code == 204
    assert response.content == b""
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == "authorization,x-custom"


@pytest.mark.states("cors.exposed")
@pytest.mark.parametrize("key", ["sk_live", None])
def test_a_browser_may_read_every_answer_and_its_headers(api: Api, key: str | None) -> None:
    response = api.get("/api/v1/auth/whoami", key, Origin="https://app.example")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert {"X-Request-Id", "X-RateLimit-Remaining", "Retry-After"} <= set(exposed.split(", "))


def test_nothing_but_the_api_is_opened_to_browsers(api: Api) -> None:
    for path in ("/healthz", "/openapi.json"):
        response = api.get(path, None, Origin="https://app.example")
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/__admin/docs"]
)
def test_pages_and_health_answer_head_as_get(api: Api, path: str) -> None:
    head, got = (api.client.request(method, path, follow_redirects=False) for method in ("HEAD", "GET"))
    assert head.status_code == got.status_code != 405
    name = "Location" if path == "/" else "Content-Type"
    assert head.headers[name] == got.headers[name]


@pytest.mark.states("method.head")
def test_the_api_does_not_answer_head(api: Api) -> None:
    assert api.client.head("/api/v1/auth/whoami").status_code == 405
