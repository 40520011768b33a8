"""The parts of a request that a connection reads."""

from enum import Enum, auto


class Reading(Enum):
    """The part of a request that the next byte of a connection belongs to."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
