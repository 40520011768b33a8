"""What is wrong with a data set, and where: every problem with the way to its field."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""The way to a field: `("teams", 0, "live", "tickets", 3, "resolvedAt")`."""

_NO_OBJECT = "must be an object"
_BRANCHES = frozenset(
    ("decimal", "int", "str", "fixed", "uniform", "lognormal", "freeze", "advance", "reset")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where.

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
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
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
    """Return what is wrong with a request, of which FastAPI says first whether it is body, query or path."""
    return problems_of({**found, "loc": found["loc"][1:]} for found in errors)


def problems_of(errors: Iterable[Any]) -> list[Problem]:
    """Return pydantic's findings in our words."""
    problems: dict[Location, Problem] = {}
    for found in errors:
        before = (None, *found["loc"])
        location = tuple(
            part
            for part, parent in zip(found["loc"], before, strict=False)
            if parent == "magicKeys" or not _is_branch(part)  # a magic key's name is the user's
        )
        if location not in problems or _is_of_the_other_shape(problems[location], found["input"]):
            problems[location] = Problem(
                location, _sentence(found["msg"], found["type"], found["input"]), _contradicts(found)
            )
    # A list whose items are refused is also said to be too short, or to be no object; the items say it better.
    wholes = {location[:length] for location in problems for length in range(len(location))}
    return [problem for location, problem in problems.items() if location not in wholes]


def _contradicts(found: Any) -> bool:
    return found["type"] == "value_error" and isinstance(found["input"], dict)


def _is_of_the_other_shape(problem: Problem, value: object) -> bool:
    # Where one or many may stand, a list is first compared with the one.
    return problem.message == _NO_OBJECT and isinstance(value, list)


def _is_branch(part: str | int) -> bool:
    # pydantic adds the branch of a union to a location: `literal[0]`, `constrained-int`, `decimal`, the name of a
    # model, which no field's name looks like, or the tag that chose it.
    return isinstance(part, str) and (not part.replace("_", "").isalnum() or part[:1].isupper() or part in _BRANCHES)


def _sentence(message: str, kind: str, value: object) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is no known field"
    if kind in {"model_attributes_type", "model_type", "dict_type"}:
        return _NO_OBJECT
    message = message.removeprefix("Value error, ")
    if isinstance(value, str | int | float) and repr(value) not in message:
        message = f"{str(value)[:80]!r} is not allowed: {message[:1].lower()}{message[1:]}"
    return message
