"""The cost of an outage of PostgreSQL or of Valkey: both are killed under load, one after the other, and come back.

    python benchmarks/outage.py [--down 10] [--healthy 5] [--workers 2] [--tickets 400000]

A PostgreSQL and a Valkey of our own, started from wheels, and `cstar-mock serve` with both. Readers ask for figures
that have to be computed, for the same figures again, and who they are; writers create and resolve tickets, say what
the API must answer, and create teams with rows; `cstar-mock load` is at work as PostgreSQL dies. Each engine is
killed with all its processes (SIGKILL) and started again after `--down` seconds; the server is not touched.

What the clients were told is compared with what they find afterwards. An acknowledged write is there. One that was
not is there whole or not at all, as the answer to a COMMIT can be lost. Valkey keeps nothing here: limits, counts of
fault rules and journals start again. Exits with 1 if a check fails.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from _common import cstar_mock, table, write
from _engines import PostgreSQL, Valkey, postgresql, valkey

TOKEN = "a-token-for-the-outage"  # noqa: S105  (of a server that only this process knows)
LIMIT = 1_000_000
RECOVERY_SECONDS = 2.0
# The defaults of --database-pool-timeout, --database-connect-timeout, --database-statement-timeout (with the second
# that the engine has to say so itself), and twice that of --state-timeout: to count and to record.
BOUND_SECONDS = 5 + 3 + 11 + 2 * 1
PATIENCE_SECONDS = 3 * BOUND_SECONDS
PAUSE_SECONDS = 0.02
ROWS = {"customers": 3, "tickets": 20}
NEW_TEAM = {
    "test": {
        "customers": [{"id": f"cus_{number}"} for number in range(ROWS["customers"])],
        "tickets": [
            {"id": f"tkt_{number}", "customerId": "cus_0", "status": "new", "createdAt": "-1h"}
            for number in range(ROWS["tickets"])
        ],
    }
}


@dataclass(frozen=True)
class Answer:
    """The result of one request; status 0 is no answer at all."""

    kind: str
    begun: float
    ended: float
    status: int
    headers: Mapping[str, str]
    body: Any
    complaint: str | None = None


@dataclass
class Outage:
    """When an engine was killed, answered again and was killed no more."""

    engine: str
    killed: float
    back: float
    over: float
    answers: list[Answer] = field(default_factory=list)

    @property
    def recovery_seconds(self) -> float:
        """Seconds from the engine's first answer to our last failure."""
        failures = [answer.ended for answer in self.answers if answer.status in {0, 503} or answer.complaint]
        return max(0.0, max(failures, default=self.back) - self.back)


@dataclass
class Told:
    """The acknowledged writes, and those without an answer."""

    tickets: dict[str, str] = field(default_factory=dict)
    resolving: set[str] = field(default_factory=set)
    answers: dict[str, list[int]] = field(default_factory=dict)
    teams: set[str] = field(default_factory=set)
    unsure_teams: set[str] = field(default_factory=set)


