"""The alternatives, side by side, in one run on one machine.

    python benchmarks/peers.py [--folder FOLDER] [--rounds 3] [--seconds 3]

Installs the peers of `_peers.py` from npm and PyPI, and for each:

- starts it three times: seconds from the command to the first 200 with the right body, the best counts;
- asks it without a key and with wrong ones, lets it change a figure, and sends more requests than the documented limit;
- loads all of them in turns over 16 connections: the best round of each counts. Then the memory, which is the resident
  set of all its processes.

Needs Node.js with npm, Java, `ps` and the internet; everything listens on 127.0.0.1. A peer that can't be installed or
started is listed with the reason. The table replaces that of docs/performance.md.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from _common import Load, free_port, load, table, write
from _peers import KEY, Peer, Running, peers

PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- peers: written by benchmarks/peers.py -->", "<!-- /peers -->"
COLUMNS = (
    *("server", "version", "first answer, s", "memory, MB", "requests/s", "p99, ms"),
    *("checks the key", "counts the limit", "keeps state", "note"),
)
STARTS = 3
LONGEST_START = 60.0
LIMIT = 1000  # requests an hour for a secret key [doc]
WRONG_KEYS = ("wrong", "sk_live_" + "x" * 32)


class CannotMeasure(Exception):
    """A peer can't be installed or started, or does not answer as it should; the text is the reason."""


@dataclass
class Measured:
    """The results of one peer; `reason` says why the rest is missing."""

    peer: Peer
    folder: Path
    start: float | None = None
    checks_key: str = ""
    counts_limit: str = ""
    keeps_state: str = ""
    best: Load | None = None
    memory_mb: float | None = None
    reason: str = ""

    def cells(self) -> list[object]:
        """Return the row of the table."""
        numbers = (self.start, self.memory_mb, self.best and self.best.rate, self.best and self.best.p99)
        start, memory, rate, p99 = ("-" if number is None else number for number in numbers)
        return [
            *(self.peer.name, self.peer.version, start, memory, rate, p99),
            *(self.checks_key or "-", self.counts_limit or "-", self.keeps_state or "-"),
            f"not measured: {self.reason}" if self.reason else self.peer.note,
        ]

    def as_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "name": self.peer.name,
            "version": self.peer.version,
            "start_s": self.start,
            "memory_mb": self.memory_mb,
            "load": asdict(self.best) if self.best else None,
            "checks_key": self.checks_key,
            "counts_limit": self.counts_limit,
            "keeps_state": self.keeps_state,
            "note": self.peer.note,
            "reason": self.reason,
        }


@contextmanager
def reasons_noted(measured: Measured) -> Iterator[None]:
    """Note why a peer can't be measured, instead of ending the run."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or "").splitlines() if "error" in line.lower()] or [str(error)]
        measured.reason = " ".join(lines[:2])[:200]
    except (CannotMeasure, OSError, httpx.HTTPError) as error:
        measured.reason = str(error) or type(error).__name__
    if measured.reason:
        print(f"  {measured.peer.name}: not measured: {measured.reason}", flush=True)


def install(measured: Measured) -> None:
    """Install a peer into its folder, unless this version is there."""
    peer, folder = measured.peer, measured.folder
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    if peer.registry is None or (done.exists() and done.read_text() == peer.version):
        return
    if peer.registry == "npm":
        package = f"{peer.package}@{peer.version}"
        commands = [["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", ".", package]]
    else:
        pip = ["venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        commands = [[sys.executable, "-m", "venv", "venv"], [*pip, f"{peer.package}=={peer.version}"]]
    for command in commands:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    done.write_text(peer.version)


@contextmanager
def running(measured: Measured, client: httpx.Client, options: Sequence[str] = ()) -> Iterator[tuple[Running, int]]:
    """Start a peer, wait for its first right answer and note the time; yield it and its process group."""
    peer, folder = measured.peer, measured.folder
    port, admin = str(free_port()), str(free_port())
    for name, content in peer.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content).replace('"$port"', port))
    values = {"$folder": str(folder), "$port": port, "$admin": admin}
    command = [re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], part) for part in peer.command]
    started = Running(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", client)
    log = folder / "log"
    with log.open("w") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait_for_the_answer(peer, started, process, log)
            seconds = time.perf_counter() - begun
            measured.start = min(seconds, measured.start or seconds)
            yield started, process.pid
        finally:
            stop(process)


def environment(folder: Path) -> dict[str, str]:
    """Return a peer's environment: a new home, and Python keeps what it compiles, as it does for users."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "HOME": str(folder)}


