"""The statements as a page: `docs/fidelity.md`."""

from collections.abc import Iterable
from itertools import groupby

from cstar_mock.fidelity.statements import Statement, headline

_HEAD = """# Fidelity

Every statement that the server makes about cStar's Analytics API, and its source. `cstar-mock statements --format
markdown` prints this page, and a test keeps it current. Each statement has a test that names it; the tests of a
statement with a setting fail under the setting's other values, which another test checks.

{headline}.

- **doc**: the analytics page of cStar's API reference states it. **site**: another page of cStar's developer site does.
  **ours**: no page does, and the reason for our decision is given.
- A client relies on a **must**, survives the opposite of a **should**, and hardly sees a **note**.
- The last column names the request by which a client sees whether a server agrees, or why no request can show it.
"""


def markdown(statements: Iterable[Statement]) -> str:
    """Return the page of some statements, in their order."""
    chosen = list(statements)
    parts = [_HEAD.format(headline=headline(chosen))]
    for section, found in groupby(chosen, key=lambda statement: statement.section):
        parts.append(
            f"## {section}\n\n| id | statement | mark | level | setting | seen by |\n|---|---|---|---|---|---|"
        )
        parts += [_row(statement) for statement in found]
        parts.append("")
    return "\n".join(parts)


def _row(statement: Statement) -> str:
    source = statement.source if statement.source is not None else statement.why
    setting = "" if statement.setting is None else f"`--{statement.setting.option}`"
    seen = statement.outside if statement.outside is not None else f"not: {statement.excluded}"
    cells = (f"`{statement.id}`", statement.text, f"{statement.mark}: {source}", statement.level, setting, seen)
    return f"| {' | '.join(cells)} |"
