"""The application: the only place where things are wired together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from cstar_mock import VERSION, settings
from cstar_mock.api import pages
from cstar_mock.api.analytics import create_router as analytics
from cstar_mock.api.openapi import BEARER, ERROR_SCHEMAS, SECURITY_SCHEME, SERVER, TAGS
from cstar_mock.api.replay import ReplayMiddleware, Replays
from cstar_mock.api.whoami import create_router as identity
from cstar_mock.control.guard import Guard
from cstar_mock.http import errors, openapi
from cstar_mock.http.cors import ApiCORSMiddleware
from cstar_mock.http.middleware import Recorder, RequestContextMiddleware
from cstar_mock.http.mounting import Lazy, Prefixed
from cstar_mock.http.telemetry import NO_TELEMETRY
from cstar_mock.services import Services
from cstar_mock.settings import Settings
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


def create_app(settings_: Settings | None = None, database: Database | None = None) -> FastAPI:
    """Return a cstar-mock application.

    Args:
        settings_: the choices to serve by; by default those of the environment (`CSTAR_MOCK_…`).
        database: a prepared database, which stays the caller's to close; by default the settings' own, opened
            here and closed when the application shuts down.

    Raises:
        SettingsError: the environment has a value that is not allowed.
        ModuleNotFoundError: the settings want a shared state, and the extra `valkey` is not installed.
        SchemaOutdated: the settings' database needs `cstar-mock db upgrade`.
    """
    settings_ = settings_ or settings.load()
    state = create_state(settings_)
    own_database = None
    if database is None:
        database = own_database = Database(
            settings_.database,
            Limits(
                settings_.database_pool_size,
                settings_.database_pool_timeout,
                settings_.database_connect_timeout,
                settings_.database_statement_timeout or None,
            ),
        )
        migrations.prepare(database)

    tracing = _tracing(database) if settings_.traces else None

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
        settings=settings_,
        database=database,
        key_ring=KeyRing(database, together=tracing is None),
        answers=AnswerCache(),
        rate_limiter=RateLimiter(settings_, state.windows),
        state=state,
        key_lockout=Lockout("key", settings_.unauthorized_limit or 0, state.windows),
    )
    token_lockout = Lockout("token", settings_.unauthorized_limit or 0, state.windows)
    if settings_.control:
        control = Guard(Lazy(partial(_control, app.state.services)), settings_.control_token, token_lockout)
        app.add_middleware(Prefixed, prefix="/__admin", other=control)
    replays = Replays(app.state.services)
    app.add_middleware(ReplayMiddleware, replays=replays)
    app.add_middleware(ApiCORSMiddleware)
    monitoring = _monitoring(app, settings_, database, token_lockout) if settings_.metrics else None
    never_waits = database.embedded and state.engine is None and tracing is None
    app.add_middleware(
        RequestContextMiddleware,
        journal=state.journal,
        monitoring=monitoring,
        find=replays.find if never_waits else None,
    )
    errors.install(app)
    app.include_router(analytics(settings_))
    app.include_router(identity(settings_))
    app.include_router(pages.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _control(services: Services) -> ASGIApp:
    """Return the control API; its import takes a fifth of a start, and the first answer does not need it."""
    from cstar_mock.control.application import create_control_app  # noqa: PLC0415

    return create_control_app(services)


def _monitoring(app: FastAPI, settings_: Settings, database: Database, lockout: Lockout) -> Recorder:
    """Count and serve what happens; the library is imported only where that is wanted."""
    from cstar_mock.observability.metrics import Monitoring  # noqa: PLC0415

    monitoring = Monitoring(team_label=settings_.metrics_team_label)
    database.observe = monitoring.store
    token = settings_.metrics_token or settings_.control_token
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
