"""Failures of the handle are shown at the line of the test that called it, and `pytest --pdb` stops there."""

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from cstar_mock.testing.control import Refused, Unreachable

_Class = TypeVar("_Class", bound=type)


def fail_at_the_caller(decorated: _Class) -> _Class:
    """Let exceptions of a class's public methods begin their traceback at the caller."""
    for name, member in list(vars(decorated).items()):
        if isinstance(member, FunctionType) and not name.startswith("_"):
            setattr(decorated, name, _failing_at_the_caller(member))
    return decorated


def _failing_at_the_caller(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True  # pytest hides this frame; the debugger looks for it among the local variables
        try:
            return method(*arguments, **named)
        except (AssertionError, Refused, Unreachable, ValueError) as error:
            raise error.with_traceback(None)  # noqa: B904  (the same exception)

    return call
