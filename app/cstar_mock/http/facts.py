"""The facts of a request, read once: on our own server, once for all requests with the same bytes."""

from collections.abc import Sequence
from sys import getsizeof
from typing import NamedTuple, TypeAlias

from starlette.types import Scope

from cstar_mock.http.routes import ANALYTICS
from cstar_mock.traffic.authentication import key_digest
from cstar_mock.traffic.journal import shown, shown_headers

FACTS = "cstar_mock.facts"
"""The name of the facts in the state of an ASGI scope."""

Client: TypeAlias = tuple[str, int] | None
"""The address and the port that a request came from, if they are known."""

_ENDPOINTS = frozenset(("overview", "agents", "whoami"))
_FOR_OTHERS = frozenset((b"origin", b"x-forwarded-for"))
"""Headers that the middleware around the application reads."""


class RequestFacts(NamedTuple):
    """The facts of one request.

    Attributes:
        method: as it was sent.
        path: without percent-encoding.
        query_string: as it was sent.
        key: the digest of the key that it was sent with; None for no key.
        shown_path: the path as it may be recorded and logged.
        shown_query: the query as it may be recorded.
        endpoint: `overview`, `agents` or `whoami`, if the path ends so.
        team_id: the team in the path, if it is that of an analytics endpoint.
        headers: as they may be recorded.
        size: bytes of `shown_path`, `shown_query` and `headers`.
        has_preference: whether there is a `Prefer`.
        is_for_others: whether a header is for the middleware around the application.
    """

    method: str
    path: str
    query_string: bytes
    key: bytes | None
    shown_path: str
    shown_query: str
    endpoint: str | None
    team_id: str | None
    headers: tuple[tuple[str, str], ...]
    size: int
    has_preference: bool
    is_for_others: bool


def read(method: str, path: str, query_string: bytes, headers: Sequence[tuple[bytes, bytes]]) -> RequestFacts:
    """Return the facts of a request.

    Args:
        method: its method.
        path: without percent-encoding.
        query_string: as it was sent.
        headers: with names in lower case.
    """
    names = {name for name, _ in headers}
    shown_path = shown(path)
    shown_query = shown(query_string.decode("latin-1")) if query_string else ""
    endpoint = shown_path.rsplit("/", 1)[-1]
    analytics = ANALYTICS.fullmatch(path)
    recorded, size = shown_headers(headers)
    return RequestFacts(
        method,
        path,
        query_string,
        key_digest(headers),
        shown_path,
        shown_query,
        endpoint if endpoint in _ENDPOINTS else None,
        analytics[1] if analytics else None,
        recorded,
        size + getsizeof(shown_path) + getsizeof(shown_query),
        b"prefer" in names,
        not _FOR_OTHERS.isdisjoint(names),
    )


def facts_of(scope: Scope) -> RequestFacts:
    """Return the facts of a request, given by its ASGI scope."""
    state = scope.setdefault("state", {})
    facts: RequestFacts | None = state.get(FACTS)
    if facts is None:
        facts = state[FACTS] = read(scope["method"], scope["path"], scope["query_string"], scope["headers"])
    return facts
