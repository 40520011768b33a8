"""The statements that the server makes about cStar's API."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer
from cstar_mock.control.problems import described
from cstar_mock.fidelity import statements as listed

router = APIRouter(tags=["Statements"], route_class=ControlRoute)

Mark = Literal["doc", "site", "ours"]


class StatementSetting(Answer):
    """The option that changes a statement."""

    option: str = Field(description="The option of `serve`, without dashes.")
    default: str = Field(description="The value with which the statement holds.")
    others: list[str] = Field(description="Values with which it does not.")


class ListedStatement(Answer):
    """One statement about the API."""

    id: str
    section: str
    text: str
    mark: Mark = Field(description="The source: the analytics page, another page, or our decision.")
    level: Literal["must", "should", "note"] = Field(description="How much a client depends on it.")
    source: str | None = Field(description="The page that states it.")
    why: str | None = Field(description="The reason for our decision.")
    setting: StatementSetting | None
    outside: str | None = Field(description="The request that shows whether a server agrees.")
    excluded: str | None = Field(description="Why no request can show it.")


class StatementList(Answer):
    """The statements, section by section."""

    headline: str = Field(description="The numbers of statements by mark.")
    statements: list[ListedStatement]


@router.get("/statements", operation_id="listStatements", responses=described())
async def list_statements(mark: Annotated[Mark | None, Query()] = None) -> StatementList:
    """List every statement that the server makes about cStar's API, with its source."""
    chosen = [one for one in listed.statements() if mark in (None, one.mark)]
    return StatementList(
        headline=listed.headline(chosen),
        statements=[ListedStatement.model_validate(one.as_json()) for one in chosen],
    )
