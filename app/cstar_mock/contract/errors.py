"""The errors of the API: one catalogue, one exception, one envelope.

The catalogue is the only place that knows a status, code or message. The exception handlers, the OpenAPI
document, the fault rules and `docs/errors.md` read it.

    Exception
    ├── ApiError                            an answer of the catalogue, with its particulars
    │   └── Unavailable                     something that the server needs can't be reached (503)
    │       ├── StoreUnavailable            the database
    │       └── StateUnavailable            the shared state
    └── slowapi.errors.RateLimitExceeded    raised by `rate_limit`, answered as RATE_LIMIT_EXCEEDED
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cstar_mock.contract import clock

_DEVELOPERS = "https://www.cstar.help/developers"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of error: the values of its envelope, and their source.

    Attributes:
        name: how tests, fault rules and the docs call it.
        status: the HTTP status.
        type: `error.type`.
        code: `error.code`.
        message: `error.message`; `{seconds}`, `{parameter}`, … are filled in for each request.
        doc_url: `error.doc_url`.
        meaning: when it is answered.
        source: `doc`, `site` or `ours`, as in the contract.
    """

    name: str
    status: int
    type: str
    code: str
    message: str
    doc_url: str
    meaning: str
    source: str


AUTHENTICATION_REQUIRED = ErrorKind(
    name="authentication_required",
    status=401,
    type="authentication_error",
    code="authentication_required",
    message="Invalid or expired API key",
    doc_url=f"{_DEVELOPERS}/api-reference#authentication",
    meaning="The key is missing, malformed, unknown, revoked or expired.",
    source="doc",
)
SECRET_KEY_REQUIRED = ErrorKind(
    name="secret_key_required",
    status=403,
    type="authorization_error",
    code="insufficient_permissions",
    message="Secret key required for this endpoint",
    doc_url=f"{_DEVELOPERS}/api-reference#authentication",
    meaning="A publishable key was used where only a secret key may.",
    source="doc",
)
TEAM_ACCESS_DENIED = ErrorKind(
    name="team_access_denied",
    status=403,
    type="authorization_error",
    code="insufficient_permissions",
    message="API key does not have access to this team",
    doc_url=f"{_DEVELOPERS}/api-reference#authentication",
    meaning="The team in the path is not the key's, or does not exist: which of the two is not revealed.",
    source="doc, wording ours",
)
RATE_LIMIT_EXCEEDED = ErrorKind(
    name="rate_limit_exceeded",
    status=429,
    type="rate_limit_error",
    code="rate_limit_exceeded",
    message="Rate limit exceeded. Try again in {seconds} {unit}",
    doc_url=f"{_DEVELOPERS}/api-reference#rate-limiting",
    meaning="The key has used up its requests in this window; `Retry-After` says when the next one begins.",
    source="doc",
)
PARAMETER_INVALID = ErrorKind(
    name="parameter_invalid",
    status=400,
    type="invalid_request_error",
    code="parameter_invalid",
    message="Invalid value for '{parameter}': {value}. Allowed values: {allowed}",
    doc_url=f"{_DEVELOPERS}/errors#parameter_invalid",
    meaning="A parameter has a value that is not allowed, or is repeated.",
    source="type site, code ours",
)
REQUEST_MALFORMED = ErrorKind(
    name="request_malformed",
    status=400,
    type="invalid_request_error",
    code="parameter_invalid",
    message="The request is not valid HTTP: {reason}",
    doc_url=f"{_DEVELOPERS}/errors#parameter_invalid",
    meaning="What came over the connection could not be read as an HTTP request.",
    source="ours",
)
RESOURCE_MISSING = ErrorKind(
    name="resource_missing",
    status=404,
    type="not_found_error",
    code="resource_missing",
    message="No such route",
    doc_url=f"{_DEVELOPERS}/errors#resource_missing",
    meaning="No route has this path.",
    source="type site, code ours",
)
METHOD_NOT_ALLOWED = ErrorKind(
    name="method_not_allowed",
    status=405,
    type="invalid_request_error",
    code="method_not_allowed",
    message="Method {method} is not allowed for this route. Allowed methods: {allowed}",
    doc_url=f"{_DEVELOPERS}/errors#method_not_allowed",
    meaning="The route exists, but not for this method; `Allow` lists those it has.",
    source="ours",
)
REQUEST_TIMEOUT = ErrorKind(
    name="request_timeout",
    status=408,
    type="invalid_request_error",
    code="request_timeout",
    message="The request did not arrive in time",
    doc_url=f"{_DEVELOPERS}/errors#request_timeout",
    meaning="The first line and headers took more than 10 seconds, or for 10 seconds nothing of the body came.",
    source="ours",
)
CONTENT_TOO_LARGE = ErrorKind(
    name="content_too_large",
    status=413,
    type="invalid_request_error",
    code="content_too_large",
    message="The request's body is larger than {limit} bytes",
    doc_url=f"{_DEVELOPERS}/errors#content_too_large",
    meaning="The body is larger than 64 KiB or, for the control API, 32 MiB.",
    source="ours",
)
URI_TOO_LONG = ErrorKind(
    name="uri_too_long",
    status=414,
    type="invalid_request_error",
    code="uri_too_long",
    message="The request's path and query are longer than 8192 bytes",
    doc_url=f"{_DEVELOPERS}/errors#uri_too_long",
    meaning="Path and query together are longer than 8 KiB.",
    source="ours",
)
HEADERS_TOO_LARGE = ErrorKind(
    name="headers_too_large",
    status=431,
    type="invalid_request_error",
    code="headers_too_large",
    message="The request's headers are more than 100, or larger than 32768 bytes",
    doc_url=f"{_DEVELOPERS}/errors#headers_too_large",
    meaning="There are more than 100 headers, or they are larger than 32 KiB together with path and query.",
    source="ours",
)
INTERNAL_ERROR = ErrorKind(
    name="internal_error",
    status=500,
    type="api_error",
    code="internal_error",
    message="An unexpected error occurred. Quote the request id when you report it",
    doc_url=f"{_DEVELOPERS}/errors#internal_error",
    meaning="The server failed; its log has the reason under the request id.",
    source="type site, code ours",
)
SERVICE_UNAVAILABLE = ErrorKind(
    name="service_unavailable",
    status=503,
    type="api_error",
    code="service_unavailable",
    message="The service is temporarily unavailable. Try again in {seconds} {unit}",
    doc_url=f"{_DEVELOPERS}/errors#service_unavailable",
    meaning="The store or the shared state can't be reached at the moment, or too many connections are open.",
    source="ours",
)

