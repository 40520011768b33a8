"""`cstar-mock exec`: to the outside it is the command that it runs."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import zipapp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.plugin.conftest import EXEC, Run, assert_nothing_left, environment, servers

from cstar_mock import VERSION

COUNTS_SIGNALS = """
import pathlib, signal, sys, time
numbers = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _frame: numbers.append(number))
pathlib.Path("running").touch()
deadline = time.monotonic() + 30
while not numbers and time.monotonic() < deadline:
    time.sleep(0.02)
time.sleep(0.5)
print(*numbers, flush=True)
sys.exit(7)
"""


@contextmanager
def started(tmp_path: Path, temporary: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*EXEC, "--", *command],
        cwd=tmp_path,
        env=environment(temporary),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(what: Path) -> None:
    deadline = time.monotonic() + 60
    while not what.exists():
        assert time.monotonic() < deadline, f"{what.name} did not come"
        time.sleep(0.02)


def wait_for_no_server(temporary: Path) -> None:
    deadline = time.monotonic() + 15
    while servers(temporary):
        assert time.monotonic() < deadline, "a server is left"
        time.sleep(0.05)


def test_the_command_finds_the_server_and_its_own_options_are_its_own(run: Run, temporary: Path) -> None:
    code = (
        "import os, sys, urllib.request as u; e = os.environ; print(sys.argv[1:]);"
        "key = {'Authorization': 'Bearer ' + e['CSTAR_API_KEY']};"
        "ask = lambda path: u.urlopen(u.Request(path, headers=key)).status;"
        "print(ask(e['CSTAR_BASE_URL'] + '/api/v1/teams/' + e['CSTAR_TEAM_ID'] + '/analytics/overview'));"
        "print(ask(e['CSTAR_ADMIN_URL'] + '/health')); print(e['CSTAR_PUBLISHABLE_KEY'], e.get('CSTAR_ADMIN_TOKEN'))"
    )
    done = run(*EXEC, "--", sys.executable, "-c", code, "--dataset", "x", "--help")
    assert done.stdout.splitlines() == ["['--dataset', 'x', '--help']", "200", "200", "pk_live_your_key None"]
    assert (done.returncode, done.stderr) == (0, "")
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_options_are_those_of_serve_and_keys_of_the_real_service_stay_outside(run: Run) -> None:
    """A team without a key in clear must not be called with the one that stands in the environment."""
    show = 'echo "$CSTAR_API_KEY $CSTAR_TEAM_ID $CSTAR_ADMIN_URL"; exit 3'
    options = ("--dataset", "busy", "--no-control")
    done = run(*EXEC, *options, "--", "sh", "-c", show, CSTAR_API_KEY="sk_live_real", CSTAR_ADMIN_URL="http://real")
    key, team, *admin = done.stdout.split()
    assert key.startswith("sk_live_")
    assert (key != "sk_live_real", len(team), admin, done.returncode) == (True, 36, [], 3)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--", "sh", "-c", "kill -TERM $$"], 143, ""),
        (["--", "no-such-command", "x"], 127, "can't run no-such-command: No such file or directory"),
        (["--", "/etc/passwd"], 126, "can't run /etc/passwd: Permission denied"),
        (["--dataset", "nosuch", "--", "true"], 1, "no data set 'nosuch': give busy, documented"),
        (["--journal-size", "many", "--", "true"], 1, "--journal-size: 'many' is not allowed"),
        (["--no-such-option", "--", "true"], 2, "No such option '--no-such-option'"),
        (["--ready-file", "x", "--", "true"], 2, "--ready-file: exec tells its command"),
        ([], 2, "Missing argument"),
    ],
)
def test_codes_and_failures_in_one_line(run: Run, temporary: Path, arguments: list[str], code: int, told: str) -> None:
    done = run(*EXEC, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"cstar-mock: {told}" if told else ""), done.stderr
    assert done.stderr.count("\n") == bool(told)
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_the_command_decides(
    tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    with started(tmp_path, temporary, sys.executable, "-c", COUNTS_SIGNALS) as process:
        wait_for(tmp_path / "running")
        assert len(servers(temporary)) == 1
        process.send_signal(number)
        assert process.communicate(timeout=30)[0].split() == [str(int(number))]
        assert process.returncode == 7
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path, temporary: Path) -> None:
    """The terminal sends it to the whole group: a second one would break pytest's teardown off."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = [*EXEC, "--", sys.executable, "-c", COUNTS_SIGNALS]
        os.execve(sys.executable, command, environment(temporary))  # noqa: S606
    try:
        wait_for(tmp_path / "running")
        os.write(terminal, b"\x03")
        shown = b""
        while b"\n" not in shown:
            shown += os.read(terminal, 1000)
        assert shown.replace(b"^C", b"").split() == [b"2"]
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 7
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_a_signal_while_the_server_starts_ends_both(tmp_path: Path, temporary: Path) -> None:
    with started(tmp_path, temporary, "true") as process:
        deadline = time.monotonic() + 30
        while not servers(temporary):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    wait_for_no_server(temporary)  # a signal in the middle of a fork leaves it to the end of its standard input
    assert_nothing_left(temporary)


