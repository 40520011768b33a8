"""Writes to a file descriptor from a separate thread, so that nothing else ever waits for it.

Standard error may be a pipe without a reader, a full disk, a terminal that is gone or a closed descriptor. None of
these may block or end a server, nor fill its memory.
"""

import os
import select
import threading
import time
from collections.abc import Callable

from cstar_mock import bounds

_BATCH_SECONDS = 0.02
_RETRY_SECONDS = 1.0
_POLL_MILLISECONDS = 1_000


class BackgroundWriter:
    """Writes entries in their order, a batch at a time.

    An entry that finds the buffer full is dropped, and so is a batch that can't be written. As soon as writing works
    again, the number of dropped entries is written.
    """

    def __init__(self, descriptor: int, dropped_notice: Callable[[int], bytes]) -> None:
        """Start the thread.

        Args:
            descriptor: where to write.
            dropped_notice: returns the entry that says how many entries were dropped.
        """
        self._descriptor = descriptor
        self._dropped_notice = dropped_notice
        self._lock = threading.Lock()
        self._entries: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._line_is_open = False
        self._wanted = threading.Event()
        self._urgent = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="log writer", daemon=True).start()

    def write(self, entry: bytes, *, urgent: bool = False) -> None:
        """Queue an entry, which ends with a newline; return at once.

        Args:
            entry: what to write.
            urgent: whether to write it now; otherwise it waits some hundredths of a second for others.
        """
        with self._lock:
            if self._size + len(entry) > bounds.LOG_BUFFER_BYTES:
                self._dropped += 1
                return
            self._size += len(entry)
            self._entries.append(entry)
            is_first = len(self._entries) == 1
            if is_first:
                self._idle.clear()
        if urgent:
            self._urgent.set()
        if is_first:
            self._wanted.set()

    def flush(self, seconds: float) -> bool:
        """Wait until all entries are written or dropped, for a limited time; return whether they are."""
        self._urgent.set()
        return self._idle.wait(seconds)

    def _run(self) -> None:
        while True:
            self._wanted.wait(_RETRY_SECONDS if self._dropped else None)
            self._urgent.wait(_BATCH_SECONDS)
            self._urgent.clear()
            self._wanted.clear()
            with self._lock:
                entries, self._entries = self._entries, []
                dropped, self._dropped = self._dropped, 0
            dropped = self._write_batch(entries, dropped)
            with self._lock:
                self._dropped += dropped
                if not self._entries:
                    self._idle.set()

    def _write_batch(self, entries: list[bytes], dropped: int) -> int:
        """Write entries and a notice of those dropped after them; return the number that is still to be reported."""
        size = sum(map(len, entries))
        unwritten = self._write_all(b"".join(entries))
        with self._lock:
            self._size -= size
        if unwritten:
            while unwritten > 0:
                unwritten -= len(entries.pop())
                dropped += 1
        elif dropped and not self._write_all(self._dropped_notice(dropped)):
            dropped = 0
        return dropped

    def _write_all(self, data: bytes) -> int:
        """Write data, and wait for a slow reader; return the number of bytes that could not be written."""
        if self._line_is_open:
            data = b"\n" + data  # the last entry was written in part
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                self._wait_until_writable()
            except OSError:
                break
        if len(rest) < len(data):
            self._line_is_open = bool(rest)
        return len(rest)

    def _wait_until_writable(self) -> None:
        """Wait for a descriptor that another process has made non-blocking."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if poll.poll(_POLL_MILLISECONDS):
            time.sleep(0.001)  # for a descriptor that is always ready and always refuses
