"""A host whose clock goes back by an hour: nothing that was remembered in the lost hour lasts longer than it should."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import running

_LIBRARY = "libfaketime/vendor/libfaketime/src/libfaketime.so.1"
HOUR = 3600


@dataclass
class Host:
    """A server, and the clock of its host."""

    client: httpx2.Client
    offset_file: Path

    def jump(self, seconds: int) -> None:
        """Set the host's clock to an offset from ours. The server's monotonic clock goes on."""
        half = self.offset_file.with_suffix(".half")
        half.write_text(f"{seconds:+d}")
        half.replace(self.offset_file)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a control request that succeeds."""
        response = self.client.request(method, f"/__admin{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def get(self, team: Any) -> httpx2.Response:
        """Get the overview of a team."""
        bearer = {"Authorization": f"Bearer {team['keys']['sk_test']}"}
        return self.client.get(f"/api/v1/teams/{team['id']}/analytics/overview", headers=bearer)


@pytest.fixture(name="host", scope="module")
def _host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    offset_file = folder / "offset"
    offset_file.write_text("+0")
    library = metadata.distribution("libfaketime").locate_file(_LIBRARY)
    with (
        running(
            folder,
            "--rate-limit-window",
            "60",
            LD_PRELOAD=str(library),
            FAKETIME_TIMESTAMP_FILE=str(offset_file),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        ) as server,
        httpx2.Client(base_url=server.url, timeout=60) as client,
    ):
        host = Host(client, offset_file)
        host.jump(2 * HOUR)
        told = httpx2.get(f"{server.url}/__admin/health", timeout=60).json()["timestamp"]
        assert told > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + HOUR)), "the clock did not move"
        yield host


@pytest.fixture(name="team")
def _team(host: Host) -> Any:
    """A team that was created in the hour that is lost."""
    host.jump(HOUR)
    return host.call("POST", "/teams", {})


def test_an_answer_of_the_future_is_not_given_again(host: Host, team: Any) -> None:
    host.call("POST", f"/teams/{team['id']}/customers", {"id": "cus_1", "name": "C", "createdAt": "-1m"})
    host.call("POST", f"/teams/{team['id']}/tickets", {"customerId": "cus_1"})
    for _ in range(4):  # the second one finds out how long it holds
        assert host.get(team).json()["data"]["tickets"]["total"] == 1
    host.jump(0)
    assert host.get(team).json()["data"]["tickets"]["total"] == 0
    host.jump(HOUR)
    assert host.get(team).json()["data"]["tickets"]["total"] == 1


def test_a_window_that_begins_in_the_future_has_ended(host: Host, team: Any) -> None:
    host.call("PUT", f"/teams/{team['id']}/rate-limits", {"secret": 1})
    assert [host.get(team).status_code for _ in range(2)] == [200, 429]
    host.jump(0)
    response = host.get(team)
    assert response.status_code == 200
    assert int(response.headers["X-RateLimit-Reset"]) <= time.time() + 61
    assert int(host.get(team).headers["Retry-After"]) <= 60


def test_a_rule_whose_end_is_farther_than_its_length_has_healed(host: Host, team: Any) -> None:
    host.call("PUT", f"/teams/{team['id']}/faults", {"status": 500, "timeToLive": 30})
    assert host.get(team).status_code == 500
    host.jump(HOUR - 20)  # no more than the clocks of two hosts may differ
    assert host.get(team).status_code == 500
    host.jump(0)
    assert host.get(team).status_code == 200


def test_a_reset_deletes_a_key_that_seems_older_than_its_team(host: Host, team: Any) -> None:
    before = len(host.call("GET", f"/teams/{team['id']}/keys")["keys"])
    host.jump(0)
    host.call("POST", f"/teams/{team['id']}/keys", {})
    host.call("POST", f"/teams/{team['id']}/reset")
    assert len(host.call("GET", f"/teams/{team['id']}/keys")["keys"]) == before
