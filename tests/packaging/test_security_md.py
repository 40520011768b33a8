"""SECURITY.md claims nothing that no test proves; and the proofs that have no better place."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT

from cstar_mock.datasets.files import read
from cstar_mock.datasets.problems import DatasetError

PAGE = ROOT / "SECURITY.md"


def claims() -> list[tuple[str, list[str]]]:
    """Return each claim with the tests that it names."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [(row[0], re.findall(r"`([^`]+\.py::\w+)`", row[-1])) for row in rows if row[0] not in {"claim", "bound"}]


@pytest.mark.parametrize(("claim", "proofs"), claims(), ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_every_claim_names_tests_that_exist(claim: str, proofs: list[str]) -> None:
    assert proofs, claim
    for proof in proofs:
        path, _, name = proof.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name.startswith("test_")
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, proof


def test_there_are_claims() -> None:
    assert len(claims()) > 15


def test_every_bound_has_its_row_and_every_row_its_bound() -> None:
    source = (ROOT / "app/cstar_mock/bounds.py").read_text()
    constants = {
        ast.unparse(node.targets[0]): ast.get_source_segment(source, node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
    }
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    assert len(constants) > 20
    assert dict(rows) == constants
    assert len(rows) == len(constants)


def test_every_bound_says_what_it_counts() -> None:
    body = ast.parse((ROOT / "app/cstar_mock/bounds.py").read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            assert isinstance(after, ast.Expr), ast.unparse(node)
            assert isinstance(after.value, ast.Constant), ast.unparse(node)


def test_the_image_does_not_run_as_root() -> None:
    last_stage = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[-1]
    users = re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE)
    assert users
    # A name would not do: Kubernetes' runAsNonRoot can't tell whose it is.
    user = re.fullmatch(r"([1-9]\d*):\1", users[-1])
    assert user is not None
    assert re.search(rf"useradd --uid {user[1]} ", last_stage)


def test_our_containers_have_no_privileges() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    ours = {name: service for name, service in services.items() if str(service.get("image")).startswith("cstar-mock")}
    assert ours
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert "cap_add" not in service, name


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir [{}]", "!!python/name:os.mkdir ''", "!include {}", "!!python/tuple [1]"]
)
def test_a_data_set_file_calls_nothing(tmp_path: Path, tag: str) -> None:
    file, made = tmp_path / "evil.yaml", tmp_path / "made"
    file.write_text(f"dataset: {tag.format(made)}\nteams: []\n")
    with pytest.raises(DatasetError, match=r"the tag .* is not allowed"):
        read(file)
    assert not made.exists()


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        ("".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n      " for i in range(1, 12)), "more than 20000000"),
        ("deep: " + "[" * 200 + "]" * 200, "more than 100 levels"),
        ("self: &self [*self]", "more than 100 levels"),
    ],
    ids=["wide", "deep", "itself"],
)
def test_a_data_set_file_does_not_grow_without_bounds(tmp_path: Path, bomb: str, message: str) -> None:
    """The body of a fault rule may be any value, so nothing else would stop it."""
    file = tmp_path / "bomb.yaml"
    file.write_text(
        "dataset: x\nteams:\n- slug: a\n  faults:\n  - status: 200\n    body:\n"
        f"      a0: &a0 [x, x, x, x, x, x, x, x, x]\n      {bomb}\n"
    )
    with pytest.raises(DatasetError, match=message):
        read(file)