def wait_for_the_answer(peer: Peer, started: Running, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until the answer is a 200 with the right body."""
    until = time.monotonic() + LONGEST_START
    seen = "no connection"
    while time.monotonic() < until:
        if process.poll() is not None:
            last = log.read_text().strip().splitlines()[-1:]
            raise CannotMeasure(f"it ended with code {process.returncode}: {''.join(last)}")
        try:
            response = ask(peer, started)
        except httpx.TransportError:
            time.sleep(0.002)
            continue
        if response.status_code == 200 and peer.read(response.text) == peer.expected:
            return
        seen = f"{response.status_code} {response.text[:100]}"
        time.sleep(0.002)
    raise CannotMeasure(f"no right answer in {LONGEST_START:.0f} s, but {seen}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a peer with all processes that it started: they are one group."""
    for way in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, way)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def ask(peer: Peer, started: Running, key: str | None = KEY) -> httpx.Response:
    """Send the peer's request, with a key or without."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return started.client.get(f"{started.url}{peer.path}", headers=headers)


def check_key(peer: Peer, started: Running) -> str:
    """Say which keys are refused: all but the right one, those of a wrong form, a missing one, or none."""
    nothing, garbage, unknown = (ask(peer, started, key).status_code in {401, 403} for key in (None, *WRONG_KEYS))
    if nothing and garbage and unknown:
        return "yes"
    if nothing and garbage:
        return "its form"
    return "that there is one" if nothing else "no"


def change_a_figure(peer: Peer, started: Running) -> str:
    """Say whether the answer follows a row that is changed, or can at least be rewritten."""
    for change, verdict in ((peer.change_row, "yes"), (peer.rewrite, "by rewriting the answer")):
        if change is None:
            continue
        before = peer.read(ask(peer, started).text)
        change(started)
        response = ask(peer, started)
        if response.status_code == 200 and peer.read(response.text) != before:
            return verdict
    return "no"


def exceed_limit(peer: Peer, started: Running) -> str:
    """Say whether one request more than the limit is refused."""
    return "yes" if any(ask(peer, started).status_code == 429 for _ in range(LIMIT + 1)) else "no"


def examine(measured: Measured, client: httpx.Client) -> None:
    """Start a peer several times, and try on the last one what it does besides answering."""
    for _ in range(STARTS - 1):
        with running(measured, client):
            pass
    with running(measured, client) as (started, _):
        measured.checks_key = check_key(measured.peer, started)
        measured.keeps_state = change_a_figure(measured.peer, started)
        measured.counts_limit = exceed_limit(measured.peer, started)


def load_round(measured: Measured, started: Running, seconds: float) -> None:
    """Load a peer for a while; its best round counts."""
    try:
        shown = load(started.url, measured.peer.path, seconds=seconds, key=KEY)
    except subprocess.CalledProcessError as error:
        raise CannotMeasure(f"under load it failed: {error.stderr.splitlines()[-1]}") from error
    if set(shown.statuses) != {200}:
        raise CannotMeasure(f"under load it answered {shown.statuses}")
    if measured.best is None or shown.rate > measured.best.rate:
        measured.best = shown


def resident_mb(group: int) -> float:
    """Return the resident set of a process group in megabytes."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
    processes = (map(int, line.split()) for line in listed.splitlines())
    return sum(kilobytes for of, kilobytes in processes if of == group) / 1024


def load_in_turns(everybody: Sequence[Measured], client: httpx.Client, rounds: int, seconds: float) -> None:
    """Start all peers and load them in turns."""
    with ExitStack() as stack:
        groups: dict[str, tuple[Running, int]] = {}
        for measured in everybody:
            if not measured.reason:
                with reasons_noted(measured):
                    up = running(measured, client, measured.peer.load_options)
                    groups[measured.peer.name] = stack.enter_context(up)
        for _ in range(rounds):
            for measured in everybody:
                if not measured.reason:
                    with reasons_noted(measured):
                        started, group = groups[measured.peer.name]
                        load_round(measured, started, seconds)
                        measured.memory_mb = resident_mb(group)


def machine() -> str:
    """Say what it was measured on."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else []
    tools = [
        first_line(name, option)
        for name, option in (("node", "--version"), ("java", "--version"))
        if shutil.which(name)
    ]
    model = models[0] if models else platform.processor() or platform.machine()
    return ", ".join([f"{os.cpu_count()} cores of {model}", f"Python {platform.python_version()}", *tools])


def first_line(name: str, option: str) -> str:
    """Return what a tool says of its version."""
    line = subprocess.run([name, option], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"Node.js {line.removeprefix('v')}" if name == "node" else line


def publish(everybody: Sequence[Measured], where: str, rounds: int) -> None:
    """Write the table between the markers of the page."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(measured.cells() for measured in everybody)]
    lines = ["| " + " | ".join(markdown(cell) for cell in row) + " |" for row in rows]
    text = f"{datetime.now(UTC).date()}, best of {rounds} rounds, on {where}:\n\n" + "\n".join(lines)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    print(f"  and to {PAGE.name}")


def markdown(cell: object) -> str:
    """Return a cell's text: three digits are all that a measurement is worth."""
    if not isinstance(cell, float):
        return str(cell).replace("|", "\\|")
    return f"{cell:.2f}" if cell < 10 else f"{cell:,.1f}" if cell < 100 else f"{cell:,.0f}"


def main() -> None:
    """Install, examine, load, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the peers are installed and kept; default: a temporary one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the peers too
    # A client that keeps no connection meets none that a server has closed in the meantime.
    limits = httpx.Limits(max_keepalive_connections=0)
    with tempfile.TemporaryDirectory() as temporary, httpx.Client(trust_env=False, limits=limits, timeout=10) as client:
        folder = (arguments.folder or Path(temporary)).absolute()
        everybody = [Measured(peer, folder / re.sub(r"\W", "-", peer.name.lower())) for peer in peers()]
        print("installing", flush=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(install_or_note, everybody))
        for measured in everybody:
            if not measured.reason:
                print(f"starting {measured.peer.name}", flush=True)
                with reasons_noted(measured):
                    examine(measured, client)
        print("loading", flush=True)
        load_in_turns(everybody, client, arguments.rounds, arguments.seconds)
    where = machine()
    table(f"16 connections, best of {arguments.rounds} rounds", COLUMNS, [measured.cells() for measured in everybody])
    write("peers", {"measured_on": where, "peers": [measured.as_json() for measured in everybody]})
    publish(everybody, where, arguments.rounds)


def install_or_note(measured: Measured) -> None:
    """Install a peer, or note why not."""
    with reasons_noted(measured):
        install(measured)


if __name__ == "__main__":
    main()
