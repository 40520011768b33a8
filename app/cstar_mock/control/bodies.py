"""Bodies of the control API: JSON whose number of values is bounded, as each of them can be a problem to report."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from cstar_mock import bounds


class ControlRoute(APIRoute):
    """A route of the control API."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which gets a request that bounds its JSON."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            return await handle(_BoundedRequest(request.scope, request.receive))

        return handle_bounded


def unannounced(request: Request) -> str:
    """Say that a body is not announced as JSON."""
    given = request.headers.get("Content-Type", "none")[:100]
    return f"the body must be JSON, with Content-Type: application/json; it has {given}"


class _BoundedRequest(Request):
    async def json(self) -> Any:
        """Return the body as Python values.

        Raises:
            JSONDecodeError: the body is not JSON.
            HTTPException: 400; it is not announced as JSON, or has too many objects and fields.
        """
        if "Content-Type" not in self.headers:  # older releases of FastAPI take it for JSON
            raise HTTPException(HTTPStatus.BAD_REQUEST, unannounced(self))
        values = 0

        def count(fields: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal values
            values += 1 + len(fields)
            if values > bounds.MOST_BODY_VALUES:
                raise HTTPException(
                    HTTPStatus.BAD_REQUEST,
                    f"the body has more than {bounds.MOST_BODY_VALUES:,} objects and fields: send it in parts",
                )
            return dict(fields)

        return json.loads(await self.body(), object_pairs_hook=count)
