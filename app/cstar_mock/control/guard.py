"""Access to the control API.

On a loopback address any program of this machine has access, but no web page: `Origin` shows a page, and `Host` one
that has rebound its own name to this machine (DNS rebinding). With a token, or on any other address, a client needs
the token.
"""

import hmac
import ipaddress
from http import HTTPStatus
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.contract.errors import ApiError
from cstar_mock.control.problems import problem
from cstar_mock.traffic.authentication import digest
from cstar_mock.traffic.lockout import Lockout


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:  # brackets that do not close
        return ""


class Guard:
    """Refuses clients without access to the control API, before any route is looked up."""

    def __init__(self, app: ASGIApp, token: SecretStr | None, lockout: Lockout) -> None:
        self.app = app
        self.lockout = lockout
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            request = Request(scope)
            try:
                if self.token is None:
                    refused = self._without_token(request)
                else:
                    refused = await self._with_token(request, self.token)
            except ApiError as error:
                response = problem(HTTPStatus(error.kind.status), error.message)
                response.headers.update(error.headers)
                await response(scope, receive, send)
                return
            if refused is not None:
                status, detail = refused
                response = problem(status, detail)
                if status == HTTPStatus.UNAUTHORIZED:
                    response.headers["WWW-Authenticate"] = "Bearer"
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _without_token(self, request: Request) -> tuple[HTTPStatus, str] | None:
        if not is_loopback(_host(request)):
            return HTTPStatus.FORBIDDEN, "the Host header names another machine; the control API is for this one"
        return self._foreign_origin(request)

    async def _with_token(self, request: Request, token: SecretStr) -> tuple[HTTPStatus, str] | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")

        async def compare() -> bool | None:
            known = hmac.compare_digest(given.encode(), token.get_secret_value().encode())
            return (scheme.lower() == "bearer" and known) or None

        if not given or not await self.lockout.test(request.scope["client"], digest(given), compare):
            return HTTPStatus.UNAUTHORIZED, "send the control token: Authorization: Bearer <token>"
        return self._foreign_origin(request)

    @staticmethod
    def _foreign_origin(request: Request) -> tuple[HTTPStatus, str] | None:
        # Images, scripts and links of other pages make requests without Origin.
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            return HTTPStatus.FORBIDDEN, "the control API is not for web pages of another site or port (Sec-Fetch-Site)"
        origin = request.headers.get("origin")
        if origin is None or origin == f"{request.url.scheme}://{request.headers.get('host')}":
            return None
        return HTTPStatus.FORBIDDEN, "the control API is not for web pages of another origin"
