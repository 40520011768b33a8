"""Teams: create, look up, give answers, reset, delete."""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import ids
from cstar_mock.contract.errors import UnknownName
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Body, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.datasets.files import find, read, shipped_names
from cstar_mock.datasets.format import Answers, Fixed, Name, Recipe, Slug, TeamContent, TeamData, TeamRateLimits
from cstar_mock.services import Services
from cstar_mock.teams import teams
from cstar_mock.teams.lifecycle import LoadedTeam, answer, create_team, delete_team, reset_team
from cstar_mock.teams.teams import TeamState
from cstar_mock.traffic.fault_rules import FaultRule

router = APIRouter(tags=["Teams"], route_class=ControlRoute)


class EnvironmentAnswers(Answers):
    """The figures that the API must give in one environment."""

    environment: Environment = Environment.TEST


class TeamCreation(Body):
    """The content of a new team: nothing, a data set, or answers."""

    name: Name | None = None
    slug: Slug | None = Field(None, description="By default a random one.")
    dataset: Slug | TeamContent | None = Field(
        None, description="The name of a shipped data set, whose first team is taken, or the content itself."
    )
    answers: EnvironmentAnswers | None = None
    clock: Fixed | None = Field(
        None, description="The instant at which the team's clock is frozen; by default it runs."
    )
    faults: Annotated[list[FaultRule], Field(max_length=bounds.MOST_FAULT_RULES)] | None = Field(
        None, description="Its fault rules, in their order; instead of those of the data set."
    )
    rate_limits: TeamRateLimits | None = Field(None, description="Its limits; instead of those of the data set.")

    @model_validator(mode="after")
    def _one_source(self) -> "TeamCreation":
        if self.dataset is not None and (self.answers is not None or self.clock is not None):
            raise ValueError("a data set brings its own rows and clock: leave out answers and clock")
        return self


_EMPTY = TeamCreation()


class Team(Answer):
    """A team."""

    id: str
    slug: str
    name: str
    url: str = Field(description="Where its endpoints are: add /analytics/overview.")
    dataset: str | None
    revision: int = Field(description="Grows with every write to the team.")


class CreatedTeam(Answer):
    """A team that was just created, with its keys: they are not shown again."""

    id: str
    slug: str
    url: str = Field(description="Where its endpoints are: add /analytics/overview.")
    keys: dict[str, str]


class TeamList(Answer):
    """All teams."""

    teams: list[Team]


class EverythingReset(Answer):
    """The result of a reset."""

    teams: int


@router.post("/teams", status_code=201, operation_id="createTeam", responses=described(HTTPStatus.CONFLICT))
async def create(request: Request, owned: Owned, creation: TeamCreation = _EMPTY) -> CreatedTeam:
    """Create a team, with its own keys, rows, clock, limits and journal."""
    slug = creation.slug or f"team-{ids.new('t')[2:].lower()}"
    content: dict[str, Any] = {"id": ids.new_team_id(), "slug": slug}
    dataset = None
    if creation.name is not None:
        content["name"] = creation.name
    if isinstance(creation.dataset, str):
        dataset, first = creation.dataset, _first_team(creation.dataset)
        kept = {"clock", "rate_limits", "faults", "live", "test"}
        content |= first.model_dump(by_alias=True, exclude_unset=True, include=kept)
    elif creation.dataset is not None:
        content |= creation.dataset.model_dump(by_alias=True, exclude_unset=True)
    if creation.clock is not None:
        content["clock"] = creation.clock
    own = {name for name in ("faults", "rate_limits") if getattr(creation, name) is not None}
    content |= creation.model_dump(by_alias=True, exclude_unset=True, include=own)
    if creation.answers is not None:
        figures = creation.answers.model_dump(by_alias=True, exclude_unset=True, exclude={"environment"})
        content[creation.answers.environment.value] = {"answers": figures}
    team = TeamData.model_validate(content)
    _refuse_too_many_rows(team)
    loaded: LoadedTeam = await owned.database.write(_create, team, dataset)
    return CreatedTeam(
        id=loaded.id,
        slug=loaded.slug,
        url=_url(request, loaded.id),
        keys={prefix: key for prefix, key in loaded.keys.items() if key is not None},
    )


@router.get("/teams", operation_id="listTeams", responses=described())
async def list_teams(request: Request, owned: Owned) -> TeamList:
    """List all teams."""
    return TeamList(teams=[_shown(request, state) for state in await owned.database.read(teams.list_)])


