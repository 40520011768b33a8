"""cstar-mock for tests in Python: a server, and a team on it for each test.

    from cstar_mock.testing import server

    with server() as cstar_server, cstar_server.team() as cstar:
        cstar.given(overview={"tickets": {"total": 142, "open": 23, "resolved": 89}})
        ...

With pytest, the fixture `cstar` does the same.

This package is the distribution pytest-cstar-mock, which also works without cstar-mock: with a running server, or one
that a command starts. So it imports nothing else of `cstar_mock`, unless the server is to run in this environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cstar_mock.serving.server_process import ServerProcess, serve
    from cstar_mock.testing.command import NotStarted
    from cstar_mock.testing.control import Refused, Unreachable
    from cstar_mock.testing.requests import Requests
    from cstar_mock.testing.servers import Server, connected, in_process, server
    from cstar_mock.testing.team import Clock, Faults, RateLimits, Team
    from cstar_mock.testing.vocabulary import (
        ConnectionFault,
        Endpoint,
        Environment,
        ErrorName,
        KeyPrefix,
        KeyType,
        Match,
        Period,
        RowKind,
    )

__all__ = [
    "Clock",
    "ConnectionFault",
    "Endpoint",
    "Environment",
    "ErrorName",
    "Faults",
    "KeyPrefix",
    "KeyType",
    "Match",
    "NotStarted",
    "Period",
    "RateLimits",
    "Refused",
    "Requests",
    "RowKind",
    "Server",
    "ServerProcess",
    "Team",
    "Unreachable",
    "connected",
    "in_process",
    "serve",
    "server",
]

_MODULES = {
    "cstar_mock.testing.command": ("NotStarted",),
    "cstar_mock.testing.control": ("Refused", "Unreachable"),
    "cstar_mock.testing.requests": ("Requests",),
    "cstar_mock.testing.servers": ("Server", "connected", "in_process", "server"),
    "cstar_mock.testing.team": ("Clock", "Faults", "RateLimits", "Team"),
    "cstar_mock.testing.vocabulary": (
        *(
            "ConnectionFault",
            "Endpoint",
            "Environment",
            "ErrorName",
            "KeyPrefix",
            "KeyType",
            "Match",
            "Period",
            "RowKind",
        ),
    ),
    "cstar_mock.serving.server_process": ("ServerProcess", "serve"),
}


def __getattr__(name: str) -> Any:
    # pytest imports this package to find the plugin in it: that must not import an HTTP client.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
