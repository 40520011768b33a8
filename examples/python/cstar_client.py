"""A small client of cStar's Analytics API: typed errors, and retries that a server can steer."""

import random
import time
from collections.abc import Callable
from typing import Any, Self

import httpx2

RETRIED = frozenset((429, 500, 502, 503, 504))
FIRST_WAIT = 0.2
"""Seconds before the first retry where the server does not say; doubles each time."""


class CStarError(Exception):
    """Whatever goes wrong with a call.

    CStarError
    ├── ConnectionFailed    no whole answer came, however often it was asked for
    └── ApiError            the API answered with an error
        ├── AuthenticationRequired   401
        ├── PermissionDenied         403
        ├── InvalidRequest           400, 404, 405
        ├── RateLimited              429
        └── ServerError              5xx
    """


class ConnectionFailed(CStarError):
    """No whole answer came, however often it was asked for."""


class ApiError(CStarError):
    """The API answered with an error.

    Attributes:
        status: the HTTP status.
        code: `error.code` of the body, if the body is the documented one.
        request_id: what to tell the support.
    """

    def __init__(self, status: int, code: str | None, message: str, request_id: str | None) -> None:
        self.status = status
        self.code = code
        self.request_id = request_id
        super().__init__(f"{status} {code}: {message} ({request_id})")


class AuthenticationRequired(ApiError):
    """The key is missing, wrong, expired or revoked."""


class PermissionDenied(ApiError):
    """The key may not do this."""


class InvalidRequest(ApiError):
    """The request can't be answered as it is."""


class RateLimited(ApiError):
    """Too many requests, and still too many after all retries."""


class ServerError(ApiError):
    """The API failed, and still did after all retries."""


_BY_STATUS = {401: AuthenticationRequired, 403: PermissionDenied, 429: RateLimited}


class CStarClient:
    """A client for one team.

    Args:
        base_url: where the API is.
        team_id: whose figures.
        api_key: a secret key.
        retries: how often a failed call is repeated.
        timeout: seconds until a call that is not answered counts as failed.
        longest_wait: seconds; `Retry-After` is honoured up to here, beyond it the call fails at once.
        sleep: what waits.
    """

    def __init__(
        self,
        base_url: str,
        team_id: str,
        api_key: str,
        *,
        retries: int = 3,
        timeout: float = 10,
        longest_wait: float = 30,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.retries = retries
        self.longest_wait = longest_wait
        self._sleep = sleep
        self._http = httpx2.Client(
            base_url=f"{base_url}/api/v1/teams/{team_id}/analytics",
            headers={"Authorization": f"Bearer {api_key}", "Accept": "application/json"},
            timeout=timeout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def overview(self, period: str | None = None) -> dict[str, Any]:
        """Return tickets, customers and satisfaction of a period, by default the week."""
        data: dict[str, Any] = self._get("/overview", {} if period is None else {"period": period})
        return data

    def agents(self) -> list[dict[str, Any]]:
        """Return the statistics of every agent."""
        agents: list[dict[str, Any]] = self._get("/agents", {})
        return agents

    def _get(self, path: str, query: dict[str, str]) -> Any:
        """Get the data of an answer, with retries.

        Raises:
            ConnectionFailed: no whole answer came.
            ApiError: the API answered with an error.
        """
        for attempt in range(self.retries + 1):
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.5, 1)  # noqa: S311  (not for secrets)
            try:
                response = self._http.get(path, params=query)
                if response.is_success:
                    return response.json()["data"]
            except (httpx2.TransportError, ValueError) as error:
                failure: CStarError = ConnectionFailed(f"{type(error).__name__}: {error}")
                failure.__cause__ = error
            else:
                failure = _failure(response)
                wait = _retry_after(response, wait)
                if response.status_code not in RETRIED:
                    raise failure
            if attempt == self.retries or wait > self.longest_wait:
                raise failure
            self._sleep(wait)
        raise AssertionError  # the last attempt returns or raises


def _failure(response: httpx2.Response) -> ApiError:
    try:
        error = response.json()["error"]
        details = error["code"], error["message"], error["request_id"]
    except (ValueError, KeyError, TypeError):
        details = None, response.reason_phrase, response.headers.get("X-Request-Id")
    kind = _BY_STATUS.get(response.status_code, ServerError if response.status_code >= 500 else InvalidRequest)
    return kind(response.status_code, *details)


def _retry_after(response: httpx2.Response, otherwise: float) -> float:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return otherwise
