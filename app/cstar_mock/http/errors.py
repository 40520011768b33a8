"""From exceptions to the documented envelope: every handler of the application."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cstar_mock import errors
from cstar_mock.errors import ApiError, StateUnavailable, Unavailable
from cstar_mock.faults import CannedAnswer
from cstar_mock.http.context import context_of, log_unavailable


def install(app: FastAPI) -> None:
    """Let the application answer every exception with the envelope; crashes are `http.context`'s."""
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(RateLimitExceeded, rate_limit_exceeded)
    app.add_exception_handler(CannedAnswer, _canned_answer)
    app.add_exception_handler(HTTPException, _routing_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


def _answer(request: Request, error: ApiError) -> Response:
    context = context_of(request.scope)
    context.code = error.kind.code
    body = errors.envelope_bytes(error, context.request_id, context.now())
    return Response(body, error.kind.status, error.headers, media_type="application/json")


async def api_error(request: Request, error: Exception) -> Response:
    """Answer with an error of the catalogue; what is unavailable is logged with its reason."""
    assert isinstance(error, ApiError)  # noqa: S101  (Starlette's handlers are typed for any exception)
    if isinstance(error, Unavailable):
        log_unavailable(context_of(request.scope), error)
        context_of(request.scope).state_lost = isinstance(error, StateUnavailable)
    return _answer(request, error)


async def _canned_answer(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CannedAnswer)  # noqa: S101
    if error.body is None:
        return Response(status_code=error.status, headers=error.headers)
    if isinstance(error.body, str):
        return Response(error.body, error.status, error.headers, media_type="text/plain")
    return JSONResponse(error.body, error.status, error.headers)


async def rate_limit_exceeded(request: Request, _error: Exception) -> Response:
    """Answer a request over its key's limit with the documented 429."""
    status = context_of(request.scope).rate_limit
    assert status is not None  # noqa: S101  (the request is counted before slowapi's exception is raised)
    seconds = status.retry_after
    return _answer(
        request,
        ApiError(errors.RATE_LIMIT_EXCEEDED, headers={"Retry-After": str(seconds)}, **errors.waiting(seconds)),
    )


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == errors.METHOD_NOT_ALLOWED.status:
        allowed = (error.headers or {}).get("Allow", "GET")
        kind = ApiError(errors.METHOD_NOT_ALLOWED, headers={"Allow": allowed}, method=request.method, allowed=allowed)
        return _answer(request, kind)
    return _answer(request, ApiError(errors.RESOURCE_MISSING))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problem = error.errors()[0]
    return _answer(
        request,
        ApiError(
            errors.PARAMETER_INVALID,
            param=str(problem["loc"][-1]),
            parameter=problem["loc"][-1],
            value=repr(problem["input"])[:200],
            allowed=problem["msg"],
        ),
    )
