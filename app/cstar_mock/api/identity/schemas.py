"""What whoami answers [site]."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cstar_mock.contract.vocabulary import Environment, KeyType


class Identity(BaseModel):
    """The key that asks, and its team."""

    model_config = ConfigDict(frozen=True)

    teamId: Annotated[str, Field(json_schema_extra={"format": "uuid"})]  # noqa: N815
    teamName: str  # noqa: N815
    teamSlug: str  # noqa: N815
    keyType: KeyType  # noqa: N815
    environment: Environment
