"""Whether a regular expression takes linear time on every text: proved from its structure, without a clock.

A backtracking matcher is linear if the expression is *strongly deterministic* in its unbounded repeats: after each of
its characters, each next character has at most one way on, and nested loops offer no second way to the same one. Then
each way that the matcher takes back fails at its first character. A search starts again at every character of the text,
so there an unbounded repeat must also be followed by nothing that can fail.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_UNIVERSE = "".join(map(chr, range(0x250))) + "\u0660\u06f5\u0e51\u2028\u202e\u3000\u4e2d\U0001d7ce\U0001f600"
"""The characters by which sets are compared: Latin letters, and one of each kind of others."""

_MOST_COPIES = 16
"""A bounded repeat of more than this counts as unbounded."""

_SETS = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}


@dataclass
class _Automaton:
    """The characters of an expression ("positions"), and which may follow which: a pair is there once for each way."""

    sets: list[frozenset[str]] = field(default_factory=list)
    follows: list[tuple[int, int]] = field(default_factory=list)
    looping: set[int] = field(default_factory=set)
    anchors: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Part:
    """A part of an expression: where it may begin and end, and whether it may be empty."""

    first: list[int]
    last: list[int]
    nullable: bool


def problems(expression: str, flags: int = 0, *, searched: bool = False) -> list[str]:
    """Return why this expression may take more than linear time; nothing if it can't.

    Args:
        expression: as `re.compile` takes it.
        flags: as `re.compile` takes them.
        searched: whether it may begin anywhere in the text: `search`, `findall`, `finditer`, `sub`, `split`.
    """
    automaton = _Automaton()
    parsed = parser.parse(expression, flags)
    whole = _sequence(automaton, parsed)
    if parsed.state.flags & re.IGNORECASE:
        automaton.problems.append("this can't judge IGNORECASE")
    found = list(automaton.problems)
    for position in automaton.looping:
        ways = [after for before, after in automaton.follows if before == position]
        found += [
            f"two ways on from {_shown(automaton, position)}: {_shown(automaton, one)} and {_shown(automaton, other)}"
            for index, one in enumerate(ways)
            for other in ways[:index]
            if automaton.sets[one] & automaton.sets[other]
        ]
    if searched and automaton.looping and not _never_fails_after_a_loop(automaton, whole):
        found.append("it is searched for, and what follows an unbounded repeat may fail")
    return found


def _shown(automaton: _Automaton, position: int) -> str:
    return f"[{''.join(sorted(automaton.sets[position]))[:20]!r}]#{position}"


def _never_fails_after_a_loop(automaton: _Automaton, whole: _Part) -> bool:
    reached = set(automaton.looping)
    while more := {after for before, after in automaton.follows if before in reached} - reached:
        reached |= more
    return reached <= set(whole.last) and not set(automaton.anchors) - {op.AT_BEGINNING, op.AT_BEGINNING_STRING}


def _sequence(automaton: _Automaton, tokens: Iterable[tuple[Any, Any]]) -> _Part:
    whole = _Part([], [], nullable=True)
    for token in tokens:
        part = _part(automaton, *token)
        automaton.follows += [(before, after) for before in whole.last for after in part.first]
        whole = _Part(
            whole.first + part.first if whole.nullable else whole.first,
            whole.last + part.last if part.nullable else part.last,
            whole.nullable and part.nullable,
        )
    return whole


def _part(automaton: _Automaton, kind: Any, value: Any) -> _Part:
    if kind in {op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN}:
        automaton.sets.append(_characters(kind, value))
        position = [len(automaton.sets) - 1]
        return _Part(position, position, nullable=False)
    if kind is op.AT:
        automaton.anchors.append(value)
        return _Part([], [], nullable=True)
    if kind is op.SUBPATTERN:
        if value[1]:
            automaton.problems.append("this can't judge flags of a group")
        return _sequence(automaton, value[-1])
    if kind is op.BRANCH:
        return _branch(automaton, [_sequence(automaton, branch) for branch in value[1]])
    if kind in {op.MAX_REPEAT, op.MIN_REPEAT}:
        return _repeat(automaton, *value)
    automaton.problems.append(f"this can't judge {kind}")
    return _Part([], [], nullable=True)


def _branch(automaton: _Automaton, parts: list[_Part]) -> _Part:
    if sum(part.nullable for part in parts) > 1:
        automaton.problems.append("two branches may be empty")
    first = [position for part in parts for position in part.first]
    last = [position for part in parts for position in part.last]
    return _Part(first, last, any(part.nullable for part in parts))


def _repeat(automaton: _Automaton, least: int, most: int, tokens: Any) -> _Part:
    if most <= _MOST_COPIES:
        return _sequence_of_copies(automaton, least, int(most), tokens)
    start = len(automaton.sets)
    part = _sequence(automaton, tokens)
    if part.nullable:
        automaton.problems.append("what is repeated may be empty")
    automaton.looping |= set(range(start, len(automaton.sets)))
    automaton.follows += [(before, after) for before in part.last for after in part.first]
    return _Part(part.first, part.last, part.nullable or least == 0)


def _sequence_of_copies(automaton: _Automaton, least: int, most: int, tokens: Any) -> _Part:
    """Return `x{1,3}` as `x(x(x)?)?`, which has one way to each copy."""
    if most == 0:
        return _Part([], [], nullable=True)
    one = _sequence(automaton, tokens)
    rest = _sequence_of_copies(automaton, max(least - 1, 0), most - 1, tokens)
    automaton.follows += [(before, after) for before in one.last for after in rest.first]
    return _Part(
        one.first + rest.first if one.nullable else one.first,
        one.last + rest.last if rest.nullable else rest.last,
        least == 0 or (one.nullable and rest.nullable),
    )


def _characters(kind: Any, value: Any) -> frozenset[str]:
    if kind is op.ANY:
        return frozenset(_UNIVERSE)
    if kind is op.IN:
        negated = value[0][0] is op.NEGATE
        among = frozenset(_UNIVERSE).intersection(*[_members(value)])
        return frozenset(_UNIVERSE) - among if negated else among
    return frozenset(chr(value)) if kind is op.LITERAL else frozenset(_UNIVERSE) - {chr(value)}


def _members(tokens: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    for kind, value in tokens:
        if kind is op.LITERAL:
            yield chr(value)
        elif kind is op.RANGE:
            yield from map(chr, range(value[0], value[1] + 1))
        elif kind is op.CATEGORY:
            yield from re.findall(_SETS[value], _UNIVERSE)
