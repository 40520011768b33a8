"""The control API's errors: problem+json (RFC 9457), not cStar's envelope."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cstar_mock import bounds
from cstar_mock.contract.errors import Unavailable, UnknownName
from cstar_mock.contract.redaction import redacted
from cstar_mock.control.bodies import unannounced
from cstar_mock.datasets.problems import DatasetError, problems_of_request
from cstar_mock.http.context import context_of
from cstar_mock.http.request_log import log_unavailable
from cstar_mock.store.engine_errors import StoreConflict
from cstar_mock.store.rows import RowsRefused, UnknownRow

_log = logging.getLogger("cstar_mock.control")


class FieldProblem(BaseModel):
    """A problem with one field."""

    field: str = Field(description="The way to the field: `overview.csat.average`, `[3].resolvedAt`.")
    message: str


class ProblemDetails(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


_FINDINGS_PER_PROBLEM = 10

MEDIA_TYPE = "application/problem+json"


class Conflict(Exception):
    """A well-formed request that contradicts the present state."""

    def __init__(self, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        self.errors = errors
        super().__init__(detail)


def described(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of the problems that a route can answer."""
    return {
        status.value: {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE, *statuses})
    }


def problem(status: HTTPStatus, detail: str, errors: Sequence[tuple[str, str]] = ()) -> Response:
    """Return a problem as a response."""
    details = ProblemDetails(
        title=status.phrase,
        status=status,
        detail=_shown(detail),
        errors=[
            FieldProblem(field=_shown(field), message=_shown(message))
            for field, message in errors[: bounds.MOST_PROBLEMS]
        ],
    )
    return JSONResponse(details.model_dump(), status, media_type=MEDIA_TYPE)


def _shown(text: str) -> str:
    """Return a text that quotes a request as it can be sent: keys are redacted, lone surrogates escaped."""
    return redacted(text).encode(errors="backslashreplace").decode()


def install(app: FastAPI) -> None:
    """Let the control API answer every exception with a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DatasetError, _dataset_error)
    app.add_exception_handler(RowsRefused, _rows_refused)
    app.add_exception_handler(Conflict, _conflict)
    app.add_exception_handler(StoreConflict, _store_conflict)
    app.add_exception_handler(UnknownName, _not_found)
    app.add_exception_handler(UnknownRow, _not_found)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _crash)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (Starlette's handlers take any exception)
    if isinstance(error.body, bytes):  # FastAPI parses a body only if it is announced as JSON
        return problem(HTTPStatus.BAD_REQUEST, unannounced(request))
    # Several branches of a union can each find a problem of the same field.
    problems = problems_of_request(islice(error.errors(), _FINDINGS_PER_PROBLEM * bounds.MOST_PROBLEMS))
    contradictory = all(found.contradiction for found in problems)
    return problem(
        HTTPStatus.CONFLICT if contradictory else HTTPStatus.BAD_REQUEST,
        str(problems[0]),
        [(found.path, found.message) for found in problems],
    )


async def _dataset_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DatasetError)  # noqa: S101
    return problem(HTTPStatus.CONFLICT, str(error), [(found.path, found.message) for found in error.problems])


async def _rows_refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RowsRefused)  # noqa: S101
    errors = [(f"[{found.index}].{to_camel(found.column)}", found.message) for found in error.problems]
    return problem(HTTPStatus.CONFLICT, f"{errors[0][0]}: {errors[0][1]}", errors)


async def _conflict(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Conflict)  # noqa: S101
    return problem(HTTPStatus.CONFLICT, str(error), error.errors)


async def _store_conflict(_request: Request, error: Exception) -> Response:
    _log.warning("%s", error)
    return problem(HTTPStatus.CONFLICT, str(error))


async def _not_found(_request: Request, error: Exception) -> Response:
    return problem(HTTPStatus.NOT_FOUND, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)  # noqa: S101
    log_unavailable(context_of(request.scope), error)
    response = problem(HTTPStatus.SERVICE_UNAVAILABLE, error.sentence)
    response.headers["Retry-After"] = "1"
    return response


async def _crash(_request: Request, _error: Exception) -> Response:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says why")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    detail = {
        HTTPStatus.NOT_FOUND: f"the control API has no route {request.url.path[:200]}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"this route has no method {request.method}",
    }.get(status, str(error.detail))
    response = problem(status, detail)
    response.headers.update(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        # Of several routes with the same path, the router names the methods of the first.
        response.headers["Allow"] = ", ".join(request.app.state.methods_of(request))
    return response
