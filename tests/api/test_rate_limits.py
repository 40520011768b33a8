"""Rate limits: what is counted, what the headers say, when a window ends."""

import time
from typing import Any

import pytest
from sqlalchemy import update
from tests.conftest import Api, MakeApi, assert_envelope

from cstar_mock.store.models import Team
from cstar_mock.teams import keys

OWN_CLOCK = "moves this process's clock, which Valkey does not see; tests/unit/test_state.py compares the two"
WHOAMI = "/api/v1/auth/whoami"


@pytest.fixture(name="second")
def _second(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The real time that the limiter sees; tests move it."""
    present = [1_800_000_000.9]
    monkeypatch.setattr("cstar_mock.traffic.rate_limit.time.time", lambda: present[0])
    return present


def limits(response: Any) -> dict[str, int]:
    """Return what the headers say."""
    return {name: int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset", "Window")}


@pytest.mark.parametrize(("key", "limit"), [("sk_live", 1000), ("pk_live", 100)])
@pytest.mark.one_engine(OWN_CLOCK)
def test_one_request_more_than_the_limit_is_refused(api: Api, second: list[float], key: str, limit: int) -> None:
    for count in range(1, limit + 1):
        response = api.get(WHOAMI, key)
        assert response.status_code == 200
        assert int(response.headers["X-RateLimit-Remaining"]) == limit - count
    second[0] += 1000
    response = api.get(WHOAMI, key)
    error = assert_envelope(response, 429, "rate_limit_exceeded")
    assert limits(response) == {"Limit": limit, "Remaining": 0, "Reset": 1_800_003_600, "Window": 3600}
    assert response.headers["Retry-After"] == "2600" == str(1_800_003_600 - int(second[0]))
    assert error["message"] == "Rate limit exceeded. Try again in 2600 seconds"


@pytest.mark.states("limit.headers.reset")
def test_the_reset_lies_as_many_seconds_ahead_as_retry_after_says(make_api: MakeApi) -> None:
    api = make_api("documented", secret_rate_limit=1)
    api.get(WHOAMI)
    before = int(time.time())
    response = api.get(WHOAMI)
    after = int(time.time())
    reset, retry_after = int(response.headers["X-RateLimit-Reset"]), int(response.headers["Retry-After"])
    assert before + retry_after <= reset <= after + retry_after


@pytest.mark.one_engine(OWN_CLOCK)
def test_who_sleeps_as_told_finds_a_new_window(api: Api, second: list[float]) -> None:
    for _ in range(101):
        response = api.get(WHOAMI, "pk_live")
    retry_after = int(response.headers["Retry-After"])
    second[0] += retry_after - 1
    assert api.get(WHOAMI, "pk_live").headers["Retry-After"] == "1"
    assert "Try again in 1 second" in api.get(WHOAMI, "pk_live").json()["error"]["message"]
    second[0] += 1
    assert limits(api.get(WHOAMI, "pk_live"))["Remaining"] == 99


@pytest.mark.states("limit.fixed")
@pytest.mark.one_engine(OWN_CLOCK)
def test_a_window_begins_with_its_first_request_and_does_not_move(api: Api, second: list[float]) -> None:
    first = limits(api.get(WHOAMI))
    second[0] += 3000
    assert limits(api.get(WHOAMI))["Reset"] == first["Reset"]
    second[0] += 3000
    assert limits(api.get(WHOAMI)) == {"Limit": 1000, "Remaining": 999, "Reset": 1_800_009_600, "Window": 3600}


@pytest.mark.states("limit.per-key")
def test_each_key_has_its_own_count(api: Api) -> None:
    api.get(WHOAMI, "sk_live")
    assert limits(api.get(WHOAMI, "sk_test"))["Remaining"] == 999
    assert limits(api.get("overview", "sk_live"))["Remaining"] == 998


@pytest.mark.states("limit.headers", "limit.window")
def test_every_answer_after_authentication_carries_the_headers(api: Api) -> None:
    for path, key, status in (
        ("overview", "sk_live", 200),
        ("overview?period=x", "sk_live", 400),
        ("overview", "pk_live", 403),
        ("/api/v1/teams/other/analytics/overview", "sk_live", 403),
    ):
        response = api.get(path, key)
        assert response.status_code == status
        assert limits(response)["Window"] == 3600
        assert "Retry-After" not in response.headers


def test_limits_can_be_turned_off(make_api: MakeApi) -> None:
    api = make_api("documented", rate_limits=False, secret_rate_limit=1)
    for _ in range(3):
        response = api.get(WHOAMI)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


def test_a_key_can_have_its_own_limit(api: Api) -> None:
    key = api.database.write_now(keys.create, "acme", "sk_live", rate_limit=2)
    assert [api.get(WHOAMI, key).status_code for _ in range(3)] == [200, 200, 429]


def test_two_applications_do_not_share_their_counts(make_api: MakeApi) -> None:
    first, second = make_api("documented"), make_api("documented")
    first.get(WHOAMI)
    assert limits(second.get(WHOAMI))["Remaining"] == 999


@pytest.mark.one_engine("slowapi counts in this process only")
def test_the_environment_cannot_switch_the_limiter_off(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowapi reads RATELIMIT_ENABLED behind our back."""
    monkeypatch.setenv("RATELIMIT_ENABLED", "false")
    api = make_api("documented", secret_rate_limit=1)
    assert [api.get(WHOAMI).status_code for _ in range(2)] == [200, 429]


def test_health_and_documents_are_never_limited(make_api: MakeApi) -> None:
    api = make_api("documented", secret_rate_limit=1)
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert [api.get(path).status_code for _ in range(3)] == [200] * 3


@pytest.mark.states("limit.clock")
@pytest.mark.one_engine(OWN_CLOCK)
def test_windows_follow_the_advances_of_the_teams_clock_and_nothing_else(api: Api, second: list[float]) -> None:
    def move(**columns: int) -> None:
        api.database.write_now(
            lambda connection: connection.execute(update(Team).where(Team.slug == "acme").values(**columns))
        )

    api.get(WHOAMI)
    move(clock_frozen_at=0)
    assert limits(api.get(WHOAMI))["Remaining"] == 998
    move(clock_advanced=1800 * 1_000_000)
    half_way = limits(api.get(WHOAMI))
    assert half_way["Remaining"] == 997
    # The reset is told on real time, where half of the window is left.
    assert half_way["Reset"] - int(second[0]) == 1800
    move(clock_advanced=3600 * 1_000_000)
    assert limits(api.get(WHOAMI)) == {"Limit": 1000, "Remaining": 999, "Reset": 1_800_003_600, "Window": 3600}


@pytest.mark.one_engine(OWN_CLOCK)
def test_ended_windows_are_forgotten(api: Api, second: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar_mock.state.memory._PURGE_EVERY", 1)
    storage = api.client.app.state.services.state.windows._strategy.storage  # type: ignore[attr-defined]  # noqa: SLF001
    storage._until_purge = 1  # noqa: SLF001
    api.get(WHOAMI, "sk_live")
    second[0] += 4000
    api.get(WHOAMI, "sk_test")
    assert len(storage._windows) == 1  # noqa: SLF001
    storage.clear(next(iter(storage._windows)))  # noqa: SLF001
    assert storage.reset() == 0
    assert storage.check()
    assert storage.base_exceptions is MemoryError
