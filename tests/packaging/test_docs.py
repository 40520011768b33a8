"""The documents agree with the code: what they list is complete, what they show is what happens."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from tests.conftest import ROOT, Api, MakeApi, Server, running

from cstar_mock import VERSION, Settings
from cstar_mock.contract import ids
from cstar_mock.contract.errors import CATALOGUE, ErrorKind
from cstar_mock.datasets.files import find, read
from cstar_mock.datasets.problems import DatasetError
from cstar_mock.settings import ENV_PREFIX
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.teams.load import load
from cstar_mock.traffic.fault_rules import ConnectionFault, FaultRule, Match

README = ROOT / "README.md"
CONTROL, TESTING = ROOT / "docs/control.md", ROOT / "docs/testing.md"
KINDS = ("members", "customers", "tickets", "csat-responses")
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = ("documented", "empty", "edge", "busy")


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def rows(page: Path) -> list[tuple[str, ...]]:
    """Return the rows of every table of a page, without backticks."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").replace("`", "").split("|")) for line in lines]


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what `#…` may follow the name of a page, as GitHub and others make it from the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


DATASETS = [block for block in blocks(ROOT / "docs/datasets.md", "yaml") if block.startswith("dataset:")]


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    database = Database("sqlite://")
    migrations.prepare(database)
    yield database
    database.close()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_row_in_the_readme(name: str) -> None:
    field = Settings.model_fields[name]
    option = name.replace("_", "-")
    shown = f"--{option}, --no-{option}" if field.annotation is bool else f"--{option}"
    default = "none" if field.default in {None, ()} else str(field.default)
    if field.annotation is bool:
        default = "on" if field.default else "off"
    assert (shown, ENV_PREFIX + name.upper(), default) in [row[:3] for row in rows(README)]


def test_the_readme_has_no_option_that_is_gone() -> None:
    variables = {row[1] for row in rows(README) if row[1].startswith(ENV_PREFIX)}
    assert variables == {ENV_PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)
def test_every_error_has_its_row(kind: ErrorKind) -> None:
    cells = (kind.name, str(kind.status), kind.type, kind.code, kind.message, kind.meaning, kind.source)
    table = rows(ROOT / "docs/errors.md")
    assert tuple(cell.replace("`", "") for cell in cells) in table
    assert (kind.name, kind.doc_url) in table


def test_the_page_of_errors_has_no_error_that_is_gone() -> None:
    listed = [row[0] for row in rows(ROOT / "docs/errors.md") if len(row) == 7]
    assert listed == ["name", *CATALOGUE]


@pytest.mark.parametrize("text", DATASETS, ids=lambda text: text.split("\n", 1)[0])
def test_every_data_set_that_is_shown_can_be_loaded(database: Database, tmp_path: Path, text: str) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(text)
    teams = database.write_now(load, read(path))
    assert all(team.created for team in teams)


def test_an_example_of_each_way_to_say_rows_is_shown() -> None:
    environments = [team["live"] for text in DATASETS for team in yaml.safe_load(text)["teams"]]
    assert {"tickets", "recipes", "answers"} <= {part for environment in environments for part in environment}


def test_the_error_that_is_shown_is_the_real_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cstar_mock.teams.load import load_datasets

    page = ROOT / "docs/datasets.md"
    (wrong,) = (block for block in blocks(page, "text") if block.startswith("dataset:"))
    (shown,) = re.findall(r"^cstar-mock: (mine\.yaml:.*)$", page.read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(wrong)
    with pytest.raises(DatasetError) as refused:
        load_datasets(database, ["mine.yaml"])
    assert str(refused.value) == shown


def test_the_shipped_teams_and_keys_are_listed() -> None:
    table = rows(ROOT / "docs/datasets.md")
    for team in (team for name in SHIPPED for team in read(find(name)).teams):
        keys = ", ".join(str(key) for key in team.keys.model_dump().values())
        assert (team.slug, team.id or ids.team_id(team.slug), keys) in table


def test_the_version_is_the_newest_release_of_the_changelog() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", released[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_tour_names_what_is_in_the_files_that_it_links_to() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./(app/[\w/]+\.py)\)", (ROOT / "docs/tour.md").read_text())
    assert len(links) > 30
    for name, file in links:
        assert name in names_in(ROOT / file), f"{file} has no {name}"


