"""Bodies of the control API that are missing, or not announced as JSON."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from tests.control.conftest import ADMIN, Control, Team, assert_problem

from cstar_mock import bounds
from cstar_mock.contract.errors import CATALOGUE
from cstar_mock.testing.control import Control as Handle


def test_a_body_whose_fields_are_all_optional_can_be_missing(control: Control) -> None:
    client = control.api.client
    created = client.post(f"{ADMIN}/teams")
    assert created.status_code == 201, created.text
    path = f"{ADMIN}/teams/{created.json()['id']}"
    assert client.post(f"{path}/keys").json()["key"].startswith("sk_test_")
    assert client.post(f"{path}/requests/count").json()["count"] == 0
    assert client.post(f"{path}/requests/find").json()["requests"] == []


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain", "nonsense", None])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/teams"), ("PUT", "/teams/{}/faults"), ("POST", "/teams/{}/tickets")]
)
def test_a_body_that_is_not_announced_as_json_is_told_so(team: Team, media: str | None, method: str, path: str) -> None:
    headers = {} if media is None else {"Content-Type": media}
    url = ADMIN + path.format(team.id)
    response = team.control.api.client.request(method, url, content=b'{"status": 429}', headers=headers)
    detail = assert_problem(response, 400)["detail"]
    assert detail == f"the body must be JSON, with Content-Type: application/json; it has {media or 'none'}"


@pytest.mark.parametrize("path", ["/teams", "/teams/{}/tickets"])
def test_a_body_has_a_bounded_number_of_values(team: Team, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_BODY_VALUES", 6)
    path = path.format(team.id)
    allowed = team.control.refused(400, "POST", path, {"x": {"y": [{}, 1, 1]}, "z": 1})
    refused = team.control.refused(400, "POST", path, {"x": {"y": [{}, {}]}, "z": 1})
    assert {"x", "z"} <= {error["field"] for error in allowed["errors"]}
    assert refused["detail"] == "the body has more than 6 objects and fields: send it in parts"


def test_an_answer_lists_a_bounded_number_of_problems(team: Team) -> None:
    problem = team.refused(400, "POST", "/tickets", {f"x{number}": 1 for number in range(500)})
    assert len(problem["errors"]) == bounds.MOST_PROBLEMS
    problem = team.refused(400, "POST", "/tickets", [{}] * 5_000)
    assert [error["field"] for error in problem["errors"][:2]] == ["[0].customerId", "[1].customerId"]
    assert len(problem["errors"]) == bounds.MOST_PROBLEMS


def test_an_unknown_name_of_an_error_is_told_the_known_ones(team: Team) -> None:
    problem = team.refused(400, "POST", "/faults", {"status": "rate_limited"})
    assert problem["errors"][0]["field"] == "status"
    assert all(name in problem["detail"] for name in CATALOGUE)
    assert "'rate_limited'" in problem["detail"]


def test_the_handle_writes_what_json_lacks() -> None:
    sent: list[bytes | None] = []

    def send(_method: str, _target: str, body: bytes | None) -> tuple[int, bytes]:
        sent.append(body)
        return 204, b""

    instant = datetime(2025, 12, 10, 14, 30, tzinfo=UTC)
    Handle(send).call("POST", "/x", {"a": instant, "b": [Decimal("4.2")], "c": UUID(int=1)})
    assert sent == [b'{"a": "2025-12-10T14:30:00+00:00", "b": [4.2], "c": "00000000-0000-0000-0000-000000000001"}']
    with pytest.raises(ValueError, match="needs a time zone"):
        Handle(send).call("POST", "/x", instant.replace(tzinfo=None))
    with pytest.raises(TypeError, match="JSON has no set"):
        Handle(send).call("POST", "/x", {"a": {1}})
