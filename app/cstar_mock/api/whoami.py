"""The endpoint by which an SDK finds its team [site]."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from cstar_mock.api.dependencies import any_key
from cstar_mock.api.envelope import success
from cstar_mock.api.openapi import responses, secured_by_key
from cstar_mock.contract.vocabulary import Environment, KeyType
from cstar_mock.settings import Settings
from cstar_mock.traffic.authentication import Caller


class Identity(BaseModel):
    """The key that asks, and its team."""

    model_config = ConfigDict(frozen=True)

    teamId: Annotated[str, Field(json_schema_extra={"format": "uuid"})]  # noqa: N815
    teamName: str  # noqa: N815
    teamSlug: str  # noqa: N815
    keyType: KeyType  # noqa: N815
    environment: Environment


def create_router(settings: Settings) -> APIRouter:
    """Return the endpoint, with the description that these settings require."""
    router = APIRouter(prefix="/api/v1/auth", tags=["Authentication"])

    @router.get(
        "/whoami",
        operation_id="whoAmI",
        summary="Who am I",
        responses=responses("whoami", Identity, settings),
        openapi_extra=secured_by_key(),
    )
    async def whoami(request: Request, caller: Annotated[Caller, Depends(any_key)]) -> Response:
        """The team, type and environment of the key; any valid key may ask."""
        identity = Identity(
            teamId=caller.team_id,
            teamName=caller.team_name,
            teamSlug=caller.team_slug,
            keyType=KeyType(caller.key_type),
            environment=Environment(caller.environment),
        )
        return success(request, to_json(identity))

    return router
