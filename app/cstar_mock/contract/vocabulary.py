"""The names that cStar's API gives to things."""

from enum import StrEnum


class Endpoint(StrEnum):
    """The endpoints, by the last part of their path."""

    OVERVIEW = "overview"
    AGENTS = "agents"
    WHOAMI = "whoami"


class Environment(StrEnum):
    """Two separate sets of data in each team [site]."""

    LIVE = "live"
    TEST = "test"


class KeyType(StrEnum):
    """The two types of keys: a publishable key is for browsers and may not read analytics [doc]."""

    SECRET = "secret"  # noqa: S105
    PUBLISHABLE = "publishable"


class TicketStatus(StrEnum):
    """The states of a ticket [site]."""

    NEW = "new"
    OPEN = "open"
    PENDING = "pending"
    RESOLVED = "resolved"
    CLOSED = "closed"


OPEN_STATUSES = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING)
"""The statuses that count as open [ours]."""

KEY_PREFIXES = {
    "sk_live": (KeyType.SECRET, Environment.LIVE),
    "sk_test": (KeyType.SECRET, Environment.TEST),
    "pk_live": (KeyType.PUBLISHABLE, Environment.LIVE),
    "pk_test": (KeyType.PUBLISHABLE, Environment.TEST),
}
"""The type and environment of a key, by its prefix [site]."""
