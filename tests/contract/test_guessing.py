"""Keys and control tokens can't be guessed: an address that is refused too often waits, locking out nobody at work."""

import asyncio
import time
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.conftest import Api, MakeApi, assert_envelope, running
from tests.control.conftest import assert_problem

from cstar_mock import bounds
from cstar_mock.guessing import GuessLimiter, network
from cstar_mock.state.memory import MemoryWindows

pytestmark = pytest.mark.one_engine("moves the clock of this process, which Valkey does not see")

WHOAMI = "/api/v1/auth/whoami"
TOKEN = "a-control-token"


@pytest.fixture(name="api")
def _api(make_api: MakeApi) -> Api:
    return make_api("documented", unauthorized_limit=3, control_token=TOKEN)


@pytest.fixture(name="later")
def _later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that are added to the clock of the limiter."""
    ahead = [0.0]
    for clock in ("monotonic", "time"):
        real = getattr(time, clock)
        monkeypatch.setattr(time, clock, lambda real=real: real() + ahead[0])
    return ahead


def guess(api: Api, count: int = 3) -> None:
    """Send wrong keys, up to the limit."""
    for number in range(count):
        assert_envelope(api.get(WHOAMI, f"sk_live_wrong{number}"), 401, "authentication_required")


def elsewhere(api: Api) -> TestClient:
    """Return a client at another address."""
    return api.another_client(client=("192.0.2.7", 1), raise_server_exceptions=False)


def test_beyond_the_limit_no_key_is_tested_not_even_a_right_one(api: Api) -> None:
    guess(api)
    for key in ("sk_live_wrong", "sk_live", "nonsense"):
        response = api.get(WHOAMI, key)
        error = assert_envelope(response, 429, "rate_limit_exceeded")
        seconds = int(response.headers["Retry-After"])
        assert 1 <= seconds <= 60
        assert str(seconds) in error["message"]
        assert "X-RateLimit-Limit" not in response.headers
        assert "X-Cstar-Mock-Hint" not in response.headers


def test_a_key_that_was_good_before_goes_on(api: Api) -> None:
    assert api.get(WHOAMI).status_code == 200
    guess(api)
    assert api.get(WHOAMI).status_code == 200
    assert api.get("overview").status_code == 200
    assert api.get(WHOAMI, "sk_test").status_code == 429


def test_other_addresses_do_not_wait(api: Api) -> None:
    guess(api)
    key = api.teams[0].keys["sk_live"]
    assert elsewhere(api).get(WHOAMI, headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_the_wait_ends(api: Api, later: list[float]) -> None:
    guess(api)
    wait = int(api.get(WHOAMI).headers["Retry-After"])
    later[0] = wait - 3
    assert api.get(WHOAMI).status_code == 429
    later[0] = wait + 1
    assert api.get(WHOAMI).status_code == 200
    guess(api)


def test_no_key_at_all_is_no_guess(api: Api) -> None:
    for _ in range(10):
        assert api.get(WHOAMI, None).status_code == 401
    guess(api)
    assert api.get(WHOAMI, None).status_code == 401


def test_wrong_keys_below_the_limit_cost_nothing(api: Api) -> None:
    guess(api, 2)
    assert api.get(WHOAMI).status_code == 200


def test_without_a_limit_every_401_is_a_401(make_api: MakeApi) -> None:
    api = make_api("documented")
    guess(api, 300)
    assert api.get(WHOAMI).status_code == 200


def test_control_tokens_can_not_be_guessed_either(api: Api) -> None:
    def health(token: str, client: TestClient = api.client) -> httpx2.Response:
        return client.get("/__admin/health", headers={"Authorization": f"Bearer {token}"})

    for number in range(3):
        assert_problem(health(f"wrong{number}"), 401)
    response = health(TOKEN)
    assert_problem(response, 429)
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    # Keys are counted apart, and so are other addresses; there the token goes on once it was right.
    assert api.get(WHOAMI).status_code == 200
    other = elsewhere(api)
    assert health(TOKEN, other).status_code == 200
    for number in range(5):
        assert health(f"wrong{number}", other).status_code == (401 if number < 3 else 429)
    assert health(TOKEN, other).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("no:address", "no:address"),
    ],
)
def test_one_customer_is_one_address(host: str, expected: str) -> None:
    assert network((host, 1)) == expected


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_GUESSERS", 10)
    limiter = GuessLimiter("key", 1, MemoryWindows())

    async def many() -> None:
        for number in range(50):
            await limiter.refused((f"192.0.2.{number}", 1))
            limiter.accepted((f"192.0.2.{number}", 1), b"digest")

    asyncio.run(many())
    assert [len(kept) for kept in (limiter._waiting, limiter._accepted)] == [10, 10]  # noqa: SLF001


def test_a_server_for_others_has_the_limit_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0", "--dataset", "documented") as server:
        url = f"http://127.0.0.1:{server.url.rpartition(':')[2]}{WHOAMI}"
        with httpx2.Client() as client:
            statuses = [client.get(url, headers={"Authorization": f"Bearer x{n}"}).status_code for n in range(102)]
    assert statuses == [401] * 100 + [429] * 2
