"""The vocabulary of the control API, as types: a type checker finds misspelt words."""

from typing import Literal, TypeAlias, TypedDict

Environment: TypeAlias = Literal["live", "test"]
KeyType: TypeAlias = Literal["secret", "publishable"]
KeyPrefix: TypeAlias = Literal["sk_live", "sk_test", "pk_live", "pk_test"]
Period: TypeAlias = Literal["day", "week", "month", "quarter", "year"]
Endpoint: TypeAlias = Literal["overview", "agents", "whoami"]
ErrorName: TypeAlias = Literal[
    "authentication_required",
    "secret_key_required",
    "team_access_denied",
    "rate_limit_exceeded",
    "parameter_invalid",
    "request_malformed",
    "resource_missing",
    "method_not_allowed",
    "request_timeout",
    "content_too_large",
    "uri_too_long",
    "headers_too_large",
    "internal_error",
    "service_unavailable",
]
ConnectionFault: TypeAlias = Literal[
    "CONNECTION_RESET_BY_PEER", "EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK", "RANDOM_DATA_THEN_CLOSE"
]
RowKind: TypeAlias = Literal["members", "customers", "tickets", "csat_responses", "csat-responses"]
"""A kind of rows, spelt as in Python or as in the control API's paths."""


class Match(TypedDict, total=False):
    """The requests that a fault rule matches; omitted fields match every request."""

    endpoint: Endpoint
    keyType: KeyType
    environment: Environment
    period: Period
    key: str
