"""The alternatives to cstar-mock: how to install, start, read and change each.

Each answers the documented overview at the documented path, made as its own documentation says: those that read
OpenAPI get our document, those that take stubs get one for the right key and a 401 for all others, json-server gets
the JSON. localstripe and moto answer nothing but their own domain.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from cstar_mock import VERSION
from cstar_mock.application import create_app
from cstar_mock.settings import Settings

KEY = "sk_live_your_key"
OVERVIEW = "/api/v1/teams/f07114d7-c66e-5709-b0ff-21e45192d472/analytics/overview"
JSON_TYPE = {"Content-Type": "application/json"}
STUB_ID = "5f3e2a51-6c0d-4d0e-9a55-0c8f8f6f2c11"
ROUTE_ID = "0b9f4f56-8a3c-4b58-a9b1-1d0a3f3f7c22"


def overview(resolved: int) -> dict[str, Any]:
    """Return the documented body [doc], with a number of tickets resolved."""
    return {
        "success": True,
        "data": {
            "object": "analytics_overview",
            "period": "week",
            "tickets": {"total": 142, "open": 23, "resolved": resolved},
            "customers": {"total": 450, "active": 120, "new": 15},
            "csat": {"average": 4.2, "totalResponses": 67},
        },
    }


DOCUMENTED, CHANGED = overview(89), overview(90)
REFUSED = {"success": False, "error": {"type": "authentication_error", "code": "authentication_required"}}


@dataclass(frozen=True)
class Running:
    """A peer that runs: its URL, that of its second port, and a client to talk to it."""

    url: str
    admin: str
    client: httpx.Client

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request with the right key; raise `httpx.HTTPStatusError` if it is refused."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return self.client.request(method, f"{self.url}{path}", headers=headers, **content).raise_for_status()


@dataclass(frozen=True)
class Peer:
    """One server to compare with.

    In `command`, `$folder`, `$port` and `$admin` are the folder where it is installed and the two ports it may take; in
    `files`, `"$port"` for the number. `read` makes of a body what is compared with `expected`. `change_row` changes a
    row and leaves the answer to the server; `rewrite` tells the server another answer. `load_options` are for the
    load alone.
    """

    name: str
    version: str
    command: tuple[str, ...]
    registry: Literal["npm", "PyPI"] | None = None
    package: str = ""
    files: Mapping[str, object] = field(default_factory=dict)
    path: str = OVERVIEW
    expected: object = field(default_factory=lambda: DOCUMENTED)
    read: Callable[[str], object] = json.loads
    change_row: Callable[[Running], object] | None = None
    rewrite: Callable[[Running], object] | None = None
    load_options: tuple[str, ...] = ()
    note: str = ""


def resolve_a_ticket(running: Running) -> None:
    """Resolve one of cstar-mock's tickets through its control API."""
    tickets = "/__admin/teams/acme/tickets"
    new = running.send("GET", tickets, params={"environment": "live", "status": "new", "limit": 1}).json()["items"]
    ticket = f"{tickets}/{new[0]['id']}"
    running.send("PATCH", ticket, params={"environment": "live"}, json={"status": "resolved"})


def put_the_answer(running: Running) -> None:
    """Put another answer where the first was read: what servers of a JSON file do."""
    running.send("PUT", OVERVIEW, json=CHANGED)


def try_to_put(running: Running) -> None:
    """The same to a server that promises nothing of the kind: it may refuse."""
    with suppress(httpx.HTTPStatusError):
        put_the_answer(running)


def wiremock_stub(body: object) -> dict[str, Any]:
    """Return WireMock's stub for the right key."""
    return {
        "id": STUB_ID,
        "priority": 1,
        "request": {
            "method": "GET",
            "urlPath": OVERVIEW,
            "headers": {"Authorization": {"equalTo": f"Bearer {KEY}"}},
        },
        "response": {"status": 200, "headers": JSON_TYPE, "jsonBody": body},
    }


WIREMOCK_REFUSAL = {
    "priority": 2,
    "request": {"method": "GET", "urlPath": OVERVIEW},
    "response": {"status": 401, "headers": JSON_TYPE, "jsonBody": REFUSED},
}


def mountebank_stubs(body: object) -> list[dict[str, Any]]:
    """Return mountebank's stubs; without the header it closes the connection after each answer."""
    headers = {**JSON_TYPE, "Connection": "keep-alive"}
    right = {"method": "GET", "path": OVERVIEW, "headers": {"Authorization": f"Bearer {KEY}"}}
    return [
        {
            "predicates": [{"equals": right}],
            "responses": [{"is": {"statusCode": 200, "headers": headers, "body": body}}],
        },
        {"responses": [{"is": {"statusCode": 401, "headers": headers, "body": REFUSED}}]},
    ]


def rewrite_mountebank(running: Running) -> None:
    """Replace mountebank's stubs through its second port."""
    stubs = f"{running.admin}/imposters/{httpx.URL(running.url).port}/stubs"
    running.client.put(stubs, json={"stubs": mountebank_stubs(CHANGED)}).raise_for_status()


MOUNTEBANK = {
    "imposters": [{"protocol": "http", "host": "127.0.0.1", "port": "$port", "stubs": mountebank_stubs(DOCUMENTED)}]
}

