"""The pytest plugin: active as soon as it is installed, free of cost until a fixture is used.

Nothing of cstar-mock but its version is imported before a fixture needs it.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cstar_mock.testing.servers import Server
    from cstar_mock.testing.team import Team

_CONTENT = ("answers", "clock", "dataset", "environment", "name", "slug")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's settings."""
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
    if where == "asgi" and config.getini("cstar_server_options"):
        raise pytest.UsageError("cstar_server_options are for a server in a process of its own, not for 'asgi'")
    config.addinivalue_line(
        "markers",
        "cstar(**content): what the team of the fixture cstar is created from: dataset='busy', answers={...}, "
        "clock='2025-12-10T14:30:00Z', environment='live', name=..., slug=...",
    )


@pytest.fixture(scope="session")
def cstar_server(pytestconfig: pytest.Config) -> "Iterator[Server]":
    """A cstar-mock server for the whole session; the one around it if `cstar-mock exec` started one."""
    from cstar_mock.testing.servers import connected, in_process, running_already, server  # noqa: PLC0415

    around = running_already()
    if pytestconfig.getini("cstar_server") == "asgi":
        context = in_process()
    elif around is not None:
        context = connected(*around)
    else:
        context = server(*pytestconfig.getini("cstar_server_options"))
    with context as running:
        yield running


@pytest.fixture
def cstar(request: pytest.FixtureRequest, cstar_server: "Server") -> "Iterator[Team]":
    """A team of the test's own, with keys, rows, clock, faults, limits and journal that no other test touches."""
    with cstar_server.team(**_content(request)) as team:
        yield team


def _content(request: pytest.FixtureRequest) -> "dict[str, Any]":
    """Return what the marker says; the one of the test wins over those of its class and module.

    Raises:
        UsageError: it says something that a team can't be created from.
    """
    marker = request.node.get_closest_marker("cstar")
    if marker is None:
        return {}
    unknown = [repr(value) for value in marker.args] + [name for name in marker.kwargs if name not in _CONTENT]
    if unknown:
        raise pytest.UsageError(f"@pytest.mark.cstar takes {', '.join(_CONTENT)} by name, not {', '.join(unknown)}")
    return dict(marker.kwargs)
