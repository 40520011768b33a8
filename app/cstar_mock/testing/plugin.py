"""The pytest plugin: active once it is installed, without cost until a fixture is used.

Nothing of cstar-mock is imported before a fixture needs it.
"""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from cstar_mock.testing.servers import Server
    from cstar_mock.testing.team import Team

_T = TypeVar("_T")
_CONTENT = ("answers", "clock", "dataset", "environment", "faults", "name", "rate_limits", "slug")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options and settings."""
    group = parser.getgroup("cstar-mock")
    url_help = "origin of a running server; its control token is taken from CSTAR_ADMIN_TOKEN"
    command_help = "what runs cstar-mock, such as 'uvx cstar-mock'; by default the cstar-mock of this environment"
    group.addoption("--cstar-url", metavar="URL", help=url_help)
    group.addoption("--cstar-command", metavar="COMMAND", help=command_help)
    parser.addini("cstar_url", help=url_help, default="")
    parser.addini("cstar_command", help=command_help, default="")
    parser.addini(
        "cstar_server",
        help="where the fixture cstar_server runs: 'process' (default; a free port) or 'asgi' (no socket)",
        default="process",
    )
    parser.addini("cstar_server_options", help="options of `cstar-mock serve`", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse settings that make no sense.

    Raises:
        UsageError: a setting is not allowed.
    """
    where = config.getini("cstar_server")
    if where not in {"process", "asgi"}:
        raise pytest.UsageError(f"cstar_server is 'process' or 'asgi', not {where!r}")
    elsewhere = [f"cstar_{name}" for name in ("url", "command") if _named(config, name)]
    if where == "asgi" and (elsewhere or config.getini("cstar_server_options")):
        raise pytest.UsageError(
            f"{(elsewhere or ['cstar_server_options'])[0]} is for a server in a separate process, not for 'asgi'"
        )
    if len(elsewhere) > 1:
        raise pytest.UsageError("give cstar_url, or cstar_command: a server either runs already or is started")
    config.addinivalue_line(
        "markers",
        "cstar(**content): what the team of the fixture cstar is created from: dataset='busy' or 'my.yaml', "
        "answers={...}, clock='2025-12-10T14:30:00Z', faults=[...], rate_limits={...}, environment='live', name=..., "
        "slug=...",
    )


@pytest.fixture(scope="session")
def cstar_server(pytestconfig: pytest.Config) -> "Iterator[Server]":
    """A cstar-mock server for the whole session: a named one, the one of `cstar-mock exec`, or a new one."""
    with _entered(lambda: _server(pytestconfig)) as running:
        yield running


@pytest.fixture
def cstar(request: pytest.FixtureRequest, cstar_server: "Server") -> "Iterator[Team]":
    """A team for the test alone, with its own keys, rows, clock, faults, limits and journal."""
    with _entered(lambda: cstar_server.team(**_content(request))) as team:
        yield team


@contextmanager
def _entered(make: "Callable[[], AbstractContextManager[_T]]") -> "Iterator[_T]":
    """Enter a context; a failure that the user can fix is one sentence, without our source."""
    from cstar_mock.testing.command import NotStarted  # noqa: PLC0415
    from cstar_mock.testing.control import Refused, Unreachable  # noqa: PLC0415

    with ExitStack() as stack:
        try:
            entered = stack.enter_context(make())
        except (NotStarted, Refused, Unreachable, ValueError, pytest.UsageError) as error:
            pytest.fail(str(error), pytrace=False)
        yield entered


def _named(config: pytest.Config, name: str) -> str:
    """Return the URL or the command of the server; options of the command line win over settings."""
    if config.getoption("cstar_url") or config.getoption("cstar_command"):
        return config.getoption(f"cstar_{name}") or ""
    return str(config.getini(f"cstar_{name}"))


def _server(config: pytest.Config) -> "AbstractContextManager[Server]":
    from cstar_mock.testing import servers  # noqa: PLC0415

    if config.getini("cstar_server") == "asgi":
        return servers.in_process()
    url, command = _named(config, "url"), _named(config, "command")
    by_option = config.getoption("cstar_url") or config.getoption("cstar_command")
    around = None if by_option else servers.running_already()
    if around is not None:
        return servers.connected(*around)
    if url:
        return servers.connected(url, servers.control_token())
    return servers.server(*config.getini("cstar_server_options"), command=command or None)


def _content(request: pytest.FixtureRequest) -> "dict[str, Any]":
    """Return the arguments of the marker; the test's wins over those of its class and module.

    The path of a data set is relative to the folder of the test's file.

    Raises:
        UsageError: it says something that a team can't be created from.
    """
    from cstar_mock.testing.datasets import is_path  # noqa: PLC0415

    marker = request.node.get_closest_marker("cstar")
    if marker is None:
        return {}
    unknown = [repr(value) for value in marker.args] + [name for name in marker.kwargs if name not in _CONTENT]
    if unknown:
        raise pytest.UsageError(f"@pytest.mark.cstar takes {', '.join(_CONTENT)} by name, not {', '.join(unknown)}")
    content = dict(marker.kwargs)
    if is_path(content.get("dataset")):
        content["dataset"] = request.path.parent / content["dataset"]
    return content