@router.get("/teams/{team}", operation_id="getTeam", responses=described(HTTPStatus.NOT_FOUND))
async def get_team(request: Request, owned: Owned, team: TeamName) -> Team:
    """Look a team up."""
    return _shown(request, await owned.database.read(teams.get, team))


@router.delete("/teams/{team}", status_code=204, operation_id="deleteTeam", responses=described(HTTPStatus.NOT_FOUND))
async def delete(owned: Owned, team: TeamName) -> Response:
    """Delete a team with all that it owns; its keys are refused from now on."""
    await _change_and_forget(owned, delete_team, team)
    return Response(status_code=204)


@router.post(
    "/teams/{team}/reset", status_code=204, operation_id="resetTeam", responses=described(HTTPStatus.NOT_FOUND)
)
async def reset(owned: Owned, team: TeamName) -> Response:
    """Reset a team to its initial content: rows, clock, limits, faults, keys, counters, journal."""
    await _change_and_forget(owned, reset_team, team)
    return Response(status_code=204)


@router.post("/reset", operation_id="resetEverything", responses=described())
async def reset_everything(owned: Owned) -> EverythingReset:
    """Reset every team to its initial content, and forget all requests."""
    count = 0
    for state in await owned.database.read(teams.list_):
        with suppress(UnknownName):  # deleted meanwhile
            await _change_and_forget(owned, reset_team, state.id)
            count += 1
    await owned.state.journal.clear()
    return EverythingReset(teams=count)


@router.put(
    "/teams/{team}/answers",
    status_code=204,
    operation_id="setAnswers",
    responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def set_answers(owned: Owned, team: TeamName, answers: EnvironmentAnswers) -> Response:
    """Set the answers of the API: the environment's rows are replaced by rows that produce them."""
    await owned.database.write(answer, team, answers.environment.value, answers)
    return Response(status_code=204)


def _create(connection: Connection, team: TeamData, dataset: str | None) -> LoadedTeam:
    if teams.exists(connection, team.slug):
        raise Conflict(f"there is a team {team.slug!r} already", [("slug", "is taken")])
    return create_team(connection, team, dataset)


def _refuse_too_many_rows(team: TeamData) -> None:
    """Refuse recipes that together would keep other writers waiting for long.

    Raises:
        Conflict: the recipes make more rows than the control API takes at once.
    """
    total = sum(_rows_of(recipe) for data in (team.live, team.test) for recipe in data.recipes)
    if total > bounds.MOST_RECIPE_ROWS_IN_REQUEST:
        raise Conflict(
            f"dataset: all recipes together can make {bounds.MOST_RECIPE_ROWS_IN_REQUEST:,} rows at most here, "
            f"not {total:,}; `cstar-mock generate` and `cstar-mock load` make any number"
        )


def _rows_of(recipe: Recipe) -> int:
    members = recipe.members if isinstance(recipe.members, int) else len(recipe.members)
    customers = recipe.customers or max(1, recipe.tickets // 3)
    return recipe.tickets + customers + members


def _first_team(name: str) -> TeamData:
    known = shipped_names()
    if name not in known:
        raise Conflict(f"dataset: there is no data set {name!r}", [("dataset", f"give {', '.join(known)}")])
    return read(find(name)).teams[0]


async def _change_and_forget(owned: Services, change: Callable[[Connection, str], None], team: str) -> None:
    """Delete or reset a team, and once that is committed, forget its counters and its journal.

    Raises:
        UnknownName: there is no such team.
        StoreUnavailable: the store can't be written; nothing is forgotten.
        StateUnavailable: the change is committed, but the state is shared and can't be reached.
    """
    team_id, key_ids = await owned.database.write(_change, change, team)
    await owned.rate_limiter.forget(key_ids)
    await owned.state.fault_counts.forget(team_id)
    await owned.state.journal.clear(team_id)


def _change(connection: Connection, change: Callable[[Connection, str], None], team: str) -> tuple[str, list[str]]:
    """Delete or reset a team; return its id, and the ids of the keys that it had."""
    state = teams.lock(connection, team)
    key_ids = teams.key_ids(connection, state.id)
    change(connection, state.id)
    return state.id, key_ids


def _shown(request: Request, state: TeamState) -> Team:
    return Team(
        id=state.id,
        slug=state.slug,
        name=state.name,
        url=_url(request, state.id),
        dataset=state.dataset,
        revision=state.revision,
    )


def _url(request: Request, team_id: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/api/v1/teams/{team_id}"
