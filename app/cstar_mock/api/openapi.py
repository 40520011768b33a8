"""The OpenAPI descriptions of the endpoints; the errors come from the catalogue."""

from typing import Any

from cstar_mock.api.envelope import envelope
from cstar_mock.contract import clock, errors, ids
from cstar_mock.contract.errors import ApiError, ErrorKind
from cstar_mock.contract.periods import DEFAULT
from cstar_mock.settings import Settings

REQUEST_ID = "req_abc123"
TIMESTAMP = clock.parse_instant("2025-12-10T14:30:00Z")
BEARER = "bearerKey"
SERVER = {"url": "/", "description": "The server that this document comes from."}
TAGS = {
    "Analytics": "Figures of a team's tickets, customers and CSAT responses.",
    "Authentication": "What a key is and may do.",
}
DOCUMENTED_TEAM = "acme"
"""The slug of the team in the data set `documented`: with its id, `/docs` can be tried without changes."""

PERIOD_PARAMETER: dict[str, Any] = {
    "name": "period",
    "in": "query",
    "required": False,
    "description": "How far to look back from now: 24 hours, 7, 30, 90 or 365 days.",
    "schema": {"$ref": "#/components/schemas/Period", "default": DEFAULT.value},
    "example": DEFAULT.value,
}
TEAM_ID_PARAMETER: dict[str, Any] = {
    "name": "teamId",
    "in": "path",
    "required": True,
    "description": "The team's UUID.",
    "schema": {"type": "string", "format": "uuid"},
    "example": ids.team_id(DOCUMENTED_TEAM),
}

SECURITY_SCHEME: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key: `sk_live_…` or `sk_test_…` (secret), `pk_live_…` or `pk_test_…` (publishable).",
}

_DOCUMENTED: dict[str, Any] = {
    "overview": {
        "success": True,
        "data": {
            "object": "analytics_overview",
            "period": "week",
            "tickets": {"total": 142, "open": 23, "resolved": 89},
            "customers": {"total": 450, "active": 120, "new": 15},
            "csat": {"average": 4.2, "totalResponses": 67},
        },
    },
    "agents": {
        "success": True,
        "data": [
            {
                "object": "agent_stats",
                "userId": "usr_abc",
                "name": "Jane",
                "ticketsResolved": 45,
                "avgResponseTime": 12.5,
                "csatAverage": 4.8,
            }
        ],
    },
    "whoami": {
        "success": True,
        "data": {
            "teamId": ids.team_id(DOCUMENTED_TEAM),
            "teamName": "Acme Corp",
            "teamSlug": DOCUMENTED_TEAM,
            "keyType": "secret",
            "environment": "live",
        },
    },
}


def _header(description: str, example: Any, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema, "example": example}


_REQUEST_ID_HEADER = {
    "X-Request-Id": _header("The request's id.", "req_abc123DEF456", type="string", pattern="^req_[A-Za-z0-9]{12}$")
}
_RATE_LIMIT_HEADERS = {
    "X-RateLimit-Limit": _header("Requests a window.", 1000, type="integer", minimum=1),
    "X-RateLimit-Remaining": _header("Requests left in this window.", 999, type="integer", minimum=0),
    "X-RateLimit-Reset": _header("When the window ends, in Unix seconds.", 1765378800, type="integer"),
    "X-RateLimit-Window": _header("Length of a window in seconds.", 3600, type="integer", minimum=1),
}
_OWN_HEADERS = {
    401: {"WWW-Authenticate": _header("The challenge.", "Bearer", type="string", const="Bearer")},
    429: {"Retry-After": _header("Seconds until the window ends.", 1800, type="integer", minimum=1)},
    503: {"Retry-After": _header("Seconds to wait.", 1, type="integer", minimum=1)},
}
_PERHAPS_NOT_COUNTED = {401, 500, 503}
"""Statuses that may come before the request is counted, so that they promise no `X-RateLimit-*`."""

