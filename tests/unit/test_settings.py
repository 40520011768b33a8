"""Settings come from options and the environment, and bad ones are refused with a reason."""

import pytest

from cstar_mock import settings
from cstar_mock.settings import SettingsError


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSTAR_MOCK_PORT", "1")
    monkeypatch.setenv("CSTAR_MOCK_HOST", "::1")
    loaded = settings.load(port="2")
    assert (loaded.port, loaded.host) == (2, "::1")


def test_data_sets_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSTAR_MOCK_DATASET", "busy, edge")
    assert settings.load().datasets == ("busy", "edge")


def test_the_documented_data_set_is_the_default_in_memory_only() -> None:
    assert settings.load().datasets == ("documented",)
    assert settings.load(database="sqlite:///some.db").datasets == ()


def test_postgresql_gets_its_driver() -> None:
    assert settings.load(database="postgresql://h/d").database == "postgresql+psycopg://h/d"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"port": "x"}, "--port: 'x' is not allowed"),
        ({"port": "70000"}, "--port: '70000' is not allowed"),
        ({"log_level": "loud"}, "'debug', 'info', 'warning' or 'error'"),
        ({"secret_rate_limit": "0"}, "--secret-rate-limit"),
        ({"database": "mysql://secret@h/d"}, "--database: is not allowed: use sqlite://"),
        ({"workers": "2"}, "can't share a database in memory"),
        ({"workers": "2", "database": "sqlite:///x"}, "--state valkey://HOST"),
        ({"workers": "2", "database": "sqlite:///x", "rate_limits": "false"}, "--state valkey://HOST"),
        ({"workers": "2", "state": "valkey://h"}, "can't share a database in memory"),
        ({"state_timeout": "0"}, "--state-timeout: '0' is not allowed"),
        ({"state": "http://:secret@h"}, "--state: is not allowed: use valkey://"),
        ({"state": "valkey://:secret@"}, "--state: is not allowed: use valkey://"),
        ({"state": "valkey://user:secret@x/y@h"}, "percent-encode what is special in a password"),
        ({"state": "valkey://:secret@h/name"}, "[:PORT][/NUMBER]"),
        ({"state": "valkey://:secret@h:0"}, "--state: is not allowed: use valkey://"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(options: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(**options)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("url", ["valkey://h", "redis://h:1/2", "valkeys://u:p%40@h", "rediss://[::1]:6380/0?db=1"])
def test_a_state_is_a_secret_of_workers_too(url: str) -> None:
    loaded = settings.load(workers="2", database="sqlite:///x", state=url)
    assert loaded.state is not None
    assert loaded.state.get_secret_value() == url
    assert url not in repr(loaded)


def test_an_empty_state_is_none() -> None:
    assert settings.load(state="").state is None


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSTAR_MOCK_PORT", "x")
    with pytest.raises(SettingsError, match="the environment variable CSTAR_MOCK_PORT: 'x' is not allowed"):
        settings.load()


def test_an_unknown_variable_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSTAR_MOCK_PROT", "1")
    with pytest.raises(SettingsError, match="CSTAR_MOCK_PROT is no setting; did you mean CSTAR_MOCK_PORT"):
        settings.load()