def test_even_if_it_is_killed_no_server_is_left(tmp_path: Path, temporary: Path) -> None:
    with started(tmp_path, temporary, "sh", "-c", "touch running; sleep 5") as process:
        wait_for(tmp_path / "running")
        assert len(servers(temporary)) == 1
        process.kill()
        wait_for_no_server(temporary)


def test_what_was_ignored_stays_ignored(run: Run) -> None:
    """As under nohup: the command goes on when the terminal is closed."""
    done = run(
        "sh", "-c", 'trap "" HUP; exec "$@"', "sh", *EXEC, "--", "sh", "-c", "kill -HUP $PPID $$; sleep 0.1; echo on"
    )
    assert (done.stdout, done.returncode) == ("on\n", 0)


VERSION_OF_SERVER = (
    "import json, os; from urllib.request import urlopen;"
    "print(json.load(urlopen(os.environ['CSTAR_BASE_URL'] + '/openapi.json'))['info']['version'])"
)


@pytest.mark.parametrize("name", ["limits", "secrets", "yaml", "queue", "cstar_mock"])
def test_a_module_in_the_working_directory_is_not_imported(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    script = Path(sys.executable).with_name("cstar-mock")
    done = run(str(script), "exec", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zipapp of the package, with a version of its own; what it needs is installed."""
    folder = tmp_path_factory.mktemp("zipapp")
    package = folder / "content" / "cstar_mock"
    shutil.copytree(ROOT / "app" / "cstar_mock", package, ignore=shutil.ignore_patterns("__pycache__"))
    for data in ("seed", "migrations"):
        shutil.copytree(ROOT / data, package / data, ignore=shutil.ignore_patterns("__pycache__"))
    init = package / "__init__.py"
    init.write_text(init.read_text().replace(f'VERSION = "{VERSION}"', 'VERSION = "0.0.0+zipapp"'))
    zipapp.create_archive(folder / "content", folder / "cstar-mock.pyz", main="cstar_mock.cli:main")
    return folder / "cstar-mock.pyz"


@pytest.mark.usefixtures("traced")
def test_exec_of_a_zipapp_runs_the_server_that_is_in_it(archive: Path, run: Run, temporary: Path) -> None:
    done = run(sys.executable, str(archive), "exec", "--", sys.executable, "-c", VERSION_OF_SERVER)
    assert (done.stdout, done.stderr, done.returncode) == ("0.0.0+zipapp\n", "", 0)
    assert_nothing_left(temporary)


@pytest.mark.usefixtures("traced")
def test_a_server_for_tests_is_the_one_that_they_import(archive: Path, run: Run, temporary: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from cstar_mock.testing import server\n"
        f"with server() as started: os.environ['CSTAR_BASE_URL'] = started.url; {VERSION_OF_SERVER}"
    )
    done = run(sys.executable, "-c", code, str(archive))
    assert (done.stdout, done.stderr, done.returncode) == ("0.0.0+zipapp\n", "", 0)
    assert_nothing_left(temporary)