def names_in(file: Path) -> set[str]:
    """Return the functions, classes, methods and constants of a module, methods as `Class.method`."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, FUNCTIONS)}
        if isinstance(node, ast.ClassDef | FUNCTIONS):
            names.add(node.name)
    return names


def test_the_curl_in_the_readme_answers_what_is_shown(api: Api) -> None:
    (block,) = (block for block in blocks(README, "console") if block.startswith("$ curl"))
    command, output = block.splitlines()
    match = re.fullmatch(r'\$ curl -H "(\w+): (.*?)" "http://127\.0\.0\.1:27827(/.*?)"', command)
    assert match is not None
    name, value, path = match.groups()
    response = api.client.get(path, headers={name: value})
    assert response.text == output
    assert f":{Settings.model_fields['port'].default}/" in command


def test_the_python_in_the_readme_runs(server: Server) -> None:
    program = blocks(README, "python")[0]
    here = program.replace("http://127.0.0.1:27827", server.url)
    ran = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, check=True)
    assert program.endswith(f"  # {ran.stdout}")


def test_the_routes_of_the_control_api_are_listed(api: Api) -> None:
    document = api.client.get("/__admin/openapi.json").json()
    served = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    listed = [row[0] for row in rows(CONTROL) if re.match(r"[A-Z]+ /", row[0])]
    expanded = [route.replace("{kind}", kind) for route in listed for kind in KINDS[: 4 if "{kind}" in route else 1]]
    assert len(expanded) == len(set(expanded))
    assert set(expanded) == served


def test_the_fields_of_a_fault_rule_are_listed() -> None:
    def names(model: type[BaseModel], prefix: str = "") -> set[str]:
        return {prefix + (field.alias or name) for name, field in model.model_fields.items()}

    text = CONTROL.read_text()
    table = text[text.index("| field of a rule |") : text.index("A rule needs a")]
    listed = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))
    assert listed == names(FaultRule) | names(Match, "match.")


def test_the_connection_faults_are_listed() -> None:
    listed = {row[0] for row in rows(CONTROL) if re.fullmatch("[A-Z_]+", row[0])}
    assert listed == set(ConnectionFault)


def test_every_magic_key_is_listed() -> None:
    table = {row[:2] for row in rows(TESTING)}
    keys = {(name, magic.key) for team in read(find("documented")).teams for name, magic in team.magic_keys.items()}
    assert keys
    assert keys <= table


def test_the_python_about_testing_runs(tmp_path: Path) -> None:
    """Every block defines tests of its own; pytest runs them all, with the plugin, as a reader would."""
    examples = [*blocks(TESTING, "python"), *blocks(README, "python")[1:]]
    for number, block in enumerate(examples, 1):
        assert "test_" in block
        (tmp_path / f"test_{number}.py").write_text(block)
    for block in blocks(TESTING, "yaml"):
        (tmp_path / block.split("\n")[0].removeprefix("# ")).write_text(block)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CSTAR_")}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-o", "addopts="]
    ran = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout


def commands(page: Path) -> list[tuple[str, str]]:
    """Return the commands of a page's console blocks, each with the output that is shown."""
    text = "\n" + "".join(blocks(page, "console"))
    parts = [part.partition("\n") for part in text.split("\n$ ")[1:]]
    return [(command, output.strip()) for command, _, output in parts]


