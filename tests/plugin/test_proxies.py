"""Calls to a server of ours go straight to it, whatever proxies and certificates the environment names."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.conftest import ROOT, Server, running
from tests.plugin.conftest import EXEC, PYTEST, Run

NOBODY = "http://127.0.0.1:9"
HOSTILE = {
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), NOBODY),
    **dict.fromkeys(("ALL_PROXY", "all_proxy"), "socks5://127.0.0.1:9"),
    **dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/nonexistent"),
}
SHIPPED = ("app", "benchmarks", "deploy", "examples", "Dockerfile", "compose.yaml", "compose.simple.yaml")
FIXTURE = """
def test_it(cstar):
    cstar.given(overview={"tickets": {"open": 3}})
    cstar.requests.assert_count(0)
"""


def test_the_fixtures(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FIXTURE)
    done = run(*PYTEST, **HOSTILE)
    assert done.stdout.splitlines()[-1].count("1 passed"), done.stdout


def test_exec_and_the_shell_example(run: Run) -> None:
    done = run(*EXEC, "--", "sh", str(ROOT / "examples/shell/overview.sh"), **HOSTILE)
    assert done.returncode == 0, done.stderr


def test_the_supervisor_of_workers(tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    options = ("--workers", "2", "--state", valkey, "--database", "sqlite:///it.db", "--dataset", "empty")
    with running(tmp_path, *options) as server:
        assert server.stop() == 0


def test_the_health_check_of_the_image(server: Server, run: Run) -> None:
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    python, *arguments = json.loads(command.replace("http://127.0.0.1:27827", server.url))
    assert python == "python"
    assert run("python3", *arguments, **HOSTILE).returncode == 0
    assert run("python3", *(one.replace("/readyz", "/nothing") for one in arguments), **HOSTILE).returncode == 1


def test_no_client_that_is_shipped_asks_the_environment() -> None:
    """Each line with a client that reads proxies by default says that it must not."""
    files = subprocess.run(
        ["git", "ls-files", *SHIPPED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip
    clients = re.compile(r"urlopen\(|\bhttpx2?\.(?:Client|AsyncClient)\(|\bcurl --|\"wget\"")
    direct = re.compile(r"trust_env=False|--noproxy '\*'|\"-Y\", \"off\"")
    found = [
        f"{name}: {line.strip()}"
        for name in files
        for line in (ROOT / name).read_text().splitlines()
        if clients.search(line) and not direct.search(line)
    ]
    # The example's client is one of the real service, where proxies count; its tests remove them.
    assert found == ["examples/python/cstar_client.py: self._http = httpx2.Client("]
