"""A test's hold on the control API, in this process."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from tests.conftest import NOW, Api, MakeApi, open_api
from tests.engines import Embedded, Engines, Shared

ADMIN = "/__admin"


def assert_problem(response: httpx2.Response, status: int, *mentioned: str) -> dict[str, Any]:
    """Assert that a response is a problem (RFC 9457) whose text mentions all this, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert list(body) == ["type", "title", "status", "detail", "errors"]
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["title"]
    assert body["detail"]
    assert all(list(error) == ["field", "message"] for error in body["errors"])
    for text in mentioned:
        assert text in response.text, response.text
    return body


@dataclass
class Control:
    """The control API of an application in this process."""

    api: Api

    def send(self, method: str, path: str, body: Any = None, /, **query: Any) -> httpx2.Response:
        """Send a request to a path under `/__admin`; `body` is JSON unless it is bytes."""
        content: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.api.client.request(method, f"{ADMIN}{path}", params=query, **content)

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """Send a request that has to succeed, and return what is answered."""
        response = self.send(method, path, body, **query)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def refused(self, status: int, method: str, path: str, body: Any = None, /, **query: Any) -> dict[str, Any]:
        """Send a request that has to be refused with a status, and return the problem."""
        return assert_problem(self.send(method, path, body, **query), status)

    def team(self, **content: Any) -> "Team":
        """Create a team."""
        created = self.call("POST", "/teams", content)
        return Team(self, created["id"], created["slug"], created["keys"])


@dataclass
class Team:
    """A team of the test's own."""

    control: Control
    id: str
    slug: str
    keys: dict[str, str]

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """Send a request about this team that has to succeed, and return what is answered."""
        return self.control.call(method, f"/teams/{self.id}{path}", body, **query)

    def refused(self, status: int, method: str, path: str, body: Any = None, /, **query: Any) -> dict[str, Any]:
        """Send a request about this team that has to be refused with a status, and return the problem."""
        return self.control.refused(status, method, f"/teams/{self.id}{path}", body, **query)

    def get(self, path: str = "overview", key: str = "sk_test", **headers: str) -> httpx2.Response:
        """Get `overview` or `agents` as a client does, or any path that begins with a slash."""
        if not path.startswith("/"):
            path = f"/api/v1/teams/{self.id}/analytics/{path}"
        bearer = {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        return self.control.api.client.get(path, headers={**bearer, **headers})

    def data(self, path: str = "overview", key: str = "sk_test") -> Any:
        """Get the data of a 200."""
        response = self.get(path, key)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def freeze(self, instant: str) -> None:
        """Stop the team's clock."""
        self.call("PUT", "/clock", {"action": "freeze", "instant": instant})

    def advance(self, by: str) -> None:
        """Move the team's clock ahead."""
        self.call("PUT", "/clock", {"action": "advance", "by": by})


@pytest.fixture
def control(make_api: MakeApi) -> Control:
    """The control API of an application without teams."""
    return Control(make_api())


@pytest.fixture(scope="session")
def embedded_control() -> Iterator[Control]:
    """The control API of an application on SQLite that the tests' teams share."""
    with ExitStack() as stack:
        yield Control(open_api(stack, Embedded()))


@pytest.fixture(scope="session")
def shared_control(shared_engines: Shared) -> Iterator[Control]:
    """The control API of an application on PostgreSQL and Valkey that the tests' teams share."""
    with ExitStack() as stack:
        yield Control(open_api(stack, shared_engines))


@pytest.fixture
def team(request: pytest.FixtureRequest, engines: Engines) -> Iterator[Team]:
    """A team without rows, its clock frozen at the documented instant.

    Its application is not the test's own, as to make one takes longer than most tests: no team sees another one.
    """
    control: Control = request.getfixturevalue("embedded_control" if engines.embedded else "shared_control")
    team = control.team(clock=NOW)
    yield team
    control.send("DELETE", f"/teams/{team.id}")
