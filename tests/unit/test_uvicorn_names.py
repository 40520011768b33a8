"""The private names of uvicorn that our connection and our server rely on: each is there, and no other is used."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.conftest import ROOT
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from cstar_mock.serving import connection, graceful_server, replay_connection, uvicorn_server
from cstar_mock.serving.connection import BoundedProtocol
from cstar_mock.serving.graceful_server import GracefulServer
from cstar_mock.serving.replay_connection import ReplayProtocol

NAMES: dict[type, frozenset[str]] = {
    HttpToolsProtocol: frozenset(
        {
            "_start_asgi_task",
            "_unset_keepalive_if_required",
            "app_state",
            "client",
            "connection_lost",
            "connection_made",
            "connections",
            "cycle",
            "data_received",
            "eof_received",
            "expect_100_continue",
            "flow",
            "headers",
            "limit_concurrency",
            "loop",
            "on_body",
            "on_header",
            "on_headers_complete",
            "on_message_begin",
            "on_message_complete",
            "on_response_complete",
            "parser",
            "pipeline",
            "resume_writing",
            "root_path",
            "scope",
            "server_state",
            "shutdown",
            "tasks",
            "timeout_keep_alive",
            "timeout_keep_alive_handler",
            "timeout_keep_alive_task",
            "transport",
            "url",
        }
    ),
    RequestResponseCycle: frozenset(
        {
            "default_headers",
            "disconnected",
            "keep_alive",
            "message_event",
            "response_complete",
            "response_started",
            "run_asgi",
            "waiting_for_100_continue",
        }
    ),
    flow_control.FlowControl: frozenset({"read_paused", "resume_reading", "write_paused"}),
    uvicorn.Server: frozenset(
        {"capture_signals", "handle_exit", "lifespan", "run", "server_state", "shutdown", "startup"}
    ),
    ServerState: frozenset({"default_headers", "tasks", "total_requests"}),
}
"""The methods that we override or call, and the attributes that we read or set."""

HELD_AS = {"cycle": RequestResponseCycle, "flow": flow_control.FlowControl, "server_state": ServerState}
"""The attributes of a connection or a server that hold another object of uvicorn."""

SOURCES: dict[type, list[tuple[Any, type]]] = {
    HttpToolsProtocol: [(connection, BoundedProtocol), (replay_connection, ReplayProtocol)],
    uvicorn.Server: [(graceful_server, GracefulServer)],
}


def names_of(kind: type) -> set[str]:
    """Return the methods of a class, and the attributes that it sets."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(kind) or kind))
    (definition,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    attributes = {
        node.attr
        for node in ast.walk(definition)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_name(node.value, "self")
    }
    return attributes | set(dir(kind))


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _used(tree: ast.AST) -> Iterator[tuple[str | None, str]]:
    """Yield what is used of `self`, and of the objects that it holds: the holder's name, and the name of the part."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        if _is_name(owner, "self"):
            yield None, node.attr
        elif _is_name(owner, "cycle"):
            yield "cycle", node.attr
        elif isinstance(owner, ast.Attribute) and _is_name(owner.value, "self") and owner.attr in HELD_AS:
            yield owner.attr, node.attr


@pytest.mark.newest("uvicorn before 0.45 lacks `_start_asgi_task`, and the connection does without")
@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_every_name_is_there(kind: type) -> None:
    gone = NAMES[kind] - names_of(kind)
    assert not gone, (
        f"uvicorn {uvicorn.__version__} has no {', '.join(sorted(gone))} in {kind.__qualname__} any more: change "
        "app/cstar_mock/serving, or bound uvicorn below this release in pyproject.toml and NEWEST_KNOWN"
    )


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.__name__)
def test_no_other_name_is_used(kind: type) -> None:
    ours: set[str] = set()
    used: set[tuple[str | None, str]] = set()
    for module, own in SOURCES[kind]:
        tree = ast.parse(Path(module.__file__).read_text())
        ours |= {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        } - NAMES[kind]
        ours |= {name for name in vars(own) if name not in NAMES[kind]}
        used |= set(_used(tree))
    assert len(used) > 5
    beside = {
        f"{holder or 'self'}.{name}"
        for holder, name in used
        if name not in (NAMES[HELD_AS[holder]] if holder else NAMES[kind] | ours)
    }
    assert beside == set()


def test_a_name_that_is_gone_would_be_missed() -> None:
    assert "no_such_name" not in names_of(HttpToolsProtocol)
    assert "timeout_keep_alive_task" in names_of(HttpToolsProtocol)


def test_the_modules_import_what_they_name() -> None:
    assert {"STATUS_LINE", "HttpToolsProtocol", "RequestResponseCycle"} <= set(dir(httptools_impl))


def test_the_newest_known_release_is_the_bound_of_the_package() -> None:
    major, minor = uvicorn_server.NEWEST_KNOWN
    assert f'"uvicorn>=0.30,<{major}.{minor + 1}"' in (ROOT / "pyproject.toml").read_text()
