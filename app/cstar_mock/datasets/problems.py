"""The problems of a data set: each with the path of its field."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from cstar_mock.contract.json_types import quoted

Location: TypeAlias = tuple[str | int, ...]
"""The way to a field: `("teams", 0, "live", "tickets", 3, "resolvedAt")`."""

_FIELD = re.compile(r"[\w-]{1,100}")
_NO_OBJECT = "must be an object"
_IN_OUR_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is no known field",
    "model_attributes_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
    "dict_type": _NO_OBJECT,
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text: put it in quotes",
    "string_unicode": "text can't contain a lone surrogate",
    "bool_type": "must be true or false",
    "invalid_key": "a key must be text",
}
"""Sentences for pydantic's types of errors whose own sentences speak Python."""
_BRANCHES = frozenset(
    ("decimal", "int", "str", "fixed", "uniform", "lognormal", "freeze", "advance", "reset")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, and its place.

    Attributes:
        contradiction: whether each field is well-formed, and only together they make no sense.
    """

    location: Location
    message: str
    contradiction: bool = False

    @property
    def path(self) -> str:
        """The location as people write it: `teams[0].live.tickets[3].resolvedAt`."""
        path = ""
        for part in self.location:
            path += f"[{part}]" if isinstance(part, int) else f".{part if _FIELD.fullmatch(part) else quoted(part)}"
        return path.removeprefix(".")

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.location else self.message


class DatasetError(ValueError):
    """A data set that can't be loaded.

    Attributes:
        problems: everything that is wrong with it, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems = list(problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{where}{self.problems[0]}{more}")


def problems_of_request(errors: Iterable[Any]) -> list[Problem]:
    """Return the problems of a request; FastAPI's locations begin with body, query or path."""
    return problems_of({**found, "loc": found["loc"][1:]} for found in errors)


def problems_of(errors: Iterable[Any]) -> list[Problem]:
    """Return pydantic's findings in our words."""
    problems: dict[Location, Problem] = {}
    for found in errors:
        location = _location(found)
        if location not in problems or _is_of_the_other_shape(problems[location], found["input"]):
            problems[location] = Problem(location, _sentence(found), _contradicts(found))
    # A list whose items are refused is also said to be too short, or to be no object; the items say it better.
    wholes = {location[:length] for location in problems for length in range(len(location))}
    return [problem for location, problem in problems.items() if location not in wholes]


def _location(found: Any) -> Location:
    way: Location = found["loc"]
    # An unknown field may have any name, also one that a branch of a union has.
    named = way[-1:] if found["type"] == "extra_forbidden" else ()
    way = way[: len(way) - len(named)]
    parts = zip(way, (None, *way), strict=False)
    # A magic key's name is the user's.
    return (*(part for part, parent in parts if parent == "magicKeys" or not _is_branch(part)), *named)


def _contradicts(found: Any) -> bool:
    return found["type"] == "value_error" and isinstance(found["input"], dict)


def _is_of_the_other_shape(problem: Problem, value: object) -> bool:
    # Where one or many are allowed, a list is first compared with the one.
    return problem.message == _NO_OBJECT and isinstance(value, list)


def _is_branch(part: str | int) -> bool:
    # pydantic adds the branch of a union to a location: `literal[0]`, `constrained-int`, `decimal`, the name of a
    # model, which no field's name looks like, or the tag that chose it.
    return isinstance(part, str) and (not part.replace("_", "").isalnum() or part[:1].isupper() or part in _BRANCHES)


def _sentence(found: Any) -> str:
    kind, value = found["type"], found["input"]
    message: str = _IN_OUR_WORDS.get(kind, found["msg"].removeprefix("Value error, "))
    if kind in {"too_short", "too_long"}:
        least_or_most, bound = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        number = found["ctx"][bound]
        return f"must have at {least_or_most} {number:,} item{'' if number == 1 else 's'}"
    if kind == "union_tag_invalid":  # pydantic quotes the tag whole
        context = found["ctx"]
        return f"{quoted(context['tag'])} is not allowed as {context['discriminator']}: use {context['expected_tags']}"
    if kind in {"missing", "extra_forbidden"} or message == _NO_OBJECT:
        return message
    if isinstance(value, str | int | float) and repr(value) not in message:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        message = f"{quoted(shown)} is not allowed: {message[:1].lower()}{message[1:]}"
    return message


@contextmanager
def within(*location: str | int) -> Iterator[None]:
    """Prefix the location of every problem that the block raises."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(
            Problem((*location, *problem.location), problem.message) for problem in error.problems
        ) from None
