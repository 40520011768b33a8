"""The pytest plugin, by real pytest runs on small test files."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.plugin.conftest import PYTEST, Run, assert_nothing_left, environment, outcomes, servers

FIXTURES = """
import asyncio, os, re
from datetime import UTC, datetime, timedelta
import httpx2, pytest
from pathlib import Path
from cstar_mock.testing import Refused, Server, Team

NOW = "2025-12-10T14:30:00Z"
ROW = {"id": "cus_1", "name": "Ada", "createdAt": NOW}

def get(cstar: Team, path="overview", key=None):
    return httpx2.get(f"{cstar.url}/analytics/{path}", headers={"Authorization": f"Bearer {key or cstar.secret_key}"})

def tickets(cstar: Team, key=None):
    return get(cstar, key=key).json()["data"]["tickets"]

def test_names(cstar):
    assert cstar.url == f"{cstar.base_url}/api/v1/teams/{cstar.team_id}"
    assert set(cstar.keys) == {"sk_live", "sk_test", "pk_live", "pk_test"}
    assert cstar.secret_key.startswith("sk_test_") and cstar.publishable_key.startswith("pk_test_")
    assert get(cstar).status_code == 200 and get(cstar, key=cstar.publishable_key).status_code == 403
    assert repr(cstar) == f"Team(slug={cstar.slug!r}, team_id={cstar.team_id!r}, environment='test')"

def test_kinds_and_environments(cstar):
    response = {"id": "csat_1", "ticketId": "tkt_1", "score": 5}
    added = cstar.given(
        members=[{"id": "usr_1", "name": "Jane"}],
        customers=[ROW],
        tickets=[{"id": "tkt_1", "customerId": "cus_1", "status": "resolved", "assigneeId": "usr_1"}],
        csat_responses=[response],
        environment="live",
    )
    assert list(added) == ["members", "customers", "tickets", "csat_responses"]
    assert added["csat-responses"] == added["csat_responses"]
    for kind in ("csat_responses", "csat-responses"):
        assert [row["id"] for row in cstar.rows(kind, environment="live")] == ["csat_1"]
        assert cstar.rows(kind) == []
        assert cstar.change(kind, "csat_1", environment="live", score=4)["score"] == 4
    assert cstar.explain("overview", environment="live") != cstar.explain("overview")
    for call in (lambda: cstar.rows("ticket"), lambda: cstar.change("ticket", "tkt_1")):
        with pytest.raises(ValueError, match="'ticket' is not a kind of rows: use one of members, customers"):
            call()
    with pytest.raises(ValueError, match="'live' or 'test', not 'production'"):
        cstar.given(environment="production")
    with pytest.raises(KeyError):
        added["nothing"]

def test_given_change_and_reset(cstar):
    figures = {"total": 142, "open": 23, "resolved": 89}
    cstar.given(overview={"tickets": figures}, agents=[{"name": "Jane", "ticketsResolved": 2}])
    assert tickets(cstar) == figures
    assert get(cstar, "agents").json()["data"][0]["ticketsResolved"] == 2
    cstar.reset()
    assert tickets(cstar)["total"] == 0
    created = cstar.given(customers=[ROW], tickets=[{"customerId": "cus_1", "status": "open", "createdAt": NOW}])
    ticket = created["tickets"][0]["id"]
    assert cstar.rows("tickets", status="open")[0]["id"] == ticket
    assert cstar.change("tickets", ticket, status="resolved")["status"] == "resolved"
    assert cstar.rows("tickets", status="open") == []
    with pytest.raises(Refused, match="nobody") as refused:
        cstar.given(tickets=[{"customerId": "nobody", "createdAt": NOW}])
    assert refused.value.status in {400, 409}
    with pytest.raises(Refused, match="active"):
        cstar.given(overview={"customers": {"total": 1, "active": 2}})

