"""cstar-mock for tests in Python: a server, and a team of one's own in it.

    from cstar_mock.testing import server

    with server() as cstar_server, cstar_server.team() as cstar:
        cstar.given(overview={"tickets": {"total": 142, "open": 23, "resolved": 89}})
        ...

With pytest, the fixture `cstar` does the same. Needs the extra: `pip install 'cstar-mock[pytest]'`.
"""

from cstar_mock.process import ServerProcess, serve
from cstar_mock.testing.server import Server, in_process, server
from cstar_mock.testing.team import Clock, Faults, RateLimits, Refused, Requests, Team

__all__ = [
    "Clock",
    "Faults",
    "RateLimits",
    "Refused",
    "Requests",
    "Server",
    "ServerProcess",
    "Team",
    "in_process",
    "serve",
    "server",
]
