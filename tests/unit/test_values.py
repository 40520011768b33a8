"""The types of values: the text and the JSON that can be stored and written."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cstar_mock.contract.json_types import Json, Text


@pytest.mark.parametrize(("text", "word"), [("a\0", "NUL"), ("\ud800", "surrogate"), ("a\udfffb", "surrogate")])
def test_text_that_can_not_be_stored_is_refused(text: str, word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        TypeAdapter(Text).validate_python(text)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [{"a": float("nan")}], [[float("-inf")]]])
def test_json_that_can_not_be_written_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"surrogate|NaN"):
        TypeAdapter(Json).validate_python(value)


@pytest.mark.parametrize("value", ["", "\U0001f600", "e\u0301", {"a": [None, True, 1.5, 10**30, "\0"]}])
def test_other_values_are_left_as_they_are(value: Any) -> None:
    assert TypeAdapter(Json).validate_python(value) == value
