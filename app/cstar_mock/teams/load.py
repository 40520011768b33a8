"""Loading data sets: each whole or not at all; a second load changes nothing."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy import Connection, select

from cstar_mock.contract import ids
from cstar_mock.contract.errors import UnknownName
from cstar_mock.datasets import files
from cstar_mock.datasets.format import Dataset, TeamData
from cstar_mock.datasets.problems import DatasetError, Problem, within
from cstar_mock.store.database import Database
from cstar_mock.store.models import Team
from cstar_mock.teams.fill import Progress
from cstar_mock.teams.lifecycle import LoadedTeam, create_team, delete_team


def load_datasets(
    database: Database,
    names: Sequence[str],
    *,
    replace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[LoadedTeam]:
    """Load data sets by name or path, each whole or not at all.

    Raises:
        DatasetError: naming file, line and field.
        StoreUnavailable: the database can't be reached.
    """
    teams: list[LoadedTeam] = []
    for name in names:
        path = files.find(name)
        dataset = files.read(path)
        try:
            teams += database.write_now(load, dataset, replace=replace, progress=progress or (lambda _rows: None))
        except DatasetError as error:
            raise files.located(error, path) from None
    return teams


def load(
    connection: Connection,
    dataset: Dataset,
    *,
    replace: bool = False,
    progress: Progress = lambda _rows: None,
) -> list[LoadedTeam]:
    """Load a data set in the connection's transaction.

    A team that was loaded before from the same content is left as it is.

    Args:
        connection: the store.
        dataset: what to load.
        replace: whether to put the data set in the place of teams of the same name.
        progress: called with the number of rows inserted so far.

    Raises:
        DatasetError: a team is there with other content and `replace` is off, a key belongs to another team,
            or the data set's rows contradict each other.
    """
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done)

    loaded = []
    for index, team in enumerate(dataset.teams):
        with within("teams", index):
            loaded.append(_load_team(connection, dataset.dataset, team, replace, add))
    return loaded


def _load_team(connection: Connection, dataset: str, team: TeamData, replace: bool, add: Progress) -> LoadedTeam:
    team_id = team.id or ids.team_id(team.slug)
    known = connection.execute(
        select(Team.id, Team.slug, Team.name, Team.origin)
        .where((Team.id == team_id) | (Team.slug == team.slug))
        # Several teams are always locked in the same order.
        .order_by(Team.id)
    ).all()
    if len(known) == 1 and (known[0].id, known[0].origin) == (team_id, team.origin()):
        magic_keys = {label: key.key for label, key in team.magic_keys.items()}
        return LoadedTeam(team_id, team.slug, known[0].name, dataset, team.given_keys(), magic_keys, created=False)
    if known and not replace:
        raise DatasetError(
            [
                Problem(
                    ("slug",),
                    f"the team {team.slug!r} is there already, with other content; "
                    "load with --replace to put this in its place",
                )
            ]
        )
    for row in known:
        with suppress(UnknownName):  # deleted meanwhile
            delete_team(connection, row.id)
    return create_team(connection, team, dataset, add)
