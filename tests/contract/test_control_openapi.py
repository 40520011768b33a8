"""The control API's OpenAPI document: valid, complete, and true of what the server does."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import validate
from tests.conftest import MakeApi, running
from tests.examples import THOROUGH, examples

pytestmark = pytest.mark.one_engine("the document, and what is refused by it")

METHODS = {"get", "put", "post", "delete", "patch"}
# Where the document's paths lead to rows: one team for all operations, and another to be deleted.
CONFIGURATION = """
# A schema does not say that text has no NUL; tests/control/test_hostile_values.py tries it in every field.
[generation]
allow-x00 = false

[parameters]
team = "playground"

[[operations]]
include-name = "DELETE /teams/{team}"
parameters = { team = "doomed" }

# Each bound of each figure in turn would be a hundred thousand rows; tests/control/test_answers.py asks for some.
[[operations]]
include-name = "PUT /teams/{team}/answers"
phases.coverage.enabled = false
"""

# A new team may have answers and fault rules: each of their bounds is tried at routes of their own as well.
WITHOUT_NEW_TEAMS = """
[[operations]]
include-name = "POST /teams"
phases.coverage.enabled = false
"""


@pytest.fixture(name="document")
def _document(make_api: MakeApi) -> dict[str, Any]:
    document: dict[str, Any] = make_api().client.get("/__admin/openapi.json").json()
    return document


@pytest.mark.parametrize("settings", [{}, {"control_token": "control-token"}])
def test_the_document_is_valid(make_api: MakeApi, settings: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer control-token"}
    document = make_api(**settings).client.get("/__admin/openapi.json", headers=headers).json()
    assert document["openapi"].startswith("3.1")
    assert [server["url"] for server in document["servers"]] == ["/__admin"]
    assert document["security"] == ([{"controlToken": []}] if settings else [])
    validate(document)


def test_it_describes_what_the_issue_asks_for(document: dict[str, Any]) -> None:
    described = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in METHODS
    }
    team = "/teams/{team}"
    wanted = {
        "GET /health", "GET /version", "POST /reset", "POST /teams", "GET /teams", f"GET {team}", f"DELETE {team}",
        f"POST {team}/reset", f"PUT {team}/answers", f"GET {team}/clock", f"PUT {team}/clock",
        *(f"{method} {team}/faults" for method in ("GET", "PUT", "POST", "DELETE")),
        f"GET {team}/rate-limits", f"PUT {team}/rate-limits", f"DELETE {team}/rate-limits/counters",
        f"GET {team}/requests", f"DELETE {team}/requests", f"POST {team}/requests/count",
        f"POST {team}/requests/find", f"GET {team}/requests/{{id}}", "GET /requests/unmatched",
        f"GET {team}/explain/overview", f"GET {team}/explain/agents",
    }  # fmt: skip
    for kind in ("members", "customers", "tickets", "csat-responses"):
        wanted |= {f"{method} {team}/{kind}" for method in ("GET", "POST")}
        wanted |= {f"{method} {team}/{kind}/{{id}}" for method in ("GET", "PATCH", "DELETE")}
    assert wanted <= described


def test_every_operation_has_a_name_a_summary_and_its_problems(document: dict[str, Any]) -> None:
    operations = [
        (path, operation) for path, item in document["paths"].items() for operation in item.values()
    ]  # fmt: skip
    names = [operation["operationId"] for _, operation in operations]
    assert len(set(names)) == len(names)
    for path, operation in operations:
        assert operation["summary"]
        assert "422" not in operation["responses"]
        wanted = {"400", "503"} | ({"404"} if "{team}" in path else set())
        assert wanted <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"]


def test_a_wrong_method_names_the_methods_that_the_document_has(make_api: MakeApi, document: dict[str, Any]) -> None:
    client = make_api().client
    for path, item in document["paths"].items():
        concrete = "/__admin" + path.replace("{team}", "some").replace("{id}", "other")
        response = client.options(concrete)
        assert response.status_code == 405, path
        assert response.headers["Allow"].split(", ") == sorted(method.upper() for method in item)


def test_a_path_with_a_line_break_is_the_control_apis_as_well(make_api: MakeApi) -> None:
    response = make_api().client.get("/__admin/teams/a%0Ab")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/csat-responses", {"ticketId": "tkt_1", "score": True}),
        ("/csat-responses", {"ticketId": "tkt_1", "score": "4"}),
        ("/faults", {"status": 500, "succeedFirst": False}),
        ("/faults", {"status": 500, "probability": "1"}),
        ("/faults", {"status": 500, "retryAfter": "1"}),
        ("/keys", {"rateLimit": "5"}),
    ],
)
def test_a_number_is_a_number_and_nothing_that_looks_like_one(make_api: MakeApi, path: str, body: Any) -> None:
    client = make_api().client
    team = client.post("/__admin/teams", json={}).json()["id"]
    assert client.post(f"/__admin/teams/{team}{path}", json=body).status_code == 400


def test_a_whole_number_may_be_written_with_a_point(make_api: MakeApi) -> None:
    client = make_api().client
    team = client.post("/__admin/teams", json={}).json()["id"]
    rule = {"status": 500.0, "succeedFirst": 1.0, "failRequestCount": 2.0}
    shown = client.put(f"/__admin/teams/{team}/faults", json=rule).json()
    assert shown["faults"][0]["rule"] == {"status": 500, "succeedFirst": 1, "failRequestCount": 2}


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Must-show line 9: all checks on, none excluded, against a real server with a team."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION if THOROUGH else CONFIGURATION + WITHOUT_NEW_TEAMS)
    with running(tmp_path, "--dataset", "empty", "--no-rate-limits", "--log-level", "warning") as server:
        for slug in ("playground", "doomed"):
            httpx2.post(f"{server.url}/__admin/teams", json={"slug": slug}).raise_for_status()
        run = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                "run",
                f"{server.url}/__admin/openapi.json",
                "--checks",
                "all",
                "--max-examples",
                str(examples(2)),
                "--no-color",
                # One worker builds what it is asked for, and this machine may be busy.
                "--request-timeout",
                "60",
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        generated = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
        assert generated, run.stdout
        assert int(generated[1]) > 1000
        assert httpx2.get(f"{server.url}/__admin/health").status_code == 200
        assert "Traceback" not in server.log.read_text()
