"""Who may use the control API: programs of this machine, no web page; elsewhere, who knows the token."""

import hmac
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import Api, MakeApi, assert_envelope, running
from tests.control.conftest import assert_problem

from cstar_mock.control import guard
from cstar_mock.control.guard import is_loopback

pytestmark = pytest.mark.one_engine("who is let in is decided before anything is read")

TOKEN = "a-control-token"


def health(api: Api, path: str = "/__admin/health", **headers: str) -> httpx2.Response:
    """Get the control API's health with these headers."""
    return api.client.get(path, headers=headers)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "https://127.0.0.1",
        "http://localhost",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "file://",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/__admin/health", "/__admin/teams", "/__admin/nothing", "/__admin/openapi.json"])
def test_a_foreign_origin_is_refused(api: Api, origin: str, path: str) -> None:
    response = health(api, path, Origin=origin)
    assert_problem(response, 403, "origin")
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("settings", [{}, {"control_token": TOKEN}])
def test_what_a_page_of_another_site_fetches_is_refused(make_api: MakeApi, site: str, settings: dict[str, Any]) -> None:
    """An image or a link sends no Origin."""
    api = make_api("documented", **settings)
    headers = {"Sec-Fetch-Site": site, "Authorization": f"Bearer {TOKEN}"}
    path = f"/__admin/teams/{api.teams[0].id}/explain/overview"
    assert_problem(api.client.get(path, headers=headers), 403, "Sec-Fetch-Site")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_pages_and_an_address_that_was_typed_are_served(api: Api, site: str) -> None:
    assert api.client.get("/__admin/health", headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "evil.example:127.0.0.1",
        "evil.example@127.0.0.2.example",
        "192.168.1.1",
        "10.0.0.1:27827",
        "0.0.0.0",
        "[::ffff:192.168.1.1]",
        "[2001:db8::1]:80",
        "[::1",
        "[",
        "",
        ":80",
    ],
)
def test_a_foreign_host_is_refused(api: Api, host: str) -> None:
    assert_problem(health(api, Host=host), 403, "Host")
    # Rebinding gives a page both: its own name as host, and as origin.
    assert_problem(health(api, Host=host, Origin=f"http://{host}"), 403)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:1", "127.1.2.3:65535", "localhost", "localhost:27827", "LOCALHOST", "[::1]", "[::1]:80"],
)
def test_every_name_of_this_machine_is_accepted(api: Api, host: str) -> None:
    assert health(api, Host=host).status_code == 200
    # A page that this very server has served: its docs.
    assert health(api, Host=host, Origin=f"http://{host}").status_code == 200
    assert_problem(health(api, Host=host, Origin="http://evil.example"), 403)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.0.1", False), ("example.com", False), ("", False), ("127.0.0.1.x", False)],
)  # fmt: skip
def test_loopback_is_told_from_what_is_not(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_refused_write_does_nothing(api: Api, method: str) -> None:
    team = api.teams[0].id
    response = api.client.request(method, f"/__admin/teams/{team}", headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert api.get("overview").status_code == 200


def test_a_preflight_opens_nothing(api: Api) -> None:
    response = api.client.options(
        "/__admin/teams",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control-")]
    own = api.client.options("/__admin/teams", headers={"Origin": "http://127.0.0.1"})
    assert not [name for name in own.headers if name.startswith("access-control-")]
    assert health(api, Origin="http://127.0.0.1").headers.get("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}",
     TOKEN, f"Bearer  {TOKEN}", "Bearer sk_live_your_key", "Bearer \xe9"],
)  # fmt: skip
def test_without_the_token_everything_is_refused(make_api: MakeApi, authorization: str | None) -> None:
    api = make_api("documented", control_token=TOKEN)
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    for path in ("/__admin/health", "/__admin/teams", "/__admin/openapi.json", "/__admin/nothing", "/__admin/docs"):
        response = api.client.get(path, headers=headers)
        assert_problem(response, 401, "token")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in response.text


def test_with_the_token_any_host_may_but_no_foreign_page(make_api: MakeApi) -> None:
    api = make_api(control_token=TOKEN)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert health(api, Authorization=f"{scheme} {TOKEN}").status_code == 200
    assert health(api, Authorization=f"Bearer {TOKEN}", Host="mock.internal:8000").status_code == 200
    assert_problem(health(api, Authorization=f"Bearer {TOKEN}", Origin="https://evil.example"), 403)
    document = health(api, "/__admin/openapi.json", Authorization=f"Bearer {TOKEN}").json()
    assert document["security"] == [{"controlToken": []}]
    assert TOKEN not in str(document)


def test_tokens_are_compared_in_constant_time(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(guard, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    api = make_api(control_token=TOKEN)
    assert health(api, Authorization="Bearer wrong").status_code == 401
    assert health(api, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert compared == [(b"wrong", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


def test_switched_off_it_is_not_there(make_api: MakeApi) -> None:
    api = make_api("documented", control=False)
    for path in ("/__admin", "/__admin/health", "/__admin/teams", "/__admin/openapi.json"):
        for headers in ({}, {"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert_envelope(health(api, path, **headers), 404, "resource_missing")
    assert_envelope(api.client.post("/__admin/teams", json={}), 404, "resource_missing")
    assert api.get("overview").status_code == 200


def test_the_rest_of_the_server_does_not_mind_hosts_and_origins(api: Api) -> None:
    response = api.get("overview", Host="evil.example", Origin="https://any.example")
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_path_that_only_looks_like_the_control_api_is_not_it(api: Api) -> None:
    client = api.another_client(base_url="http://evil.example", raise_server_exceptions=False)
    for path in ("/__adminx", "/__ADMIN/teams", "//__admin/teams", "/api/../__admin/teams"):
        assert client.get(path).status_code in {403, 404}


def test_on_any_other_address_a_token_is_made_printed_and_needed(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as server:
        port = server.url.rpartition(":")[2]
        admin = f"http://127.0.0.1:{port}/__admin"
        token = server.ready["admin_token"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{20,}", token)
        assert httpx2.get(f"{admin}/health").status_code == 401
        assert httpx2.get(f"{admin}/health", headers={"Authorization": f"Bearer {token}x"}).status_code == 401
        good = httpx2.post(f"{admin}/teams", json={}, headers={"Authorization": f"Bearer {token}"})
        assert good.status_code == 201
        server.stop()
        assert server.process.stdout is not None
        assert token in server.process.stdout.read()
        assert token not in server.log.read_text()


def test_a_token_of_ones_own_is_used_on_loopback_too(tmp_path: Path) -> None:
    with running(tmp_path, CSTAR_MOCK_CONTROL_TOKEN=TOKEN) as server:
        assert server.ready["admin_token"] == TOKEN
        assert httpx2.get(f"{server.url}/__admin/health").status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx2.get(f"{server.url}/__admin/health", headers=headers).status_code == 200


def test_the_command_line_switches_it_off(tmp_path: Path) -> None:
    with running(tmp_path, "--no-control") as server:
        assert httpx2.get(f"{server.url}/__admin/health").status_code == 404
        assert server.ready["admin_url"] is None
