"""No key, token or password comes back: not in the log, the journal, an error, nor an answer of the control API."""

import base64
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from tests.conftest import COMMAND, running

TOKEN = "T0KEN-of-the-control-api-51"
WRONG_TOKEN = "T0KEN-that-is-wrong-62"
WRONG = "sk_live_WrongWrongWrongWrongWrong0073"
WORD = "Hunter2Hunter2Hunter2"
WHOAMI = "/api/v1/auth/whoami"


def raw(url: str, request: bytes) -> str:
    """Send bytes on a connection of their own, and return what comes back."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        connection.sendall(request)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received.decode("latin-1")


def drive(url: str, keys: list[str], team: str) -> list[str]:
    """Send each key in every place of a request, right and wrong, and return all answers."""
    answers: list[httpx2.Response] = []
    raws: list[str] = []
    control = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=url) as client:
        for key in keys:
            bearer = {"Authorization": f"Bearer {key}"}
            encoded = "".join(f"%{byte:02x}" for byte in key.encode())
            overview = f"/api/v1/teams/{team}/analytics/overview"
            paths = (
                WHOAMI, overview, f"{overview}?period={key}", f"{overview}?{key}=1", f"{overview}?period={encoded}",
                f"/api/v1/teams/{key}/analytics/overview", f"/api/v1/teams/{encoded}/analytics/agents", f"/{key}",
            )  # fmt: skip
            answers.extend(client.get(path, headers=bearer) for path in paths)
            answers.append(client.get(WHOAMI, headers={"X-Api-Key": key, "Cookie": f"k={key}", "X-Other": key}))
            answers.append(client.get(WHOAMI, headers={"Authorization": key}))
            answers.append(client.get(WHOAMI, headers={"Authorization": "Basic " + WORD}))
            answers.append(client.get(WHOAMI, headers={**bearer, "Prefer": f"code={key}"}))
            answers.append(client.get(WHOAMI, headers={**bearer, "Prefer": "code=500", key: "x"}))
            answers.append(client.request("POST", WHOAMI, headers=bearer, content=key))
            for path, body in (("/teams", {"name": 1, "slug": key}), (f"/teams/{key}", {}), ("/faults", {key: key})):
                answers.append(client.post(f"/__admin{path}", json=body, headers=control))
            answers.append(client.get(f"/__admin/teams/{key}", headers=control))
            line = f"GET {WHOAMI}?{key} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            raws.append(raw(url, f"{line}bad header\r\n\r\n".encode()))
            raws.append(raw(url, f"{line}X-Long: {key * 1000}\r\n\r\n".encode()))
            raws.append(raw(url, f"{line}Content-Length: 70000\r\n\r\n".encode()))
            raws.append(raw(url, f"{line}Connection: close, upgrade\r\nUpgrade: {key}\r\n\r\n".encode()))
        answers.append(client.get("/__admin/health", headers={"Authorization": f"Bearer {WRONG_TOKEN}"}))
        answers.append(client.get("/__admin/health", headers={"Authorization": f"Basic {TOKEN}"}))
        paths = (
            "/teams", f"/teams/{team}", f"/teams/{team}/requests", "/requests", "/requests/unmatched",
            f"/teams/{team}/keys", f"/teams/{team}/faults", "/openapi.json",
        )  # fmt: skip
        answers.extend(client.get(f"/__admin{path}", headers=control) for path in paths)
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 403, 404, 405, 500}
    assert [text.split(" ", 2)[1] for text in raws[:3]] == ["400", "431", "413"]
    return [f"{answer.headers}{answer.text}" for answer in answers] + raws


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_comes_back(tmp_path: Path, log_format: str) -> None:
    options = ("--log-level", "debug", "--log-format", log_format, "--dataset", "documented")
    with running(tmp_path, *options, CSTAR_MOCK_CONTROL_TOKEN=TOKEN) as server:
        control = {"Authorization": f"Bearer {TOKEN}"}
        created = httpx2.post(f"{server.url}/__admin/teams", json={}, headers=control).raise_for_status().json()
        keys = [*created["keys"].values(), WRONG]
        answers = drive(server.url, keys, created["id"])
        server.stop()
        log = server.log.read_text()
    assert "GET" in log
    assert log.count(" 401") >= 1 if log_format == "text" else '"status": 401' in log
    for secret in (*keys, TOKEN, WRONG_TOKEN, WORD):
        forms = (secret, quote(secret), "".join(f"%{byte:02x}" for byte in secret.encode()),
                 base64.b64encode(secret.encode()).decode())  # fmt: skip
        for form in forms:
            assert form not in log, next(line for line in log.splitlines() if form in line)
            found = [answer for answer in answers if form in answer]
            assert not found, (form, found[0])


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ("serve --startup-timeout 0", "u:{}@127.0.0.1:1/d"),
        ("db check", "127.0.0.1:1/d?user=u&password={}"),
        ("keys list", "u:{}@[broken/d"),
    ],
)
def test_the_password_of_the_database_is_in_no_error(arguments: str, place: str) -> None:
    url = "postgresql://" + place.format(WORD)
    ran = subprocess.run(
        [*COMMAND, *arguments.split(), "--database", url], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode != 0
    assert ran.stderr
    assert WORD not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
