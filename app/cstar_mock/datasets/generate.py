"""Rows from a seed: those of a support desk, in any number, the same every time.

Only `random.Random.random` is drawn from: it is the one method whose results Python promises to keep.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from cstar_mock import bounds
from cstar_mock.contract import ids
from cstar_mock.contract.clock import DAY, HOUR, Duration, Instant, checked_instant, parse_length, parse_moment
from cstar_mock.contract.vocabulary import TicketStatus
from cstar_mock.datasets import names
from cstar_mock.datasets.format import Recipe, Spread
from cstar_mock.datasets.problems import DatasetError, Problem
from cstar_mock.store.rows import Row, Rows, ticket

CHUNK = 10_000
"""Rows of a kind that are in memory at once, at the most."""

_CUSTOMERS_BEFORE = 365 * DAY
"""The time from the oldest customer to the first ticket."""

# The share of a day's tickets that each hour brings (UTC), and how much of a Monday each weekday is.
_OFFICE_HOURS = (1, 1, 1, 1, 1, 2, 4, 9, 18, 24, 26, 24, 18, 20, 24, 22, 18, 12, 7, 5, 4, 3, 2, 1)
_OFFICE_DAYS = (1.0, 0.95, 0.9, 0.9, 0.8, 0.25, 0.2)
_FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday."""

# To look up a member of an enumeration costs more than to draw a number.
_NEW, _OPEN, _PENDING, _RESOLVED, _CLOSED = TicketStatus


@dataclass(frozen=True, slots=True)
class Numbers:
    """The first number for the ids of each kind of row, so that several recipes can fill one environment."""

    members: int = 1
    customers: int = 1
    tickets: int = 1


def generate(recipe: Recipe, now: Instant, numbers: Numbers = Numbers()) -> Iterator[Rows]:
    """Yield the recipe's rows in chunks: members and customers first, then tickets from the oldest on.

    Raises:
        DatasetError: the recipe begins after it ends or too near to year 1, or covers more than ten years.
    """
    since, until = parse_moment(recipe.since, now), parse_moment(recipe.until, now)
    if since >= until:
        raise DatasetError([Problem(("since",), "must be before 'until'")])
    if until - since > bounds.LONGEST_RECIPE_DAYS * DAY:
        raise DatasetError([Problem(("since",), "a recipe covers ten years at most")])
    try:
        checked_instant(since - _CUSTOMERS_BEFORE)
    except ValueError as error:
        raise DatasetError([Problem(("since",), f"members join a year earlier: {error}")]) from None
    random = Random(f"cstar-mock/{recipe.seed}")  # noqa: S311  (not for secrets)
    members = _members(recipe, since, numbers.members)
    yield Rows(members=members)
    customers_at = _customers_at(recipe, random, since, until)
    for start in range(0, len(customers_at), CHUNK):
        yield Rows(customers=_customers(customers_at[start : start + CHUNK], numbers.customers + start))
    chunk = Rows()
    desk = _Desk(recipe, random, [member["id"] for member in members], now)
    known = 1
    for number, created_at in enumerate(_arrivals(recipe, random, since, until), numbers.tickets):
        while known < len(customers_at) and customers_at[known] <= created_at:
            known += 1
        customer = numbers.customers + int(random.random() * known)
        desk.handle(chunk, number, ids.numbered(ids.CUSTOMER, customer), created_at)
        if len(chunk.tickets) == CHUNK:
            yield chunk
            chunk = Rows()
    yield chunk


def _members(recipe: Recipe, since: Instant, first: int) -> list[Row]:
    called = (
        [names.person(first + number) for number in range(recipe.members)]
        if isinstance(recipe.members, int)
        else recipe.members
    )
    return [
        {
            "id": ids.numbered(ids.MEMBER, number),
            "name": name,
            "created_at": since - _CUSTOMERS_BEFORE,
            "removed_at": None,
        }
        for number, name in enumerate(called, first)
    ]


