"""Identifiers and keys."""

import re
import uuid

import pytest

from cstar_mock.contract import ids


@pytest.mark.states("request-id.form")
def test_new_ids_have_a_prefix_and_twelve_characters() -> None:
    drawn = {ids.new(ids.TICKET) for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(re.fullmatch(r"tkt_[A-Za-z0-9]{12}", id_) for id_ in drawn)
    assert re.fullmatch(r"req_[A-Za-z0-9]{12}", ids.request_id())


@pytest.mark.states("key.random", "key.prefixes")
def test_new_keys_have_thirty_two_base64url_characters() -> None:
    assert re.fullmatch(r"sk_live_[A-Za-z0-9_-]{32}", ids.new_key("sk_live"))


def test_team_ids_follow_from_the_slug() -> None:
    assert ids.team_id("acme") == ids.team_id("acme") != ids.team_id("other")
    assert str(uuid.UUID(ids.team_id("acme"))) == ids.team_id("acme")
    assert uuid.UUID(ids.new_team_id()).version == 4
