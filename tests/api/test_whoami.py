"""GET /api/v1/auth/whoami."""

import pytest
from tests.conftest import Api, assert_envelope


@pytest.mark.states("path.whoami", "whoami.object", "whoami.values", "whoami.any-key", "path.team-id.uuid")
@pytest.mark.parametrize(
    ("key", "key_type", "environment"),
    [
        ("sk_live", "secret", "live"),
        ("sk_test", "secret", "test"),
        ("pk_live", "publishable", "live"),
        ("pk_test", "publishable", "test"),
    ],
)
def test_every_valid_key_may_ask(api: Api, key: str, key_type: str, environment: str) -> None:
    response = api.get("/api/v1/auth/whoami", key)
    assert response.json() == {
        "success": True,
        "data": {
            "teamId": api.teams[0].id,
            "teamName": "Acme Corp",
            "teamSlug": "acme",
            "keyType": key_type,
            "environment": environment,
        },
    }
    assert list(response.json()["data"]) == ["teamId", "teamName", "teamSlug", "keyType", "environment"]


def test_no_key_is_refused(api: Api) -> None:
    assert_envelope(api.get("/api/v1/auth/whoami", None), 401, "authentication_required")
