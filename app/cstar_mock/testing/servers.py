"""A server for tests: in a separate process, in this process, or a running one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cstar_mock.testing.command import NotStarted, started
from cstar_mock.testing.control import Control, HttpSender, Refused
from cstar_mock.testing.datasets import first_team, is_path
from cstar_mock.testing.team import Rules, Team, as_list, known_environment
from cstar_mock.testing.tracebacks import fail_at_the_caller
from cstar_mock.testing.vocabulary import Environment

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_UNREACHABLE_URL = "http://cstar-mock.invalid"
"""The origin of an application in this process: a name that RFC 6761 reserves to never resolve."""


@fail_at_the_caller
class Server:
    """A server to take teams from.

    Attributes:
        url: its origin.
        app: the ASGI application if it runs in this process, for `httpx.ASGITransport`; else None.
    """

    def __init__(self, url: str, control: Control, app: "ASGIApp | None" = None) -> None:
        self.url = url
        self.app = app
        self._control = control

    def create_team(
        self,
        *,
        environment: Environment = "test",
        dataset: "str | os.PathLike[str] | Mapping[str, Any] | None" = None,
        faults: Rules | None = None,
        rate_limits: Mapping[str, Any] | None = None,
        **content: Any,
    ) -> Team:
        """Create a team: `create_team(dataset="busy")`, `create_team(clock="2025-12-10T14:30:00Z")`.

        Args:
            environment: which of its two environments the test is about.
            dataset: the name of a data set of the server, the path of a file, or the content itself.
            faults: its fault rules.
            rate_limits: its rate limits.
            content: `name`, `slug`, `answers`, `clock`, as `POST /__admin/teams` takes them.

        Raises:
            Refused: the content is not allowed, or contradicts itself.
            ValueError: there is no such environment, or the data set's file can't be read.
        """
        known_environment(environment)
        file = Path(dataset) if is_path(dataset) else None  # type: ignore[arg-type]
        if dataset is not None:
            content["dataset"] = dataset if file is None else first_team(file)
        if faults is not None:
            content["faults"] = as_list(faults)
        if rate_limits is not None:
            content["rateLimits"] = dict(rate_limits)
        try:
            created: Mapping[str, Any] = self._control.call("POST", "/teams", content)
        except Refused as refused:
            if file is None:
                raise
            raise Refused(refused.status, f"{file}: {refused}") from None
        return Team(self._control, self.url, created, environment)

    @contextmanager
    def team(self, **content: Any) -> Iterator[Team]:
        """Create a team as `create_team` does, and delete it at the end of the block, unless that has been done."""
        created = self.create_team(**content)
        try:
            yield created
        finally:
            try:
                created.delete()
            except Refused as refused:
                if refused.status != HTTPStatus.NOT_FOUND:
                    raise

    def reset(self) -> None:
        """Reset every team to its initial content."""
        self._control.call("POST", "/reset")


@contextmanager
def server(*options: str, command: str | None = None) -> Iterator[Server]:
    """Run a server until the end of the block, without a data set unless an option names one.

    Args:
        options: options of `cstar-mock serve`.
        command: what runs cstar-mock, such as `uvx cstar-mock`; by default the one of this environment.

    Raises:
        NotStarted: the server did not start.
    """
    given = options if "--dataset" in options else ("--dataset", "empty", *options)
    running = _started_here(given) if command is None else started(command, given)
    with running as ready, connected(ready["url"], ready["admin_token"]) as connection:
        yield connection


@contextmanager
def _started_here(options: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    _require_cstar_mock()
    from cstar_mock.serving import server_process  # noqa: PLC0415  (of the other distribution)

    with ExitStack() as stack:
        try:
            running = stack.enter_context(server_process.serve(*options))
        except server_process.NotStarted as error:
            raise NotStarted(str(error)) from None
        yield running.ready


def _require_cstar_mock() -> None:
    if find_spec("cstar_mock.serving") is None:
        raise NotStarted(
            "cstar-mock is not installed in this environment: install it, or name a server of another one by "
            "--cstar-url or --cstar-command, without pytest by connected(URL) or server(command=…)"
        )


@contextmanager
def connected(url: str, token: str | None = None) -> Iterator[Server]:
    """Use a running server.

    Raises:
        ValueError: the URL is not the origin of an HTTP server.
    """
    sender = HttpSender(url, token)
    yield Server(sender.url, Control(sender))


def running_already() -> "tuple[str, str | None] | None":
    """Return URL and token of the server that `cstar-mock exec` has started around this process, if it has."""
    url = os.environ.get("CSTAR_BASE_URL")
    if url is None or "CSTAR_ADMIN_URL" not in os.environ:
        return None
    return url, control_token()


def control_token() -> str | None:
    """Return the control token that the environment names."""
    return os.environ.get("CSTAR_ADMIN_TOKEN") or None


@contextmanager
def in_process(**settings: Any) -> Iterator[Server]:
    """Make an application in this process, without a socket, until the end of the block.

    Args:
        settings: settings of `cstar-mock serve`: `in_process(rate_limits=False)`.

    Raises:
        NotStarted: cstar-mock is not installed in this environment.
    """
    _require_cstar_mock()
    from starlette.testclient import TestClient  # noqa: PLC0415  (not needed for a server in another process)

    from cstar_mock import create_app  # noqa: PLC0415
    from cstar_mock.settings import Settings  # noqa: PLC0415

    app = create_app(Settings(**settings))
    # The control API answers to a loopback Host only. The URL that tests get is one that no ordinary client can reach.
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def send(method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
            response = client.request(method, target, content=body, headers={"Content-Type": "application/json"})
            return response.status_code, response.content

        yield Server(_UNREACHABLE_URL, Control(send), app)
