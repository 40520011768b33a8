"""The YAML of data set files: YAML 1.2's scalars, and an error with file and line for anything else."""

import codecs
from pathlib import Path
from typing import Any

import pytest

from cstar_mock.datasets import yaml12
from cstar_mock.datasets.files import read
from cstar_mock.datasets.problems import DatasetError

HEAD = "dataset: mine\nteams:\n  - slug: mine\n"
AGENT = "    live: {answers: {agents: [{name: A, ticketsResolved: 9, avgResponseTime: %s}]}}\n"


def refusal(folder: Path, content: bytes) -> str:
    """Return the sentence with which a file is refused, without its path."""
    path = folder / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as refused:
        read(path)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}:")
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence.removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1", -1), ("+1", 1), ("0", 0), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0),
        (".5", 0.5),
        ("010", "010"), ("-010", "-010"), ("01.5", "01.5"), ("1:30", "1:30"), ("12:30", "12:30"),
        ("12:30.5", "12:30.5"),
        ("1_000", "1_000"), ("0b11", "0b11"), ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("Null", None),
        ("2025-12-10", "2025-12-10"), ("2025-12-10T14:30:00Z", "2025-12-10T14:30:00Z"), ("=", "="), ("<<", "<<"),
        ("!!str 010", "010"), ("'1'", "1"), ("-.inf", float("-inf")),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    node = yaml12.compose(f"[{text}]" if text != "" else "[~]")
    assert node is not None
    content = yaml12.construct(node)
    assert isinstance(content, list)
    assert [(type(part), part) for part in content] == [(type(value), value)]


@pytest.mark.parametrize("number", ["010", "1:30", "12:30", "1_000", "0b11", "1e999", ".nan", ".inf", "\u0661", "true"])
def test_a_number_that_yaml_versions_read_differently_is_refused(tmp_path: Path, number: str) -> None:
    sentence = refusal(tmp_path, (HEAD + AGENT % number).encode())
    assert sentence.startswith("4: teams[0].live.answers.agents[0].avgResponseTime: ")
    assert "number" in sentence or "finite" in sentence


def test_the_words_of_yaml_1_1_are_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: off\nteams:\n  - {slug: yes, name: No}\n  - {slug: on, name: 010}\n")
    assert [(team.slug, team.name) for team in read(path).teams] == [("yes", "No"), ("on", "010")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD + "    name: {{ name }}\n", 4, "render a template such as {{ name }} first"),
        (HEAD + "    ? [a]\n    : b\n", 4, "a key can't be a list or a mapping"),
        ("[a]: b\n", 1, "a key can't be a list or a mapping"),
        (HEAD + AGENT % ("9" * 5_000), 4, "a number of 5,000 characters is too long"),
        (HEAD + AGENT % ("0x" + "f" * 1_000_000), 4, "a number of 1,000,002 characters is too long"),
        (HEAD + "    faults: [{status: 200, body: " + "9" * 1_001 + "}]\n", 4, "1,001 characters"),
        (HEAD + "    <<: 5\n", 4, "expected a mapping"),
        ("dataset: mine\nteams: *missing\n", 2, "undefined alias"),
        ("dataset: mine\nteams:\n\t- slug: a\n", 3, "cannot start any token"),
        (HEAD + '    name: "\\uD800"\n', 4, "invalid Unicode character"),
        (HEAD + '    name: "a\\0b"\n', 4, "teams[0].name: 'a\\x00b' is not allowed: text can't contain a NUL"),
        ("dataset: mine\nteams: \x07[]\n", 2, "the character U+0007 is not allowed"),
        ("a: " + "[" * 100_000, 1, "maximum nesting depth"),
        ("- " * 50_000 + "x", 1, "maximum nesting depth"),
        ("dataset: a\n---\ndataset: b\n", 2, "another document"),
        ("%YAML 3.0\n---\na: b\n", 1, "incompatible YAML document"),
        (HEAD + "    name: !!int 010\n", 4, "'010' is not of the type int"),
        (HEAD + "    name: !!float 1:30\n", 4, "'1:30' is not of the type float"),
        (HEAD + "    name: !!bool hello\n", 4, "'hello' is not of the type bool"),
        (HEAD + "    name: !!timestamp hello\n", 4, "the tag 'tag:yaml.org,2002:timestamp' is not allowed"),
        (HEAD + "    name: !!binary aGVsbG8=\n", 4, "the tag 'tag:yaml.org,2002:binary' is not allowed"),
        (HEAD + "    live: !!map 5\n", 4, "the tag 'tag:yaml.org,2002:map' is not allowed"),
        (HEAD + "    faults: [{status: 200, body: {a: [.nan]}}]\n", 4, "faults[0].body: JSON has no NaN"),
        (HEAD + "    name: 5\n", 4, "teams[0].name: '5' is not allowed: must be text: put it in quotes"),
        (HEAD + "    clock: 2025-12-10\n", 4, "a date without a time; write 2025-12-10T00:00:00Z"),
        (
            HEAD + "    magicKeys: {a: {key: sk_live_abcd, revoked: yes}}\n",
            4,
            "'yes' is not allowed: must be true or false",
        ),
        (HEAD + "  - slug: b\n  - slug: mine\n", 5, "teams[2].slug: the slug 'mine' is repeated"),
        (HEAD + "    live: {customers: 5}\n", 4, "teams[0].live.customers: '5' is not allowed: must be a list"),
    ],
)
def test_what_is_no_yaml_of_a_data_set_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    sentence = refusal(tmp_path, text.encode())
    assert sentence.startswith(f"{line}: ")
    assert message in sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("dataset: a\n".encode("utf-16"), "1: can't be read: it is UTF-16; save it as UTF-8"),
        (b"dataset: a\nname: caf\xe9\n", "2: can't be read: it is not UTF-8"),
        (b"dataset: a\nteams: \0[]\n", "2: the character U+0000 is not allowed"),
        (b"", "1: a data set is a mapping with the keys 'dataset' and 'teams'"),
    ],
)
def test_bytes_that_are_no_utf_8_are_refused_with_their_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    assert refusal(tmp_path, content).startswith(sentence)


def test_a_byte_order_mark_and_merge_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "dataset: mine\nteams:\n- &a {slug: a, name: X}\n- &b {<<: *a, slug: b}\n- {<<: *b, slug: c}\n"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert [(team.slug, team.name) for team in read(path).teams] == [("a", "X"), ("b", "X"), ("c", "X")]


def test_a_problem_of_a_merged_field_has_the_line_of_the_field_that_wins(tmp_path: Path) -> None:
    text = "dataset: mine\nteams:\n- &a {slug: a, name: X}\n- <<: *a\n  slug: b\n  name: 5\n- <<: *a\n  slug: a\n"
    assert refusal(tmp_path, text.encode()).startswith("6: teams[1].name: ")
