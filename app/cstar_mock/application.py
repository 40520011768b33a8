"""The application: the only module that wires the parts together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from cstar_mock import VERSION
from cstar_mock.api import pages
from cstar_mock.api.analytics import create_router as analytics
from cstar_mock.api.openapi import BEARER, ERROR_SCHEMAS, SECURITY_SCHEME, SERVER, TAGS
from cstar_mock.api.replay import ReplayMiddleware, Replays
from cstar_mock.api.whoami import create_router as whoami
from cstar_mock.control.guard import Guard
from cstar_mock.http import errors, openapi
from cstar_mock.http.cors import ApiCORSMiddleware
from cstar_mock.http.middleware import Recorder, RequestContextMiddleware
from cstar_mock.http.mounting import Lazy, Prefixed
from cstar_mock.http.telemetry import NO_TELEMETRY
from cstar_mock.services import Services
from cstar_mock.settings import Settings
from cstar_mock.settings import load as load_settings
from cstar_mock.state import create_state
from cstar_mock.store import migrations
from cstar_mock.store.database import Database, Limits
from cstar_mock.traffic.answer_cache import AnswerCache
from cstar_mock.traffic.authentication import KeyRing
from cstar_mock.traffic.lockout import Lockout
from cstar_mock.traffic.rate_limit import RateLimiter

if TYPE_CHECKING:
    from cstar_mock.observability.tracing import Tracing

TITLE = "cStar Analytics API (cstar-mock)"
DESCRIPTION = """The Analytics API of cStar, answered by cstar-mock from real ticket, customer and CSAT rows.

Checks are made in this order: route (404, 405), key (401), rate limit (429), team (403), key type (403),
parameters (400)."""


def create_app(settings: Settings | None = None, database: Database | None = None) -> FastAPI:
    """Return a cstar-mock application.

    Args:
        settings: the choices to serve by; by default those of the environment (`CSTAR_MOCK_…`).
        database: a prepared database, which stays the caller's to close; by default the settings' own, opened
            here and closed when the application shuts down.

    Raises:
        SettingsError: the environment has a value that is not allowed.
        ModuleNotFoundError: the settings want a shared state, and the extra `valkey` is not installed.
        SchemaOutdated: the settings' database needs `cstar-mock db upgrade`.
    """
    settings = settings or load_settings()
    state = create_state(settings)
    own_database = None
    if database is None:
        database = own_database = _own_database(settings)
    tracing = _tracing(database) if settings.traces else None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await state.open()
        yield
        await state.close()
        if tracing is not None:
            tracing.close()
        if own_database is not None:
            own_database.close()

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY if tracing is None else tracing.telemetry,
    )
    app.state.services = Services(
        settings=settings,
        database=database,
        key_ring=KeyRing(database, together=tracing is None),
        answers=AnswerCache(),
        rate_limiter=RateLimiter(settings, state.windows),
        state=state,
        key_lockout=Lockout("key", settings.unauthorized_limit or 0, state.windows),
    )
    _add_middleware(app, app.state.services, never_waits=database.embedded and state.engine is None and tracing is None)
    errors.install(app)
    app.include_router(analytics(settings))
    app.include_router(whoami(settings))
    app.include_router(pages.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _own_database(settings: Settings) -> Database:
    database = Database(
        settings.database,
        Limits(
            settings.database_pool_size,
            settings.database_pool_timeout,
            settings.database_connect_timeout,
            settings.database_statement_timeout or None,
        ),
    )
    migrations.prepare(database)
    return database


def _add_middleware(app: FastAPI, services: Services, *, never_waits: bool) -> None:
    """Add the layers of a request, the innermost first.

    Args:
        app: the application.
        services: what it owns.
        never_waits: whether neither the store nor the state ever waits, so that a connection can ask for a replay.
    """
    settings = services.settings
    token_lockout = Lockout("token", settings.unauthorized_limit or 0, services.state.windows)
    if settings.control:
        control = Guard(Lazy(partial(_control, services)), settings.control_token, token_lockout)
        app.add_middleware(Prefixed, prefix="/__admin", other=control)
    replays = Replays(services)
    app.add_middleware(ReplayMiddleware, replays=replays)
    app.add_middleware(ApiCORSMiddleware)
    monitoring = _monitoring(app, services, token_lockout) if settings.metrics else None
    app.add_middleware(
        RequestContextMiddleware,
        journal=services.state.journal,
        monitoring=monitoring,
        find=replays.find if never_waits else None,
    )


def _control(services: Services) -> ASGIApp:
    """Return the control API; its import takes a fifth of a start, and the first answer does not need it."""
    from cstar_mock.control.application import create_control_app  # noqa: PLC0415

    return create_control_app(services)


def _monitoring(app: FastAPI, services: Services, lockout: Lockout) -> Recorder:
    """Count requests and serve the metrics; the library is imported only where they are wanted."""
    from cstar_mock.observability.metrics import Monitoring  # noqa: PLC0415

    settings = services.settings
    monitoring = Monitoring(team_label=settings.metrics_team_label)
    services.database.observe = monitoring.store
    token = settings.metrics_token or settings.control_token
    app.add_middleware(Prefixed, prefix="/metrics", other=Guard(monitoring.app, token, lockout))
    return monitoring


def _tracing(database: Database) -> "Tracing":
    """Trace requests and statements; the library is imported only where that is wanted."""
    from cstar_mock.observability.tracing import Tracing  # noqa: PLC0415

    return Tracing(database.engine)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: FastAPI's, with the schemas of errors and the bearer key."""
    if app.openapi_schema is None:
        document = openapi.document(app, server=SERVER, tags=TAGS)
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(ERROR_SCHEMAS)
        components["securitySchemes"] = {BEARER: SECURITY_SCHEME}
        app.openapi_schema = document
    return app.openapi_schema
