"""Writing in the background: whatever becomes of the reader, nobody waits, and what was dropped is told."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cstar_mock import bounds
from cstar_mock.observability.background_writer import BackgroundWriter

ENTRY = b"x" * 99 + b"\n"


def notice(count: int) -> bytes:
    """Return what is written about dropped entries."""
    return b"dropped %d\n" % count


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read, and where to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_until(received: int, last: bytes) -> list[bytes]:
    """Read lines until one of them begins in this way."""
    data, deadline = b"", time.monotonic() + 20
    while not (data.endswith(b"\n") and data.splitlines()[-1].startswith(last)):
        assert time.monotonic() < deadline, data[-1000:]
        data += os.read(received, 65536)
    return data.splitlines()


def test_entries_come_in_their_order(pipe: tuple[int, int]) -> None:
    received, sent = pipe
    writer = BackgroundWriter(sent, notice)
    for number in range(100):
        writer.write(b"%d\n" % number, urgent=number % 7 == 0)
    assert writer.flush(20)
    assert os.read(received, 65536).split() == [b"%d" % number for number in range(100)]


def test_without_a_reader_nobody_waits_memory_is_bounded_and_the_dropped_are_counted(pipe: tuple[int, int]) -> None:
    received, sent = pipe
    writer = BackgroundWriter(sent, notice)
    count = 5 * bounds.LOG_BUFFER_BYTES // len(ENTRY)
    for _ in range(count):
        writer.write(ENTRY)
    assert not writer.flush(0.05)
    assert writer._size <= bounds.LOG_BUFFER_BYTES  # noqa: SLF001
    assert sum(map(len, writer._entries)) <= bounds.LOG_BUFFER_BYTES  # noqa: SLF001
    written, told, data, deadline = 0, 0, b"", time.monotonic() + 20
    while written + told < count:
        assert time.monotonic() < deadline
        *lines, data = (data + os.read(received, 65536)).split(b"\n")
        written += lines.count(ENTRY.strip())
        told += sum(int(line.split()[1]) for line in lines if line.startswith(b"dropped"))
    assert written + told == count
    assert written < count


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    received, sent = pipe
    fcntl.fcntl(sent, fcntl.F_SETFL, fcntl.fcntl(sent, fcntl.F_GETFL) | os.O_NONBLOCK)
    writer = BackgroundWriter(sent, notice)
    for _ in range(5_000):
        writer.write(ENTRY)
    writer.write(b"last\n")
    assert len(read_until(received, b"last")) == 5_001


@pytest.mark.parametrize("broken", ["full", "closed", "no reader"])
def test_what_can_not_be_written_is_dropped_and_told_once_it_can(broken: str, tmp_path: Path) -> None:
    received, sent = os.pipe()
    if broken == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), sent)
    elif broken == "closed":
        os.close(sent)
    os.close(received)
    writer = BackgroundWriter(sent, notice)
    for _ in range(3):
        writer.write(ENTRY)
        assert writer.flush(20)
    file = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(file, sent)
    writer.write(b"again\n")
    deadline = time.monotonic() + 20
    while b"dropped" not in (tmp_path / "log").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (tmp_path / "log").read_bytes() == b"again\ndropped 3\n"


def test_it_is_told_though_nothing_further_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar_mock.observability.background_writer._RETRY_SECONDS", 0.01)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = BackgroundWriter(descriptor, notice)
    writer.write(ENTRY)
    assert writer.flush(20)
    os.dup2(os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY), descriptor)
    deadline = time.monotonic() + 20
    while (tmp_path / "log").read_bytes() != b"dropped 1\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_after_half_an_entry_the_next_one_begins_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full takes a part of what is written."""
    real, room = os.write, [len(ENTRY) + 50]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr("cstar_mock.observability.background_writer.os.write", write)
    writer = BackgroundWriter(os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY), notice)
    for _ in range(3):
        writer.write(ENTRY)
    assert writer.flush(20)
    room[0] = 1_000_000
    writer.write(b"again\n")
    assert writer.flush(20)
    assert (tmp_path / "log").read_bytes() == ENTRY + b"x" * 50 + b"\nagain\ndropped 2\n"
