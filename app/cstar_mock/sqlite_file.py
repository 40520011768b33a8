"""The file of an embedded database: how it is opened, and whether it is still there."""

import os
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cstar_mock.errors import StoreUnavailable

_LOOK_SECONDS = 0.1


class File:
    """The file of an embedded database. Once it was opened, no other file takes its place."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._identity: tuple[int, int] | None = None
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
            self._identity = self._found()

    def check(self) -> None:
        """Look whether the file is still the one that was opened.

        Raises:
            StoreUnavailable: it was deleted or replaced; what is written to it would be lost.
        """
        if self._identity is not None and self._found() != self._identity:
            raise StoreUnavailable("was deleted or replaced while the server ran: restart the server")

    def check_now_and_then(self) -> None:
        """Do what `check` does, but at most ten times a second: reads are faster than looking.

        Raises:
            StoreUnavailable: the file was deleted or replaced.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self.check()
            self._next_look = now + _LOOK_SECONDS

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116  (half the time of Path.stat)
        except OSError:
            return None
        return found.st_dev, found.st_ino
