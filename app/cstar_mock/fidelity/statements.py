"""The statements: every fact about cStar's API that the server's answers claim.

Errors and figures are described where they are defined, in `contract.errors` and `analytics.metrics`; the others are in
`statements.yaml`. Tests name the statements that they prove with `@pytest.mark.states("…")`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cstar_mock.analytics import metrics
from cstar_mock.contract.errors import CATALOGUE

MARKS = ("doc", "site", "ours")
"""The sources of a statement: the analytics page, another page of cStar's developer site, our decision."""

LEVELS = ("must", "should", "note")
"""The weight of a statement: a client relies on it, survives the opposite, or hardly sees it."""

_DATA = Path(__file__).with_name("statements.yaml")
_ERRORS, _FIGURES = "Errors", "Figures"


@dataclass(frozen=True, slots=True)
class Setting:
    """The option that changes a statement.

    Attributes:
        option: the option of `serve`, without dashes.
        default: its value with which the statement holds.
        others: values with which it does not.
    """

    option: str
    default: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement about the API.

    Attributes:
        id: its name, from the general to the particular: `overview.period.bad`.
        section: the part of the contract that it belongs to.
        text: the statement in one sentence.
        mark: one of `MARKS`.
        level: one of `LEVELS`.
        source: the page that states it; None for our decision.
        why: the reason for our decision; None for a page's statement.
        setting: the option that changes it, if there is one.
        outside: the request that shows a client whether it holds; None if no request can.
        excluded: the reason why no request can; None if one can.
    """

    id: str
    section: str
    text: str
    mark: str
    level: str
    source: str | None = None
    why: str | None = None
    setting: Setting | None = None
    outside: str | None = None
    excluded: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the statement as the command and the control API show it."""
        return asdict(self)


@cache
def statements() -> tuple[Statement, ...]:
    """Return all statements, section by section."""
    sections: dict[str, list[Statement]] = {}
    # libyaml takes a tenth of the time, which a request for the list would hold the event loop.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for part in yaml.load(_DATA.read_text(encoding="utf-8"), loader):  # noqa: S506  (both are safe)
        sections[part["section"]] = [_statement(part["section"], entry) for entry in part["statements"]]
    sections[_ERRORS] += _of_errors()
    sections[_FIGURES] = [*_of_figures(), *sections[_FIGURES]]
    return tuple(statement for section in sections.values() for statement in section)


def find(id_: str) -> Statement:
    """Return a statement.

    Raises:
        KeyError: no statement has this id.
    """
    return {statement.id: statement for statement in statements()}[id_]


def headline(chosen: Iterable[Statement]) -> str:
    """Return the numbers of statements by mark, in one line."""
    marks = Counter(statement.mark for statement in chosen)
    counts = f"{marks['doc']} documented, {marks['site']} from cStar's site, {marks['ours']} ours"
    return f"{marks.total()} statements: {counts}"


def _statement(section: str, entry: dict[str, Any]) -> Statement:
    setting = entry.pop("setting", None)
    if setting is not None:
        setting = Setting(setting["option"], setting["default"], tuple(setting["others"]))
    return Statement(section=section, setting=setting, **entry)


def _of_errors() -> Iterator[Statement]:
    for kind in CATALOGUE.values():
        mark = _mark(kind.source)
        yield Statement(
            id=f"errors.{kind.name}",
            section=_ERRORS,
            text=f"{kind.meaning} Status {kind.status}, type `{kind.type}`, code `{kind.code}`.",
            mark=mark,
            level="must" if mark == "doc" else "should",
            source=None if mark == "ours" else f"errors ({kind.source})",
            why="no page has this case" if mark == "ours" else None,
            outside=_WAYS.get(kind.name),
            excluded=None if kind.name in _WAYS else "it can't be caused without harm",
        )


def _of_figures() -> Iterator[Statement]:
    for metric in _METRICS:
        mark = _mark(metric.source)
        yield Statement(
            id=f"figures.{metric.name}",
            section=_FIGURES,
            text=metric.definition,
            mark=mark,
            level="must",
            source=None if mark == "ours" else f"api-reference/analytics ({metric.source})",
            why="the page shows the figure without a definition" if mark == "ours" else None,
            excluded="the rows behind the figures are not known",
        )


def _mark(source: str) -> str:
    """Return the mark of a source in words: `type site, code ours` is the site's."""
    return next(mark for mark in MARKS if mark in source)


_METRICS = (
    metrics.TICKETS_TOTAL,
    metrics.TICKETS_OPEN,
    metrics.TICKETS_RESOLVED,
    metrics.CUSTOMERS_TOTAL,
    metrics.CUSTOMERS_ACTIVE,
    metrics.CUSTOMERS_NEW,
    metrics.CSAT_RESPONSES,
    metrics.CSAT_AVERAGE,
    metrics.AGENT_RESOLVED,
    metrics.AGENT_ANSWERED,
    metrics.AGENT_RESPONSES,
)

_WAYS = {
    "authentication_required": "a request without a key",
    "secret_key_required": "GET overview with a publishable key",
    "team_access_denied": "the overview of another team",
    "parameter_invalid": "`period=fortnight`",
    "resource_missing": "an unknown path below /api/",
    "method_not_allowed": "HEAD overview",
}
"""The errors that a client can cause without harm, and how."""
