"""Keys and control tokens can't be guessed: an address that is refused too often waits, locking out nobody at work."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.conftest import Api, MakeApi, assert_envelope, running
from tests.control.conftest import assert_problem
from tests.engines import Shared

from cstar_mock import bounds
from cstar_mock.contract.errors import ApiError, StoreUnavailable
from cstar_mock.state.memory import MemoryWindows
from cstar_mock.traffic.lockout import Lockout, network

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


@pytest.mark.states("bound.lock-out")
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
        ("192.0.2.1:4711", ""),
        ("no:address", ""),
        ("unknown", ""),
        ("_hidden" * 1_000, ""),
        ("1" * 5_000, ""),
        ("fe80::1%" + "x" * 5_000, ""),
    ],
)
def test_one_customer_is_one_address(host: str, expected: str) -> None:
    assert network((host, 1)) == expected


async def right() -> str | None:
    """Find a secret."""
    return "found"


async def wrong() -> str | None:
    """Find none."""
    return None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_LOCKOUT_ADDRESSES", 10)
    limiter = Lockout("key", 2, MemoryWindows())

    async def many() -> None:
        for number in range(50):
            client = f"192.0.2.{number}", 1
            assert await limiter.test(client, b"right", right) == "found"
            for _ in range(2):
                assert await limiter.test(client, b"wrong", wrong) is None

    asyncio.run(many())
    assert [len(kept) for kept in (limiter._waiting, limiter._accepted)] == [10, 10]  # noqa: SLF001
    assert not limiter._locks  # noqa: SLF001


def test_right_secrets_at_the_same_time_are_no_guesses() -> None:
    """Nor is one whose test fails, as the store can't be reached."""
    limiter, client = Lockout("key", 2, MemoryWindows()), ("192.0.2.1", 1)

    async def slow() -> str | None:
        await asyncio.sleep(0.001)
        return "found"

    async def fails() -> str | None:
        raise StoreUnavailable

    async def many() -> None:
        assert await limiter.test(client, b"wrong", wrong) is None
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await limiter.test(client, b"new", fails)
        found = await asyncio.gather(*(limiter.test(client, b"%d" % (n % 20), slow) for n in range(100)))
        assert found == ["found"] * 100
        assert await limiter.test(client, b"wrong", wrong) is None
        with pytest.raises(ApiError, match="Rate limit exceeded"):
            await limiter.test(client, b"new", right)

    asyncio.run(many())


def test_a_secret_that_is_right_no_longer_is_a_guess_from_its_second_time_on() -> None:
    limiter, client = Lockout("key", 1, MemoryWindows()), ("192.0.2.1", 1)

    async def ask() -> None:
        assert await limiter.test(client, b"revoked", right) == "found"
        for _ in range(2):
            assert await limiter.test(client, b"revoked", wrong) is None
        with pytest.raises(ApiError, match="Rate limit exceeded"):
            await limiter.test(client, b"revoked", wrong)

    asyncio.run(ask())


def test_a_hit_of_a_window_that_has_ended_is_not_given_back(later: list[float]) -> None:
    async def ask() -> None:
        windows = MemoryWindows()
        old = await windows.hit("name", 5, 60)
        later[0] = 61
        await windows.hit("name", 5, 60)
        await windows.give_back("name", old.end)
        assert (await windows.hit("name", 5, 60)).remaining == 3

    asyncio.run(ask())


def test_a_secret_does_not_wait_for_ever_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LOCKOUT_QUEUE_SECONDS", 0.01)
    limiter, client = Lockout("key", 9, MemoryWindows()), ("192.0.2.1", 1)

    async def ask() -> None:
        release = asyncio.Event()

        async def hangs() -> str | None:
            await release.wait()
            return "found"

        first = asyncio.create_task(limiter.test(client, b"one", hangs))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="temporarily unavailable"):
            await limiter.test(client, b"two", right)
        release.set()
        assert await first == "found"
        assert await limiter.test(client, b"two", right) == "found"

    asyncio.run(ask())


async def statuses(url: str, path: str, secrets: Iterable[str]) -> Counter[int]:
    """Send a request with each secret, all at the same time, and count the statuses."""
    address = urlsplit(url)

    async def send(secret: str) -> int:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        everybody.append(writer)
        if len(everybody) == len(all_secrets):
            connected.set()
        await connected.wait()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    all_secrets, everybody, connected = list(secrets), list[asyncio.StreamWriter](), asyncio.Event()
    return Counter(await asyncio.gather(*map(send, all_secrets)))


def test_the_limit_is_exact_with_many_connections(tmp_path: Path, shared_engines: Shared) -> None:
    """With two workers, PostgreSQL and Valkey: whatever is looked up takes time, in which others come."""
    with shared_engines.place() as place:
        options = ["--database", place.url, "--state", place.settings["state"], "--workers", "2"]
        options += ["--state-timeout", "30"]
        options += ["--unauthorized-limit", "100", "--control-token", TOKEN, "--log-level", "warning"]
        with running(tmp_path, *options, "--dataset", "documented", "--no-rate-limits") as server:
            for path, secret in ((WHOAMI, "sk_live_your_key"), ("/__admin/health", TOKEN)):
                same = asyncio.run(statuses(server.url, path, [secret] * 150))
                assert same == {200: 150}
                guesses = asyncio.run(statuses(server.url, path, [f"sk_live_wrong{n}" for n in range(600)]))
                assert guesses[401] == 100
                assert guesses[429] + guesses[503] == 500  # 503: the turn did not come in time on a busy machine
                # A worker goes on to accept what it accepted before; the other one may have had none of the first 150.
                again = asyncio.run(statuses(server.url, path, [secret] * 150))
                assert again[200] > 0
                assert set(again) <= {200, 429}


def test_a_server_for_others_has_the_limit_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0", "--dataset", "documented") as server:
        url = f"http://127.0.0.1:{server.url.rpartition(':')[2]}{WHOAMI}"
        with httpx2.Client() as client:
            statuses = [client.get(url, headers={"Authorization": f"Bearer x{n}"}).status_code for n in range(102)]
    assert statuses == [401] * 100 + [429] * 2
