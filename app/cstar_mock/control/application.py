"""The control API: a separate application, mounted under `/__admin`."""

import time
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.responses import HTMLResponse
from starlette.routing import Match

from cstar_mock import VERSION
from cstar_mock.contract import clock
from cstar_mock.control import clock as clock_routes
from cstar_mock.control import explain, faults, keys, problems, rate_limits, requests, rows, statements, teams
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer
from cstar_mock.control.problems import ProblemDetails, described
from cstar_mock.http import openapi
from cstar_mock.http.documents import swagger_ui
from cstar_mock.http.telemetry import NO_TELEMETRY
from cstar_mock.services import Services, services_of

DESCRIPTION = """Tell cstar-mock what to be, and ask it what it saw.

A test creates its own team with its own keys, rows, clock, faults, limits and journal, so tests that run side by side
do not affect each other. Errors are problem+json (RFC 9457)."""

SERVER = {"url": "/__admin", "description": "The server that this document comes from."}
TAGS = {
    "Server": "Whether the server answers, and which version it is.",
    "Teams": "Teams, each with its own keys, rows, clock, limits, fault rules and journal.",
    "Rows": "Members, customers, tickets and CSAT responses.",
    "Clock": "The time of a team.",
    "Faults": "Rules by which requests fail.",
    "Rate limits": "A team's limits and counters.",
    "Requests": "The journal: what was asked, and how it was answered.",
    "Explain": "How each figure of an answer comes about.",
    "Keys": "A team's API keys.",
    "Statements": "What the server claims about cStar's API.",
}


class Health(Answer):
    """The health of the server."""

    status: Literal["healthy"]
    version: str
    uptime_in_seconds: int
    timestamp: str


class Version(Answer):
    """The version of the server."""

    version: str


router = APIRouter(tags=["Server"], route_class=ControlRoute)


@router.get("/health", operation_id="getHealth", responses=described())
async def health(request: Request) -> Health:
    """Say that the server answers."""
    return Health(
        status="healthy",
        version=VERSION,
        uptime_in_seconds=int(time.monotonic() - services_of(request).started),
        timestamp=clock.iso(clock.real_now()),
    )


@router.get("/version", operation_id="getVersion", responses=described())
async def version() -> Version:
    """Say which version answers."""
    return Version(version=VERSION)


@router.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Show the OpenAPI document in Swagger UI."""
    return swagger_ui(f"{request.scope['root_path']}/openapi.json", request.app.title)


_ROUTERS = (
    router,
    teams.router,
    statements.router,
    rows.router,
    clock_routes.router,
    faults.router,
    rate_limits.router,
    requests.router,
    explain.router,
    keys.router,
)


def _methods_of(request: Request) -> list[str]:
    """Return the methods of a request's path; `/requests/count` does not match `/requests/{id}`."""
    routes = [route for part in _ROUTERS for route in part.routes if isinstance(route, APIRoute)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    fewest = min(len(route.param_convertors) for route in matching)
    return sorted(
        method for route in matching if len(route.param_convertors) == fewest for method in route.methods or ()
    )


def create_control_app(services: Services) -> FastAPI:
    """Return the control API of an application, without its guard."""
    app = FastAPI(
        title="cstar-mock control API",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        separate_input_output_schemas=False,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    problems.install(app)
    for part in _ROUTERS:
        app.include_router(part)
    app.state.methods_of = _methods_of
    token = services.settings.control_token
    app.openapi = lambda: _openapi(app, token)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _openapi(app: FastAPI, token: SecretStr | None) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = openapi.document(app, server=SERVER, tags=TAGS)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs") | {"ProblemDetails": schema}
        document["security"] = []
        if token is not None:
            components["securitySchemes"] = {"controlToken": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"controlToken": []}]
        _drop_unanswered(document)
        openapi.summarise(document)
        app.openapi_schema = document
    return app.openapi_schema


def _drop_unanswered(document: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI describes by itself: such a request is a 400 here."""
    for operation in openapi.operations(document):
        operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
