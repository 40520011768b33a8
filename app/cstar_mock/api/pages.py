"""The pages besides the API: health for machines, documents for people."""

import asyncio
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from sqlalchemy import Connection, column, exists, select, table
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from cstar_mock import VERSION
from cstar_mock.contract.errors import StateUnavailable, StoreUnavailable
from cstar_mock.http.documents import FILE_HEADERS, swagger_ui
from cstar_mock.http.extensions import DRAINING
from cstar_mock.services import services_of
from cstar_mock.store.models import Base

_ASSETS = Path(fastapi_offline.__file__).parent / "static"

_READY_SECONDS = 2
"""Seconds that the store may take to answer: a readiness probe rarely waits longer."""

_ANY_ROWS = select(
    *(
        exists(select(*one.columns))
        for one in (table("alembic_version", column("version_num")), *Base.metadata.sorted_tables)
    )
)
"""A statement that fails if a table or a column is missing, or if the role may not read it."""

_METHODS = ["GET", "HEAD"]
"""Health checks and link checkers ask with HEAD."""

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=_METHODS)
async def index() -> Response:
    """Lead a browser to the documentation."""
    return RedirectResponse("/docs")


@router.api_route("/healthz", methods=_METHODS)
async def healthz() -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "ok", "version": VERSION})


@router.api_route("/readyz", methods=_METHODS)
async def readyz(request: Request) -> Response:
    """Say whether requests can be served: 200; 503 while an engine can't be reached or the server shuts down."""
    if request.scope["state"].get(DRAINING):
        return JSONResponse({"status": "draining"}, 503)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await services_of(request).database.read(_ask)
    except (StoreUnavailable, TimeoutError):
        return JSONResponse({"status": "unavailable", "store": "unreachable"}, 503)
    try:
        await services_of(request).state.check()
    except StateUnavailable:
        return JSONResponse({"status": "unavailable", "state": "unreachable", "store": "reachable"}, 503)
    return JSONResponse({"status": "ready", "store": "reachable"})


@router.api_route("/docs", methods=_METHODS)
async def docs(request: Request) -> HTMLResponse:
    """Show the OpenAPI document in Swagger UI, whose files we serve ourselves: no internet is needed."""
    return swagger_ui("/openapi.json", request.app.title, {"persistAuthorization": True})


@router.api_route("/docs/{asset}", methods=_METHODS)
async def docs_asset(asset: str) -> Response:
    """Serve a file of Swagger UI."""
    if asset not in {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}:
        return Response(status_code=404)
    return FileResponse(_ASSETS / asset, headers=FILE_HEADERS)


def _ask(connection: Connection) -> None:
    connection.execute(_ANY_ROWS)