class Client:
    """One keep-alive connection, opened again where it was closed."""

    def __init__(self, host: str, answers: list[Answer]) -> None:
        self._host = host
        self._answers = answers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str, method: str, path: str, key: str, content: Any = None) -> Answer:
        """Send one request and return what comes of it."""
        body = b"" if content is None else json.dumps(content).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, headers, text = await self._exchange(head.encode() + body)
        except TimeoutError:
            answer = Answer(kind, begun, time.monotonic(), 0, {}, None, f"no answer in {PATIENCE_SECONDS} s")
        except (OSError, asyncio.IncompleteReadError) as error:
            answer = Answer(kind, begun, time.monotonic(), 0, {}, None, f"the connection broke: {error!r}")
        else:
            found = json.loads(text) if text else None
            complaint = _complaint(path, status, headers, found)
            answer = Answer(kind, begun, time.monotonic(), status, headers, found, complaint)
        if answer.status == 0:
            self._close()
        self._answers.append(answer)
        # Room for the engines and the load on the same machine.
        await asyncio.sleep(PAUSE_SECONDS)
        return answer

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            host, port = self._host.split(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(request)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self._close()
        return int(first.split()[1]), headers, body

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _complaint(path: str, status: int, headers: Mapping[str, str], body: Any) -> str | None:
    """Return what is wrong with an answer, if something is."""
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return f"{status}: {body}"
    if not headers.get("retry-after", "").isdecimal():
        return "503 without Retry-After"
    if path.startswith("/__admin"):
        right = headers["content-type"] == "application/problem+json" and body["status"] == status
    else:
        right = list(body) == ["success", "error", "meta"] and body["error"]["code"] == "service_unavailable"
    return None if right else f"503 without its envelope: {body}"


class Load:
    """The clients, until they are told to end."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.host = ready["url"].removeprefix("http://")
        self.answers: list[Answer] = []
        self.told = Told()
        self.ended = False
        self._numbers = itertools.count()
        self._teams: dict[str, tuple[str, str]] = {}

    def client(self) -> Client:
        """Return a new connection."""
        return Client(self.host, self.answers)

    async def create(self, slug: str, **content: Any) -> None:
        """Create a team before anything happens."""
        answer = await self.client().ask("setup", "POST", "/__admin/teams", TOKEN, {"slug": slug, **content})
        assert answer.status == HTTPStatus.CREATED, answer
        self._teams[slug] = answer.body["id"], answer.body["keys"]["sk_test"]

    async def figures(self, client: Client, slug: str, query: str = "", kind: str = "overview") -> Answer:
        """Ask for a team's overview."""
        id_, key = self._teams[slug]
        return await client.ask(kind, "GET", f"/api/v1/teams/{id_}/analytics/overview{query}", key)

    async def read_computed(self, client: Client) -> None:
        """Ask a question that was not asked before."""
        await self.figures(client, "outage", f"?n={next(self._numbers)}", "overview, computed")

    async def read_repeated(self, client: Client) -> None:
        """Ask for the same again."""
        await self.figures(client, "quiet", kind="overview, repeated")

    async def read_whoami(self, client: Client) -> None:
        """Ask who we are."""
        await client.ask("whoami", "GET", "/api/v1/auth/whoami", self._teams["quiet"][1])

    async def write_tickets(self, client: Client) -> None:
        """Create a ticket and resolve it."""
        id_ = f"tkt_{next(self._numbers)}"
        path = "/__admin/teams/outage/tickets"
        created = await client.ask("create ticket", "POST", path, TOKEN, {"id": id_, "customerId": "cus_0"})
        if created.status == HTTPStatus.CREATED:
            self.told.tickets[id_] = "new"
            self.told.resolving.add(id_)
            resolved = await client.ask("resolve ticket", "PATCH", f"{path}/{id_}", TOKEN, {"status": "resolved"})
            if resolved.status == HTTPStatus.OK:
                self.told.tickets[id_] = "resolved"
                self.told.resolving.discard(id_)

    async def write_answers(self, client: Client) -> None:
        """Say what the API must answer."""
        slug, number = "answers", 1 + next(self._numbers) % 50
        content = {"overview": {"tickets": {"total": number}}}
        possible = self.told.answers.setdefault(slug, [])
        answer = await client.ask("set answers", "PUT", f"/__admin/teams/{slug}/answers", TOKEN, content)
        if answer.status == HTTPStatus.NO_CONTENT:
            possible.clear()
        possible.append(number)

    async def write_teams(self, client: Client) -> None:
        """Create a team with rows."""
        slug = f"new-{next(self._numbers)}"
        answer = await client.ask("create team", "POST", "/__admin/teams", TOKEN, {"slug": slug, "dataset": NEW_TEAM})
        (self.told.teams if answer.status == HTTPStatus.CREATED else self.told.unsure_teams).add(slug)

    async def again_and_again(self, step: Callable[[Client], Awaitable[None]]) -> None:
        """Take a step until the end."""
        client = self.client()
        while not self.ended:
            await step(client)


class Import:
    """A `cstar-mock load` in a separate process."""

    def __init__(self, folder: Path, url: str, tickets: int) -> None:
        path = folder / "large.yaml"
        recipes = [{"seed": 7, "tickets": tickets, "customers": 1000}]
        team = {"slug": "large", "name": "Large", "live": {"recipes": recipes}}
        path.write_text(json.dumps({"dataset": "large", "description": "Many tickets.", "teams": [team]}))
        self.tickets = tickets
        self._said = folder / "load.log"
        self._command = [sys.executable, "-m", "cstar_mock", "load", str(path), "--database", url]
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        with self._said.open("w") as said:
            return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=said, text=True)

    async def at_work(self) -> None:
        """Wait until it says that it has inserted rows."""
        while self.runs() and " rows" not in self._said.read_text():  # noqa: ASYNC110  (a process)
            await asyncio.sleep(0.01)

    def runs(self) -> bool:
        """Whether it is still at work."""
        return self._process.poll() is None

    def outcome(self) -> tuple[int, str]:
        """Wait for its end, and return exit code and what it said on standard error."""
        return self._process.wait(timeout=240), self._said.read_text()

    def again(self) -> None:
        """Do the same once more."""
        self._process = self._start()


