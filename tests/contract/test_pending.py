"""A request is in the journal from its arrival on: pending, then answered, or left by its client."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text
from tests.conftest import running
from tests.contract.test_bounds import answer
from tests.engines import Shared


class Team:
    """A team of a running server."""

    def __init__(self, url: str) -> None:
        self.control = httpx2.Client(base_url=f"{url}/__admin", trust_env=False, timeout=30)
        created = self.control.post("/teams", json={}).json()
        self.id, self.key = created["id"], created["keys"]["sk_test"]
        self.address = url.removeprefix("http://").split(":")

    def send(self, path: str = "analytics/overview", key: str | None = None) -> socket.socket:
        """Send a request, and leave its answer unread."""
        connection = socket.create_connection((self.address[0], int(self.address[1])), timeout=30)
        head = (
            f"GET /api/v1/teams/{self.id}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key or self.key}\r\n\r\n"
        )
        connection.sendall(head.encode())
        return connection

    def delay(self, milliseconds: int, **rule: Any) -> None:
        """Let requests wait."""
        rules = {"delay": {"type": "fixed", "milliseconds": milliseconds}, **rule}
        assert self.control.put(f"/teams/{self.id}/faults", json=rules).is_success

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries, the oldest first."""
        listed: list[dict[str, Any]] = self.control.get(f"/teams/{self.id}/requests").json()["requests"]
        return listed[::-1]

    def states(self) -> list[tuple[str, int | None]]:
        """Return the state and the status of each entry, the oldest first."""
        return [(entry["state"], entry["response"]["status"]) for entry in self.entries()]

    def wait_for_rule(self, rule: str) -> dict[str, Any]:
        """Wait until the oldest request waits for a rule, and return its entry: a slow one is pending before that."""
        end = time.monotonic() + 10
        while not (entries := self.entries()) or entries[0]["response"]["fault"] != rule:
            assert time.monotonic() < end, entries
            time.sleep(0.01)
        return entries[0]

    def wait_for(self, *states: tuple[str, int | None], seconds: float = 10) -> None:
        """Wait until the entries are in these states."""
        end = time.monotonic() + seconds
        while self.states() != list(states):
            assert time.monotonic() < end, self.states()
            time.sleep(0.01)


@pytest.fixture(scope="module", name="url", params=["memory", "valkey"])
def _url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with its journal in memory, and one with two workers and Valkey."""
    folder = tmp_path_factory.mktemp("pending")
    options = ["--no-rate-limits", "--log-level", "warning"]
    if request.param == "valkey":
        valkey = request.getfixturevalue("valkey")
        options += ["--workers", "2", "--state", f"{valkey}/5", "--database", f"sqlite:///{folder}/x.db"]
    with running(folder, *options) as server:
        yield server.url


@pytest.fixture(name="team")
def _team(url: str) -> Iterator[Team]:
    team = Team(url)
    yield team
    team.control.close()


def test_a_delayed_request_is_pending_until_it_is_answered(team: Team) -> None:
    team.delay(1_500, id="slow", failRequestCount=1)
    with team.send() as waiting:
        pending = team.wait_for_rule("slow")
        assert pending["state"] == "pending"
        assert pending["response"] == {
            "status": None, "code": None, "durationMs": None, "fault": "slow", "hint": None,
        }  # fmt: skip
        with team.send("analytics/agents") as younger:
            assert answer(younger)[0] == 200
            assert team.states() == [("pending", None), ("answered", 200)]
        assert answer(waiting)[0] == 200
        assert team.states() == [("answered", 200), ("answered", 200)]
        answered = team.entries()[0]
    same = ("id", "receivedAt", "teamTime", "request")
    assert {name: answered[name] for name in same} == {name: pending[name] for name in same}
    assert answered["response"]["durationMs"] >= 1_500


def test_a_client_that_gives_up_is_seen_at_once_and_before_its_next_try(team: Team) -> None:
    """The commonest test of retries: a time-out that is shorter than the delay."""
    team.delay(60_000, failRequestCount=1)
    with team.send():
        team.wait_for(("pending", None))
        time.sleep(0.3)  # closed at once, it could wait for its answer with one side closed
    team.wait_for(("client_gone", None))
    with team.send() as retry:
        assert answer(retry)[0] == 200
    assert team.states() == [("client_gone", None), ("answered", 200)]
    (gone,) = team.control.post(f"/teams/{team.id}/requests/find", json={"state": "client_gone"}).json()["requests"]
    assert 0 < gone["response"]["durationMs"] < 60_000


def test_a_delay_before_a_broken_connection_is_pending_too(team: Team) -> None:
    team.delay(400, fault="CONNECTION_RESET_BY_PEER")
    with team.send() as waiting:
        team.wait_for(("pending", None))
        with pytest.raises(ConnectionResetError):
            waiting.recv(99)
    team.wait_for(("answered", 0))


def test_a_request_that_was_cleared_while_it_waited_does_not_come_back(team: Team) -> None:
    team.delay(600)
    with team.send() as waiting:
        team.wait_for(("pending", None))
        assert team.control.delete(f"/teams/{team.id}/requests").status_code == 204
        assert answer(waiting)[0] == 200
    assert team.states() == []


def test_a_request_that_waits_for_the_database_is_pending(shared_engines: Shared, tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(shared_engines.place())
        engine = create_engine(place.url)
        stack.callback(engine.dispose)
        options = ("--database", place.url, "--no-rate-limits", "--log-level", "warning")
        team = Team(stack.enter_context(running(tmp_path, *options)).url)
        stack.callback(team.control.close)
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE rollups IN ACCESS EXCLUSIVE MODE"))
            with team.send():
                team.wait_for(("pending", None))
                time.sleep(0.3)
            waiting = stack.enter_context(team.send())
            team.wait_for(("pending", None), ("pending", None))
        assert answer(waiting)[0] == 200
        team.wait_for(("client_gone", None), ("answered", 200))
