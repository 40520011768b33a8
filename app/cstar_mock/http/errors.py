"""From exceptions to the documented envelope: every handler of the application."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cstar_mock.contract import errors
from cstar_mock.contract.errors import ApiError, StateUnavailable, Unavailable
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.http.replies import Reply, ReplyResponse
from cstar_mock.http.request_log import log_unavailable
from cstar_mock.traffic.faults import CannedAnswer


def install(app: FastAPI) -> None:
    """Let the application answer every exception with the envelope; crashes are `http.middleware`'s."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RateLimitExceeded, _refused)
    app.add_exception_handler(CannedAnswer, _canned_answer)
    app.add_exception_handler(HTTPException, _routing_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


def refuse(context: RequestContext, error: ApiError | RateLimitExceeded) -> Reply:
    """Return the envelope of an error; an unavailable engine is logged with the reason."""
    if isinstance(error, RateLimitExceeded):
        assert context.rate_limit is not None  # noqa: S101  (the request is counted before slowapi's exception is raised)
        return context.refuse(errors.too_many_requests(context.rate_limit.retry_after))
    if isinstance(error, Unavailable):
        log_unavailable(context, error)
        context.state_lost = isinstance(error, StateUnavailable)
    return context.refuse(error)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError | RateLimitExceeded)  # noqa: S101  (Starlette's handlers are typed for any exception)
    return ReplyResponse(refuse(context_of(request.scope), error))


async def _canned_answer(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CannedAnswer)  # noqa: S101
    if error.body is None:
        return Response(status_code=error.status, headers=error.headers)
    if isinstance(error.body, str):
        return Response(error.body, error.status, error.headers, media_type="text/plain")
    return JSONResponse(error.body, error.status, error.headers)


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == errors.METHOD_NOT_ALLOWED.status:
        allowed = (error.headers or {}).get("Allow", "GET")
        kind = ApiError(errors.METHOD_NOT_ALLOWED, headers={"Allow": allowed}, method=request.method, allowed=allowed)
        return await _refused(request, kind)
    return await _refused(request, ApiError(errors.RESOURCE_MISSING))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problem = error.errors()[0]
    return await _refused(
        request,
        ApiError(
            errors.PARAMETER_INVALID,
            param=str(problem["loc"][-1]),
            parameter=problem["loc"][-1],
            value=repr(problem["input"])[:200],
            allowed=problem["msg"],
        ),
    )
