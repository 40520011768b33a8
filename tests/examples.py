"""How many examples random tests draw: a number that `make test` has time for, several times as many when asked."""

import os

_FACTOR = int(os.environ.get("EXAMPLES", "1"))

THOROUGH = _FACTOR > 1
"""Whether tests may take longer than `make test` has time for."""


def examples(number: int) -> int:
    """Return a number of examples, times the variable `EXAMPLES`."""
    return number * _FACTOR
