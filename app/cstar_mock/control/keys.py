"""A team's keys: create further ones, with their own limit or expiry, list and revoke them."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import clock
from cstar_mock.contract.json_types import WHOLE, Text
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Body, NamedId, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.datasets.format import Moment
from cstar_mock.teams import keys
from cstar_mock.teams.keys import ListedKey

router = APIRouter(tags=["Keys"], route_class=ControlRoute)

Prefix = Literal["sk_live", "sk_test", "pk_live", "pk_test"]


class NewKey(Body):
    """A further key."""

    prefix: Prefix = "sk_test"
    name: Annotated[Text, Field(min_length=1, max_length=100)] | None = Field(
        None, description="What fault rules call it."
    )
    rate_limit: Annotated[int, Field(ge=1, le=bounds.LARGEST_RATE_LIMIT), WHOLE] | None = Field(
        None, description="Its own limit, in requests a window."
    )
    expires_at: Moment | None = Field(None, description="By the team's clock.")


_DEFAULT = NewKey()


class CreatedKey(Answer):
    """The key itself; it is not shown again."""

    key: str


class KeyShown(Answer):
    """A key as it can be shown, without its value."""

    id: str
    prefix: Prefix
    last_four: str
    name: str | None
    rate_limit: int | None
    expires_at: str | None
    state: str


class KeyList(Answer):
    """A team's keys, the oldest first."""

    keys: list[KeyShown]


@router.post(
    "/teams/{team}/keys",
    status_code=201,
    operation_id="createKey",
    responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def create(owned: Owned, team: TeamName, body: NewKey = _DEFAULT) -> CreatedKey:
    """Create a key; this is the only time that it is shown."""
    return CreatedKey(key=await owned.database.write(_create, team, body))


@router.get("/teams/{team}/keys", operation_id="listKeys", responses=described(HTTPStatus.NOT_FOUND))
async def list_(owned: Owned, team: TeamName) -> KeyList:
    """List a team's keys."""
    return KeyList(keys=[_shown(key) for key in await owned.database.read(keys.list_, team)])


@router.delete(
    "/teams/{team}/keys/{id}", status_code=204, operation_id="revokeKey", responses=described(HTTPStatus.NOT_FOUND)
)
async def revoke(owned: Owned, team: TeamName, id: NamedId) -> Response:  # noqa: A002
    """Revoke a key; a reset of the team makes its first keys valid again."""
    await owned.database.write(keys.revoke, id, team)
    return Response(status_code=204)


def _create(connection: Connection, team: str, body: NewKey) -> str:
    try:
        return keys.create(
            connection, team, body.prefix, name=body.name, rate_limit=body.rate_limit, expires=body.expires_at
        )
    except ValueError as error:
        raise Conflict(f"expiresAt: {error}", [("expiresAt", str(error))]) from None


def _shown(key: ListedKey) -> KeyShown:
    return KeyShown(
        id=key.id,
        prefix=key.prefix,
        last_four=key.last_four,
        name=key.name,
        rate_limit=key.rate_limit,
        expires_at=None if key.expires_at is None else clock.iso_exact(key.expires_at),
        state=key.state,
    )
