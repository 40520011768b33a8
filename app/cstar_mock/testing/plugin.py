"""The pytest plugin: active as soon as it is installed, free of cost until a fixture is used.

Nothing of cstar-mock but its version is imported before a fixture needs it.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cstar_mock.testing.server import Server
    from cstar_mock.testing.team import Team


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's settings."""
    parser.addini(
        "cstar_server",
        help="where the fixture cstar_server runs: 'process' (default; a free port) or 'asgi' (no socket)",
        default="process",
    )
    parser.addini("cstar_server_options", help="options of `cstar-mock serve`", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "cstar(**content): what the team of the fixture cstar is created from: dataset='busy', answers={...}, "
        "clock='2025-12-10T14:30:00Z', environment='live'",
    )


@pytest.fixture(scope="session")
def cstar_server(pytestconfig: pytest.Config) -> "Iterator[Server]":
    """A cstar-mock server for the whole session; the one around it if `cstar-mock exec` started one."""
    from cstar_mock.testing.server import connected, in_process, running_already, server  # noqa: PLC0415

    around = running_already()
    where = pytestconfig.getini("cstar_server")
    if where not in {"process", "asgi"}:
        raise pytest.UsageError(f"cstar_server is 'process' or 'asgi', not {where!r}")
    if around is not None:
        context = connected(*around)
    elif where == "asgi":
        context = in_process()
    else:
        context = server(*pytestconfig.getini("cstar_server_options"))
    with context as running:
        yield running


@pytest.fixture
def cstar(request: pytest.FixtureRequest, cstar_server: "Server") -> "Iterator[Team]":
    """A team of the test's own, with keys, rows, clock, faults, limits and journal that no other test touches."""
    marker = request.node.get_closest_marker("cstar")
    with cstar_server.team(**(marker.kwargs if marker else {})) as team:
        yield team
