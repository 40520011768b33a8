"""Replays are invisible: random histories through all doors get equal answers, headers included."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Send
from tests.examples import examples
from tests.properties.worlds import NOW

from cstar_mock import Settings, create_app
from cstar_mock.api import replay
from cstar_mock.http import facts
from cstar_mock.http.context import RequestContext
from cstar_mock.http.extensions import REPLAY
from cstar_mock.http.replies import Reply, pairs
from cstar_mock.store import migrations, rows
from cstar_mock.store.database import Database
from cstar_mock.store.models import ApiKey, CsatResponse, Scope
from cstar_mock.teams import keys, teams
from cstar_mock.teams.lifecycle import reset_team
from cstar_mock.teams.load import load_datasets
from cstar_mock.traffic.answer_cache import AnswerCache
from cstar_mock.traffic.fault_rules import FaultRule

KEYS = ("sk_live_your_key", "sk_test_your_key", "pk_live_your_key", "sk_live_neighbour_key", "sk_live_magic_slow", "no")
QUERIES = ("", "?period=week", "?period=day", "?period=year", "?period=x", "?other=1")
LIMIT = 12

requests = st.tuples(
    st.just("get"),
    st.sampled_from(("overview", "overview", "overview", "agents")),
    st.sampled_from(QUERIES[:1] * 6 + QUERIES),
    st.sampled_from(KEYS[:1] * 14 + KEYS),
    st.sampled_from((*[{}] * 10, {"Prefer": "code=503"}, {"Origin": "https://a.example"})),
)
neighbours = st.tuples(
    st.just("get"),
    st.just("overview"),
    st.just(""),
    st.just("sk_live_neighbour_key"),
    st.just({}),
    st.sampled_from((0, 1)),  # another team's answer, and then their own
)
WRITES = ("delete a response", "advance", "freeze", "run", "limit", "fault", "no fault", "revoke", "reset", "second")
writes = st.tuples(st.sampled_from(WRITES))
histories = st.lists(st.one_of(requests, requests, requests, requests, neighbours, writes), min_size=8, max_size=30)


class _Forgetful(AnswerCache):
    """Keeps nothing: every request goes through the router, and is computed."""

    def get(self, _caller: Any, _asked: Any) -> None:
        return None


class _Connection:
    """Asks the application for a replay before it starts it, as our own server's connection does.

    The facts of a request are read once for all that are equal.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.known: dict[object, facts.RequestFacts] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.state = scope["state"]
            await self.app(scope, receive, send)
            return
        same = scope["path"], scope["query_string"], tuple(scope["headers"])
        if same not in self.known:
            self.known[same] = facts.read(scope["method"], scope["path"], scope["query_string"], scope["headers"])
        reply: Reply | None = self.state[REPLAY](self.known[same], scope["client"])
        if reply is None:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": list(pairs(reply.lines))})
        await send({"type": "http.response.body", "body": reply.body})


