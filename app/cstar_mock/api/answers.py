"""The answers of the two endpoints: computed by the service, and cached until they may be stale."""

from functools import partial

from pydantic_core import to_json

from cstar_mock.analytics import service
from cstar_mock.services import Services
from cstar_mock.store.models import Scope
from cstar_mock.traffic.answer_cache import Asked, CachedAnswer
from cstar_mock.traffic.authentication import Caller


async def compute(services: Services, caller: Caller, asked: Asked) -> CachedAnswer:
    """Compute and cache the answer to a caller's question.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    scope, now = Scope(caller.team_id, caller.environment), caller.clock.now()
    before = services.answers.get(caller, asked)
    empty_mean = services.settings.mean_of_nothing
    if asked.period is None:
        data = to_json(await services.database.read(service.agents, scope, now, empty_mean))
        holds_until = service.agents_hold_until
    else:
        data = to_json(await services.database.read(service.overview, scope, asked.period, now, empty_mean))
        holds_until = partial(service.overview_holds_until, period=asked.period)
    until = now if caller.clock.frozen_at is None else None
    if until is not None and before is not None and before.revision == caller.revision:
        # The query for the end of its validity only pays off if the same is asked again between two writes.
        until = await services.database.read(holds_until, scope, now=now)
    answer = CachedAnswer(data, caller.revision, now, until)
    services.answers.put(caller, asked, answer)
    return answer
