"""The rules of the sources that import-linter has no contract for: circles inside a room, locks, sizes.

The order of the rooms is in `pyproject.toml`, and `make check` looks at it.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from tests.conftest import ROOT

PACKAGE = "cstar_mock"
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
MOST_AT_THE_ROOT = 8


@dataclass(frozen=True)
class Import:
    """One import of a module by another one."""

    target: str
    line: int
    at_top: bool


Imports = Mapping[str, list[Import]]


def imports_of(sources: Mapping[str, str]) -> dict[str, list[Import]]:
    """Return what each module imports; `sources` are texts by module name."""
    return {name: list(_imports(name, ast.parse(text), sources)) for name, text in sources.items()}


def _imports(module: str, tree: ast.Module, sources: Mapping[str, str]) -> Iterator[Import]:
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types_only(node)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        at_top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_top)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(whole if whole in sources else node.module, node.lineno, at_top)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _within(target: str, package: str) -> bool:
    return target == package or target.startswith(f"{package}.")


def cycle(imports: Imports) -> list[str]:
    """Return the modules of a cycle of imports at the top of files, or nothing."""
    graph = {
        module: sorted({one.target for one in found if one.at_top and one.target in imports} - {module})
        for module, found in imports.items()
    }
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module not in done:
            for target in graph[module]:
                if found := visit(target, [*way, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in graph if (found := visit(module, []))), [])


def _sources() -> dict[str, str]:
    """Return the sources of the package, by module name."""
    sources = {}
    for file in sorted((ROOT / "app" / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT / "app").with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file.read_text()
    return sources


@pytest.fixture(name="sources", scope="module")
def _sources_of_the_package() -> dict[str, str]:
    """The sources of the package, by module name."""
    return _sources()


@pytest.fixture(scope="module")
def imports(sources: dict[str, str]) -> Imports:
    """What the modules of the package import."""
    return imports_of(sources)


def test_the_imports_are_seen(imports: Imports) -> None:
    """Without this, the tests below could pass because nothing is read."""

    def targets(module: str) -> set[str]:
        return {one.target for one in imports[module]}

    assert {"sqlalchemy", f"{PACKAGE}.store.models"} <= targets(f"{PACKAGE}.analytics.queries")
    assert {"fastapi", f"{PACKAGE}.api.answers"} <= targets(f"{PACKAGE}.api.analytics")
    assert {f"{PACKAGE}.serving.server", f"{PACKAGE}.store.database"} <= targets(f"{PACKAGE}.cli.serving") | targets(
        f"{PACKAGE}.cli.store"
    )
    assert not any(one.at_top for one in imports[f"{PACKAGE}.cli.serving"] if one.target == f"{PACKAGE}.serving.server")


def test_no_imports_go_round_in_a_circle(imports: Imports) -> None:
    assert cycle(imports) == []


def test_a_circle_is_found_unless_a_function_breaks_it() -> None:
    circle = {"p": "", "p.a": "from p import b", "p.b": "import p.c", "p.c": "from p.a import x"}
    assert cycle(imports_of(circle)) == ["p.a", "p.b", "p.c", "p.a"]
    assert cycle(imports_of(circle | {"p.c": "def f():\n    from p.a import x"})) == []
    assert cycle(imports_of(circle | {"p.c": "if TYPE_CHECKING:\n    from p.a import x"})) == []


def test_a_relative_import_is_found() -> None:
    with pytest.raises(AssertionError, match="relative"):
        imports_of({"p.a": "from . import b"})


def control_writes(sources: Mapping[str, str]) -> set[str]:
    """Return each function that the control API hands to `database.write`, as `module.function`."""
    return {
        _full_name(call.args[0], module, sources)
        for module, text in sources.items()
        if _within(module, f"{PACKAGE}.control")
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "write"
    }


def _full_name(function: ast.expr, module: str, sources: Mapping[str, str]) -> str:
    assert isinstance(function, ast.Name | ast.Attribute), f"{module}:{function.lineno}: what is written is no name"
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else None
    name = function.attr if isinstance(function, ast.Attribute) else function.id
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == (owner or name):
                    whole = f"{node.module}.{alias.name}"
                    return f"{whole}.{name}" if whole in sources else whole
    return f"{module}.{name}"


def begins_with_the_lock(function: str, sources: Mapping[str, str]) -> bool:
    """Whether the first call that is given the connection is the team's lock, or else each one begins with it."""
    module, _, name = function.rpartition(".")
    tree = ast.parse(sources[module])
    (definition,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    calls = [
        node
        for node in ast.walk(definition)
        if isinstance(node, ast.Call)
        and any(isinstance(part, ast.Name) and part.id == "connection" for part in [*node.args, _receiver(node)])
    ]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    called = [None if _receiver(call) else _full_name(call.func, module, sources) for call in calls]
    if called[:1] == [f"{PACKAGE}.teams.teams.lock"]:
        return True
    return bool(called) and all(
        name is not None and name.rpartition(".")[0] in sources and begins_with_the_lock(name, sources)
        for name in called
    )


def _receiver(call: ast.Call) -> ast.expr | None:
    """Return what a method is called of, if it is the connection itself."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return owner if isinstance(owner, ast.Name) and owner.id == "connection" else None


def test_every_write_of_the_control_api_begins_with_the_lock_of_its_team(sources: dict[str, str]) -> None:
    writes = control_writes(sources)
    assert len(writes) > 10
    without = {name for name in writes if not begins_with_the_lock(name, sources)}
    # There is no team to lock yet: two clients that create the same one meet at the unique constraint.
    assert without == {f"{PACKAGE}.control.teams._create"}


@pytest.mark.parametrize(
    ("body", "locked"),
    [
        ("teams.lock(connection, team)", True),
        ("state = teams.lock(connection, team)\n    connection.execute(1)", True),
        ("connection.execute(1)\n    teams.lock(connection, team)", False),
        ("if teams.get(connection, team):\n        teams.lock(connection, team)", False),
        ("return inner(connection, team)", True),
        ("if team:\n        inner(connection, team)\n    return inner(connection, team)", True),
        ("if team:\n        inner(connection, team)\n    connection.execute(1)", False),
        ("return 1", False),
    ],
)
def test_a_write_without_the_lock_is_found(body: str, locked: bool) -> None:
    inner = "def inner(connection, team):\n    teams.lock(connection, team)\n"
    source = f"from cstar_mock.teams import teams\n{inner}def work(connection, team):\n    {body}\n"
    sources = {"cstar_mock.teams.teams": "def get(connection, team):\n    connection.execute(1)\n", "m": source}
    assert begins_with_the_lock("m.work", sources) is locked


def test_few_modules_are_at_the_root_of_the_package() -> None:
    modules = {file.name for file in (ROOT / "app" / PACKAGE).glob("*.py")}
    assert len(modules) <= MOST_AT_THE_ROOT, sorted(modules)


def test_no_module_is_too_long(sources: dict[str, str]) -> None:
    lines = {name: text.count("\n") for name, text in sources.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}


def test_no_function_is_too_long(sources: dict[str, str]) -> None:
    lengths = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, text in sources.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert len(lengths) > 500
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
