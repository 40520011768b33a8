"""The team of a test: its keys, rows, clock, faults, limits and requests, as Python objects."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from cstar_mock.testing.control import Control
from cstar_mock.testing.requests import Requests
from cstar_mock.testing.tracebacks import fail_at_the_caller
from cstar_mock.testing.vocabulary import ConnectionFault, Environment, ErrorName, KeyPrefix, Match, Period, RowKind

Row: TypeAlias = dict[str, Any]
"""A row as the control API shows it: `{"id": "tkt_…", "createdAt": "2025-12-10T14:30:00Z", …}`."""
Rules: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A fault rule, with the field names of the control API, or several."""


class AddedRows(dict[str, list[Row]]):
    """Rows by kind; `csat_responses` is found as `csat-responses`, too."""

    def __missing__(self, kind: str) -> list[Row]:
        if "-" in kind:
            return self[kind.replace("-", "_")]
        raise KeyError(kind)


@fail_at_the_caller
class Team:
    """One team, isolated from all others.

    Attributes:
        base_url: the server's origin, for a client's `baseUrl`.
        team_id: the team's UUID.
        environment: which of its two environments `secret_key` and `publishable_key` are for; `given`, `change`, `rows`
            and `explain` are about it, too, unless they are told another one.
        keys: all four keys by prefix.
        clock: its clock.
        faults: its fault rules.
        rate_limits: its rate limits.
        requests: what clients sent.
    """

    def __init__(self, control: Control, base_url: str, created: Mapping[str, Any], environment: Environment) -> None:
        self._control = control
        self.base_url = base_url
        self.team_id: str = created["id"]
        self.slug: str = created["slug"]
        self.environment = environment
        self.keys: dict[str, str] = created["keys"]
        path = f"/teams/{self.team_id}"
        self.clock = Clock(control, path)
        self.faults = Faults(control, path)
        self.rate_limits = RateLimits(control, path)
        self.requests = Requests(control, path)

    def __repr__(self) -> str:
        return f"Team(slug={self.slug!r}, team_id={self.team_id!r}, environment={self.environment!r})"

    @property
    def secret_key(self) -> str:
        """The secret key of the environment."""
        return self.keys[f"sk_{self.environment}"]

    @property
    def publishable_key(self) -> str:
        """The publishable key of the environment."""
        return self.keys[f"pk_{self.environment}"]

    @property
    def url(self) -> str:
        """The base URL of the team's endpoints: add `/analytics/overview`."""
        return f"{self.base_url}/api/v1/teams/{self.team_id}"

    def given(
        self,
        *,
        overview: Mapping[str, Any] | None = None,
        agents: Sequence[Mapping[str, Any]] | None = None,
        members: Sequence[Mapping[str, Any]] = (),
        customers: Sequence[Mapping[str, Any]] = (),
        tickets: Sequence[Mapping[str, Any]] = (),
        csat_responses: Sequence[Mapping[str, Any]] = (),
        environment: Environment | None = None,
    ) -> AddedRows:
        """Set the answers of the API, or its rows.

        Args:
            overview: figures in the documented shape, those left out may be anything; replaces all rows.
            agents: figures in the documented shape; replaces all rows.
            members: rows to add, in the control API's shape.
            customers: rows to add.
            tickets: rows to add.
            csat_responses: rows to add.
            environment: which environment, by default the team's.

        Returns:
            The rows that were added, by kind, with their ids.

        Raises:
            Refused: figures contradict each other, or a row breaks a rule.
            ValueError: there is no such environment.
        """
        where = self._environment(environment)
        answers = {"overview": overview, "agents": agents}
        if overview is not None or agents is not None:
            wanted = {name: figures for name, figures in answers.items() if figures is not None}
            self._control.call("PUT", f"/teams/{self.team_id}/answers", {"environment": where, **wanted})
        kinds = {"members": members, "customers": customers, "tickets": tickets, "csat_responses": csat_responses}
        return AddedRows({kind: self._create(kind, rows, where) for kind, rows in kinds.items() if rows})

    def change(self, kind: RowKind, id_: str, *, environment: Environment | None = None, **changes: Any) -> Row:
        """Change a row: `cstar.change("tickets", "tkt_1", status="resolved")`.

        Raises:
            Refused: there is no such row, or the change would break a rule.
            ValueError: there is no such kind or environment.
        """
        path = f"{self._path(kind)}/{quote(id_, safe='')}"
        changed: Row = self._control.call("PATCH", path, changes, environment=self._environment(environment))
        return changed

    def rows(self, kind: RowKind, *, environment: Environment | None = None, **equal: Any) -> list[Row]:
        """Return up to 1,000 rows of a kind, by id: `cstar.rows("tickets", status="open")`.

        Raises:
            ValueError: there is no such kind or environment.
        """
        where = self._environment(environment)
        page = self._control.call("GET", self._path(kind), environment=where, limit=1000, **equal)
        items: list[Row] = page["items"]
        return items

    def create_key(self, prefix: KeyPrefix = "sk_test", **options: Any) -> str:
        """Create a further key: `cstar.create_key("sk_test", expiresAt="+1h", rateLimit=2, name="slow")`."""
        created = self._control.call("POST", f"/teams/{self.team_id}/keys", {"prefix": prefix, **options})
        return str(created["key"])

    def explain(
        self,
        endpoint: Literal["overview", "agents"] = "overview",
        period: Period | None = None,
        *,
        environment: Environment | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Any:
        """Explain each figure: its definition, its SQL, the ids of its rows.

        Args:
            endpoint: whose figures.
            period: of the overview, by default a week.
            environment: which environment, by default the team's.
            limit: the most ids of each figure, from 1 to 10,000, by default 1,000; `total` says how many there are.
            offset: agents to leave out, by default 0.

        Raises:
            Refused: a limit or an offset is not allowed.
            ValueError: there is no such environment.
        """
        path, where = f"/teams/{self.team_id}/explain/{endpoint}", self._environment(environment)
        return self._control.call("GET", path, environment=where, period=period, limit=limit, offset=offset)

    def reset(self) -> None:
        """Reset the team to its initial content: rows, clock, limits, faults, keys, counters, journal."""
        self._control.call("POST", f"/teams/{self.team_id}/reset")

    def delete(self) -> None:
        """Delete the team with all that it owns."""
        self._control.call("DELETE", f"/teams/{self.team_id}")

    def _create(self, kind: str, rows: Sequence[Mapping[str, Any]], environment: Environment) -> list[Row]:
        content = [dict(row) for row in rows]
        created: list[Row] = self._control.call("POST", self._path(kind), content, environment=environment)
        return created

    def _path(self, kind: str) -> str:
        known = get_args(RowKind)
        if kind not in known:
            raise ValueError(f"{kind!r} is not a kind of rows: use one of {', '.join(known)}")
        return f"/teams/{self.team_id}/{kind.replace('_', '-')}"

    def _environment(self, environment: Environment | None) -> Environment:
        return self.environment if environment is None else known_environment(environment)


def known_environment(environment: Environment) -> Environment:
    """Return an environment that exists.

    Raises:
        ValueError: it does not.
    """
    if environment not in get_args(Environment):
        raise ValueError(f"environment is 'live' or 'test', not {environment!r}")
    return environment


class _Part:
    def __init__(self, control: Control, team: str) -> None:
        self._control = control
        self._team = team


@fail_at_the_caller
class Clock(_Part):
    """The team's clock."""

    def now(self) -> datetime:
        """Return the team's present time."""
        return datetime.fromisoformat(self._control.call("GET", f"{self._team}/clock")["now"])

    def freeze(self, instant: datetime | str | None = None) -> None:
        """Stop the clock, by default at its present instant.

        Raises:
            ValueError: the instant has no time zone, and would be another one on the next machine.
            Refused: the text is no ISO 8601 instant.
        """
        if isinstance(instant, datetime):
            if instant.tzinfo is None:
                raise ValueError(f"an instant needs a time zone: {instant!r} has none")
            instant = instant.astimezone(UTC).isoformat()
        body = {"action": "freeze"} if instant is None else {"action": "freeze", "instant": instant}
        self._control.call("PUT", f"{self._team}/clock", body)

    def advance(self, by: timedelta | str | None = None, **units: float) -> None:
        """Move the clock ahead: `advance(days=7)`, `advance(timedelta(hours=1))`, `advance("PT1H")`.

        Raises:
            ValueError: it is back, or not by whole seconds.
            Refused: the text is no ISO 8601 duration.
        """
        if not isinstance(by, str):
            seconds = ((by or timedelta()) + timedelta(**units)).total_seconds()
            if seconds < 0 or seconds % 1:
                raise ValueError(f"a clock advances by whole seconds, and never back: not by {seconds:g}")
            by = f"PT{seconds:.0f}S"
        self._control.call("PUT", f"{self._team}/clock", {"action": "advance", "by": by})

    def reset(self) -> None:
        """Return the clock to real time."""
        self._control.call("PUT", f"{self._team}/clock", {"action": "reset"})


@fail_at_the_caller
class Faults(_Part):
    """The team's fault rules."""

    def next(
        self,
        status: int | ErrorName,
        *,
        times: int = 1,
        retry_after: float | Literal["default"] | None = "default",
        match: Match | None = None,
        **rule: Any,
    ) -> None:
        """Let the next requests fail: `next(429, times=2, retry_after=1)`, `next("internal_error")`.

        Args:
            status: any status, or a documented error by its name.
            times: how many requests fail before all is well again.
            retry_after: seconds in `Retry-After`, also 0 or 0.5; None for no such header. By default 1 on 429 and 503.
            match: which requests, such as `{"endpoint": "agents"}`; by default all.
            rule: further fields of the rule, such as `delay={"type": "fixed", "milliseconds": 50}`.
        """
        if retry_after != "default":
            rule["retryAfter"] = retry_after
        self.add({"status": status, "failRequestCount": times, **_matching(match), **rule})

    def break_next(self, fault: ConnectionFault, *, times: int = 1, match: Match | None = None, **rule: Any) -> None:
        """Break the next connections: `break_next("CONNECTION_RESET_BY_PEER")`."""
        self.add({"fault": fault, "failRequestCount": times, **_matching(match), **rule})

    def add(self, *rules: Rules) -> None:
        """Add rules, or lists of rules, after the present ones."""
        self._control.call("POST", f"{self._team}/faults", as_list(*rules))

    def set(self, *rules: Rules) -> None:
        """Replace all rules with these, or with those of these lists."""
        self._control.call("PUT", f"{self._team}/faults", as_list(*rules))

    def list(self) -> list[dict[str, Any]]:
        """Return the rules, with how many requests each has seen and failed."""
        rules: list[dict[str, Any]] = self._control.call("GET", f"{self._team}/faults")["faults"]
        return rules

    def clear(self) -> None:
        """Remove all rules."""
        self._control.call("DELETE", f"{self._team}/faults")


def as_list(*rules: Rules) -> list[dict[str, Any]]:
    """Return fault rules, given one by one or in lists, as one list."""
    return [dict(rule) for one in rules for rule in ([one] if isinstance(one, Mapping) else one)]


def _matching(match: Match | None) -> dict[str, Match]:
    return {} if match is None else {"match": match}


@fail_at_the_caller
class RateLimits(_Part):
    """The team's rate limits."""

    def set(self, **limits: Any) -> None:
        """Set limits: `set(secret=2, window=60)`, `set(enabled=False)`."""
        self._control.call("PUT", f"{self._team}/rate-limits", limits)

    def reset_counters(self) -> None:
        """Begin new windows for all keys."""
        self._control.call("DELETE", f"{self._team}/rate-limits/counters")
