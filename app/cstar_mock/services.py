"""The objects that an application owns, for the routes of all its APIs."""

import time
from dataclasses import dataclass, field

from fastapi import Request

from cstar_mock.settings import Settings
from cstar_mock.state import State
from cstar_mock.store.database import Database
from cstar_mock.traffic.answer_cache import AnswerCache
from cstar_mock.traffic.authentication import KeyRing
from cstar_mock.traffic.lockout import Lockout
from cstar_mock.traffic.rate_limit import RateLimiter


@dataclass(frozen=True, slots=True)
class Services:
    """The objects that an application owns, in `app.state.services`.

    Attributes:
        started: when the application was made, on the monotonic clock, in seconds.
    """

    settings: Settings
    database: Database
    key_ring: KeyRing
    answers: AnswerCache
    rate_limiter: RateLimiter
    state: State
    key_lockout: Lockout
    started: float = field(default_factory=time.monotonic)


def services_of(request: Request) -> Services:
    """Return the services of the request's application."""
    services: Services = request.app.state.services
    return services
