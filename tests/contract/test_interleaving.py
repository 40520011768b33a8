"""All control operations against each other, from many clients: no answer is a 500 that no rule asked for."""

# ruff: noqa: S311, T201  (random for tests, and the seed to run one again)

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import httpx2
from sqlalchemy import Connection, text
from starlette.testclient import TestClient
from tests.conftest import running
from tests.engines import Shared

from cstar_mock import Settings, create_app
from cstar_mock.cli import cli
from cstar_mock.contract.errors import StoreUnavailable, UnknownName
from cstar_mock.datasets.format import parse
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.teams import keys, teams
from cstar_mock.teams.lifecycle import create_team, delete_team
from cstar_mock.teams.load import load

NewClient: TypeAlias = Callable[[], AbstractContextManager[httpx2.Client]]
SECONDS = float(os.environ.get("INTERLEAVING_SECONDS", "5"))
CLIENTS = 12
SLUGS = ("a", "b", "c")
NOW = "2025-12-10T14:30:00Z"
CONTENT = {
    "members": [{"id": f"usr_{n}", "name": "M", "createdAt": NOW} for n in range(3)],
    "customers": [{"id": f"cus_{n}", "name": "C", "createdAt": NOW} for n in range(3)],
    "tickets": [
        {"id": f"tkt_{n}", "customerId": f"cus_{n}", "assigneeId": f"usr_{n}", "status": "open", "createdAt": NOW}
        for n in range(3)
    ],
}
RULE_BODY = {"from": "a fault rule"}
"""The body of every answer that a fault rule gives here, which tells it from a failure of the server."""
EXPECTED_ERRORS = ("duplicate key value violates unique constraint", "deadlock detected")
"""What PostgreSQL may log: two clients that create the same, and what is run again."""


def body_of(operation: str, rng: random.Random) -> Any:
    """Return a body for an operation that takes one."""
    n = rng.randrange(4)
    bodies: dict[str, Any] = {
        "createTeam": {
            "slug": rng.choice(SLUGS),
            **rng.choice([{}, {"dataset": {"clock": NOW, "test": CONTENT}}, {"answers": {"agents": [{"name": "A"}]}}]),
        },
        "setAnswers": {"overview": {"tickets": {"total": rng.randrange(20)}}},
        "createMembers": {"id": f"usr_{n}", "name": "M", "createdAt": NOW},
        "changeMember": {"name": "N"},
        "createCustomers": [{"id": f"cus_{n}", "name": "C", "createdAt": NOW}, {"name": "D", "createdAt": NOW}],
        "changeCustomer": {"createdAt": "2025-11-10T14:30:00Z"},
        "createTickets": {"id": f"tkt_{n}", "customerId": f"cus_{n}", "assigneeId": f"usr_{n}", "createdAt": NOW},
        "changeTicket": {"status": rng.choice(["open", "closed"]), "assigneeId": f"usr_{rng.randrange(4)}"},
        "createCsatResponses": {"id": f"csat_{n}", "ticketId": f"tkt_{n}", "score": 4, "submittedAt": "+1h"},
        "changeCsatResponse": {"score": 1 + n},
        "setClock": rng.choice(
            [{"action": "freeze", "instant": NOW}, {"action": "advance", "by": "PT1H"}, {"action": "reset"}]
        ),
        "setFaults": [{"id": f"f{n}", "status": 500, "body": RULE_BODY, "failRequestCount": 1}],
        "addFaults": {"id": f"f{n}", "status": 503, "body": RULE_BODY, "failRequestCount": 1},
        "setRateLimits": {"secret": 100 + n, "window": 60 + n},
        "countRequests": {},
        "findRequests": {},
        "createKey": {"prefix": "sk_test", "expiresAt": "+1h"},
    }
    return bodies[operation]


class Operation(NamedTuple):
    """An operation of the control API."""

    id: str
    method: str
    path: str
    has_body: bool


@dataclass
class World:
    """A server under fire, and what it answered."""

    new_client: NewClient
    operations: list[Operation]
    end: float
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    key_ids: list[str] = field(default_factory=lambda: ["key_none"])
    keys: list[str] = field(default_factory=lambda: ["sk_test_none"])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call_until_the_end(self, number: int, seed: str) -> None:
        """Send this client's share of all operations, and then random ones until the end."""
        rng = random.Random(f"{seed}/{number}")
        with self.new_client() as client:
            for operation in self.operations[number::CLIENTS]:
                self._call(client, operation, rng)
            while time.monotonic() < self.end:
                self._call(client, rng.choice(self.operations), rng)

    def _call(self, client: httpx2.Client, operation: Operation, rng: random.Random) -> None:
        path = operation.path.format(team=rng.choice(SLUGS), id=self._id(operation.path, rng))
        content = {"json": body_of(operation.id, rng)} if operation.has_body else {}
        self._note(operation.id, client.request(operation.method, f"/__admin{path}", **content))
        if rng.random() < 0.2:
            bearer = {"Authorization": f"Bearer {rng.choice(self.keys)}"}
            self._note("whoami", client.get("/api/v1/auth/whoami", headers=bearer))

    def _id(self, path: str, rng: random.Random) -> str:
        prefixes = {"members": "usr", "customers": "cus", "tickets": "tkt", "csat-responses": "csat"}
        kind = path.split("/")[3] if path.count("/") > 3 else ""
        if kind == "keys":
            return rng.choice(self.key_ids)
        return f"f{rng.randrange(4)}" if kind == "faults" else f"{prefixes.get(kind, 'req')}_{rng.randrange(4)}"

    def _note(self, operation: str, response: httpx2.Response) -> None:
        with self.lock:
            if response.is_server_error and operation == "whoami" and response.json() == RULE_BODY:
                self.statuses["rule", int(response.status_code)] += 1
                return
            self.statuses[operation, int(response.status_code)] += 1
            if response.is_server_error:
                self.failures.append(f"{operation}: {response.status_code} {response.text}")
            elif operation == "listKeys" and response.is_success:
                self.key_ids = [key["id"] for key in response.json()["keys"]] or self.key_ids
            elif operation == "createKey" and response.is_success:
                self.keys = [*self.keys[-5:], response.json()["key"]]