CATALOGUE: Mapping[str, ErrorKind] = {
    kind.name: kind
    for kind in (
        AUTHENTICATION_REQUIRED,
        SECRET_KEY_REQUIRED,
        TEAM_ACCESS_DENIED,
        RATE_LIMIT_EXCEEDED,
        PARAMETER_INVALID,
        REQUEST_MALFORMED,
        RESOURCE_MISSING,
        METHOD_NOT_ALLOWED,
        REQUEST_TIMEOUT,
        CONTENT_TOO_LARGE,
        URI_TOO_LONG,
        HEADERS_TOO_LARGE,
        INTERNAL_ERROR,
        SERVICE_UNAVAILABLE,
    )
}

UNAVAILABLE_SECONDS = 1
"""Seconds that a 503 asks to wait: the next request finds an engine that is back."""


class ApiError(Exception):
    """An answer of the catalogue.

    Attributes:
        kind: the entry of the catalogue.
        message: `error.message`, filled in.
        param: `error.param`, the parameter at fault, if one is [site].
        headers: response headers that belong to the error.
    """

    def __init__(
        self,
        kind: ErrorKind,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        **particulars: object,
    ) -> None:
        self.kind = kind
        self.message = kind.message.format(**particulars)
        self.param = param
        self.headers = dict(headers or {})
        super().__init__(self.message)


