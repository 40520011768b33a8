"""A crash of a real server is logged once, with the id that its answer has."""

import logging
from collections.abc import Iterator

import httpx2
import pytest
from tests.contract.test_bounds import serving

from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.serving.replay_connection import ReplayProtocol
from cstar_mock.store.database import Database
from cstar_mock.traffic.authentication import KeyRing


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    with serving(ReplayProtocol) as port:
        yield f"http://127.0.0.1:{port}"


def ask(url: str, path: str) -> httpx2.Response:
    """Get a path, with a key that was not looked up before."""
    return httpx2.get(f"{url}{path}", headers={"Authorization": "Bearer sk_live_your_key"})


@pytest.mark.parametrize("path", ["/api/v1/auth/whoami", "/__admin/teams"])
def test_a_crash_is_logged_once(
    path: str, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("boom")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "version", lambda _: None)  # no caller is remembered
        patch.setattr(Database, "read", crash)
        response = ask(url, path)
    assert response.status_code == 500
    assert ask(url, path).status_code == 200
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == f"crash in GET {path}"
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/api/v1/auth/whoami", "/__admin/teams"])
def test_what_can_not_be_reached_is_logged_with_the_id_of_the_request(
    path: str, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable from OSError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "version", lambda _: None)  # no caller is remembered
        patch.setattr(Database, "read", fail)
        response = ask(url, path)
    assert response.status_code == 503
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "the store can't be reached: no route"
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]


def test_a_crash_of_a_replay_is_answered_logged_and_recorded(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("boom")

    with httpx2.Client(base_url=url, headers={"Authorization": "Bearer sk_live_your_key"}) as client:
        path = f"/api/v1/teams/{client.get('/api/v1/auth/whoami').json()['data']['teamId']}/analytics/overview"
        assert client.get(path).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr("cstar_mock.api.replay.success_reply", crash)
            response = client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert response.headers["X-Request-Id"] == response.json()["error"]["request_id"]
        assert client.get(path).status_code == 200
        recorded = client.get(f"/__admin/teams/{path.split('/')[4]}/requests").json()["requests"]
    assert [entry["response"]["code"] for entry in recorded[:3]] == [None, "internal_error", None]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == f"crash in GET {path}"
    assert record.exc_info is not None
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]


def test_a_crash_of_the_look_for_a_replay_is_answered_and_logged_once(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("boom")

    with httpx2.Client(base_url=url, headers={"Authorization": "Bearer sk_live_your_key"}) as client:
        path = f"/api/v1/teams/{client.get('/api/v1/auth/whoami').json()['data']['teamId']}/analytics/overview"
        assert client.get(path).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(KeyRing, "find", crash)
            response = client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert client.get(path).status_code == 200
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == f"crash in GET {path}"
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]
