"""The files of an embedded database: how they are opened, and whether they are still there."""

import os
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cstar_mock.contract.errors import StoreUnavailable

_LOOK_SECONDS = 0.1


_COMPANIONS = ("-wal", "-shm")
"""Suffixes of the files beside the database, which SQLite makes at the first read and removes after the last close. If
they are deleted in between, other processes, and even further connections, miss each other's commits."""


class File:
    """The file of an embedded database. Once it was opened, no other file takes its place."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._identity: tuple[int, int] | None = None
        real = os.path.realpath(path)  # SQLite puts them beside the file that a link leads to
        self._companions: dict[str, tuple[int, int] | None] = {f"{real}{suffix}": None for suffix in _COMPANIONS}
        self._next_look = 0.0

    def open_existing(
        self, _dialect: object, _record: object, arguments: list[Any], options: MutableMapping[str, Any]
    ) -> None:
        """Let SQLite open the file without creating it, once it has been opened before."""
        if self._identity is not None and not options.get("uri"):
            arguments[0] = f"file:{quote(str(self.path))}?mode=rw"
            options["uri"] = True

    def opened(self, _driver: object, _record: object) -> None:
        """Remember which file it is."""
        if self._identity is None:
            self._identity = _identity(self.path)

    def closed(self) -> None:
        """Forget the files beside the database: the last connection is closed."""
        self._companions = dict.fromkeys(self._companions)

    def check(self) -> None:
        """Check that the file is still the one that was opened.

        Raises:
            StoreUnavailable: it or a file beside it was deleted or replaced; what is written to it would be lost.
        """
        if self._identity is None:
            return
        if _identity(self.path) != self._identity:
            raise StoreUnavailable("was deleted or replaced while the server ran: restart the server")
        for path, known in self._companions.items():
            found = _identity(path)
            if known is None:
                self._companions[path] = found
            elif found != known:
                raise StoreUnavailable(f"lost its {path[-4:]} file while the server ran: restart the server")

    def check_now_and_then(self) -> None:
        """Do what `check` does, but at most ten times a second: the check takes longer than a read.

        Raises:
            StoreUnavailable: the file was deleted or replaced.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self.check()
            self._next_look = now + _LOOK_SECONDS


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat)
    except OSError:
        return None
    return found.st_dev, found.st_ino
