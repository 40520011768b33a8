"""A server in a separate process, started with the standard library alone."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_SECONDS = 60
_END_SECONDS = 10
_SERVER = """
import json, sys
root, others = json.loads(sys.argv.pop(1))
if root not in sys.path:
    sys.path.insert(0, root)
sys.path += [entry for entry in others if entry not in sys.path]
from cstar_mock.serving.server_process import end_when_alone
end_when_alone()
from cstar_mock.cli import main
main()
"""
"""The program of the server's process: the package of this process, beside the installed ones.

Everything else that can be imported here is found there last, so that no module of the tests' own, or of the working
directory, takes the place of one that the server needs."""


VARIABLES = (
    "CSTAR_BASE_URL",
    "CSTAR_ADMIN_URL",
    "CSTAR_ADMIN_TOKEN",
    "CSTAR_TEAM_ID",
    "CSTAR_API_KEY",
    "CSTAR_PUBLISHABLE_KEY",
)
"""The environment variables that tell a program where a server is and how to call it."""


class NotStarted(RuntimeError):
    """The server did not start.

    Attributes:
        exit_code: how it ended, after it said why on standard error; None if it was only too slow.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        ready: the content of its ready file.
    """

    ready: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The URL: `http://127.0.0.1:PORT`."""
        return str(self.ready["url"])

    def environment(self) -> dict[str, str]:
        """Return the environment variables by which a program in any language finds and calls the server."""
        variables = {"CSTAR_BASE_URL": self.url}
        if self.ready["admin_url"] is not None:
            variables["CSTAR_ADMIN_URL"] = self.ready["admin_url"]
        if self.ready["admin_token"] is not None:
            variables["CSTAR_ADMIN_TOKEN"] = self.ready["admin_token"]
        if self.ready["teams"]:
            team = self.ready["teams"][0]
            variables["CSTAR_TEAM_ID"] = team["id"]
            for name, prefix in (("CSTAR_API_KEY", "sk_live"), ("CSTAR_PUBLISHABLE_KEY", "pk_live")):
                if team["keys"][prefix] is not None:
                    variables[name] = team["keys"][prefix]
        return variables


@contextmanager
def serve(*options: str) -> Iterator[ServerProcess]:
    """Run `cstar-mock serve` on a free port until the end of the block.

    Args:
        options: further options of `serve`; log lines from warnings on go to standard error by default.

    Raises:
        NotStarted: it ended before it was ready, or was not ready within a minute.
    """
    with tempfile.TemporaryDirectory(prefix="cstar-mock-") as folder:
        ready_file = Path(folder, "ready.json")
        command = [
            *("serve", "--port", "0", "--log-level", "warning"),
            *(*options, "--ready-file", str(ready_file)),
        ]
        # A separate session: Ctrl-C is for the tests, which then end the server. Its standard input is a pipe that
        # closes with this process, however that ends: so no server is left behind by one that was killed.
        process = subprocess.Popen(  # noqa: S603  (our own command)
            [*_python(), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101  (a pipe, two lines above)
        try:
            yield ServerProcess(_wait(process, ready_file, command))
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdin.close()


def _python() -> list[str]:
    # Without -P, the working directory would come first on the path.
    flag = "-I" if sys.flags.isolated else "-P"
    root = Path(__file__).absolute().parent.parent.parent
    others = [str(Path(entry).absolute()) for entry in sys.path]
    return [sys.executable, flag, "-c", _SERVER, json.dumps([str(root), others])]


def end_when_alone() -> None:
    """End this process when the process at the other end of its standard input has ended."""
    threading.Thread(target=_end_after, args=(_read_to_the_end,), daemon=True).start()


def end_with_parent() -> None:
    """End this process, which multiprocessing has started, when its parent has ended in any way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _read_to_the_end() -> None:
    while os.read(0, 4096):
        pass


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_SECONDS)
    os._exit(1)


def _wait(process: subprocess.Popen[bytes], ready_file: Path, command: Sequence[str]) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            content: dict[str, Any] = json.loads(ready_file.read_text(encoding="utf-8"))
            return content
        if process.poll() is not None:
            said = "it said why on standard error"
            raise NotStarted(
                f"`cstar-mock {' '.join(command)}` ended with {process.returncode}; {said}", process.returncode
            )
        time.sleep(0.01)
    raise NotStarted("the server was not ready within a minute")
