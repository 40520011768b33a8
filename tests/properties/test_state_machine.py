"""Random sequences of control operations: at every read, the API agrees with the oracle about a model of the rows."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.examples import examples
from tests.properties import oracle
from tests.properties.oracle import World
from tests.properties.worlds import NOW

from cstar_mock.analytics import service
from cstar_mock.contract.clock import DAY, HOUR
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.control import row_models
from cstar_mock.control import rows as control_rows
from cstar_mock.datasets.format import Answers, TeamData
from cstar_mock.store import migrations, rollups, rows
from cstar_mock.store.database import Database
from cstar_mock.store.models import CsatResponse, Customer, Member, Scope, Ticket
from cstar_mock.teams import teams
from cstar_mock.teams.lifecycle import answer, create_team, delete_team, reset_team

ORIGIN = "2025-12-10T14:30:00Z"
KINDS = {kind.path: kind for kind in row_models.KINDS}
_database = Database("sqlite://")
migrations.prepare(_database)


def _number(of: int) -> Any:
    return st.integers(0, of)


class ControlMachine(RuleBasedStateMachine):
    """One team, told what to do through the control API's own functions, beside a model of its rows."""

    team: str

    @initialize()
    def create(self) -> None:
        """Take a team whose clock stands still."""
        content = {"slug": "machine", "clock": ORIGIN}
        self.team = _database.write_now(create_team, TeamData.model_validate(content)).id
        self.model = World()
        self.now = NOW
        self.ids = 0

    def teardown(self) -> None:
        """Check that the roll-ups are what the rows add up to, and give the team back."""
        assert _database.read_now(rollups.differences) == []
        _database.write_now(delete_team, self.team)

    @rule(ago=st.sampled_from((0, HOUR, DAY, 7 * DAY, 7 * DAY - 1, 40 * DAY)))
    def add_customer(self, ago: int) -> None:
        self._add("customers", self.model.customers, id=self._id("cus"), name="C", created_at=self.now - ago)

    @rule(ago=st.sampled_from((0, DAY, 400 * DAY)))
    def add_member(self, ago: int) -> None:
        row = {"id": self._id("usr"), "name": "M", "created_at": self.now - ago, "removed_at": None}
        self._add("members", self.model.members, **row)

    @precondition(lambda self: self.model.customers)
    @rule(
        customer=_number(9),
        member=_number(9),
        ago=st.sampled_from((0, 1, HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY)),
        answered=st.booleans(),
    )
    def add_ticket(self, customer: int, member: int, ago: int, answered: bool) -> None:
        created = self.now - ago
        self._add(
            "tickets",
            self.model.tickets,
            id=self._id("tkt"),
            customer_id=_pick(self.model.customers, customer)["id"],
            assignee_id=_pick(self.model.members, member)["id"] if self.model.members else None,
            status="new",
            created_at=created,
            first_response_at=created + ago // 2 if answered else None,
            resolved_at=None,
        )

    @precondition(lambda self: self.model.tickets)
    @rule(ticket=_number(9))
    def resolve(self, ticket: int) -> None:
        row = _pick(self.model.tickets, ticket)
        if row["created_at"] > self.now:
            return
        self._change("tickets", row["id"], status="resolved")
        row["resolved_at"] = row["resolved_at"] or self.now
        row["status"] = "resolved"

    @precondition(lambda self: self.model.tickets)
    @rule(ticket=_number(9))
    def reopen(self, ticket: int) -> None:
        row = _pick(self.model.tickets, ticket)
        self._change("tickets", row["id"], status="open")
        row |= {"status": "open", "resolved_at": None}

    @precondition(lambda self: self.model.tickets)
    @rule(ticket=_number(9))
    def close(self, ticket: int) -> None:
        row = _pick(self.model.tickets, ticket)
        self._change("tickets", row["id"], status="closed")
        row["status"] = "closed"

    @precondition(lambda self: self.model.tickets)
    @rule(ticket=_number(9), score=st.integers(1, 5))
    def score(self, ticket: int, score: int) -> None:
        row = _pick(self.model.tickets, ticket)
        if any(response["ticket_id"] == row["id"] for response in self.model.csat_responses):
            return
        response = {"id": self._id("csat"), "ticket_id": row["id"], "score": score}
        self._add(
            "csat-responses", self.model.csat_responses, **response, submitted_at=max(self.now, row["created_at"])
        )

    @precondition(lambda self: self.model.tickets)
    @rule(ticket=_number(9))
    def delete_ticket(self, ticket: int) -> None:
        row = _pick(self.model.tickets, ticket)
        _database.write_now(control_rows._delete, self.team, Environment.TEST, KINDS["tickets"], row["id"])  # noqa: SLF001
        self.model.tickets.remove(row)
        self.model.csat_responses = [one for one in self.model.csat_responses if one["ticket_id"] != row["id"]]

    @precondition(lambda self: self.model.members)
    @rule(member=_number(9))
    def end_membership(self, member: int) -> None:
        row = _pick(self.model.members, member)
        self._change("members", row["id"], removedAt="now")
        row["removed_at"] = self.now

    @rule(by=st.sampled_from((1, HOUR, DAY, 7 * DAY, 80 * DAY)))
    def advance(self, by: int) -> None:
        _database.write_now(teams.advance, self.team, by)
        self.now += by

    @rule()
    def reset(self) -> None:
        _database.write_now(reset_team, self.team)
        self.model, self.now = World(), NOW

    @rule(resolved=st.integers(0, 9), open_=st.integers(0, 9), responses=st.integers(0, 9))
    def give_answers(self, resolved: int, open_: int, responses: int) -> None:
        """Give answers, and take over the rows that were built for them: they are ordinary rows."""
        figures = {
            "overview": {
                "tickets": {"total": 12, "open": open_, "resolved": resolved},
                "csat": {"totalResponses": responses},
            }
        }
        _database.write_now(answer, self.team, "test", Answers.model_validate(figures))
        scope = Scope(self.team, "test")
        kinds: tuple[rows.RowModel, ...] = (Member, Customer, Ticket, CsatResponse)
        self.model = World(*(_database.read_now(rows.list_, scope, kind, {}, 10_000, 0)[0] for kind in kinds))
        given = oracle.overview(self.model, "week", self.now)
        assert given["tickets"] == {"total": 12, "open": open_, "resolved": resolved}
        assert given["csat"]["totalResponses"] == responses

    @invariant()
    def the_figures_are_the_oracles(self) -> None:
        """Read the overview of every period, and the agents."""
        if not hasattr(self, "model"):
            return
        scope = Scope(self.team, "test")
        now = _database.read_now(teams.get, self.team).clock.now()
        assert now == self.now
        for period in Period:
            overview = _database.read_now(service.overview, scope, period, now).model_dump(mode="json")
            assert overview == oracle.overview(self.model, period.value, self.now)
        stats = _database.read_now(service.agents, scope, now)
        assert [agent.model_dump(mode="json") for agent in stats] == oracle.agents(self.model, self.now)

    def _id(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}_machine{self.ids}"

    def _add(self, kind: str, model: list[dict[str, Any]], **row: Any) -> None:
        scope = Scope(self.team, "test")
        _database.write_now(rows.create, scope, KINDS[kind].model, [dict(row)])
        model.append(row)

    def _change(self, kind: str, id_: str, **changes: Any) -> None:
        body = KINDS[kind].change.model_validate(changes)
        _database.write_now(control_rows._change, self.team, Environment.TEST, KINDS[kind], id_, body)  # noqa: SLF001


def _pick(rows_: list[dict[str, Any]], number: int) -> dict[str, Any]:
    return rows_[number % len(rows_)]


class SecondMachine(ControlMachine):
    """The same once more, for another worker of the test run."""


class ThirdMachine(ControlMachine):
    """And once more."""


class FourthMachine(ControlMachine):
    """And once more."""


for _machine in (ControlMachine, SecondMachine, ThirdMachine, FourthMachine):
    _machine.TestCase.settings = settings(
        max_examples=examples(60),
        stateful_step_count=8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
TestControlMachine = ControlMachine.TestCase
TestSecondMachine = SecondMachine.TestCase
TestThirdMachine = ThirdMachine.TestCase
TestFourthMachine = FourthMachine.TestCase
