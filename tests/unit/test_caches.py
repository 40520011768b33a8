"""Everything in the package that keeps values for later has a bound; a new one has to be added to the table here."""

import ast
from collections.abc import Iterator

import pytest
from tests.conftest import ROOT

from cstar_mock import bounds

PACKAGE = ROOT / "app" / "cstar_mock"

BOUNDED = {
    "traffic/answer_cache.py AnswerCache._answers": "CACHED_ANSWER_BYTES",
    "contract/periods.py requested": "256 query strings, each at most LONGEST_TARGET bytes",
    "observability/background_writer.py BackgroundWriter._entries": "LOG_BUFFER_BYTES",
    "store/bulk_insert.py _statement": "512 statements of our own",
    "store/database.py Database._connections": "the connections of the pool, weakly",
    "store/database.py Database._threads": "two purposes",
    "store/database.py Prepared._texts": "one entry for each of two engines",
    "fidelity/statements.py statements": "the statements",
    "traffic/lockout.py _network": "1,024 addresses of 64 characters",
    "traffic/lockout.py Lockout._accepted": "MOST_LOCKOUT_ADDRESSES",
    "traffic/lockout.py Lockout._locks": "requests in flight, weakly",
    "traffic/lockout.py Lockout._waiting": "MOST_LOCKOUT_ADDRESSES",
    "contract/ids.py _drawn": "random characters for the next ids",
    "serving/replay_connection.py ReplayProtocol._known": "KNOWN_REQUEST_BYTES",
    "traffic/journal.py shown_header": "MOST_CACHED_HEADERS",
    "observability/metrics.py Monitoring._counters": "MOST_METRIC_LABELS",
    "observability/metrics.py Monitoring._histograms": "read and write",
    "observability/metrics.py Monitoring._requests": "one for each route and status",
    "observability/metrics.py Monitoring._teams": "MOST_METRIC_TEAMS",
    "traffic/rate_limit.py _limit": "1,024 pairs of numbers",
    "store/package_data.py _extracted": "the two folders that ship",
    "traffic/authentication.py KeyRing._callers": "CACHED_CALLER_BYTES",
    "traffic/authentication.py KeyRing._rules": "CACHED_RULE_BYTES",
    "state/memory.py MemoryFaultCounts._counts": "MOST_FAULT_RULES of each team in the store",
    "state/memory.py MemoryJournal._rings": "MOST_JOURNAL_ENTRIES",
    "state/memory.py _Ring.entries": "MOST_JOURNAL_ENTRIES",
    "state/memory.py WindowStorage._windows": "counters whose window has not ended",
    "state/memory.py _limit": "1,024 pairs of numbers",
    "state/valkey.py _drawn_block": "1,024 strings of a block's length",
    "observability/tracing.py Tracing._spans": "statements in flight",
}
"""What bounds it: a constant of `bounds`, or words where what it holds can't grow with what is sent."""

OF_ONE_REQUEST = {
    "traffic/batches.py Batches._queues",
    "traffic/batches.py _Queue.waiting",
    "traffic/cache.py Cache._entries",
    "cli/options.py SettingsCommand.defaults",
    "control/problems.py ProblemDetails.errors",
    "control/requests.py _wanted_parameters",
    "datasets/answers.py _Builder.made",
    "datasets/answers.py _Builder.responses",
    "datasets/format.py TeamData.magic_keys",
    "datasets/generate.py _Desk.scores",
    "datasets/yaml12.py _Loader.yaml_implicit_resolvers",
    "datasets/problems.py DatasetError.problems",
    "contract/errors.py ApiError.headers",
    "serving/replay_connection.py ReplayProtocol._of_packet",
    "http/replies.py ReplyResponse.raw_headers",
    "traffic/rate_limit.py _NO_OWN",
    "store/rollups.py Changes._finest",
    "store/rollups.py Changes._totals",
}
"""What ends with the request, packet or command that made it, or is never filled; the owner of a `Cache` is above."""

_CONTAINERS = {
    "Cache", "OrderedDict", "WeakSet", "WeakValueDictionary", "WeakKeyDictionary", "Counter", "defaultdict", "deque",
    "dict", "list", "set", "LRUCache", "TTLCache",
}  # fmt: skip
_DECORATORS = {"cache", "lru_cache", "cached", "cached_property"}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _makes_a_container(value: ast.expr | None) -> bool:
    """Whether an expression makes an empty container somewhere: what is filled later."""
    return value is not None and any(
        (isinstance(node, ast.Dict | ast.List | ast.Set) and not getattr(node, "keys", getattr(node, "elts", None)))
        or (isinstance(node, ast.Call) and _name(node) in _CONTAINERS and not isinstance(node.func, ast.Attribute))
        for node in ast.walk(value)
    )


def caches(source: str) -> Iterator[str]:
    """Yield the containers of a module, of its classes and of their objects that begin empty, and cached functions."""
    tree = ast.parse(source)
    yield from _filled_later(tree, "", "")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _filled_later(node, f"{node.name}.", "")
            for method in ast.walk(node):
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name == "__init__":
                    yield from _filled_later(method, f"{node.name}.", "self")
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and {_name(decorator) for decorator in node.decorator_list} & _DECORATORS
        ):
            yield node.name


def _filled_later(
    body: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, prefix: str, of: str
) -> Iterator[str]:
    for node in body.body:
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        if _makes_a_container(node.value):
            for target in targets:
                name = target.attr if isinstance(target, ast.Attribute) and _name(target.value) == of else ""
                if isinstance(target, ast.Name) and not of:
                    name = target.id
                if name:
                    yield f"{prefix}{name}"


@pytest.fixture(scope="module")
def found() -> set[str]:
    """The caches of the package."""
    return {
        f"{file.relative_to(PACKAGE)} {name}"
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] != "testing"
        for name in caches(file.read_text())
    }


def test_every_cache_has_a_bound(found: set[str]) -> None:
    assert found - set(BOUNDED) - OF_ONE_REQUEST == set()


def test_every_entry_of_the_table_is_a_cache(found: set[str]) -> None:
    assert (set(BOUNDED) | OF_ONE_REQUEST) - found == set()


def test_every_bound_that_is_named_exists() -> None:
    for cache, bound in BOUNDED.items():
        for word in bound.split():
            if word.isupper() and "_" in word:
                assert hasattr(bounds, word), cache


@pytest.mark.parametrize(
    "source",
    [
        "kept = {}",
        "kept: dict[str, int] = {}",
        "kept = OrderedDict()",
        "from functools import cache\n@cache\ndef kept(x): ...",
        "@functools.lru_cache(maxsize=None)\ndef kept(x): ...",
        "class A:\n    kept = []",
        "class A:\n    def __init__(self):\n        self.kept = deque()",
        "class A:\n    def __init__(self, state):\n        self.kept: Cache[str, int] = state.setdefault('a', Cache())",
    ],
)
def test_a_new_cache_is_found(source: str) -> None:
    assert [name.rpartition(".")[2] for name in caches(source)] == ["kept"]
