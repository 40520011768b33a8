"""A uvicorn that is newer than the package allows: the server answers all the same, and says what is missing."""

import re
import shutil
import signal
import time
from pathlib import Path

import httpx2
import pytest
import uvicorn
from tests.conftest import running

BEARER = {"Authorization": "Bearer sk_live_your_key"}


@pytest.fixture(name="newer")
def _newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a uvicorn on the path that has another version, and other private names."""
    copy = tmp_path / "site" / "uvicorn"
    shutil.copytree(Path(uvicorn.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    package = copy / "__init__.py"
    package.write_text(re.sub(r'__version__ = "[^"]+"', '__version__ = "0.99.0"', package.read_text()))
    protocol = copy / "protocols" / "http" / "httptools_impl.py"
    protocol.write_text(
        protocol.read_text()
        .replace("_unset_keepalive_if_required", "_stop_keepalive_timer")
        .replace("timeout_keep_alive_task", "_keepalive_timer")
        .replace("RequestResponseCycle", "Exchange")
    )
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return copy


@pytest.mark.usefixtures("newer", "traced")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_with_one_warning(workers: int, tmp_path: Path, valkey: str) -> None:
    shared = ("--database", f"sqlite:///{tmp_path / 'shared.db'}", "--dataset", "documented", "--state", valkey)
    with running(tmp_path, "--workers", str(workers), *(shared if workers > 1 else ())) as server:
        overview = httpx2.get(server.path("overview"), headers=BEARER)
        assert overview.status_code == 200
        assert overview.json()["data"]["tickets"]["total"] == 142
        again = httpx2.get(server.path("overview"), headers=BEARER)
        assert again.json() == overview.json()
        assert int(again.headers["X-RateLimit-Remaining"]) == int(overview.headers["X-RateLimit-Remaining"]) - 1
        assert again.headers["X-Request-Id"] != overview.headers["X-Request-Id"]
        assert httpx2.get(server.path("overview")).json()["error"]["code"]
        journal = httpx2.get(f"{server.url}/__admin/teams/{server.ready['teams'][0]['id']}/requests").json()
        assert len(journal["requests"]) == 2
        began = time.monotonic()
        server.stop(signal.SIGTERM)
        assert time.monotonic() - began < 5
    warnings = [line for line in server.log.read_text().splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "uvicorn 0.99.0 is newer than 0.54: no connection faults" in warnings[0]
