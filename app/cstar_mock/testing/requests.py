"""The requests that a team's clients sent, with assertions about them."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cstar_mock.testing.control import Control
from cstar_mock.testing.tracebacks import fail_at_the_caller

_ALL = 100_000
"""As many requests as a journal can hold."""

_POLL_SECONDS = 0.02
_MOST_LINES = 20
"""Requests that a failure lists, the newest ones."""


@fail_at_the_caller
class Requests:
    """The requests that clients sent."""

    def __init__(self, control: Control, team: str) -> None:
        self._control = control
        self._team = team

    def all(self) -> list[dict[str, Any]]:
        """Return the requests, the newest first."""
        return self.find()

    def find(self, **criteria: Any) -> list[dict[str, Any]]:
        """Return the requests that match the criteria, the newest first: `find(endpoint="overview", status=429)`."""
        found: list[dict[str, Any]] = self._page(criteria)["requests"]
        return found

    def count(self, **criteria: Any) -> int:
        """Count the requests that match the criteria."""
        return int(self._control.call("POST", f"{self._team}/requests/count", criteria)["count"])

    def unmatched(self) -> list[dict[str, Any]]:
        """Return the requests that belonged to no team, the newest first: `["response"]["hint"]` says why.

        Those whose path names another team are left out. Those whose path names no team are any test's.
        """
        listed = self._control.call("GET", "/requests/unmatched", limit=_ALL)["requests"]
        own = f"{self._team}/"
        return [entry for entry in listed if own in f"{entry['request']['path']}/" or not _names_a_team(entry)]

    def wait_for(self, number: int = 1, *, timeout: float = 5.0, **criteria: Any) -> list[dict[str, Any]]:
        """Wait until a number of requests match the criteria, and return them, the newest first.

        A request matches from its arrival on, also while it is pending: `wait_for(1, state="answered")` waits for the
        answer.

        Args:
            number: how many requests to wait for.
            timeout: seconds to wait.
            criteria: the criteria of `find`.

        Raises:
            AssertionError: there were fewer when the time was over; it lists the requests that came.
        """
        end = time.monotonic() + timeout
        while True:
            found = self.find(**criteria)
            if len(found) >= number:
                return found
            if time.monotonic() >= end:
                raise AssertionError(self._failure(f"at least {number} requests within {timeout:g} s", criteria, found))
            time.sleep(_POLL_SECONDS)

    def assert_count(
        self, expected: int | None = None, *, at_least: int | None = None, at_most: int | None = None, **criteria: Any
    ) -> None:
        """Assert how many requests match the criteria: `assert_count(2)`, `assert_count(at_least=1, status=200)`.

        Raises:
            AssertionError: there were more or fewer; it lists the team's requests, those that match marked.
            TypeError: no number is given, or a number and a limit.
        """
        if (expected is None) == (at_least is None and at_most is None):
            raise TypeError("assert_count takes either a number, or at_least, at_most or both")
        found = self.find(**criteria)
        least, most = (expected, expected) if expected is not None else (at_least, at_most)
        if (least is None or len(found) >= least) and (most is None or len(found) <= most):
            return
        limits = [
            f"{word} {limit}" for word, limit in (("at least", at_least), ("at most", at_most)) if limit is not None
        ]
        wanted = str(expected) if expected is not None else " and ".join(limits)
        raise AssertionError(self._failure(f"{wanted} requests", criteria, found))

    def assert_sequence(self, sequence: Sequence[Mapping[str, Any]], **criteria: Any) -> None:
        """Assert that the requests that match the criteria match a list of further criteria, one each, in order.

            cstar.requests.assert_sequence([{"status": 429}, {"status": 200}], endpoint="overview")

        Raises:
            AssertionError: there were more or fewer, or one does not match; it lists the team's requests.
        """
        found = self.find(**criteria)
        if len(found) != len(sequence):
            raise AssertionError(self._failure(f"a sequence of {len(sequence)} requests", criteria, found))
        for number, (entry, one) in enumerate(zip(reversed(found), sequence, strict=True), 1):
            if entry["id"] not in {match["id"] for match in self.find(**{**criteria, **one})}:
                wanted = f"request {number} of {len(sequence)} to match {_shown(one)}"
                raise AssertionError(self._failure(wanted, criteria, found, f"it was {_line(entry)}"))

    def clear(self) -> None:
        """Forget all requests."""
        self._control.call("DELETE", f"{self._team}/requests")

    def _page(self, criteria: Mapping[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = self._control.call("POST", f"{self._team}/requests/find", criteria, limit=_ALL)
        return page

    def _failure(
        self, wanted: str, criteria: Mapping[str, Any], found: Sequence[Mapping[str, Any]], instead: str = ""
    ) -> str:
        """Describe a failed assertion: the expectation, the team's requests in order, and the unmatched ones."""
        matching = {entry["id"] for entry in found}
        page, unmatched = self._page({}), self.unmatched()
        lines = [f"expected {wanted} ({_shown(criteria)}), but {instead or f'there were {len(matching)}'}"]
        lines += _cut([f"  {'*' if entry['id'] in matching else ' '} {_line(entry)}" for entry in page["requests"]])
        if page["meta"]["dropped"]:
            kept, dropped = page["meta"]["total"], page["meta"]["dropped"]
            lines.append(
                f"  only the last {kept} requests are kept (--journal-size): {dropped} older ones were dropped"
            )
        if unmatched:
            lines.append("  requests that belonged to no team:")
            lines += _cut([f"    {_line(entry)}" for entry in unmatched])
        elif not page["requests"]:
            lines.append("  no request came at all")
        return "\n".join(lines)


def _shown(criteria: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in criteria.items()) or "any"


def _cut(lines: Sequence[str]) -> list[str]:
    """Return the first lines, which are about the newest requests, in reverse; with the number of those left out."""
    shown = [*reversed(lines[:_MOST_LINES])]
    return [f"  … {len(lines) - _MOST_LINES} earlier ones …", *shown] if len(lines) > _MOST_LINES else shown


def _names_a_team(entry: Mapping[str, Any]) -> bool:
    return bool(re.search(r"/teams/[^/]", entry["request"]["path"]))


def _line(entry: Mapping[str, Any]) -> str:
    request, response = entry["request"], entry["response"]
    query = f"?{request['query']}" if request["query"] else ""
    if entry["state"] == "answered":
        outcome = str(response["status"] or "connection broken")
    else:
        outcome = entry["state"].replace("_", " ")
    details = " ".join(str(response[name]) for name in ("code", "fault") if response[name])
    hint = f" ({response['hint']})" if response["hint"] else ""
    line = f"{request['method']} {request['path']}{query} -> {outcome} {details}".rstrip() + hint
    # The terminal that shows the failure gets no control characters of a client.
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
