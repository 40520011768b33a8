"""The OpenAPI document: valid, exactly the documented surface, and good enough to make a client from."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from tests.conftest import Api, MakeApi, Server

from cstar_mock.contract import errors

pytestmark = pytest.mark.one_engine("the document, and what is refused by it")

TEAM = "/api/v1/teams/{teamId}/analytics"


@pytest.fixture(name="document")
def _document(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = api.get("/openapi.json", None).json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by path."""
    return {path: item["get"] for path, item in document["paths"].items()}


@pytest.mark.parametrize("settings", [{}, {"success_meta": True, "rate_limits": False}])
def test_the_document_is_valid(make_api: MakeApi, settings: dict[str, Any]) -> None:
    document = make_api(**settings).get("/openapi.json", None).json()
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_it_describes_the_documented_surface_and_nothing_else(document: dict[str, Any]) -> None:
    described = {
        path: (sorted(item), item["get"]["operationId"], item["get"]["summary"], sorted(item["get"]["responses"]))
        for path, item in document["paths"].items()
    }
    statuses = ["200", "401", "403", "429", "500", "503"]
    assert described == {
        f"{TEAM}/overview": (["get"], "getAnalyticsOverview", "Get Overview", sorted([*statuses, "400"])),
        f"{TEAM}/agents": (["get"], "getAgentStats", "Get Agent Stats", statuses),
        "/api/v1/auth/whoami": (["get"], "whoAmI", "Who am I", ["200", "401", "429", "500", "503"]),
    }


def test_every_operation_needs_the_bearer_key(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearerKey"]["scheme"] == "bearer"
    assert all(operation["security"] == [{"bearerKey": []}] for operation in operations(document).values())


def test_the_period_has_its_values_and_its_default(document: dict[str, Any]) -> None:
    _, period = operations(document)[f"{TEAM}/overview"]["parameters"]
    assert period["schema"] == {"$ref": "#/components/schemas/Period", "default": "week"}
    assert document["components"]["schemas"]["Period"]["enum"] == ["day", "week", "month", "quarter", "year"]
    assert period["required"] is False


@pytest.mark.parametrize("settings", [{}, {"success_meta": True}])
def test_every_example_keeps_its_schema(make_api: MakeApi, settings: dict[str, Any]) -> None:
    document = make_api(**settings).get("/openapi.json", None).json()
    count = 0
    for operation in operations(document).values():
        for response in operation["responses"].values():
            content = response["content"]["application/json"]
            examples = (
                [content["example"]]
                if "example" in content
                else [example["value"] for example in content["examples"].values()]
            )
            for example in examples:
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(example)
                count += 1
    assert count > 15


def test_the_examples_are_what_the_server_answers(api: Api, document: dict[str, Any]) -> None:
    whoami = "/api/v1/auth/whoami"
    for path, name in ((f"{TEAM}/overview", "overview"), (f"{TEAM}/agents", "agents"), (whoami, whoami)):
        response = operations(document)[path]["responses"]["200"]
        assert response["content"]["application/json"]["example"] == api.get(name).json()


def test_errors_come_from_the_catalogue(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["ErrorDetail"]["properties"]
    assert set(schema["code"]["enum"]) == {kind.code for kind in errors.CATALOGUE.values()}
    described = operations(document)[f"{TEAM}/overview"]["responses"]["403"]["content"]["application/json"]
    assert set(described["examples"]) == {"secret_key_required", "team_access_denied"}


def test_the_command_prints_the_served_document(document: dict[str, Any], tmp_path: Path) -> None:
    printed = subprocess.run([sys.executable, "-m", "cstar_mock", "openapi"], capture_output=True, check=True)
    assert json.loads(printed.stdout) == document
    written = tmp_path / "openapi.json"
    subprocess.run([sys.executable, "-m", "cstar_mock", "openapi", "--output", written], check=True)
    assert json.loads(written.read_text()) == document


def test_a_generated_client_gets_typed_results(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(
        [
            Path(sys.executable).parent / "openapi-python-client",
            "generate",
            "--url",
            f"{server.url}/openapi.json",
            "--meta",
            "none",
            "--output-path",
            str(tmp_path / "generated_client"),
            "--fail-on-warning",
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        # It formats what it generates.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    client_module = importlib.import_module("generated_client")
    get_overview = importlib.import_module("generated_client.api.analytics.get_analytics_overview")
    get_agents = importlib.import_module("generated_client.api.analytics.get_agent_stats")
    models = importlib.import_module("generated_client.models")
    team_id = server.ready["teams"][0]["id"]
    with client_module.AuthenticatedClient(base_url=server.url, token="sk_live_your_key") as client:
        overview = get_overview.sync(team_id, client=client)
        assert type(overview).__name__ == "OverviewResponse"
        assert isinstance(overview.data, models.Overview)
        assert overview.data.tickets.total == 142
        assert overview.data.csat.average == 4.2
        agents = get_agents.sync(team_id, client=client)
        assert [(agent.user_id, agent.tickets_resolved) for agent in agents.data] == [("usr_abc", 45)]
    with client_module.AuthenticatedClient(base_url=server.url, token="wrong") as client:
        refused = get_overview.sync(team_id, client=client)
        assert isinstance(refused, models.ErrorResponse)
        assert refused.error.message == "Invalid or expired API key"


@pytest.mark.parametrize("key", ["sk_live_your_key", None])
def test_schemathesis_finds_nothing(server: Server, key: str | None, tmp_path: Path) -> None:
    """All checks on: once with a valid secret key, once without any."""
    headers = ["--header", f"Authorization: Bearer {key}"] if key else []
    run = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            "run",
            f"{server.url}/openapi.json",
            "--checks",
            "all",
            "--max-examples",
            "100",
            "--no-color",
            *headers,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    generated = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert generated, run.stdout
    assert int(generated[1]) > 100
