"""The test client by itself: what it reads, what it starts, and what it says when that fails."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port

from cstar_mock.testing import command
from cstar_mock.testing.command import NotStarted, started
from cstar_mock.testing.control import HttpSender, Unreachable
from cstar_mock.testing.datasets import first_team

YAML = "dataset: mine\nteams: [{slug: mine, clock: 2025-12-10T14:30:00Z, keys: {}, test: {customers: [{id: c}]}}]\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.yaml", YAML),
        (
            "mine.json",
            '{"teams": [{"slug": "mine", "clock": "2025-12-10T14:30:00Z", "test": {"customers": [{"id": "c"}]}}]}',
        ),
    ],
)
def test_the_first_team_of_a_file_is_read_without_cstar_mock(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert first_team(file) == {"clock": "2025-12-10T14:30:00Z", "test": {"customers": [{"id": "c"}]}}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("mine.json", b'{\n"teams": x}', "mine.json:2: Expecting value"),
        ("mine.yaml", b"teams: [\n  {slug: a", "mine.yaml:2: expected ',' or '}', but got '<stream end>'"),
        ("mine.yaml", b"a: \x00", "mine.yaml: unacceptable character"),
        ("mine.yaml", b"\xff\xfe", "mine.yaml: can't be read"),
        ("mine.yaml", b"teams: []", "mine.yaml: a data set has a list of teams under 'teams'"),
        ("mine.yaml", b"- a", "mine.yaml: a data set has a list of teams under 'teams'"),
    ],
)
def test_a_file_that_is_no_data_set_is_named(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError, match="mine") as refused:
        first_team(file)
    assert str(refused.value).startswith(f"{tmp_path}/{why}")


def test_yaml_without_pyyaml_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(YAML)
    real = builtins.__import__

    def without_yaml(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    with pytest.raises(ValueError, match="YAML needs PyYAML, pip install pyyaml"):
        first_team(file)


def test_a_command_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(NotStarted, match="can't run no-such-command: No such file or directory"),
        started("no-such-command", []),
    ):
        pass


def test_a_command_that_ends_is_named_with_its_exit_code() -> None:
    with (
        pytest.raises(NotStarted, match=r"serve --port 0 .*` ended with 3; standard error says why"),
        started(f"{sys.executable} -c 'raise SystemExit(3)'", []),
    ):
        pass


def test_a_command_that_is_never_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_START_SECONDS", 0.1)
    monkeypatch.setattr(command, "_END_SECONDS", 0.1)
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with (
        pytest.raises(NotStarted, match=r"was not ready within 0\.1 seconds"),
        started(f"{sys.executable} -c '{ignoring}'", []),
    ):
        pass


@pytest.mark.parametrize("url", ["https://h:1", "h:1", "http://h:1/path", "http://h:1?a=b", "http://"])
def test_a_url_that_is_no_server_s_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL of a server is http://HOST:PORT, not"):
        HttpSender(url)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=f"no answer from {url}: ConnectionRefusedError"):
        HttpSender(url)("GET", "/__admin/teams", None)
