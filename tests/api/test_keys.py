"""Which keys are valid, and when."""

import pytest
from tests.conftest import Api, assert_envelope

from cstar_mock.store.models import Base
from cstar_mock.teams import keys

WHOAMI = "/api/v1/auth/whoami"


def test_a_created_key_works_and_only_its_digest_is_kept(api: Api) -> None:
    key = api.database.write_now(keys.create, "acme", "sk_test")
    assert key.startswith("sk_test_")
    assert len(key) == len("sk_test_") + 32
    assert api.get(WHOAMI, key).json()["data"]["environment"] == "test"
    everything = api.database.read_now(
        lambda connection: [list(connection.execute(table.select())) for table in Base.metadata.sorted_tables]
    )
    assert "Acme Corp" in str(everything)
    assert key not in str(everything)
    assert "sk_live_your_key" not in str(everything)


def test_a_revoked_key_is_refused(api: Api) -> None:
    key = api.database.write_now(keys.create, "acme", "sk_live")
    listed = [row for row in api.database.read_now(keys.list_, "acme") if row.last_four == key[-4:]]
    api.database.write_now(keys.revoke, listed[0].id)
    assert_envelope(api.get(WHOAMI, key), 401, "authentication_required")


@pytest.mark.states("key.expiry")
def test_a_key_expires_at_its_instant_by_the_teams_clock(api: Api) -> None:
    """The documented team's clock stands still at 14:30:00."""
    ended = api.database.write_now(keys.create, "acme", "sk_live", expires="2025-12-10T14:30:00Z")
    lasting = api.database.write_now(keys.create, "acme", "sk_live", expires="2025-12-10T14:30:01Z")
    assert api.get(WHOAMI, ended).status_code == 401
    assert api.get(WHOAMI, lasting).status_code == 200


def test_keys_are_listed_with_their_state(api: Api) -> None:
    api.database.write_now(keys.create, "acme", "pk_live", expires="+1h")
    api.database.write_now(keys.create, "acme", "pk_live", expires="-1h")
    states = [row.state for row in api.database.read_now(keys.list_)]
    assert states.count("valid") == 4 + 3 + 4 + 1
    assert {"valid until 2025-12-10T15:30:00Z", "expired 2025-12-10T13:30:00Z"} < set(states)


def test_every_write_to_a_team_lets_its_revision_grow(api: Api) -> None:
    def revision() -> int:
        statement = "SELECT revision FROM teams WHERE slug = 'acme'"
        return int(api.database.read_now(lambda connection: connection.exec_driver_sql(statement).scalar_one()))

    before = revision()
    api.database.write_now(keys.create, "acme", "sk_live")
    created = revision()
    api.database.write_now(keys.revoke, api.database.read_now(keys.list_, "acme")[0].id)
    assert before < created < revision()
