"""Figures that can be are hit exactly; figures that can't are refused, and named."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.properties import oracle
from tests.properties.oracle import World
from tests.properties.worlds import NOW

from cstar_mock.datasets.answers import build, possible_sums
from cstar_mock.datasets.format import Answers
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.store.models import Scope
from cstar_mock.store.rows import insert_rows

_tenths = st.integers(10, 50).map(lambda tenths: Decimal(tenths) / 10)


@st.composite
def feasible(draw: st.DrawFn) -> dict[str, Any]:
    """Draw figures that follow the rules, each part perhaps left out."""
    overview: dict[str, Any] = {"period": draw(st.sampled_from(list(oracle.PERIODS)))}
    total = draw(st.integers(0, 60))
    customers = draw(st.integers(1, 60))
    active = draw(st.integers(1, min(total, customers))) if total else 0
    tickets = {"total": total, "open": draw(st.integers(0, 40)), "resolved": draw(st.integers(0, 80))}
    people = {"total": customers, "active": active, "new": draw(st.integers(0, customers))}
    responses = draw(st.integers(0, 40))
    average = draw(_tenths) if responses else None
    if average is not None:
        assume(possible_sums(average, responses))
    csat = {"average": None if average is None else float(average), "totalResponses": responses}
    parts = {"tickets": tickets, "customers": people, "csat": csat}
    overview |= {name: part for name, part in parts.items() if draw(st.integers(0, 4))}
    agents = [
        {
            "userId": f"usr_{index}",
            "name": draw(st.sampled_from(("Jane", "Sam"))),
            "ticketsResolved": draw(st.integers(0, 40)),
            "avgResponseTime": draw(st.none() | st.integers(0, 300_000).map(lambda tenths: tenths / 10)),
            "csatAverage": draw(st.none() | _tenths.map(float)),
        }
        for index in range(draw(st.integers(0, 3)))
    ]
    answers: dict[str, Any] = {}
    if draw(st.integers(0, 9)):
        answers["overview"] = overview
    if draw(st.booleans()):
        answers["agents"] = agents
    return answers


@settings(max_examples=examples(600), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(wanted=feasible())
def test_feasible_figures_are_hit_exactly(wanted: dict[str, Any]) -> None:
    rows = build(Answers.model_validate(wanted), NOW)
    world = World(rows.members, rows.customers, rows.tickets, rows.csat_responses)
    overview = wanted.get("overview", {})
    given_overview = oracle.overview(world, overview.get("period", "week"), NOW)
    for part in overview.keys() - {"period"}:
        assert given_overview[part] == overview[part]
    stats = {agent["userId"]: agent for agent in oracle.agents(world, NOW)}
    assert len(stats) == len(wanted.get("agents", ()))
    for agent in wanted.get("agents", ()):
        assert stats[agent["userId"]] == {"object": "agent_stats", **agent}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(wanted=feasible())
def test_the_rows_that_are_built_keep_the_rules_of_the_schema(wanted: dict[str, Any]) -> None:
    database = Database("sqlite://")
    migrations.prepare(database)

    def work(connection: Any) -> None:
        connection.exec_driver_sql(
            "INSERT INTO teams (id, slug, name, clock_offset, clock_advanced, revision, origin, faults, created_at) "
            "VALUES ('t', 't', 't', 0, 0, 0, '{}', '[]', 0)"
        )
        scope = Scope("t", "live")
        insert_rows(connection, scope, build(Answers.model_validate(wanted), NOW))

    database.write_now(work)
    database.close()


@settings(max_examples=examples(250), deadline=None)
@given(average=_tenths, responses=st.integers(1, 30))
def test_possible_sums_are_those_whose_mean_is_rounded_to_the_average(average: Decimal, responses: int) -> None:
    sums = [
        total
        for total in range(responses, 5 * responses + 1)
        if oracle._mean([Decimal(total)] + [Decimal()] * (responses - 1)) == float(average)  # noqa: SLF001
    ]
    assert list(possible_sums(average, responses)) == sums
