"""Run a command with a server around it, and pass on its signals and its exit code."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from cstar_mock.serving.server_process import VARIABLES, serve

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


class _Command:
    """The command, and the signals that are passed on to it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], environment: dict[str, str]) -> int:
        try:
            self.process = subprocess.Popen(command, env=environment)  # noqa: S603  (the user's own command)
        except OSError as error:
            raise CommandNotRun(command[0], error) from None
        return self.process.wait()

    @contextmanager
    def getting_signals(self) -> Iterator[None]:
        """Pass signals on to the command; before it runs, they end this process.

        One that was ignored when we were started, as under nohup, stays so for both.
        """

        def pass_on(number: int, _frame: FrameType | None) -> None:
            if self.process is None:
                raise SystemExit(128 + number)
            if number != signal.SIGINT or not _in_the_foreground():
                self.process.send_signal(number)

        before = {
            number: signal.signal(number, pass_on)
            for number in _PASSED_ON
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def execute(command: Sequence[str], options: Sequence[str]) -> int:
    """Run a command while a server runs on a free port, and return its exit code; 128 + n if signal n ended it.

    Args:
        command: the command and its arguments.
        options: options of `cstar-mock serve`.

    Raises:
        CommandNotRun: there is no such command.
        NotStarted: the server did not start.
    """
    running = _Command()
    with running.getting_signals(), serve(*options) as server:
        # A key of the real service in the environment is neither for this server nor for this command.
        outside = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        code = running.run(command, {**outside, **server.environment()})
    return code if code >= 0 else 128 - code


def _in_the_foreground() -> bool:
    """Whether Ctrl-C at a terminal reaches the command by itself, so that it must not get it a second time."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
