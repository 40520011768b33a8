"""A server that a command starts: `uvx cstar-mock`, a command of pipx, a container."""

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_START_SECONDS = 120
"""Seconds until the server of a command must be ready: it may have to be downloaded first."""
_END_SECONDS = 10


class NotStarted(RuntimeError):
    """The server did not start."""


@contextmanager
def started(command: str, options: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run `COMMAND serve` on a free port until the end of the block, and return the content of its ready file.

    Args:
        command: what runs cstar-mock, as in a shell; no shell runs it.
        options: further options of `serve`.

    Raises:
        NotStarted: the command can't be run or ended, or the server was not ready within two minutes.
    """
    with tempfile.TemporaryDirectory(prefix="cstar-mock-") as folder:
        ready_file = Path(folder, "ready.json")
        arguments = [
            *(*shlex.split(command), "serve", "--port", "0", "--log-level", "warning", *options),
            *("--ready-file", str(ready_file), "--exit-on-stdin-eof"),
        ]
        try:
            # A separate session: Ctrl-C is for the tests, which then end the server.
            process = subprocess.Popen(  # noqa: S603  (the user's own command)
                arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise NotStarted(f"can't run {arguments[0]}: {error.strerror}") from None
        try:
            yield _wait(process, ready_file, shlex.join(arguments))
        finally:
            _end(process)


def _wait(process: "subprocess.Popen[bytes]", ready_file: Path, command: str) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            content: dict[str, Any] = json.loads(ready_file.read_text(encoding="utf-8"))
            return content
        if process.poll() is not None:
            raise NotStarted(f"`{command}` ended with {process.returncode}; standard error says why")
        time.sleep(0.01)
    raise NotStarted(f"`{command}` was not ready within {_START_SECONDS} seconds")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the server's standard input, which ends it; a command that goes on gets signals."""
    assert process.stdin is not None  # noqa: S101  (a pipe, see above)
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    process.wait()
