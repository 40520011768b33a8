"""The ready file: the URL of a server, and the secrets for its clients."""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class NotARegularFile(ValueError):
    """The path is a link, a FIFO, a device or a folder, which must be neither replaced nor removed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists and is no regular file; give the path of a file that may be replaced")


class ReadyFile:
    """A file that only its owner can read, there while a server answers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def remove_stale(self) -> None:
        """Remove the file of a server that was killed, so that no client calls a port that may be another's now.

        Raises:
            NotARegularFile: there is something else at the path.
            OSError: it can't be removed.
        """
        check(self._path)
        self._path.unlink(missing_ok=True)

    def write(self, content: Mapping[str, Any]) -> None:
        """Put the file in its place, whole at once.

        Raises:
            NotARegularFile: something else has come to the path.
            OSError: it can't be written.
        """
        check(self._path)
        # Readable by its owner only, under a name that can't be foreseen; a link of that name would not be followed.
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(content, indent=2) + "\n")
                self._identity = _identity(os.fstat(descriptor))
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Remove the file, unless it was not written or another server has put its own in its place."""
        try:
            if self._identity == _identity(self._path.lstat()):
                self._path.unlink()
        except FileNotFoundError:
            return


def check(path: Path) -> None:
    """Check that a ready file can be at a path: there is nothing, or a regular file; links are not followed.

    Raises:
        NotARegularFile: there is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise NotARegularFile(path)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