_ANY_KEY_ERRORS = (
    errors.AUTHENTICATION_REQUIRED,
    errors.RATE_LIMIT_EXCEEDED,
    errors.INTERNAL_ERROR,
    errors.SERVICE_UNAVAILABLE,
)
_SECRET_KEY_ERRORS = (*_ANY_KEY_ERRORS, errors.SECRET_KEY_REQUIRED, errors.TEAM_ACCESS_DENIED)

ERROR_SCHEMAS: dict[str, Any] = {
    "ErrorResponse": {
        "type": "object",
        "title": "ErrorResponse",
        "description": "The envelope of every answer that is not a 200.",
        "required": ["success", "error", "meta"],
        "properties": {
            "success": {"type": "boolean", "const": False},
            "error": {"$ref": "#/components/schemas/ErrorDetail"},
            "meta": {"$ref": "#/components/schemas/ErrorMeta"},
        },
    },
    "ErrorDetail": {
        "type": "object",
        "title": "ErrorDetail",
        "description": "What went wrong.",
        "required": ["type", "code", "message", "doc_url", "request_id"],
        "properties": {
            "type": {"type": "string", "enum": sorted({kind.type for kind in errors.CATALOGUE.values()})},
            "code": {"type": "string", "enum": sorted({kind.code for kind in errors.CATALOGUE.values()})},
            "message": {"type": "string"},
            "param": {"type": "string", "description": "The parameter at fault, if one is."},
            "doc_url": {"type": "string", "format": "uri"},
            "request_id": {"type": "string"},
        },
    },
    "ErrorMeta": {
        "type": "object",
        "title": "ErrorMeta",
        "description": "When it went wrong.",
        "required": ["timestamp"],
        "properties": {"timestamp": {"type": "string", "format": "date-time"}},
    },
}


def example(kind: ErrorKind) -> dict[str, Any]:
    """Return the envelope of an error as the documents show it."""
    return errors.envelope(ApiError(kind, **errors.example_particulars(kind)), REQUEST_ID, TIMESTAMP)


def secured_by_key(*parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the additions to an operation's description: the bearer key, and its parameters."""
    return {"security": [{BEARER: []}], "parameters": list(parameters)}


def responses(name: str, data: Any, settings: Settings) -> dict[int | str, dict[str, Any]]:
    """Return all responses of the operation `overview`, `agents` or `whoami`, whose 200 carries `data`."""
    kinds: tuple[ErrorKind, ...] = _ANY_KEY_ERRORS if name == "whoami" else _SECRET_KEY_ERRORS
    if name == "overview":
        kinds = (*kinds, errors.PARAMETER_INVALID)
    if not settings.rate_limits:
        kinds = tuple(kind for kind in kinds if kind is not errors.RATE_LIMIT_EXCEEDED)
    ok = dict(_DOCUMENTED[name])
    if settings.success_meta:
        ok["meta"] = {"requestId": REQUEST_ID, "timestamp": clock.iso(TIMESTAMP)}
    described: dict[int | str, dict[str, Any]] = {
        200: {
            "model": envelope(data, meta=settings.success_meta),
            "description": "The answer.",
            "headers": _headers(200, settings),
            "content": {"application/json": {"example": ok}},
        }
    }
    for status in sorted({kind.status for kind in kinds}):
        of_status = [kind for kind in kinds if kind.status == status]
        described[status] = {
            "description": " Or: ".join(kind.meaning for kind in of_status),
            "headers": _headers(status, settings),
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/ErrorResponse"},
                    "examples": {kind.name: {"value": example(kind)} for kind in of_status},
                }
            },
        }
    return described


def _headers(status: int, settings: Settings) -> dict[str, Any]:
    counted = settings.rate_limits and status not in _PERHAPS_NOT_COUNTED
    if status == errors.RATE_LIMIT_EXCEEDED.status and settings.unauthorized_limit:
        counted = False  # An address that has to wait is answered before any key is known.
    return {
        **_REQUEST_ID_HEADER,
        **(_RATE_LIMIT_HEADERS if counted else {}),
        **_OWN_HEADERS.get(status, {}),
    }