async def interrupt(engine: PostgreSQL | Valkey, down: float, healthy: float) -> Outage:
    """Kill an engine, start it again, and let some healthy time pass."""
    killed = time.monotonic()
    await asyncio.to_thread(engine.kill)
    await asyncio.sleep(down - (time.monotonic() - killed))
    starting = asyncio.create_task(asyncio.to_thread(engine.start))
    while not await asyncio.to_thread(engine.answers):  # noqa: ASYNC110  (an engine)
        await asyncio.sleep(0.01)
    back = time.monotonic()
    await starting
    await asyncio.sleep(healthy)
    return Outage(engine.name, killed, back, time.monotonic())


async def run(
    ready: Mapping[str, Any], database: PostgreSQL, state: Valkey, folder: Path, arguments: argparse.Namespace
) -> tuple[list[Outage], list[tuple[str, str, bool]]]:
    """Load, kill, and return the outages and the checks."""
    load = Load(ready)
    await load.create("outage", dataset={"test": {"customers": [{"id": "cus_0"}]}})
    for slug in ("quiet", "answers"):
        await load.create(slug)
    steps = (
        *[load.read_computed] * 4, *[load.read_repeated] * 2, *[load.read_whoami] * 2,
        *[load.write_tickets] * 3, load.write_answers, *[load.write_teams] * 2,
    )  # fmt: skip
    tasks = [asyncio.create_task(load.again_and_again(step)) for step in steps]
    await asyncio.sleep(arguments.healthy)
    large = Import(folder, database.url, arguments.tickets)
    await large.at_work()
    was_loading = large.runs()
    outages = [await interrupt(database, arguments.down, arguments.healthy)]
    code, said = await asyncio.to_thread(large.outcome)
    half = await _rows(load, "large", "tickets", "live")
    large.again()
    code_again, said_again = await asyncio.to_thread(large.outcome)
    whole = await _rows(load, "large", "tickets", "live")
    outages.append(await interrupt(state, arguments.down, arguments.healthy))
    load.ended = True
    await asyncio.gather(*tasks)
    outages[0].answers = [one for one in load.answers if outages[0].killed <= one.ended < outages[1].killed]
    outages[1].answers = [one for one in load.answers if outages[1].killed <= one.ended]
    checks = [
        *_checks_of_answers(load.answers, outages),
        *[check async for check in _checks_of_rows(load)],
        ("a load was at work as PostgreSQL died", str(was_loading), was_loading),
        ("it ended with one line", f"{code}: {said.strip()[-100:]}", code == 1 and _sentence(said)),
        ("and left all or nothing", f"{half} rows", half in {None, large.tickets}),
        ("once more, it loads", f"{whole} rows {said_again.strip()[-100:]}", (code_again, whole) == (0, large.tickets)),
        _check_of_rollups(database.url),
    ]
    return outages, checks


def _sentence(said: str) -> bool:
    *_, last = said.strip().splitlines()
    return last.startswith("cstar-mock: ") and "Traceback" not in said


def _checks_of_answers(answers: list[Answer], outages: list[Outage]) -> Iterator[tuple[str, str, bool]]:
    wrong = Counter(answer.complaint for answer in answers if answer.complaint)
    yield "every answer is what it says, or the 503", str(wrong.most_common(3) or "yes"), not wrong
    early = sum(
        answer.status == HTTPStatus.SERVICE_UNAVAILABLE for answer in answers if answer.ended < outages[0].killed
    )
    yield "no 503 while all is well", str(early), not early
    longest = max(answers, key=lambda answer: answer.ended - answer.begun)
    seconds = longest.ended - longest.begun
    yield f"the longest wait, at most {BOUND_SECONDS} s", f"{seconds:.2f} s, {longest.kind}", seconds <= BOUND_SECONDS
    for outage in outages:
        refused = {answer.kind for answer in outage.answers if answer.status == HTTPStatus.SERVICE_UNAVAILABLE}
        yield f"{outage.engine}: it was missed", f"by {len(refused)} kinds of requests", bool(refused)
        seconds = outage.recovery_seconds
        yield (
            f"{outage.engine}: served again, within {RECOVERY_SECONDS:g} s",
            f"{seconds:.2f} s",
            seconds <= RECOVERY_SECONDS,
        )
        after = {one.kind for one in outage.answers if one.begun > outage.back and one.status in {200, 201, 204}}
        kinds = {one.kind for one in answers} - {"setup", "check"}
        yield f"{outage.engine}: all kinds served after", str(kinds - after or "yes"), kinds <= after


