"""The folders that ship with the package are found in a checkout and in an installation."""

from pathlib import Path

import pytest
from tests.conftest import ROOT

from cstar_mock.store import package_data


@pytest.mark.parametrize("name", ["migrations", "seed"])
def test_a_checkout_has_them_at_its_top(name: str) -> None:
    assert package_data.folder(name) == ROOT / name


def test_an_installed_package_has_them_inside_and_prefers_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "site-packages" / "cstar_mock"
    inside, of_somebody_else = package / "seed", tmp_path / "lib" / "seed"
    inside.mkdir(parents=True)
    of_somebody_else.mkdir()
    monkeypatch.setattr(package_data, "__file__", str(package / "store" / "package_data.py"))
    assert package_data.folder("seed") == inside


def test_a_broken_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_data, "__file__", str(tmp_path / "a" / "b" / "c" / "package_data.py"))
    with pytest.raises(FileNotFoundError, match="installed without its folder 'seed'; install it again"):
        package_data.folder("seed")


def test_a_file_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seed").write_text("")
    monkeypatch.setattr(package_data, "__file__", str(tmp_path / "store" / "package_data.py"))
    with pytest.raises(FileNotFoundError):
        package_data.folder("seed")