MOCKOON = {
    "name": "cStar",
    "hostname": "127.0.0.1",
    "routes": [
        {
            "uuid": ROUTE_ID,
            "type": "crud",
            "endpoint": OVERVIEW.removeprefix("/"),
            "responses": [
                {"bodyType": "DATABUCKET", "databucketID": "over", "default": True},
                {
                    "statusCode": 401,
                    "body": json.dumps(REFUSED),
                    "rules": [
                        {
                            "target": "header",
                            "modifier": "Authorization",
                            "value": f"Bearer {KEY}",
                            "operator": "equals",
                            "invert": True,
                        }
                    ],
                },
            ],
        }
    ],
    "rootChildren": [{"type": "route", "uuid": ROUTE_ID}],
    "data": [{"id": "over", "name": "overview", "value": json.dumps(DOCUMENTED)}],
}

# Its own command listens on all interfaces, and keeps its rows in /tmp, where those of a user may be.
LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources
from localstripe.server import app
resources.Store.dump_to_disk = lambda self: None
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None)
"""


def peers() -> list[Peer]:
    """Return all of them, cstar-mock first."""
    openapi = create_app(Settings()).openapi()
    bin_ = "$folder/node_modules/.bin"
    return [
        Peer(
            "cstar-mock",
            VERSION,
            (sys.executable, "-m", "cstar_mock", "serve", "--port", "$port"),
            change_row=resolve_a_ticket,
            load_options=("--secret-rate-limit", "1000000000"),
            note="figures from rows, remembered while none changes; journal, limits and log lines on",
        ),
        Peer(
            "Prism",
            "5.14.2",
            (f"{bin_}/prism", "mock", "-h", "127.0.0.1", "-p", "$port", "-v", "error", "$folder/openapi.json"),
            registry="npm",
            package="@stoplight/prism-cli",
            files={"openapi.json": openapi},
            rewrite=try_to_put,
            note="serves our OpenAPI document",
        ),
        Peer(
            "Steady",
            "0.22.2",
            (f"{bin_}/steady", "--host", "127.0.0.1", "-p", "$port", "--quiet", "$folder/openapi.json"),
            registry="npm",
            package="@stdy/cli",
            files={"openapi.json": openapi},
            rewrite=try_to_put,
            note="serves our OpenAPI document",
        ),
        Peer(
            "Mockoon CLI",
            "9.9.0",
            (
                *(f"{bin_}/mockoon-cli", "start", "--data", "$folder/mockoon.json", "--repair"),
                *("--hostname", "127.0.0.1", "--port", "$port", "--disable-log-to-file"),
            ),
            registry="npm",
            package="@mockoon/cli",
            files={"mockoon.json": MOCKOON},
            rewrite=put_the_answer,
            note="a data bucket; the 401 is a rule written by hand",
        ),
        Peer(
            "WireMock",
            "3.13.2",
            (
                *("java", "-jar", "$folder/node_modules/wiremock/build/wiremock-standalone-3.13.2.jar"),
                *("--bind-address", "127.0.0.1", "--port", "$port", "--root-dir", "$folder", "--disable-banner"),
                *("--max-request-journal-entries", "1000", "--disable-request-logging"),
            ),
            registry="npm",
            package="wiremock",
            files={"mappings/overview.json": wiremock_stub(DOCUMENTED), "mappings/refused.json": WIREMOCK_REFUSAL},
            rewrite=lambda running: running.send("PUT", f"/__admin/mappings/{STUB_ID}", json=wiremock_stub(CHANGED)),
            note="the 401 is a stub written by hand; journal of 1,000 requests, as ours",
        ),
        Peer(
            "json-server",
            "0.17.4",
            (
                *(f"{bin_}/json-server", "--quiet", "--host", "127.0.0.1", "--port", "$port"),
                *("--routes", "$folder/routes.json", "$folder/db.json"),
            ),
            registry="npm",
            package="json-server",
            files={"db.json": {"overview": DOCUMENTED}, "routes.json": {OVERVIEW: "/overview"}},
            rewrite=put_the_answer,
            note="a JSON file",
        ),
        Peer(
            "mountebank",
            "2.9.2",
            (
                *(f"{bin_}/mb", "--host", "127.0.0.1", "--localOnly", "--port", "$admin"),
                *("--configfile", "$folder/imposters.json", "--nologfile", "--loglevel", "error"),
            ),
            registry="npm",
            package="@mbtest/mountebank",
            files={"imposters.json": MOUNTEBANK},
            rewrite=rewrite_mountebank,
            note="the fork that is maintained; the 401 is a stub written by hand",
        ),
        Peer(
            "localstripe",
            "1.15.10",
            ("$folder/venv/bin/python", "-c", LOCALSTRIPE, "$port"),
            registry="PyPI",
            package="localstripe",
            path="/v1/customers",
            expected=0,
            read=lambda body: json.loads(body)["total_count"],
            change_row=lambda running: running.send("POST", "/v1/customers", data={"email": "ann@example.com"}),
            note="another domain: an empty list of Stripe customers, without its access log",
        ),
        Peer(
            "moto",
            "5.2.5",
            ("$folder/venv/bin/moto_server", "-H", "127.0.0.1", "-p", "$port"),
            registry="PyPI",
            package="moto[server]",
            path="/",
            expected=0,
            read=lambda body: len(re.findall("<Bucket>", body)) if "<ListAllMyBucketsResult" in body else None,
            change_row=lambda running: running.send("PUT", "/a-bucket"),
            note="another domain: an empty list of S3 buckets",
        ),
    ]
