"""The parts that the control API's routes share: bodies, answers, and the parameters of paths."""

from typing import Annotated

from fastapi import Depends, Path, Query
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from cstar_mock.contract.json_types import Text
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.services import Services, services_of


class Body(BaseModel):
    """A request body of the control API; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=False, validate_by_alias=True)


class Answer(BaseModel):
    """A response body of the control API."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


TeamName = Annotated[Text, Path(min_length=1, max_length=100, description="The team's id or slug.")]
NamedId = Annotated[Text, Path(min_length=1, max_length=100)]
"""The id of a key, a fault rule or a request."""
InEnvironment = Annotated[Environment, Query(description="Which of the team's two sets of data.")]
Owned = Annotated[Services, Depends(services_of)]
"""The objects that the application owns."""
