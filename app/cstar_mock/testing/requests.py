"""The requests that a team's clients sent, with assertions about them."""

from collections.abc import Mapping
from typing import Any

from cstar_mock.testing.control import Control
from cstar_mock.testing.tracebacks import fail_at_the_caller

_ALL = 100_000
"""As many requests as a journal can hold."""


@fail_at_the_caller
class Requests:
    """What clients sent."""

    def __init__(self, control: Control, team: str) -> None:
        self._control = control
        self._team = team

    def all(self) -> list[dict[str, Any]]:
        """Return the requests, the newest first."""
        return self.find()

    def find(self, **criteria: Any) -> list[dict[str, Any]]:
        """Return the requests that are like this: `find(endpoint="overview", status=429)`."""
        path = f"{self._team}/requests/find"
        found: list[dict[str, Any]] = self._control.call("POST", path, criteria, limit=_ALL)["requests"]
        return found

    def count(self, **criteria: Any) -> int:
        """Count the requests that are like this."""
        return int(self._control.call("POST", f"{self._team}/requests/count", criteria)["count"])

    def assert_count(self, expected: int, **criteria: Any) -> None:
        """Assert how many requests were like this; if not, say what came instead.

        Raises:
            AssertionError: listing every request of the team, those that match marked.
        """
        matching = {entry["id"] for entry in self.find(**criteria)}
        if len(matching) == expected:
            return
        wanted = ", ".join(f"{name}={value!r}" for name, value in criteria.items()) or "any"
        lines = [f"expected {expected} requests ({wanted}), but there were {len(matching)}"]
        entries = self.all()
        lines += [f"  {'*' if entry['id'] in matching else ' '} {_line(entry)}" for entry in reversed(entries)]
        if not entries:
            lines.append("  no request came at all")
        raise AssertionError("\n".join(lines))

    def clear(self) -> None:
        """Forget all requests."""
        self._control.call("DELETE", f"{self._team}/requests")


def _line(entry: Mapping[str, Any]) -> str:
    request, response = entry["request"], entry["response"]
    query = f"?{request['query']}" if request["query"] else ""
    outcome = f"{response['status'] or 'connection broken'}"
    details = " ".join(str(response[name]) for name in ("code", "fault") if response[name])
    return f"{request['method']} {request['path']}{query} -> {outcome} {details}".rstrip()
