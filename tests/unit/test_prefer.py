"""How a Prefer header is read: a list whose elements may hold quoted strings (RFC 7240)."""

import pytest

from cstar_mock.contract.errors import ApiError
from cstar_mock.traffic.prefer import preferred


def applied(value: str) -> str | None:
    """Return what the answer says was applied, or None."""
    found = preferred([(b"prefer", value.encode("latin-1"))])
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("code=429", "code=429"),
        ("\tcode \t= 429 ; a=b", "code=429"),
        ('code="429";a="x, code=503"', "code=429"),
        ('a="x, code=503", code=429', "code=429"),
        ('a="\\", code=503", code=429', "code=429"),
        ("wait=1.5,,code=503,", "wait=1.5, code=503"),
        ("," + " " * 1000 + ",wait=1", "wait=1"),
        ("=, ;, code=503", "code=503"),
        ('a="open, code=503', None),
        (", ,", None),
        ("\xa0code=503", None),
    ],
)
def test_a_list_is_read(value: str, expected: str | None) -> None:
    assert applied(value) == expected


@pytest.mark.parametrize("value", ['code="4, 29"', "code=429\xa0", "code==429", "wait=\u00b2"])
def test_a_value_that_is_none_of_the_allowed_is_refused(value: str) -> None:
    with pytest.raises(ApiError, match="Prefer"):
        applied(value)


@pytest.mark.parametrize("value", ["," + " " * 31_000 + ",x", '"' * 31_000, "a=" * 15_000, "\\" * 31_000, "," * 31_000])
def test_what_is_no_preference_is_ignored_however_long(value: str) -> None:
    assert applied(value) is None
