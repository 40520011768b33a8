"""Every field of the control API, given hostile values: taken and shown the same, or refused by its name.

Fields are read from the API's own document. `make test-thorough` tries all values in all fields; here it is a part, by
a seed that is printed, and what went wrong once.
"""

import json
import os
import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx2
import pytest
from tests.conftest import NOW
from tests.control.conftest import ADMIN, Control, Team
from tests.hostile import VALUES, Path, Walker

from cstar_mock.contract.clock import parse_instant, parse_iso_duration
from cstar_mock.store.models import Base

SOME = 40
"""As many values as a run of the whole suite has time for."""

ROWS = {
    "members": [{"id": "usr_1", "name": "Jane"}],
    "customers": [{"id": "cus_1"}],
    "tickets": [
        {"id": f"tkt_{number}", "customerId": "cus_1", "assigneeId": "usr_1", "status": "open", "createdAt": "-1h"}
        for number in (1, 2)
    ],
    "csatResponses": [{"id": "csat_1", "ticketId": "tkt_1", "score": 4, "submittedAt": "-1m"}],
}
IDS = {"members": "usr_1", "customers": "cus_1", "tickets": "tkt_1", "csat-responses": "csat_1"}
EXAMPLES = {
    "customerId": "cus_1", "ticketId": "tkt_2", "name": "Jane", "createdAt": "-1d", "submittedAt": "-1m", "score": 3,
    "key": "sk_live_hostile", "by": "PT1H", "from": "1m", "to": "2m", "tickets": 3, "scores": [1, 1, 1, 1, 1],
}  # fmt: skip
OBJECTS = {
    "FaultRule": {"status": 429},
    "MemberChange": {"name": "Janet"},
    "CustomerChange": {"name": "Janet"},
    "TicketChange": {"assigneeId": None},
    "CsatResponseChange": {"score": 1},
}
ASKED = (
    "/clock", "/explain/overview", "/explain/overview?period=year", "/explain/agents", "/keys", "/faults",
    "/rate-limits", "/requests", "/members", "/customers", "/tickets", "/csat-responses",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A field of an operation; `build` returns the path and the body of a request that has a value there."""

    operation: str
    method: str
    where: Path
    build: Callable[[Any], tuple[str, Any]]

    def __str__(self) -> str:
        return f"{self.operation} {'.'.join(map(str, self.where))}"


def places(document: dict[str, Any], slug: str) -> Iterator[Place]:
    """Yield every parameter and every field of a body."""
    walker = Walker(document, EXAMPLES, OBJECTS)
    for template, item in document["paths"].items():
        kind = template.split("/")[3] if template.count("/") > 2 else ""
        known = {"team": slug, "id": IDS.get(kind, "none")}
        for method, operation in item.items():
            media = operation.get("requestBody", {}).get("content", {})
            schema = media.get("application/json", {}).get("schema")
            body = None if schema is None else walker.example(schema)
            for parameter in operation.get("parameters", ()):
                build = in_url(template, known, (parameter["in"], parameter["name"]), body)
                yield Place(operation["operationId"], method, (parameter["in"], parameter["name"]), build)
            for field in walker.fields(schema) if schema is not None else ():
                way = template.format_map(known)
                build = cast("Callable[[Any], Any]", lambda value, way=way, field=field: (way, field.build(value)))
                yield Place(operation["operationId"], method, field.path, build)


def in_url(template: str, known: dict[str, str], where: tuple[str, str], body: Any) -> Callable[[Any], tuple[str, Any]]:
    """Return how a request is made that has a value in its path or query."""

    def build(value: Any) -> tuple[str, Any]:
        text = value if isinstance(value, str) else json.dumps(value)
        escaped = quote(text[:1000].encode("utf-8", "surrogatepass"), safe="")
        if where[0] == "path":
            return template.format_map({**known, where[1]: escaped}), body
        return f"{template.format_map(known)}?{where[1]}={escaped}", body

    return build


@dataclass
class Desk:
    """A team with a row of each kind, and what there is in the store."""

    control: Control
    team: Team

    def send(self, method: str, path: str, body: Any) -> httpx2.Response:
        """Send a request; JSON is written as ASCII, which can hold a lone surrogate."""
        content = None if body is None else json.dumps(body).encode("ascii")
        headers = {"Content-Type": "application/json"}
        return self.control.api.client.request(method, f"{ADMIN}{path}", content=content, headers=headers)

    def store(self) -> list[list[str]]:
        """Return all rows of all tables."""
        tables = Base.metadata.sorted_tables
        return self.control.api.database.read_now(
            lambda connection: [sorted(map(repr, connection.execute(table.select()))) for table in tables]
        )

    def try_value(self, place: Place, value: Any) -> HTTPStatus:
        """Send a request with a hostile value, and check everything that must hold then; return its status."""
        before = self.store()
        path, body = place.build(value)
        response = self.send(place.method, path, body)
        status = HTTPStatus(response.status_code)
        assert response.is_success or response.is_client_error, response.text
        if response.is_client_error:
            assert self.store() == before
            assert_names(place, response)
        elif place.method != "get":
            self.check_all_answers()
            assert_shown(place, value, self.seen(path, response))
            self.start_again()
        return status

    def check_all_answers(self) -> None:
        """Assert that the API and the control API still answer, though perhaps what a rule says."""
        for path in ("overview", "overview?period=year", "agents"):
            answer = self.team.get(path)
            assert answer.status_code != 500, answer.text
        for path in ASKED:
            answer = self.control.send("GET", f"/teams/{self.team.id}{path}")
            assert answer.status_code == 200, answer.text

    def seen(self, path: str, response: httpx2.Response) -> str:
        """Return what is shown after a write: its answer, and what a GET of the same path shows."""
        shown = self.control.send("GET", path.partition("?")[0])
        return f"{response.text} {shown.text if shown.is_success else ''}"

    def start_again(self) -> None:
        """Undo a write."""
        teams = self.control.call("GET", "/teams")["teams"]
        for other in teams:
            if other["id"] != self.team.id:
                self.control.call("DELETE", f"/teams/{other['id']}")
        self.team.call("POST", "/reset")


def assert_names(place: Place, response: httpx2.Response) -> None:
    """Assert that a refusal is a problem of one line that names the field, or what is unknown."""
    problem = response.json()
    detail = problem["detail"]
    assert "\n" not in detail
    assert len(detail) < 1000
    names = [part for part in place.where if isinstance(part, str)]
    if place.where[:1] == ("path",) and response.status_code == 404:
        return  # it says what there is not
    if names:
        fields = [error["field"] for error in problem["errors"]]
        assert any(name in f"{detail} {fields}" for name in names), detail


def instant(value: Any) -> int | None:
    """Return the instant that a text is, if it is one."""
    try:
        return parse_instant(value)
    except (TypeError, ValueError):
        return None


def instant_after(value: str) -> int | None:
    """Return the instant that the clock shows after it was advanced by a text, if that is a duration."""
    try:
        return parse_instant(NOW) + parse_iso_duration(value)
    except ValueError:
        return None


def assert_shown(place: Place, value: Any, shown: str) -> None:
    """Assert that a value which was taken is shown as it was given, as the same instant, or by a clock that moved."""
    if place.where[:1] in {("query",), ("path",), ()} or place.operation in {
        "createTeam",
        "setAnswers",
        "countRequests",
        "findRequests",
    }:
        return  # these show nothing of what they were given
    wanted = instant_after(value) if place.where == ("by",) else instant(value)
    if wanted is not None:
        assert wanted in map(instant, shown.split('"')), shown
    elif isinstance(value, str):
        assert json.dumps(value, ensure_ascii=False) in shown or value == "now", shown


@pytest.fixture
def desk(control: Control) -> Desk:
    """A team with a row of each kind."""
    content = {"clock": NOW, "test": ROWS}
    return Desk(control, control.team(slug="desk", dataset=content))


def test_fields_take_hostile_values_or_refuse_them_by_name(desk: Desk) -> None:
    document = desk.control.call("GET", "/openapi.json")
    cases = [(place, name) for place in places(document, "desk") for name in VALUES]
    seed = os.environ.get("SEED") or str(secrets.randbelow(10**6))
    if (number := os.environ.get("HOSTILE", str(SOME))) != "all":
        cases = random.Random(seed).sample(cases, int(number))  # noqa: S311
    print(f"SEED={seed}: {len({str(place) for place, _ in cases})} fields, {len(cases)} values")  # noqa: T201
    wrong = []
    for place, name in cases:
        try:
            desk.try_value(place, VALUES[name])
        except AssertionError as error:
            wrong.append(f"{place} = {name}: {str(error)[:300]}")
            desk.start_again()
    assert not wrong, "\n".join(wrong)
