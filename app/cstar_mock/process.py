"""A server in a process of its own, with nothing but the standard library."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_SECONDS = 60
_END_SECONDS = 10


class NotStarted(RuntimeError):
    """The server did not start; the message is what it said."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        ready: the content of its ready file.
    """

    ready: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Where it is: `http://127.0.0.1:PORT`."""
        return str(self.ready["url"])

    def environment(self) -> dict[str, str]:
        """Return the variables that tell a program, in any language, where the server is and how to call it."""
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
            *(sys.executable, "-m", "cstar_mock", "serve"),
            *("--port", "0", "--log-level", "warning", *options, "--ready-file", str(ready_file)),
        ]
        # A session of its own: Ctrl-C is for the tests, which then end the server.
        process = subprocess.Popen(  # noqa: S603  (our own command)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield ServerProcess(_wait(process, ready_file, command))
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], ready_file: Path, command: Sequence[str]) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            content: dict[str, Any] = json.loads(ready_file.read_text(encoding="utf-8"))
            return content
        if process.poll() is not None:
            raise NotStarted(f"`{' '.join(command[1:])}` ended with {process.returncode}; it said why above")
        time.sleep(0.01)
    raise NotStarted("the server was not ready within a minute")
