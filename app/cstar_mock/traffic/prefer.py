"""The header `Prefer: code=429, wait=2`, by which a single request asks for its answer (RFC 7240), as in Prism."""

import re
from collections.abc import Iterable, Iterator

from cstar_mock import bounds
from cstar_mock.contract import errors
from cstar_mock.contract.errors import CATALOGUE, ApiError
from cstar_mock.contract.redaction import redacted
from cstar_mock.traffic.faults import Decision

_PREFERENCE = re.compile(r'[ \t]*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)[ \t]*(?:=[ \t]*("[^"]*"|[^" \t;]*))?')
_WAIT = re.compile(r"\d{1,2}(\.\d{1,3})?")
_STATUS = re.compile(r"[3-5]\d\d")


def preferred(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Decision, str] | None:
    """Return the decision that a `Prefer` header asks for, and the value of `Preference-Applied` (RFC 7240).

    Known are `code` (a status, or a documented error by its name) and `wait` (seconds); others are ignored, and of
    two the first one counts.

    Raises:
        ApiError: PARAMETER_INVALID; a known preference has a value that it can't have.
    """
    text = ",".join(value.decode("latin-1") for name, value in headers if name == b"prefer")
    if not text:
        return None
    known: dict[str, str] = {}
    for element in _elements(text):
        preference = _PREFERENCE.match(element)
        if preference is not None and (name := preference[1].lower()) in {"code", "wait"}:
            known.setdefault(name, (preference[2] or "").strip('"'))
    if not known:
        return None
    decision = Decision(delay_ms=_wait(known.get("wait")), status=_code(known.get("code")))
    return decision, ", ".join(f"{name}={value}" for name, value in known.items())


def _elements(text: str) -> Iterator[str]:
    """Yield the elements of a list; a comma in a quoted string separates none, and an open quote ends the list."""
    element: list[str] = []
    quoted = False
    for part in text.split(","):
        element.append(part)
        quoted ^= part.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
        if not quoted:
            yield ",".join(element)
            element.clear()


def _wait(value: str | None) -> float:
    if value is None:
        return 0
    if not _WAIT.fullmatch(value) or float(value) * 1000 > bounds.LONGEST_DELAY_MS:
        raise _refused("wait", value, "seconds from 0 to 60")
    return float(value) * 1000


def _code(value: str | None) -> int | str | None:
    if value is None:
        return None
    if value in CATALOGUE:
        return value
    if value == "200":
        return None  # The ordinary answer, whatever the team's rules want.
    if not _STATUS.fullmatch(value):
        raise _refused("code", value, f"200, 300 to 599, {', '.join(CATALOGUE)}")
    return int(value)


def _refused(name: str, value: str, allowed: str) -> ApiError:
    return ApiError(
        errors.PARAMETER_INVALID,
        param="Prefer",
        parameter=f"Prefer: {name}",
        value=repr(redacted(value)[:100]),
        allowed=allowed,
    )
