"""The client against cstar-mock: each test has its own team, which the fixture `cstar` controls."""

from collections.abc import Callable, Iterator
from typing import Any

import cstar_client
import pytest
from cstar_client import CStarClient

from cstar_mock.testing import ConnectionFault, Team

MakeClient = Callable[..., CStarClient]
NOT_FOR_LOOPBACK = ("HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and certificates of the environment are for the real service, not for a server on this machine."""
    for name in NOT_FOR_LOOPBACK:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client waits before each retry; the test does not really wait."""
    return []


@pytest.fixture
def make_client(cstar: Team, waits: list[float]) -> Iterator[MakeClient]:
    opened: list[CStarClient] = []

    def make(**options: Any) -> CStarClient:
        given = {"api_key": cstar.secret_key, "sleep": waits.append, **options}
        opened.append(CStarClient(cstar.base_url, cstar.team_id, **given))
        return opened[-1]

    yield make
    for client in opened:
        client.__exit__()


@pytest.fixture
def client(make_client: MakeClient) -> CStarClient:
    return make_client()


def test_figures(cstar: Team, client: CStarClient) -> None:
    cstar.given(
        overview={
            "tickets": {"total": 142, "open": 23, "resolved": 89},
            "customers": {"total": 450, "active": 120, "new": 15},
            "csat": {"average": 4.2, "totalResponses": 67},
        },
        agents=[{"userId": "usr_abc", "name": "Jane", "ticketsResolved": 45, "avgResponseTime": 12.5}],
    )
    overview = client.overview("week")
    assert overview["tickets"] == {"total": 142, "open": 23, "resolved": 89}
    assert overview["csat"] == {"average": 4.2, "totalResponses": 67}
    (jane,) = client.agents()
    assert (jane["name"], jane["ticketsResolved"], jane["avgResponseTime"]) == ("Jane", 45, 12.5)


def test_resolving_a_ticket_moves_the_figures(cstar: Team, client: CStarClient) -> None:
    now = cstar.clock.now().isoformat()
    cstar.given(
        customers=[{"id": "cus_1", "name": "Ada", "createdAt": now}],
        tickets=[{"id": "tkt_1", "customerId": "cus_1", "status": "open", "createdAt": now}],
    )
    assert client.overview()["tickets"] == {"total": 1, "open": 1, "resolved": 0}
    cstar.change("tickets", "tkt_1", status="resolved")
    assert client.overview()["tickets"] == {"total": 1, "open": 0, "resolved": 1}


def test_two_429_and_then_success(cstar: Team, client: CStarClient, waits: list[float]) -> None:
    cstar.faults.next(429, times=2, retry_after=1)
    assert client.overview()["object"] == "analytics_overview"
    assert waits == [1, 1]
    cstar.requests.assert_count(2, status=429)
    cstar.requests.assert_count(1, status=200)


def test_a_limit_that_stays_used_up(cstar: Team, client: CStarClient, waits: list[float]) -> None:
    cstar.faults.next(429, times=4, retry_after=2)
    with pytest.raises(cstar_client.RateLimited) as raised:
        client.overview()
    assert raised.value.code == "rate_limit_exceeded"
    assert waits == [2, 2, 2]


def test_a_retry_after_that_is_too_long(cstar: Team, client: CStarClient, waits: list[float]) -> None:
    cstar.faults.next(429, retry_after=3600)
    with pytest.raises(cstar_client.RateLimited):
        client.overview()
    assert waits == []


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failing_server_that_recovers(cstar: Team, client: CStarClient, status: int) -> None:
    cstar.faults.next(status, times=2)
    assert client.overview()["object"] == "analytics_overview"
    cstar.requests.assert_count(2, status=status)


def test_a_failing_server_that_does_not(cstar: Team, client: CStarClient, waits: list[float]) -> None:
    cstar.faults.next(500, times=4)
    with pytest.raises(cstar_client.ServerError) as raised:
        client.overview()
    assert raised.value.request_id is not None
    assert waits == sorted(waits)


@pytest.mark.parametrize(
    "fault",
    ["CONNECTION_RESET_BY_PEER", "EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK", "RANDOM_DATA_THEN_CLOSE"],
)
def test_a_broken_connection(cstar: Team, make_client: MakeClient, fault: ConnectionFault) -> None:
    cstar.faults.break_next(fault, times=2)
    with pytest.raises(cstar_client.ConnectionFailed):
        make_client(retries=0).overview()
    assert make_client().overview()["object"] == "analytics_overview"
    cstar.requests.assert_count(2, status=0)
    cstar.requests.assert_count(1, status=200)


def test_a_slow_server(cstar: Team, make_client: MakeClient) -> None:
    cstar.faults.add({"delay": {"type": "fixed", "milliseconds": 1000}, "failRequestCount": 1})
    assert make_client(timeout=0.3).overview()["object"] == "analytics_overview"


def test_a_wrong_key(make_client: MakeClient, waits: list[float]) -> None:
    with pytest.raises(cstar_client.AuthenticationRequired):
        make_client(api_key="sk_test_of_nobody").overview()
    assert waits == []


def test_a_publishable_key(cstar: Team, make_client: MakeClient) -> None:
    with pytest.raises(cstar_client.PermissionDenied):
        make_client(api_key=cstar.publishable_key).overview()


def test_a_period_that_there_is_not(client: CStarClient) -> None:
    with pytest.raises(cstar_client.InvalidRequest):
        client.overview("fortnight")


@pytest.mark.cstar(clock="2025-12-10T14:30:00Z", answers={"overview": {"tickets": {"total": 7, "open": 2}}})
def test_a_week_later(cstar: Team, client: CStarClient) -> None:
    assert client.overview("week")["tickets"]["total"] == 7
    cstar.clock.advance(days=7, hours=1)
    assert client.overview("week")["tickets"] == {"total": 0, "open": 2, "resolved": 0}
    assert client.overview("month")["tickets"]["total"] == 7


def test_a_key_that_expires(cstar: Team, make_client: MakeClient) -> None:
    cstar.clock.freeze("2025-12-10T11:00:00Z")
    client = make_client(api_key=cstar.create_key("sk_test", expiresAt="2025-12-10T12:00:00Z"))
    client.overview()
    cstar.clock.advance(minutes=60)
    with pytest.raises(cstar_client.AuthenticationRequired):
        client.overview()
