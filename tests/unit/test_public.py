"""The public surface: three names, which cost nothing until they are used."""

import gc
import json
import subprocess
import sys
import weakref

import pytest
from starlette.testclient import TestClient

import cstar_mock
from cstar_mock import application, settings

SLOW = {"alembic", "fastapi", "pydantic", "slowapi", "sqlalchemy", "starlette", "uvicorn"}


def modules_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(finished.stdout))


def test_three_names_are_public() -> None:
    assert cstar_mock.__all__ == ["VERSION", "Settings", "create_app"]
    assert cstar_mock.create_app is application.create_app
    assert cstar_mock.Settings is settings.Settings


def test_a_star_import_brings_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from cstar_mock import *", names)  # noqa: S102  (a star import is only allowed at module level)
    assert set(cstar_mock.__all__) == set(names) - {"__builtins__"}


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cstar_mock' has no attribute 'nothing'"):
        _ = cstar_mock.nothing


@pytest.mark.parametrize("statement", ["import cstar_mock", "import cstar_mock.cli"])
def test_importing_the_package_or_its_command_line_imports_nothing_slow(statement: str) -> None:
    assert modules_after(statement) & SLOW == set()


def test_using_a_public_name_imports_what_it_needs() -> None:
    """Without this, the test above could pass because it can't see imports at all."""
    assert {"fastapi", "sqlalchemy"} <= modules_after("from cstar_mock import create_app")


def test_the_first_answer_needs_no_module_of_the_control_api() -> None:
    """Its models take a fifth of a start, so they are imported for its first request."""
    begun = modules_after("import cstar_mock.serving.server; from cstar_mock import create_app; create_app()")
    assert {name for name in begun if name.startswith("cstar_mock.control.")} == {
        "cstar_mock.control.bodies",
        "cstar_mock.control.guard",
        "cstar_mock.control.problems",
    }


def test_an_application_that_is_no_longer_used_is_freed() -> None:
    """A test suite may make thousands. FastAPI keeps the functions of routes: none may hold its application."""
    app = cstar_mock.create_app()
    with TestClient(app, "http://127.0.0.1") as client:
        assert client.get("/__admin/docs").status_code == 200
    freed = [weakref.ref(app), weakref.ref(app.state.services.database)]
    del app, client
    gc.collect()
    assert [reference() for reference in freed] == [None, None]
