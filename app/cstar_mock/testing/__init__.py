"""cstar-mock for tests in Python: a server, and a team of one's own in it.

    from cstar_mock.testing import server

    with server() as cstar_server, cstar_server.team() as cstar:
        cstar.given(overview={"tickets": {"total": 142, "open": 23, "resolved": 89}})
        ...

With pytest, the fixture `cstar` does the same. Needs the extra: `pip install 'cstar-mock[pytest]'`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cstar_mock.process import ServerProcess, serve
    from cstar_mock.testing.control import Refused, Unreachable
    from cstar_mock.testing.requests import Requests
    from cstar_mock.testing.servers import Server, in_process, server
    from cstar_mock.testing.team import Clock, Faults, RateLimits, Team

__all__ = [
    "Clock",
    "Faults",
    "RateLimits",
    "Refused",
    "Requests",
    "Server",
    "ServerProcess",
    "Team",
    "Unreachable",
    "in_process",
    "serve",
    "server",
]

_MODULES = ("cstar_mock.testing.team", "cstar_mock.testing.servers", "cstar_mock.process")


def __getattr__(name: str) -> Any:
    # pytest imports this package to find the plugin in it: that must not import an HTTP client.
    if name in __all__:
        for module in map(import_module, _MODULES):
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