async def _checks_of_rows(load: Load) -> Any:
    told = load.told
    client = load.client()
    found: dict[str, str] = {}
    while True:
        path = f"/__admin/teams/outage/tickets?limit=1000&offset={len(found)}"
        page = await client.ask("check", "GET", path, TOKEN)
        found |= {row["id"]: row["status"] for row in page.body["items"]}
        if len(found) >= page.body["meta"]["total"]:
            break
    lost = [
        id_ for id_, status in told.tickets.items()
        if found.get(id_) != status and not (id_ in told.resolving and found.get(id_) == "resolved")
    ]  # fmt: skip
    unasked = len(found.keys() - told.tickets.keys())
    yield "acknowledged tickets are there", f"{len(told.tickets)}, and {unasked} not acknowledged", not lost
    overview = await load.figures(client, "answers", kind="check")
    total = overview.body["data"]["tickets"]["total"]
    possible = told.answers["answers"]
    yield "the last answers that were set hold", f"{total} of {possible}", total in possible
    counts = {slug: [await _rows(load, slug, kind) for kind in ROWS] for slug in told.teams | told.unsure_teams}
    whole = list(ROWS.values())
    missing = [slug for slug in told.teams if counts[slug] != whole]
    half = [slug for slug in told.unsure_teams if counts[slug] not in (whole, [None, None])]
    lucky = sum(counts[slug] == whole for slug in told.unsure_teams)
    yield "acknowledged teams are there, whole", str(len(told.teams)), bool(told.teams) and not missing
    yield "others are whole or not at all", f"{len(told.unsure_teams)}, {lucky} whole", not half


async def _rows(load: Load, slug: str, kind: str, environment: str = "test") -> int | None:
    """Return how many rows a team has; None if there is no team."""
    answers: list[Answer] = []
    path = f"/__admin/teams/{slug}/{kind}?limit=1&environment={environment}"
    found = await Client(load.host, answers).ask("check", "GET", path, TOKEN)
    if found.status == HTTPStatus.NOT_FOUND:
        return None
    total: int = found.body["meta"]["total"]
    return total


def _check_of_rollups(url: str) -> tuple[str, str, bool]:
    command = [sys.executable, "-m", "cstar_mock", "db", "check", "--database", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "`cstar-mock db check`", (done.stdout + done.stderr).strip(), done.returncode == 0


def _says(log: Path) -> tuple[str, str, bool]:
    text = log.read_text()
    return "no crash in the server's log", f"{text.count('Traceback')} of them", "Traceback" not in text


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", type=float, default=10)
    parser.add_argument("--healthy", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tickets", type=int, default=400_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "rows").mkdir(mode=0o700)
        with postgresql(folder / "rows") as database, valkey() as state:
            migrate = [sys.executable, "-m", "cstar_mock", "db", "upgrade", "--database", database.url]
            subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL)
            options = ("--database", database.url, "--state", state.url, "--workers", str(arguments.workers))
            bounds = ("--control-token", TOKEN, "--secret-rate-limit", str(LIMIT), "--log-level", "error")
            with cstar_mock(folder, *options, *bounds) as ready:
                outages, checks = asyncio.run(run(ready, database, state, folder, arguments))
                checks.append(("the server was never started again", "", ready["process"].poll() is None))
            checks.append(_says(folder / "server.log"))
    rows = [
        (
            outage.engine,
            outage.back - outage.killed,
            sum(answer.status in {200, 201, 204} for answer in outage.answers),
            sum(answer.status == HTTPStatus.SERVICE_UNAVAILABLE for answer in outage.answers),
            max(answer.ended - answer.begun for answer in outage.answers),
            outage.recovery_seconds,
        )
        for outage in outages
    ]
    columns = ("killed", "seconds down", "served", "503", "longest s", "recovery s")
    table(f"{arguments.workers} workers; Valkey came back empty: limits started again", columns, rows)
    table("checks", ("what", "found", "holds"), [(*texts, "yes" if holds else "NO") for *texts, holds in checks])
    write("outage", {"outages": [dict(zip(columns, row, strict=True)) for row in rows], "checks": checks})
    failed = [what for what, _, holds in checks if not holds]
    if failed:
        sys.exit(f"{len(failed)} checks failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
