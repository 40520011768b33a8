"""The control API of one server, over a connection that reads no proxy and no certificate from the environment."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit
from uuid import UUID

Send: TypeAlias = Callable[[str, str, bytes | None], tuple[int, bytes]]
"""Sends a request (method, target, JSON body) and returns status and body of the response."""

_SECONDS = 30


class Refused(Exception):
    """The control API refused a request; the message says which field, which value, and why.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class Unreachable(ConnectionError):
    """The server gave no answer."""


class HttpSender:
    """Sends each request over a new connection, so that threads can share it and no connection becomes stale.

    Raises:
        ValueError: the URL is not the origin of an HTTP server.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"the URL of a server is http://HOST:PORT, not {url!r}")
        self.url = f"http://{parts.netloc}"
        self._address = parts.hostname, parts.port
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """Send a request and return status and body of the response.

        Raises:
            Unreachable: no answer came.
        """
        connection = HTTPConnection(*self._address, timeout=_SECONDS)
        try:
            connection.request(method, target, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"no answer from {self.url}: {type(error).__name__}: {error}") from None
        finally:
            connection.close()


class Control:
    """The control API of one server."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Send a request and return the content of the response.

        Args:
            method: the HTTP method.
            path: the path below `/__admin`, percent-encoded.
            body: the body, sent as JSON.
            query: the query parameters; None values are left out.

        Raises:
            Refused: the response is an error.
            Unreachable: no response came.
            ValueError: the body has an instant without a time zone.
            TypeError: the body has a value that can't be written as JSON.
        """
        given = {name: _text(value) for name, value in query.items() if value is not None}
        target = f"/__admin{path}" + (f"?{urlencode(given)}" if given else "")
        content = None if body is None else json.dumps(body, default=_as_json).encode()
        status, answer = self._send(method, target, content)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return json.loads(answer) if answer else None
        hint = " (the fixtures take it from CSTAR_ADMIN_TOKEN)" if status == HTTPStatus.UNAUTHORIZED else ""
        raise Refused(status, f"{method} {path}: {_detail(status, answer)}{hint}")


def _as_json(value: Any) -> Any:
    """Return the JSON form of a value that JSON does not have.

    Raises:
        ValueError: an instant without a time zone, which would be another one on the next machine.
        TypeError: JSON has nothing for it.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r} has none")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"JSON has no {type(value).__name__}: {value!r}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _detail(status: int, answer: bytes) -> str:
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}, and not an error of cstar-mock's control API: is the server's URL right?"
