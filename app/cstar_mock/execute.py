"""Run a command with a server around it, and be to the outside what the command is: signals in, exit code out."""

import os
import signal
import subprocess
from collections.abc import Sequence
from types import FrameType

from cstar_mock.process import serve

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # what a shell returns


class CommandNotRun(Exception):
    """The command could not be started.

    Attributes:
        exit_code: what a shell would return.
    """

    def __init__(self, command: str, error: OSError) -> None:
        self.exit_code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        super().__init__(f"can't run {command}: {error.strerror}")


def execute(command: Sequence[str], options: Sequence[str]) -> int:
    """Run a command while a server runs on a free port, and return its exit code; 128 + n if signal n ended it.

    Args:
        command: the command and its arguments.
        options: options of `cstar-mock serve`.

    Raises:
        CommandNotRun: there is no such command.
        NotStarted: the server did not start.
    """
    with serve(*options) as server:
        try:
            process = subprocess.Popen(command, env={**os.environ, **server.environment()})  # noqa: S603  (the user's)
        except OSError as error:
            raise CommandNotRun(command[0], error) from None

        def pass_on(number: int, _frame: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
