"""Settings come from options and the environment, and bad ones are refused with a reason."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cstar_mock import cli, settings
from cstar_mock.settings import Settings, SettingsError


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


SERVICE_LINKS = {
    "CSTAR_MOCK_SERVICE_HOST": "10.0.0.1",
    "CSTAR_MOCK_SERVICE_PORT": "80",
    "CSTAR_MOCK_SERVICE_PORT_HTTP": "80",
    "CSTAR_MOCK_PORT": "tcp://10.0.0.1:80",
    "CSTAR_MOCK_PORT_80_TCP": "tcp://10.0.0.1:80",
    "CSTAR_MOCK_PORT_80_TCP_PROTO": "tcp",
    "CSTAR_MOCK_PORT_80_TCP_PORT": "80",
    "CSTAR_MOCK_PORT_80_TCP_ADDR": "10.0.0.1",
    "CSTAR_MOCK_X_SERVICE_HOST": "10.0.0.1",
    "CSTAR_MOCK_X_SERVICE_PORT_METRICS": "80",
    "CSTAR_MOCK_X_PORT": "udp://10.0.0.1:53",
    "CSTAR_MOCK_X_PORT_53_UDP_ADDR": "10.0.0.1",
    "CSTAR_MOCK_SERVE_PORT": "tcp://10.0.0.1:80",
}


def test_the_service_links_of_kubernetes_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    assert settings.load().port == 27827
    assert Settings().port == 27827
    assert settings.load(port="8000").port == 8000
    result = CliRunner().invoke(cli.cli, ["serve", "--workers", "x"], auto_envvar_prefix="CSTAR_MOCK")
    assert result.output.startswith("Error: --workers: 'x' is not allowed")
    assert "--port" not in result.output


@pytest.mark.parametrize(
    "name", ["CSTAR_MOCK_SERVICE_HOTS", "CSTAR_MOCK_PORT_80", "CSTAR_MOCK_X_PORT", "CSTAR_MOCK_SERVICE_HOST_X"]
)
def test_what_only_looks_like_a_service_link_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "80")
    with pytest.raises(SettingsError, match=f"{name} is no setting"):
        settings.load()


def test_a_service_link_is_no_value_of_an_option() -> None:
    with pytest.raises(SettingsError, match=r"--port: 'tcp://10\.0\.0\.1:80' is not allowed"):
        settings.load(port="tcp://10.0.0.1:80")


@pytest.mark.parametrize("name", ["control_token", "metrics_token"])
def test_a_token_can_be_in_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("  a-long-token\n")
    assert getattr(settings.load(**{f"{name}_file": str(file)}), name).get_secret_value() == "a-long-token"
    monkeypatch.setenv(f"CSTAR_MOCK_{name.upper()}_FILE", str(file))
    assert getattr(settings.load(), name).get_secret_value() == "a-long-token"
    monkeypatch.setenv(f"CSTAR_MOCK_{name.upper()}", "another-token")
    with pytest.raises(SettingsError, match="give either a token or its file, not both"):
        settings.load()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "can't be read: No such file or directory"),
        (b"\xff\xfe\0", "can't be read: it has no name, or is no text in UTF-8"),
        (b" \n", "has no token in it"),
        (b"secret\n", "a token has at least 8 characters"),
    ],
)
def test_a_file_without_a_token_is_refused_in_one_line(content: bytes | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=told) as refused:
        settings.load(control_token_file=str(file))
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