class _Doors:
    """Three applications over one database file, and a further hand that writes to it.

    One replays in front of its router, one keeps no answers, one is asked for replays before it is started.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.second = NOW // 1_000_000
        monkeypatch.setattr("cstar_mock.traffic.rate_limit.time.time", lambda: self.second)
        monkeypatch.setattr("cstar_mock.contract.clock.time", SimpleNamespace(time_ns=lambda: self.second * 10**9))
        monkeypatch.setattr("cstar_mock.http.recording._disconnects_within", _immediately)
        url = f"sqlite:///{folder}/shared.db"
        self.databases = [Database(url) for _ in range(4)]
        migrations.prepare(self.databases[0])
        self.teams = [team.id for team in load_datasets(self.databases[0], ["documented"])]
        self.team = self.teams[0]
        self.writer = self.databases[3]
        self.clients: list[TestClient] = []
        apps: list[Any] = []
        for database, memory in zip(self.databases, (AnswerCache, _Forgetful, AnswerCache), strict=False):
            monkeypatch.setattr("cstar_mock.application.AnswerCache", memory)
            apps.append(create_app(Settings(secret_rate_limit=LIMIT), database))
        self.names = {id(apps[0].state.services): "middleware", id(apps[2].state.services): "connection"}
        apps[2] = _Connection(apps[2])
        for app in apps:
            client = TestClient(app)
            client.__enter__()  # one event loop for all requests: making one takes longer than a request
            self.clients.append(client)

    def start_over(self) -> None:
        """Begin a new history: the team as it was, and new rate-limit windows."""
        self.writer.write_now(reset_team, self.team)
        self.second += 10_000

    def get(self, name: str, query: str, key: str, headers: dict[str, str], team: int = 0) -> None:
        """Ask all, and compare."""
        path = f"/api/v1/teams/{self.teams[team]}/analytics/{name}{query}"
        answers = [client.get(path, headers={"Authorization": f"Bearer {key}", **headers}) for client in self.clients]
        first, *others = ((answer.status_code, _told(answer.headers), _body(answer.text)) for answer in answers)
        assert others == [first, first]

    def write(self, what: str) -> None:
        """Write to the team from outside."""
        work: dict[str, Any] = {
            "advance": lambda connection: teams.advance(connection, self.team, 3_600_000_000),
            "freeze": lambda connection: teams.freeze(connection, self.team, 1_765_377_000_000_000),
            "run": lambda connection: teams.run_in_real_time(connection, self.team),
            "limit": lambda connection: teams.set_rate_limits(connection, self.team, {"secret": 2, "window": 60}),
            "fault": lambda connection: teams.set_faults(
                connection, self.team, [FaultRule.model_validate({"status": 500, "probability": 0.5})]
            ),
            "no fault": lambda connection: teams.set_faults(connection, self.team, []),
            "reset": lambda connection: reset_team(connection, self.team),
            "revoke": lambda connection: keys.revoke(connection, keys.list_(connection, self.team)[0].id),
            "delete a response": self._delete_a_response,
        }
        if what == "second":
            self.second += 1_000
        else:
            self.writer.write_now(work[what])

    def _delete_a_response(self, connection: Any) -> None:
        teams.lock(connection, self.team)
        first = connection.execute(CsatResponse.__table__.select().limit(1)).one()
        rows.remove(connection, Scope(first.team_id, first.environment), CsatResponse, first.id)


async def _immediately(_seconds: float, _receive: Receive) -> bool:
    return False


def _told(headers: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name != "x-request-id"]


def _body(text: str) -> Any:
    return json.loads(re.sub(r"req_[A-Za-z0-9]{12}", "req_", text))


@pytest.fixture(name="doors")
def _doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Doors]:
    doors = _Doors(tmp_path, monkeypatch)
    yield doors
    for client in doors.clients:
        client.__exit__()
    for database in doors.databases:
        database.close()


def test_random_histories_get_equal_answers_through_all_doors(doors: _Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Counter[tuple[str, int, bool]]()
    original = replay.Replay.respond

    async def counted(self: replay.Replay, context: RequestContext) -> Reply:
        reply = await original(self, context)
        assert context.caller is not None
        door = doors.names[id(self._services)]
        taken[door, reply.status, context.caller.clock.frozen_at is not None] += 1
        return reply

    monkeypatch.setattr(replay.Replay, "respond", counted)

    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(history=histories, running=st.booleans(), times=st.integers(1, 6))
    def histories_agree(history: list[Any], running: bool, times: int) -> None:
        doors.start_over()
        if running:
            doors.write("run")
        for action, *arguments in history:
            if action == "get":
                for _ in range(times):
                    doors.get(*arguments)
            else:
                doors.write(action)

    histories_agree()
    print(taken)  # noqa: T201  (shown when a count is too small)
    # A door that nobody takes would agree with everything.
    for door in ("middleware", "connection"):
        assert taken[door, 200, True] > 100, "clocks that stand still"
        assert taken[door, 200, False] > 20, "running clocks"
        assert taken[door, 429, True] + taken[door, 429, False] > 10, "keys that have used up their limits"


def test_a_replayed_request_is_recorded_and_has_an_id_of_its_own(doors: _Doors) -> None:
    client = doors.clients[0]
    path = f"/api/v1/teams/{doors.team}/analytics/overview"
    ids = {
        client.get(path, headers={"Authorization": "Bearer sk_live_your_key"}).headers["X-Request-Id"] for _ in range(3)
    }
    journal = client.app.state.services.state.journal  # type: ignore[attr-defined]
    assert {entry.id for entry in asyncio.run(journal.entries(doors.team))} == ids
    assert len(ids) == 3


def test_an_expired_key_is_not_replayed(doors: _Doors) -> None:
    """A key of a team whose clock stands still can't expire by waiting; so its end is written."""
    path = f"/api/v1/teams/{doors.team}/analytics/overview"
    headers = {"Authorization": "Bearer sk_live_your_key"}
    assert doors.clients[0].get(path, headers=headers).status_code == 200
    doors.writer.write_now(
        lambda connection: connection.execute(update(ApiKey).where(ApiKey.team_id == doors.team).values(expires_at=0))
    )
    assert doors.clients[0].get(path, headers=headers).status_code == 401