def write_beside(database: Database, end: float, rng: random.Random) -> None:
    """Do what the command line does: load several teams, create keys, rebuild the roll-ups."""
    while time.monotonic() < end:
        slugs = rng.sample(SLUGS, 2)
        dataset = parse({"dataset": "d", "teams": [{"slug": slug, "test": CONTENT} for slug in slugs]})
        try:
            database.write_now(load, dataset, replace=True)
            database.write_now(keys.create, slugs[0], "sk_test")
            database.write_now(migrations.rebuild_rollups)
        except (UnknownName, StoreUnavailable):
            pass  # deleted meanwhile; or SQLite's one lock was not to be had
        time.sleep(0.1)


def fire(new_client: NewClient, database: Database) -> World:
    """Send everything at once, check the database, and return what was answered."""
    seed = os.environ.get("SEED", str(random.randrange(10**6)))
    print(f"SEED={seed}")
    with new_client() as client:
        paths = client.get("/__admin/openapi.json").json()["paths"]
    operations = [
        Operation(operation["operationId"], method.upper(), path, "requestBody" in operation)
        for path, item in paths.items()
        for method, operation in item.items()
    ]
    world = World(new_client, operations, time.monotonic() + SECONDS)
    with ThreadPoolExecutor(CLIENTS + 2) as pool:
        work = [pool.submit(world.call_until_the_end, n, seed) for n in range(CLIENTS)]
        work += [pool.submit(write_beside, database, world.end, random.Random(f"{seed} {n}")) for n in range(2)]
        for one in work:
            one.result()
    counts: Counter[int] = Counter()
    for (operation, status), count in world.statuses.items():
        if operation != "rule":
            counts[status] += count
    print(sorted(counts.items()), {key: count for key, count in world.statuses.items() if key[0] == "rule"})
    cli.main(["db", "check", "--database", database.url.render_as_string(hide_password=False)], standalone_mode=False)
    assert {operation for operation, _ in world.statuses} >= {operation.id for operation in operations}
    assert {201, 204, 404} <= set(counts)
    return world


def test_no_control_operation_fails_on_postgresql_whatever_comes_between(shared_engines: Shared) -> None:
    with shared_engines.place() as place, closing(Database(place.url)) as database:
        folder = database.read_now(lambda connection: connection.scalar(text("SHOW data_directory")))
        log = Path(str(folder)) / "log"
        before = log.stat().st_size
        app = create_app(Settings(database=place.url, **place.settings))
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:

            def another() -> TestClient:
                other = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
                other.portal = client.portal
                return other

            world = fire(lambda: nullcontext(another()), database)
    assert world.failures == []
    with log.open() as lines:
        lines.seek(before)
        errors = [line for line in lines if any(severity in line for severity in ("ERROR:", "FATAL:", "PANIC:"))]
    print(Counter(line.partition("ERROR:")[2].strip() for line in errors))
    assert [line for line in errors if not any(expected in line for expected in EXPECTED_ERRORS)] == []


def test_no_control_operation_fails_on_a_sqlite_file_with_two_workers(tmp_path: Path, valkey: str) -> None:
    """A writer that waits longer than five seconds for the one lock is told so."""
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    options = ("--database", url, "--workers", "2", "--state", f"{valkey}/0", "--state-timeout", "10")
    with running(tmp_path, *options) as server, closing(Database(url)) as database:
        world = fire(lambda: httpx2.Client(base_url=server.url, timeout=60), database)
        assert "Traceback" not in server.log.read_text()
    assert [failure for failure in world.failures if "the store is locked by another process" not in failure] == []


def test_a_writer_that_waits_for_a_team_that_is_replaced_locks_the_new_one(shared_engines: Shared) -> None:
    """On PostgreSQL the row that it waited for is gone; the next statement finds the new one, not locked yet."""
    (team,) = parse({"dataset": "d", "teams": [{"slug": "a", "test": CONTENT}]}).teams

    def replace_while_others_wait(connection: Connection) -> int:
        delete_team(connection, teams.get(connection, "a").id)
        create_team(connection, team)
        waiting.append(pool.submit(database.write_now, teams.lock, "a"))
        waiting.append(pool.submit(database.write_now, migrations.lock_all_teams))
        while connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) != len(waiting):
            time.sleep(0.01)
        return teams.get(connection, "a").revision

    waiting: list[Future[Any]] = []
    with shared_engines.place() as place, closing(Database(place.url)) as database, ThreadPoolExecutor(2) as pool:
        database.write_now(create_team, team)
        revision = database.write_now(replace_while_others_wait)
        one, every = (writer.result() for writer in waiting)
    assert one.revision == revision + 1
    assert every == []