class Unavailable(ApiError):
    """Something that the server needs can't be reached, did not answer in time, or refuses its service.

    Attributes:
        what: what it is.
        problem: what is wrong with it, as a predicate: `is read-only`.
    """

    what: str

    def __init__(self, problem: str = "can't be reached") -> None:
        self.problem = problem
        super().__init__(SERVICE_UNAVAILABLE, **_soon())

    @property
    def sentence(self) -> str:
        """The problem in a sentence, for the control API and the log."""
        return f"{self.what} {self.problem}"

    @property
    def reason(self) -> str:
        """The first line of the engine's or the client library's own words."""
        cause = getattr(self.__cause__, "orig", None) or self.__cause__
        lines = str(cause or "").strip().splitlines()
        return lines[0] if lines else "no answer"


class StoreUnavailable(Unavailable):
    """The database can't be reached, did not answer in time, or refuses its service."""

    what = "the store"


class StateUnavailable(Unavailable):
    """The shared state can't be reached, or did not answer in time."""

    what = "the shared state"


def authentication_required() -> ApiError:
    """Return the 401, with the challenge that RFC 9110 asks for."""
    return ApiError(AUTHENTICATION_REQUIRED, headers={"WWW-Authenticate": "Bearer"})


def too_many_requests(seconds: int) -> ApiError:
    """Return the 429 of a client that has to wait for a number of seconds."""
    return ApiError(RATE_LIMIT_EXCEEDED, headers={"Retry-After": str(seconds)}, **waiting(seconds))


def unavailable() -> ApiError:
    """Return the 503 of a server that has too many connections."""
    return ApiError(SERVICE_UNAVAILABLE, **_soon())


def _soon() -> dict[str, Any]:
    return {"headers": {"Retry-After": str(UNAVAILABLE_SECONDS)}, **waiting(UNAVAILABLE_SECONDS)}


def waiting(seconds: int) -> dict[str, Any]:
    """Return the particulars of a message that names a number of seconds: `1 second`, `60 seconds`."""
    return {"seconds": seconds, "unit": "second" if seconds == 1 else "seconds"}


def envelope(error: ApiError, request_id: str, now: clock.Instant) -> dict[str, Any]:
    """Return the documented error body, its keys in the documented order [doc].

    Args:
        error: what to say.
        request_id: the request's id, the one in `X-Request-Id`.
        now: the instant that `meta.timestamp` gives: the team's, or real time if no team is known.
    """
    kind = error.kind
    body: dict[str, Any] = {"type": kind.type, "code": kind.code, "message": error.message}
    if error.param is not None:
        body["param"] = error.param
    body["doc_url"] = kind.doc_url
    body["request_id"] = request_id
    return {"success": False, "error": body, "meta": {"timestamp": clock.iso(now)}}


def envelope_bytes(error: ApiError, request_id: str, now: clock.Instant) -> bytes:
    """Return the documented error body as JSON."""
    return json.dumps(envelope(error, request_id, now), separators=(",", ":")).encode()


def example_particulars(kind: ErrorKind, seconds: int | None = None) -> dict[str, Any]:
    """Return the particulars of an error that did not happen: for a document, or a fault rule.

    Args:
        kind: the error.
        seconds: the number that a message about waiting names; by default the documented one.
    """
    if kind is PARAMETER_INVALID:
        return {
            "param": "period",
            "parameter": "period",
            "value": "'fortnight'",
            "allowed": "day, week, month, quarter, year",
        }
    if kind is METHOD_NOT_ALLOWED:
        return {"method": "POST", "allowed": "GET"}
    if kind is REQUEST_MALFORMED:
        return {"reason": "it has no Host header"}
    if kind is CONTENT_TOO_LARGE:
        return {"limit": 65536}
    return waiting(seconds or (UNAVAILABLE_SECONDS if kind is SERVICE_UNAVAILABLE else 60))


class UnknownName(LookupError):
    """There is no team, key, rule or request of that name."""