@pytest.mark.parametrize("page", [CONTROL, TESTING], ids=lambda page: page.name)
def test_the_commands_give_what_is_shown(tmp_path: Path, page: Path) -> None:
    shown = commands(page)
    mark = "=== next ==="
    with running(tmp_path, "--dataset", "documented") as server:
        here = [command.replace("http://127.0.0.1:27827", server.url) for command, _ in shown]
        script = f"\nprintf '%s\\n' {shlex.quote(mark)}\n".join(here)
        ran = subprocess.run(
            ["bash", "-c", f"exec 2>&1\n{script}"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        outputs = ran.stdout.replace(server.url, "http://127.0.0.1:27827").split(f"{mark}\n")
    assert len(outputs) == len(shown)
    for (command, expected), output in zip(shown, outputs, strict=True):
        pattern = ".*".join(re.escape(part) for part in expected.split("…"))
        assert re.fullmatch(pattern, output.strip(), re.DOTALL), f"$ {command}\n{output}"


KNOWN_VARIABLES = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
VARIABLE = re.compile(r"\b((?:[A-Z]+_)?(?:CSTAR|OTEL|FORWARDED|UVICORN|PROMETHEUS)_[A-Z_]*[A-Z])\b")
OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"}


def variables() -> set[str]:
    """Return the names of all environment variables that mean something to a command."""
    from click import Context

    from cstar_mock.cli import cli
    from cstar_mock.serving.server_process import VARIABLES

    def of(command: Any, prefix: str) -> set[str]:
        inner = getattr(command, "commands", {}).items()
        # A command keeps its help option, whose names are of the context that first asks for it.
        context = Context(command, **cli.context_settings)
        options = {prefix + parameter.name.upper() for parameter in command.get_params(context)}
        return options.union(*(of(one, f"{prefix}{name.replace('-', '_').upper()}_") for name, one in inner))

    return of(cli, ENV_PREFIX) | KNOWN_VARIABLES | set(VARIABLES) | OPENTELEMETRY


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_is_named_means_something(page: Path) -> None:
    if page.name != "CHANGELOG.md":
        assert set(VARIABLE.findall(page.read_text())) <= variables() | {"CSTAR_MOCK_EXIT_ON_STDIN_EOF"}


@pytest.mark.one_engine("metrics of this process")
def test_every_alert_asks_for_metrics_and_labels_that_exist(make_api: MakeApi) -> None:
    api = make_api("documented", metrics=True)
    api.get("overview")
    api.get("overview")
    api.client.get("/__admin/teams")
    served = api.client.get("/metrics").text
    series = dict.fromkeys(re.findall(r"^(\w+)[{ ]", served, re.MULTILINE), "")
    for name, labels in re.findall(r"^(\w+)\{(.*)\}", served, re.MULTILINE):
        series[name] += labels
    alerts = [row[0] for row in rows(ROOT / "docs/deploy.md") if re.search(r" > \d| == \d", row[0])]
    assert len(alerts) >= 5
    for alert in alerts:
        for name, labels in re.findall(r"\b(cstar_mock_\w+)(?:\{(.*?)\})?", alert):
            assert name in series, alert
            for label in re.findall(r"(\w+)=", labels):
                assert f'{label}="' in series[name], alert


@pytest.mark.one_engine("metrics of this process")
def test_the_alert_for_a_bug_covers_the_control_api(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api("documented", metrics=True)
    monkeypatch.setattr("cstar_mock.control.application.clock.iso", None)
    assert api.client.get("/__admin/health").status_code == 500
    (alert,) = [
        row[0] for row in rows(ROOT / "docs/deploy.md") if len(row) == 2 and row[1].startswith("a bug, in the API")
    ]
    (wanted,) = re.findall(r"\{(.*?)\}", alert)
    served = api.client.get("/metrics").text
    labels = [set(line.split(",")) for line in re.findall(r"^cstar_mock_requests_total\{(.*)\}", served, re.MULTILINE)]
    assert any({'route="control"', *wanted.split(",")} <= one for one in labels)


def compose(name: str) -> dict[str, Any]:
    """Return the services of a compose file."""
    services: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())["services"]
    return services


def test_the_simple_compose_file_keeps_to_this_machine_and_to_the_volume() -> None:
    service = compose("compose.simple.yaml")["cstar-mock"]
    assert service["init"] is True
    assert service["ports"] == ["127.0.0.1:27827:27827"]
    assert service["read_only"] is True
    assert service["environment"]["CSTAR_MOCK_DATABASE"].removeprefix("sqlite:///").startswith("/data/")
    assert set(service["environment"]) <= KNOWN_VARIABLES
    # A name without a value is taken from the shell that calls compose, and left out if it is not set there.
    assert service["environment"]["CSTAR_MOCK_CONTROL_TOKEN"] is None


@pytest.mark.parametrize("name", compose("compose.yaml"))
def test_every_service_of_the_sandbox_is_hardened(name: str) -> None:
    service = compose("compose.yaml")[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("init") is (True if service["image"] == "cstar-mock" else None)
    assert service.get("ports", []) == (["127.0.0.1:27827:8080"] if name == "nginx" else [])
    for variable, value in service.get("environment", {}).items():
        assert not variable.startswith(ENV_PREFIX) or variable in KNOWN_VARIABLES
        if any(word in variable for word in ("PASSWORD", "TOKEN", "DATABASE", "STATE")):
            assert re.search(r"\$\{\w+:\?", value), f"{variable} has a value, or a default"


def test_nginx_publishes_the_api_and_nothing_else() -> None:
    text = (ROOT / "deploy/nginx.conf").read_text()
    closed = re.findall(r"location (\S+) \{\s*return 404;\s*\}", text)
    assert closed == ["/__admin", "/metrics"]
    replicas = [name for name in compose("compose.yaml") if name.startswith("replica-")]
    port = Settings.model_fields["port"].default
    assert re.findall(r"^\s*server (\S+) max_fails", text, re.MULTILINE) == [f"{name}:{port}" for name in replicas]


def test_the_dockerfile_serves_on_its_exposed_port() -> None:
    text = (ROOT / "Dockerfile").read_text()
    port = Settings.model_fields["port"].default
    assert f"EXPOSE {port}" in text
    assert f"http://127.0.0.1:{port}/readyz" in text
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert json.loads(command) == ["cstar-mock", "serve", "--host", "0.0.0.0"]