def _customers_at(recipe: Recipe, random: Random, since: Instant, until: Instant) -> list[Instant]:
    """Return the creation instants of the customers, in order."""
    count = recipe.customers or max(1, recipe.tickets // 3)
    start = since - _CUSTOMERS_BEFORE
    return sorted(start + int(random.random() * (until - start)) for _ in range(count))


def _customers(moments: Sequence[Instant], first: int) -> list[Row]:
    return [
        {"id": ids.numbered(ids.CUSTOMER, number), "name": names.person(number), "created_at": moment}
        for number, moment in enumerate(moments, first)
    ]


def _arrivals(recipe: Recipe, random: Random, since: Instant, until: Instant) -> Iterator[Instant]:
    """Yield creation instants in order, spread over the hours by weight."""
    begins = range(since, until, HOUR)
    shares = list(accumulate(_hour_weight(recipe, begin) * (0.6 + 0.8 * random.random()) for begin in begins))
    done = 0
    for begin, share in zip(begins, shares, strict=True):
        due = round(recipe.tickets * share / shares[-1])
        length = min(HOUR, until - begin)
        yield from sorted(begin + 1 + int(random.random() * length) for _ in range(due - done))
        done = due


def _hour_weight(recipe: Recipe, begin: Instant) -> float:
    if recipe.rhythm == "even":
        return 1.0
    hour = begin // HOUR
    return _OFFICE_DAYS[(hour // 24 + _FIRST_WEEKDAY) % 7] * _OFFICE_HOURS[hour % 24]


class _Desk:
    """The events of a ticket after its creation, up to now."""

    def __init__(self, recipe: Recipe, random: Random, members: Sequence[str], now: Instant) -> None:
        self.recipe = recipe
        self.random = random.random
        self.members = members
        self.now = now
        self.first_response = _bounds(recipe.first_response)
        self.resolution = _bounds(recipe.resolution)
        self.scores = list(accumulate(recipe.scores))

    def handle(self, rows: Rows, number: int, customer_id: str, created_at: Instant) -> None:
        """Add the ticket, and its CSAT response if there is one."""
        random, recipe, now = self.random, self.recipe, self.now
        assignee_id = self.members[int(random() * len(self.members))] if self.members else None
        shortest, ratio = self.first_response
        answered_at = created_at + int(shortest * ratio ** random())
        shortest, ratio = self.resolution
        resolved_at = answered_at + int(shortest * ratio ** random())
        is_answered = random() < recipe.answered and answered_at <= now
        is_resolved = random() < recipe.resolved and is_answered and resolved_at <= now
        if recipe.status is not None:
            status = recipe.status
            is_resolved = status is _RESOLVED or (status is _CLOSED and is_resolved)
            # Not after now; but a ticket of the future, which no figure counts yet, is resolved when it is created.
            resolved_at = max(created_at, min(resolved_at, now))
        elif is_resolved:
            status = _CLOSED if random() < 0.3 else _RESOLVED  # noqa: PLR2004
        elif resolved_at <= now:
            # Closed without a resolution: spam, a duplicate.
            status = _CLOSED
        elif is_answered:
            status = _OPEN if random() < 0.6 else _PENDING  # noqa: PLR2004
        else:
            status = _NEW
        id_ = ids.numbered(ids.TICKET, number)
        rows.tickets.append(
            ticket(
                id_,
                customer_id,
                created_at,
                assignee_id=assignee_id,
                status=status,
                first_response_at=answered_at if is_answered else None,
                resolved_at=resolved_at if is_resolved else None,
            )
        )
        if is_resolved and random() < recipe.scored:
            rows.csat_responses.append(
                {
                    "id": ids.numbered(ids.CSAT_RESPONSE, number),
                    "ticket_id": id_,
                    "score": 1 + bisect_right(self.scores, random() * self.scores[-1], hi=4),
                    # Over what there is of a day: else, thousands of a large set would answer at one instant, now.
                    "submitted_at": resolved_at + int(random() * min(DAY, max(0, now - resolved_at))),
                }
            )


def _bounds(spread: Spread) -> tuple[Duration, float]:
    shortest = parse_length(spread.from_)
    return shortest, parse_length(spread.to) / shortest
