"""Every field of a data set, given hostile values: loaded, or refused by its name without a trace in the store."""

import os
import random
import secrets

from sqlalchemy import delete, select
from tests.hostile import VALUES, Walker

from cstar_mock.datasets.format import json_schema, parse
from cstar_mock.datasets.problems import DatasetError
from cstar_mock.store import migrations, rollups
from cstar_mock.store.database import Database
from cstar_mock.store.models import Team
from cstar_mock.teams.load import load

SOME = 150
EXAMPLES = {
    "dataset": "mine", "slug": "mine", "name": "Jane", "key": "sk_live_hostile", "createdAt": "-1d", "tickets": 3,
    "from": "1m", "to": "2m", "scores": [1, 1, 1, 1, 1], "teams": [{"slug": "mine"}], "submittedAt": "now", "score": 3,
}  # fmt: skip


def test_fields_of_a_data_set_take_hostile_values_or_refuse_them_by_name(database: Database) -> None:
    schema = json_schema()
    fields = list(Walker(schema, EXAMPLES, {"FaultRule": {"status": 429}}).fields(schema))
    cases = [(field, name) for field in fields for name in VALUES]
    seed = os.environ.get("SEED") or str(secrets.randbelow(10**6))
    if (number := os.environ.get("HOSTILE", str(SOME))) != "all":
        cases = random.Random(seed).sample(cases, int(number))  # noqa: S311
    print(f"SEED={seed}: {len({str(field) for field, _ in cases})} fields, {len(cases)} values")  # noqa: T201
    for field, name in cases:
        text, names = "", [part for part in field.path if isinstance(part, str)]
        try:
            database.write_now(load, parse(field.build(VALUES[name])), replace=True)
        except DatasetError as error:
            text = " ".join(map(str, error.problems))
        else:
            assert database.read_now(rollups.differences) == [], (field, name)
            database.write_now(lambda connection: connection.execute(delete(Team)))
        assert "\n" not in text, (field, name)
        assert not text or not names or any(part in text for part in names), (field, name, text)
        assert database.read_now(lambda connection: connection.scalar(select(Team.id))) is None, (field, name)
    assert database.read_now(migrations.differences) == []