def test_clock(cstar):
    for instant in (NOW, datetime(2025, 12, 10, 14, 30, tzinfo=UTC)):
        cstar.clock.freeze(instant)
        assert cstar.clock.now() == datetime(2025, 12, 10, 14, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        cstar.clock.freeze(datetime(2025, 12, 10, 14, 30))
    cstar.clock.advance(days=1)
    cstar.clock.advance(timedelta(hours=1))
    cstar.clock.advance("PT1M")
    assert cstar.clock.now() == datetime(2025, 12, 11, 15, 31, tzinfo=UTC)
    for wrong in ({"milliseconds": 500}, {"days": -1}):
        with pytest.raises(ValueError, match="whole seconds"):
            cstar.clock.advance(**wrong)
    with pytest.raises(Refused):
        cstar.clock.advance("tomorrow")
    cstar.clock.reset()
    assert abs(cstar.clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    cstar.clock.freeze()
    assert cstar.clock.now() == cstar.clock.now()

def test_faults(cstar):
    cstar.faults.next(429, times=2, retry_after=3, match={"endpoint": "overview"})
    cstar.faults.next("internal_error")
    assert [get(cstar, "agents").status_code for _ in range(2)] == [500, 200]
    failed = get(cstar)
    assert (failed.status_code, failed.headers["Retry-After"]) == (429, "3")
    assert [rule["failed"] for rule in cstar.faults.list()] == [1, 1]
    cstar.faults.clear()
    assert get(cstar).status_code == 200
    cstar.faults.break_next("EMPTY_RESPONSE")
    with pytest.raises(httpx2.RemoteProtocolError):
        get(cstar)
    cstar.faults.set({"status": 503})
    assert get(cstar).status_code == 503
    cstar.faults.set([{"status": 500, "failRequestCount": 1}], {"status": 501, "failRequestCount": 1})
    cstar.faults.add([{"status": 502, "failRequestCount": 1}, {"status": 503, "failRequestCount": 1}])
    assert [get(cstar).status_code for _ in range(5)] == [500, 501, 502, 503, 200]

def test_limits_and_keys(cstar):
    cstar.rate_limits.set(secret=2)
    assert [get(cstar).status_code for _ in range(3)] == [200, 200, 429]
    cstar.rate_limits.reset_counters()
    assert get(cstar).status_code == 200
    key = cstar.create_key("sk_test", rateLimit=1, name="slow")
    assert [get(cstar, key=key).status_code for _ in range(2)] == [200, 429]
    assert cstar.explain("overview", "week")

def test_requests(cstar):
    with pytest.raises(AssertionError, match="no request came at all"):
        cstar.requests.assert_count(1)
    get(cstar, "overview?period=month")
    cstar.faults.next(500)
    get(cstar, "agents")
    cstar.requests.assert_count(2)
    cstar.requests.assert_count(1, endpoint="agents", status=500)
    assert cstar.requests.count(status=200) == 1
    assert cstar.requests.find(endpoint="overview")[0]["request"]["query"] == "period=month"
    with pytest.raises(AssertionError) as raised:
        cstar.requests.assert_count(2, endpoint="overview")
    first, *lines = str(raised.value).replace(cstar.team_id, "TEAM").splitlines()
    assert first == "expected 2 requests (endpoint='overview'), but there were 1"
    assert lines[0] == "  * GET /api/v1/teams/TEAM/analytics/overview?period=month -> 200"
    assert re.fullmatch("    GET /api/v1/teams/TEAM/analytics/agents -> 500 internal_error fault_.+", lines[1])
    cstar.requests.clear()
    assert cstar.requests.all() == []

@pytest.mark.cstar(dataset="busy")
def test_data_set(cstar):
    assert tickets(cstar)["total"] > 0

@pytest.mark.cstar(dataset="data/mine.yaml", environment="live", rate_limits={"secret": 5}, faults={"status": 503})
def test_a_data_set_of_the_suite_with_faults_and_limits(cstar):
    for _ in range(2):  # a reset goes back to the marker's faults and limits, too
        failed = get(cstar)
        assert (failed.status_code, failed.headers["X-RateLimit-Limit"]) == (503, "5")
        cstar.faults.clear()
        assert tickets(cstar) == {"total": 2, "open": 1, "resolved": 1}
        cstar.reset()

def test_a_data_set_by_its_path(cstar_server: Server, tmp_path):
    with cstar_server.team(dataset=Path(__file__).parent / "data" / "mine.yaml") as team:
        assert [row["id"] for row in team.rows("tickets", environment="live")] == ["tkt_1", "tkt_2"]
        assert team.keys["sk_live"] != "sk_live_of_the_file"

FIVE_OPEN = {"environment": "live", "overview": {"tickets": {"open": 5}}}

@pytest.mark.cstar(environment="live", clock=NOW, name="Acme", answers=FIVE_OPEN)
class TestMarkedClass:
    def test_environment(self, cstar):
        assert cstar.secret_key.startswith("sk_live_")
        assert tickets(cstar)["open"] == 5 and tickets(cstar, cstar.keys["sk_test"])["open"] == 0
        cstar.given(overview={"tickets": {"open": 6}})
        assert tickets(cstar)["open"] == 6

    @pytest.mark.cstar(environment="test")
    def test_the_closest_marker_wins(self, cstar):
        assert cstar.environment == "test"

def test_a_team_that_the_test_has_deleted(cstar):
    cstar.delete()
    with pytest.raises(Refused):
        cstar.clock.now()

async def test_async(cstar, anyio_backend):
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {cstar.secret_key}"}) as client:
        answers = await asyncio.gather(*(client.get(f"{cstar.url}/analytics/overview") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    cstar.requests.assert_count(5)

test_async = pytest.mark.anyio(test_async)

@pytest.fixture
def anyio_backend():
    return "asyncio"

def test_two_teams_of_one_server(cstar, cstar_server: Server):
    with cstar_server.team(answers={"overview": {"tickets": {"open": 1}}}) as other:
        assert (tickets(cstar)["open"], tickets(other)["open"]) == (0, 1)
    assert cstar_server.app is None
"""

MINE = """
dataset: mine
teams:
  - slug: mine
    keys: {sk_live: sk_live_of_the_file}
    clock: 2025-12-10T14:30:00Z
    live:
      customers: [{id: cus_1, createdAt: 2025-12-01T00:00:00Z}]
      tickets:
        - &first {id: tkt_1, customerId: cus_1, createdAt: 2025-12-09T00:00:00Z, status: open}
        - {<<: *first, id: tkt_2, status: resolved, resolvedAt: 2025-12-09T01:00:00Z}
  - slug: another
"""

WRONG_MARKERS = """
import pytest

@pytest.mark.cstar("busy")
def test_positional(cstar): ...

@pytest.mark.cstar(datset="busy")
def test_misspelt(cstar): ...

@pytest.mark.cstar(environment="production")
def test_environment(cstar): ...

@pytest.mark.cstar(dataset="nosuch")
def test_data_set(cstar): ...

@pytest.mark.cstar(answers={"overview": {"tickets": {"total": -1}}})
def test_answers(cstar): ...
"""

IN_PROCESS = """
import asyncio, httpx2, pytest

def test_asgi(cstar, cstar_server, monkeypatch):
    assert cstar.base_url == cstar_server.url == "http://cstar-mock.invalid"
    assert cstar.url.startswith(f"{cstar.base_url}/api/v1/teams/")
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(cstar.url, trust_env=False)
    monkeypatch.setattr("socket.socket.connect", None)
    cstar.given(overview={"tickets": {"open": 3}})
    async def ask():
        transport = httpx2.ASGITransport(app=cstar_server.app)
        headers = {"Authorization": f"Bearer {cstar.secret_key}"}
        async with httpx2.AsyncClient(transport=transport, headers=headers) as client:
            return await client.get(f"{cstar.url}/analytics/overview")
    assert asyncio.run(ask()).json()["data"]["tickets"]["open"] == 3
    cstar.requests.assert_count(1)
    cstar.faults.next(429)
    assert asyncio.run(ask()).status_code == 429
    cstar.faults.break_next("EMPTY_RESPONSE")
    with pytest.raises(ConnectionError):
        asyncio.run(ask())
"""

UNITTEST = """
import unittest, urllib.request
from cstar_mock.testing import server

class Overview(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(server("--secret-rate-limit", "7"))

    def setUp(self):
        self.cstar = self.enterContext(self.server.team(environment="live"))

    def test_open(self):
        self.cstar.given(overview={"tickets": {"open": 23}})
        request = urllib.request.Request(
            f"{self.cstar.url}/analytics/overview", headers={"Authorization": f"Bearer {self.cstar.secret_key}"}
        )
        with urllib.request.urlopen(request) as answer:
            self.assertIn(b'"open":23', answer.read())
            self.assertEqual(answer.headers["X-RateLimit-Limit"], "7")
        self.cstar.requests.assert_count(1)
        self.server.reset()
        self.cstar.requests.assert_count(0)
"""

TYPED = """
from datetime import timedelta
from pathlib import Path
from cstar_mock.testing import Server, Team, server
from typing import assert_type

def test_typed(cstar: Team, cstar_server: Server) -> None:
    assert_type(cstar.base_url, str)
    assert_type(cstar.keys, dict[str, str])
    assert_type(cstar.requests.count(status=200), int)
    cstar.clock.advance(timedelta(days=7))
    cstar.faults.next(429, times=2, retry_after=1)
    with server("--no-rate-limits") as other, other.team(dataset="busy") as team:
        assert_type(team, Team)
    cstar.explain("nothing")  # E: arg-type
    cstar.explain("overview", "decade")  # E: arg-type
    cstar.faults.next("rate_limited")  # E: arg-type
    cstar.faults.next(429, match={"endpoint": "agents", "keyType": "secret"})
    cstar.faults.next(429, match={"endpoint": "agent"})  # E: arg-type
    cstar.faults.break_next("RESET")  # E: arg-type
    cstar.faults.add([{"status": 429}], {"status": 500})
    cstar.given(environment="prod")  # E: arg-type
    cstar.rows("csat_responses", environment="live", score=5)
    cstar.rows("ticket")  # E: arg-type
    cstar.create_key("sk_prod")  # E: arg-type
    cstar_server.create_team(dataset=Path("my.yaml"), faults={"status": 500}, rate_limits={"secret": 2})
    cstar.clock.freeze(3)  # E: arg-type
    cstar.nothing  # E: attr-defined
    cstar_server.create_team(environment="production")  # E: arg-type
"""


def write_fixtures(folder: Path, more: str = "") -> None:
    """Write the tests above, and the data set that they use."""
    (folder / "data").mkdir()
    (folder / "data" / "mine.yaml").write_text(MINE)
    (folder / "test_fixtures.py").write_text(f"{FIXTURES}\n{more}")


def test_it_costs_nothing_until_a_fixture_is_used(run: Run, tmp_path: Path) -> None:
    slow = "fastapi", "sqlalchemy", "httpx2", "cstar_mock.application", "cstar_mock.testing.servers", "pydantic"
    (tmp_path / "conftest.py").write_text(
        f"import sys\ndef pytest_unconfigure(): print('loaded', [name for name in {slow!r} if name in sys.modules],"
        "'cstar_mock.testing.plugin' in sys.modules)"
    )
    (tmp_path / "test_it.py").write_text("def test_it(): ...")
    for arguments in (["--collect-only"], []):
        done = run(*PYTEST, *arguments)
        assert "loaded [] True" in done.stdout, done.stdout + done.stderr


def test_the_fixtures(run: Run, tmp_path: Path, temporary: Path) -> None:
    write_fixtures(tmp_path)
    done = run(*PYTEST, "-W", "error")
    assert outcomes(done) == {"passed": 15}, done.stdout
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_the_fixtures_under_xdist(run: Run, tmp_path: Path, temporary: Path) -> None:
    """With options for the servers, and with a test that fails."""
    options = "[pytest]\ncstar_server_options = --dataset edge --no-prefer\n"
    (tmp_path / "pytest.ini").write_text(options)
    write_fixtures(
        tmp_path,
        "def test_options(cstar_server):\n"
        "    teams = httpx2.get(f'{cstar_server.url}/__admin/teams').json()['teams']\n"
        "    assert 'edge' in [team['dataset'] for team in teams]\n"
        "def test_failing(cstar):\n    assert get(cstar).status_code == 500\n",
    )
    done = run(*PYTEST, "-n", "2")
    assert outcomes(done) == {"passed": 16, "failed": 1}, done.stdout
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_a_wrong_marker_is_a_clear_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG_MARKERS)
    done = run(*PYTEST)
    assert outcomes(done) == {"error": 5}, done.stdout
    for sentence in (
        "takes answers, clock, dataset, environment, faults, name, rate_limits, slug by name, not 'busy'",
        "takes answers, clock, dataset, environment, faults, name, rate_limits, slug by name, not datset",
        "environment is 'live' or 'test', not 'production'",
        "no data set 'nosuch'",
        "answers.overview.tickets.total",
    ):
        assert sentence in done.stdout
    assert "plugin.py" not in done.stdout  # nothing of our source


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("cstar_server = thread", "ERROR: cstar_server is 'process' or 'asgi', not 'thread'"),
        (
            "cstar_server = asgi\ncstar_server_options = --no-prefer",
            "ERROR: cstar_server_options is for a server in a separate process, not for 'asgi'",
        ),
        (
            "cstar_server = asgi\ncstar_url = http://127.0.0.1:9",
            "ERROR: cstar_url is for a server in a separate process, not for 'asgi'",
        ),
        (
            "cstar_command = uvx cstar-mock\ncstar_url = http://127.0.0.1:9",
            "ERROR: give cstar_url, or cstar_command: a server either runs already or is started",
        ),
    ],
)
def test_a_wrong_setting_ends_the_run(run: Run, tmp_path: Path, options: str, sentence: str) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{options}\n")
    done = run(*PYTEST)
    assert (done.returncode, done.stderr.strip()) == (4, sentence)


@pytest.mark.usefixtures("traced")
def test_a_server_that_does_not_start_says_why(run: Run, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ncstar_server_options = --workers 0\n")
    (tmp_path / "test_it.py").write_text("def test_it(cstar): ...")
    done = run(*PYTEST)
    assert "`cstar-mock serve --port 0" in done.stdout
    assert "cstar-mock: --workers: '0' is not allowed" in done.stdout
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_in_process_there_is_no_socket_and_no_second_process(run: Run, tmp_path: Path) -> None:
    """Also if `cstar-mock exec` runs around it: whoever asked for an application gets one."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ncstar_server = asgi\n")
    (tmp_path / "test_asgi.py").write_text(IN_PROCESS)
    around = {"CSTAR_BASE_URL": "http://127.0.0.1:1", "CSTAR_ADMIN_URL": "http://127.0.0.1:1/__admin"}
    done = run(*PYTEST, **around)
    assert outcomes(done) == {"passed": 1}, done.stdout


@pytest.mark.usefixtures("traced")
def test_unittest_needs_no_pytest(run: Run, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "test_unittest.py").write_text(UNITTEST)
    done = run(sys.executable, "-m", "unittest")
    assert "OK" in done.stderr, done.stderr
    assert_nothing_left(temporary)


def test_users_can_type_their_tests(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_typed.py").write_text(TYPED)
    cache = str(ROOT / ".mypy_cache" / "users")
    done = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, "test_typed.py")
    expected = {
        (str(number), line.rpartition("# E: ")[2])
        for number, line in enumerate(TYPED.splitlines(), 1)
        if "# E: " in line
    }
    assert set(re.findall(r"test_typed.py:(\d+): error: .*\[(.*)\]", done.stdout)) == expected, done.stdout


# As `uvx` does, the shell waits for the server as for a child of its own.
BY_COMMAND = f"""--cstar-command=sh -c '"$@"; exit $?' sh {sys.executable} -m cstar_mock"""


@pytest.mark.usefixtures("traced")
def test_a_command_that_starts_the_server(run: Run, tmp_path: Path, temporary: Path) -> None:
    """It wins over the server of `cstar-mock exec` and over the settings."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ncstar_url = http://127.0.0.1:9\n")
    (tmp_path / "test_it.py").write_text("def test_it(cstar):\n    assert cstar.rows('tickets') == []\n")
    around = {"CSTAR_BASE_URL": "http://127.0.0.1:9", "CSTAR_ADMIN_URL": "http://127.0.0.1:9/__admin"}
    done = run(*PYTEST, BY_COMMAND, **around)
    assert outcomes(done) == {"passed": 1}, done.stdout
    assert_nothing_left(temporary)


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, []), (signal.SIGKILL, []), (signal.SIGKILL, [BY_COMMAND])]
)
def test_no_server_survives_a_run_that_is_interrupted(
    tmp_path: Path, temporary: Path, number: signal.Signals, options: list[str]
) -> None:
    (tmp_path / "test_slow.py").write_text(
        "import pathlib, time\ndef test_slow(cstar):\n    pathlib.Path('running').touch()\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([*PYTEST, *options], cwd=tmp_path, env=environment(temporary), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "running").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(servers(temporary)) == (2 if options else 1)  # the shell that waits has the option in its line, too
        os.kill(process.pid, number)
        process.wait(30)
        deadline = time.monotonic() + 15
        while servers(temporary):
            assert time.monotonic() < deadline, "a server is left"
            time.sleep(0.05)
        if number == signal.SIGINT:
            assert_nothing_left(temporary)
    finally:
        process.kill()
        process.wait()
