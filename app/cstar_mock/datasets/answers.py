"""From figures to rows: ordinary rows for which the API answers exactly these figures.

Most figures are free of each other, as tickets may have been created before the window: those are used where
the window itself has no room. What remains contradictory is said, with the rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import cycle

from cstar_mock import bounds
from cstar_mock.contract import ids
from cstar_mock.contract.clock import DAY, HOUR, MINUTE, Duration, Instant
from cstar_mock.contract.periods import LENGTHS
from cstar_mock.contract.vocabulary import TicketStatus
from cstar_mock.datasets import names
from cstar_mock.datasets.format import AgentFigures, Answers, CsatFigures, CustomerFigures, OverviewFigures
from cstar_mock.datasets.problems import DatasetError, Location, Problem
from cstar_mock.store.rows import Row, Rows, ticket

_OPEN = (TicketStatus.OPEN, TicketStatus.PENDING, TicketStatus.NEW)
_LOWEST, _HIGHEST = 1, 5


@dataclass
class _Plan:
    """The figures to build, with every gap filled."""

    period_length: Duration
    total: int
    open: int
    resolved: int
    customers: int
    active: int
    new: int
    responses: int
    sums: range
    """The possible sums of the scores of the responses in the window."""
    agents: Sequence[AgentFigures]


@dataclass
class _Agent:
    """One agent while the rows are built: the tickets, and the scores that are still to be given."""

    figures: AgentFigures
    id: str
    tickets: list[Row] = field(default_factory=list)
    scores: list[int] = field(default_factory=list)

    @property
    def response_time(self) -> Duration | None:
        """The mean response time."""
        minutes = self.figures.avg_response_time
        return None if minutes is None else int(minutes * MINUTE)


def build(answers: Answers, now: Instant) -> Rows:
    """Return rows that give these answers at `now`.

    Raises:
        DatasetError: figures contradict each other; each problem names them and the rule.
    """
    plan = _plan(answers)
    return _Builder(plan, now).rows()


def possible_sums(average: Decimal, responses: int) -> range:
    """Return every sum of `responses` scores from 1 to 5 whose mean rounds to the average."""
    tenths = int(average * 10)
    # round half up: tenths <= 10 * sum / responses + 1/2 < tenths + 1
    lowest = -((responses - 2 * responses * tenths) // 20)
    highest = -((responses - 2 * responses * (tenths + 1)) // 20) - 1
    return range(max(lowest, responses * _LOWEST), min(highest, responses * _HIGHEST) + 1)


def _plan(answers: Answers) -> _Plan:
    """Fill the gaps, and refuse contradictions.

    Raises:
        DatasetError: figures contradict each other.
    """
    overview = answers.overview or OverviewFigures()
    agents = answers.agents or ()
    problems = [*_decimal_problems(answers), *_agent_problems(agents)]
    tickets = overview.tickets
    customers = overview.customers
    open_ = tickets.open or 0
    resolved = _given(tickets.resolved, sum(agent.tickets_resolved for agent in agents))
    nobody_wrote = customers.active == 0
    total = _given(tickets.total, 0 if nobody_wrote else max(customers.active or 0, open_ + resolved))
    responses, sums = _csat(overview.csat, problems)
    needs_a_customer = total + open_ + resolved + responses + sum(map(_figures_of, agents)) > 0
    active = _given(customers.active, min(total, _given(customers.total, total)))
    new = customers.new or 0
    all_ = _given(customers.total, max(active, new, int(needs_a_customer)))
    problems += _customer_problems(customers, all_=all_, active=active, new=new, total=total)
    if needs_a_customer and not all_:
        problems.append(
            Problem(
                ("overview", "customers", "total"),
                "tickets, responses and agents' figures need at least one customer",
            )
        )
    if sum(agent.tickets_resolved for agent in agents) > bounds.MOST_FIGURE:
        problems.append(
            Problem(("agents",), f"all agents together can have resolved at most {bounds.MOST_FIGURE:,} tickets")
        )
    if problems:
        raise DatasetError(problems)
    return _Plan(LENGTHS[overview.period], total, open_, resolved, all_, active, new, responses, sums, agents)


def _given(figure: int | None, otherwise: int) -> int:
    return otherwise if figure is None else figure


def _figures_of(agent: AgentFigures) -> int:
    return agent.tickets_resolved + (agent.avg_response_time is not None) + (agent.csat_average is not None)


def _csat(figures: CsatFigures, problems: list[Problem]) -> tuple[int, range]:
    """Return the number of responses, and the possible sums of their scores."""
    at: Location = ("overview", "csat")
    given = figures.model_fields_set
    average, responses = figures.average, figures.total_responses
    if responses is None:
        if not average:
            return 0, range(1)
        # Ten responses can have any mean to one decimal.
        return next((n, sums) for n in range(1, 11) if (sums := possible_sums(Decimal(average), n)))
    if "average" not in given:
        return responses, range(responses * _LOWEST, responses * _HIGHEST + 1)
    if not average:
        if responses:
            problems.append(Problem((*at, "average"), f"{responses} responses have a mean; only no response has none"))
        return responses, range(1)
    if not responses:
        problems.append(Problem((*at, "average"), f"no response can't have the mean {average}; totalResponses is 0"))
        return 0, range(1)
    sums = possible_sums(Decimal(average), responses)
    if not sums:
        problems.append(
            Problem(
                (*at, "average"),
                f"{responses} whole scores can't have a mean that is rounded to {average}",
            )
        )
    return responses, sums


def _customer_problems(
    customers: CustomerFigures, *, all_: int, active: int, new: int, total: int
) -> Iterator[Problem]:
    at: Location = ("overview", "customers")
    if active > all_:
        yield Problem((*at, "active"), f"{active} active customers are more than the {all_} there are in total")
    if new > all_:
        yield Problem((*at, "new"), f"{new} new customers are more than the {all_} there are in total")
    if active > total:
        yield Problem(
            (*at, "active"),
            f"{active} customers can't have created {total} tickets: each active one created at least one",
        )
    if total and not active and customers.total != 0:
        yield Problem(
            (*at, "active"), f"{total} tickets were created by some customer: with them, active is at least 1"
        )


def _decimal_problems(answers: Answers) -> Iterator[Problem]:
    """Yield the means that the API could not give: it has one decimal."""
    means: list[tuple[Location, Decimal | int | None]] = []
    if answers.overview is not None:
        means.append((("overview", "csat", "average"), answers.overview.csat.average))
    for index, agent in enumerate(answers.agents or ()):
        means.append((("agents", index, "avgResponseTime"), agent.avg_response_time))
        means.append((("agents", index, "csatAverage"), agent.csat_average))
    for location, mean in means:
        if mean is not None and mean * 10 % 1:
            yield Problem(location, f"{mean} has more than one decimal")


def _agent_problems(agents: Sequence[AgentFigures]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, agent in enumerate(agents):
        if agent.user_id is not None and agent.user_id in seen:
            yield Problem(("agents", index, "userId"), f"{agent.user_id!r} is repeated")
        seen.add(agent.user_id or "")


class _Builder:
    """Builds the rows of a plan."""

    def __init__(self, plan: _Plan, now: Instant) -> None:
        self.plan = plan
        self.now = now
        self.start = now - plan.period_length
        # Rows are in the younger half of the window: on a running clock, the figures hold for half its length.
        self.recent = now - plan.period_length // 2
        self.agents = [
            _Agent(figures, figures.user_id or ids.numbered(ids.MEMBER, number))
            for number, figures in enumerate(plan.agents, 1)
        ]
        self.customers = self._customers()
        self.any_customer = cycle(self.customers)
        self.made: list[Row] = []
        self.responses: list[Row] = []

    def rows(self) -> Rows:
        """Return all rows."""
        resolved, closed = self._window_tickets()
        spare = self._assign(resolved)
        for agent in self.agents:
            self._respond(agent)
        rest = self._score_agents()
        self._score(rest, [*spare, *closed])
        members = [
            {
                "id": agent.id,
                "name": agent.figures.name,
                "created_at": self.start - 400 * DAY,
                "removed_at": None,
            }
            for agent in self.agents
        ]
        return Rows(members, self.customers, self.made, self.responses)

    def _customers(self) -> list[Row]:
        """Return the customers: first the new ones, as those are the likeliest to write."""
        plan = self.plan
        year_before = self.start - 365 * DAY
        moments = [
            *_spread(plan.new, self.recent, self.now),
            # Those came once a week, as what shares a bucket of time costs one roll-up.
            *(moment - moment % (7 * DAY) for moment in _spread(plan.customers - plan.new, year_before, self.start)),
        ]
        return [
            {"id": ids.numbered(ids.CUSTOMER, number), "name": names.person(number), "created_at": moment}
            for number, moment in enumerate(moments, 1)
        ]

    def _window_tickets(self) -> tuple[list[Row], list[Row]]:
        """Make the tickets of the overview; return the resolved ones, and those closed without resolution.

        Of the tickets created in the window the newest are open and the oldest resolved; what does not fit
        into it was created before.
        """
        plan = self.plan
        open_ = min(plan.open, plan.total)
        resolved_ = min(plan.resolved, plan.total - open_)
        customers = cycle(self.customers[: plan.active])
        resolved, closed = [], []
        for number, created in enumerate(_spread(plan.total, self.recent, self.now)):
            customer = next(customers)["id"]
            if number < resolved_:
                at = min(created + 6 * HOUR, self.now)
                resolved.append(self._ticket(created, TicketStatus.RESOLVED, customer, resolved_at=at))
            elif number < plan.total - open_:
                closed.append(self._ticket(created, TicketStatus.CLOSED, customer))
            else:
                self._ticket(created, _OPEN[number % len(_OPEN)], customer)
        for number, created in enumerate(self._before(plan.open - open_)):
            self._ticket(created, _OPEN[number % len(_OPEN)])
        late = plan.resolved - resolved_
        for created, at in zip(self._before(late), _spread(late, self.recent, self.now), strict=True):
            resolved.append(self._ticket(created, TicketStatus.RESOLVED, resolved_at=at))
        return resolved, closed

    def _assign(self, resolved: list[Row]) -> list[Row]:
        """Assign to the agents the resolved tickets that they need, and return the others.

        An agent's tickets count over all time, so an agent who needs more has resolved them before the window.
        """
        taken = 0
        for agent in self.agents:
            mine = resolved[taken : taken + agent.figures.tickets_resolved]
            taken += len(mine)
            for row in mine:
                row["assignee_id"] = agent.id
            agent.tickets += mine
            length = max(6 * HOUR, 2 * (agent.response_time or 0))
            for end in self._before(agent.figures.tickets_resolved - len(mine)):
                agent.tickets.append(self._ticket(end - length, TicketStatus.RESOLVED, assignee=agent, resolved_at=end))
        return resolved[taken:]

    def _respond(self, agent: _Agent) -> None:
        """Answer the agent's tickets with the wanted mean response time."""
        time = agent.response_time
        if time is None:
            return
        answerable = [row for row in agent.tickets if row["created_at"] + 2 * time <= self.now]
        if not answerable:
            created = self.start - DAY - 2 * time
            answerable = [self._ticket(created, TicketStatus.CLOSED, assignee=agent)]
        # Around the mean in pairs, one as much above as the other is below; an odd one out is the mean itself.
        for index, row in enumerate(answerable):
            paired = index ^ 1 < len(answerable)
            off = time * (1 + index // 2 % 8) // 10 if paired else 0
            at = row["created_at"] + time + (off if index % 2 else -off)
            row["first_response_at"] = at
            if row["resolved_at"] is not None:
                row["resolved_at"] = max(row["resolved_at"], at)

    def _score_agents(self) -> list[int]:
        """Have the agents' tickets scored, and return the scores that are left for other tickets.

        Their responses belong to the window's as long as these leave room; else they were given before it.
        """
        plan = self.plan
        for most in (plan.responses, 0):
            for agent in self.agents:
                agent.scores = _agent_scores(agent.figures, most)
            given = [score for agent in self.agents for score in agent.scores]
            left = plan.responses - len(given)
            sums = [total for total in plan.sums if left * _LOWEST <= total - sum(given) <= left * _HIGHEST]
            if left >= 0 and sums:
                for agent in self.agents:
                    self._score(agent.scores, agent.tickets, agent)
                return _scores(left, sums[len(sums) // 2] - sum(given))
        for agent in self.agents:
            for score, at in zip(agent.scores, self._before(len(agent.scores)), strict=True):
                row = self._ticket(at - HOUR, TicketStatus.CLOSED, assignee=agent)
                self._response(row, score, at)
        return _scores(plan.responses, plan.sums[len(plan.sums) // 2])

    def _score(self, scores: Sequence[int], tickets: Sequence[Row], agent: _Agent | None = None) -> None:
        """Submit the scores in the window, for these tickets and, if they are too few, for older ones."""
        missing = len(scores) - len(tickets)
        older = [self._ticket(created, TicketStatus.CLOSED, assignee=agent) for created in self._before(missing)]
        for score, row in zip(scores, [*tickets, *older], strict=False):
            done = row["resolved_at"] or row["created_at"]
            self._response(row, score, min(self.now, max(done, self.recent) + HOUR))

    def _ticket(
        self,
        created_at: Instant,
        status: TicketStatus,
        customer_id: str | None = None,
        *,
        assignee: _Agent | None = None,
        resolved_at: Instant | None = None,
    ) -> Row:
        row = ticket(
            ids.numbered(ids.TICKET, len(self.made) + 1),
            customer_id or next(self.any_customer)["id"],
            created_at,
            assignee_id=assignee.id if assignee else None,
            status=status,
            resolved_at=resolved_at,
        )
        self.made.append(row)
        return row

    def _response(self, row: Row, score: int, submitted_at: Instant) -> None:
        self.responses.append(
            {
                "id": ids.numbered(ids.CSAT_RESPONSE, len(self.responses) + 1),
                "ticket_id": row["id"],
                "score": score,
                "submitted_at": submitted_at,
            }
        )

    def _before(self, count: int) -> list[Instant]:
        """Return instants before the window."""
        return _spread(count, self.start - 31 * DAY, self.start - DAY)


def _spread(count: int, after: Instant, until: Instant) -> list[Instant]:
    """Return instants evenly spread over `(after, until]`, the last of them at its end."""
    return [after + (until - after) * number // count for number in range(1, count + 1)]


def _agent_scores(figures: AgentFigures, most: int) -> list[int]:
    """Return scores with the agent's mean: few if they must be, more if there is room for `most`."""
    average = figures.csat_average
    if average is None:
        return []
    count = next(n for n in (1, 2, 5, 10) if (average * n) % 1 == 0)
    times = max(1, min(figures.tickets_resolved // 2, most // 3) // count)
    return _scores(count * times, int(average * count) * times)


def _scores(count: int, total: int) -> list[int]:
    """Return a number of scores from 1 to 5 that add up to the total, as even as possible."""
    if not count:
        return []
    low, more = divmod(total, count)
    return [low + 1] * more + [low] * (count - more)
