"""The names of routes and methods in logs and metrics: few, whatever clients send."""

import re
from collections.abc import Mapping

OTHER = "other"

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ROUTES: Mapping[str, str] = {
    "/api/v1/auth/whoami": "whoami",
    "/healthz": "health",
    "/readyz": "health",
    "/metrics": "metrics",
    "/docs": "docs",
    "/openapi.json": "docs",
    "/": "docs",
}
ANALYTICS = re.compile(r"/api/v1/teams/([^/]+)/analytics/(overview|agents)")
"""A path of the Analytics API: the team, and the endpoint."""


def route_of(path: str) -> str:
    """Return the name of the route that a path belongs to, or `other`."""
    found = _ROUTES.get(path)
    if found is not None:
        return found
    analytics = ANALYTICS.fullmatch(path)
    if analytics is not None:
        return analytics[2]
    if path.startswith("/__admin") and path[8:9] in {"", "/"}:
        return "control"
    return "docs" if path.startswith("/docs/") else OTHER


def method_of(method: str) -> str:
    """Return a method, or `other` if HTTP does not define it."""
    return method if method in _METHODS else OTHER
