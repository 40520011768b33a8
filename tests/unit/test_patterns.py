"""Every regular expression of the package is in one table, and takes linear time on whatever text it sees."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.routing import Route
from tests.linear import problems

import cstar_mock
from cstar_mock import create_app
from cstar_mock.control import application as control

PACKAGE = Path(cstar_mock.__file__).parent
SEARCHING = {"search", "findall", "finditer", "sub", "subn", "split"}
MATCHING = {"match", "fullmatch"}

YAML_FLOAT = (
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
MATCHED_BY_LIBRARIES = {YAML_FLOAT}
"""Expressions that PyYAML only matches from the start of a scalar."""

COMPUTED = {
    "datasets/yaml12.py": "puts an end behind each expression of YAML scalars, which are in the table",
    "testing/datasets.py": "reads the data sets of the tests' own author, never a stranger's text",
}
"""Modules that put an expression together, and why it takes linear time."""

TABLE = {
    r"([+-])((?:\d{1,9}[smhdw])+)": "a relative instant, in a data set or a control request",
    r"P(?:(\d{1,6})W|(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?)": "a duration, there too",
    r"(\d{1,9})([smhdw])": "a length of time, there too",
    r"/api/v1/teams/([^/]+)/analytics/(overview|agents)": "the path of a request",
    r"([sp]k_(?:live|test)_)([A-Za-z0-9_-]*)": "what is recorded of a request: its path, query and header values",
    r'[ \t]*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)[ \t]*(?:=[ \t]*("[^"]*"|[^" \t;]*))?': "an element of a Prefer header",
    r"\d{1,2}(\.\d{1,3})?": "a value in a Prefer header",
    r"[3-5]\d\d": "a value in a Prefer header",
    r"^[A-Za-z0-9_.-]+$": "the id of a fault rule",
    r"^[A-Za-z0-9_-]+$": "an id or a key, in a data set or a control request",
    r"^[a-z0-9]+(-[a-z0-9]+)*$": "the slug of a team, there too",
    r"^[sp]k_(live|test)_[A-Za-z0-9_-]+$": "a key in a control request",
    r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$": "the id of a team in a data set",
    "^req_[A-Za-z0-9]{12}$": "nothing: it is in the OpenAPI document",
    r"\d{4}-\d\d-\d\d": "a time, in a data set or a control request",
    r"[\w-]{1,100}": "the name of a field, there too",
    "~|null|Null|NULL|": "a scalar of a data set",
    "true|True|TRUE|false|False|FALSE": "a scalar of a data set",
    "[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+": "a scalar of a data set",
    YAML_FLOAT: "a scalar of a data set",
    "<<": "a scalar of a data set",
    r"[.:;](?:\s|$)": "our own summaries in the OpenAPI documents",
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]{1,15})?$|_PORT_[0-9]{1,5}_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$": (
        "the name of a variable of the environment"
    ),
    r"/teams/[^/]": "a path in the tests' own journal",
    r"gauge_live[a-z]+_(\d+)\.db": "the name of a file of a worker's metrics",
    r"(/\d*)?": "the path of the URL of the shared state",
}
"""Each expression, and what text it sees."""


class Expression(NamedTuple):
    """A regular expression in the source, and whether it may begin anywhere in a text."""

    place: str
    text: str | None
    searched: bool


def expressions(source: str, place: str = "") -> Iterator[Expression]:
    """Yield every regular expression of a module: of `re`, and those that pydantic and FastAPI are given."""
    tree = ast.parse(source)
    methods: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            methods.setdefault(node.value.id, set()).add(node.attr)
    names = {
        id(node.value): node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"re", "regex"}:
            yield Expression(f"{place}:{node.lineno}", None, searched=True)
        if not isinstance(node, ast.Call):
            continue
        where = f"{place}:{node.lineno}"
        given = [keyword.value for keyword in node.keywords if keyword.arg in {"pattern", "regex"}]
        for value in given:
            yield Expression(where, _literal(value), searched=True)
        function = node.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            continue
        if function.value.id == "re" and function.attr in {"compile", *SEARCHING, *MATCHING} and node.args:
            used = methods.get(names.get(id(node), ""), set()) if function.attr == "compile" else {function.attr}
            yield Expression(where, _literal(node.args[0]), searched=not used or not used <= MATCHING | {"pattern"})


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _all() -> list[Expression]:
    return [
        expression
        for file in sorted(PACKAGE.rglob("*.py"))
        for expression in expressions(file.read_text(), str(file.relative_to(PACKAGE)))
    ]


def test_every_expression_is_in_the_table_and_the_table_has_no_other() -> None:
    found = _all()
    computed = [one for one in found if one.text is None]
    assert {one.place.partition(":")[0] for one in computed} == set(COMPUTED), "write it as a literal"
    assert len(computed) == len(COMPUTED)
    assert {one.text: one.place for one in found if one.text not in {*TABLE, None}} == {}
    assert set(TABLE) - {one.text for one in found} == set()


@pytest.mark.parametrize("expression", [one for one in _all() if one.text is not None], ids=lambda one: one.place)
def test_every_expression_takes_linear_time(expression: Expression) -> None:
    assert expression.text is not None
    anchored = expression.text.startswith("^") or expression.text in MATCHED_BY_LIBRARIES
    assert problems(expression.text, searched=expression.searched and not anchored) == []


def test_every_path_of_a_route_takes_linear_time() -> None:
    routes = [*create_app().routes, *(route for router in control._ROUTERS for route in router.routes)]  # noqa: SLF001
    patterns = {route.path_regex.pattern for route in routes if isinstance(route, Route)}
    assert len(patterns) > 20
    assert {pattern: problems(pattern) for pattern in patterns if problems(pattern)} == {}


OLD_PREFERENCE = r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*(?:=\s*("[^"]*"|[^\s;,]*))?[^,]*'


@pytest.mark.parametrize(
    "bad",
    [
        OLD_PREFERENCE,
        "(a+)+",
        "(a*)*",
        "(a|a)*",
        "(?:a?b?)*",
        "a*a*",
        r"\s*\s*x",
        "a*(b?)a*",
        r"\w+_(\d+)",
        "(.*?),(.*)",
        "(x{1,100}y?){2,100}",
        r"(a)\1*",
        "(?=a*b)a*",
        "(?i:[a-z]*K*)",
        "(?i)[a-z]*K*",
    ],
)
def test_what_is_not_linear_is_recognised(bad: str) -> None:
    assert problems(bad)


@pytest.mark.parametrize("bad", [OLD_PREFERENCE, r"\s+x", "[ \t]*,[ \t]*", "<script>(.*?)</script>", "a+$", r"\d+\b"])
def test_what_is_not_linear_where_it_is_searched_for_is_recognised(bad: str) -> None:
    assert problems(bad, searched=True)


@pytest.mark.parametrize("good", ["a+b", "(ab|cd)*e", r"(a|ab)*", r'"[^"]*"', r"[^/]+(/[^/]+)*", "x{2,4}y*"])
def test_what_is_linear_is_recognised(good: str) -> None:
    assert problems(good) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import re\n_A = re.compile('a+b')\n_A.fullmatch(x)", [("a+b", False)]),
        ("import re\n_A = re.compile('a+b')\n_A.fullmatch(x)\n_A.sub('', x)", [("a+b", True)]),
        ("import re\nf(re.compile('a+b'))", [("a+b", True)]),
        ("import re\nre.split('a+', x)", [("a+", True)]),
        ("import re\nre.match(f'{x}+', y)", [(None, False)]),
        ("from re import compile as c", [(None, True)]),
        ("Field(pattern='a+')", [("a+", True)]),
    ],
)
def test_expressions_are_found(source: str, expected: list[tuple[str | None, bool]]) -> None:
    assert [(one.text, one.searched) for one in expressions(source)] == expected
