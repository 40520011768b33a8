"""Log lines: text for people, JSON for machines, on standard error only."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from cstar_mock import logs
from cstar_mock.settings import LogFormat, LogLevel

FIELDS = {"request_id": "req_abcdefghijkl", "duration_ms": 1.25, "team": "acme", "key": "…_key"}


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Put the root logger back, and uvicorn's, as pytest set them up."""
    loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.access")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def written(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was written to standard error, and nothing to standard output."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_text_line_has_time_severity_message_and_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("cstar_mock.requests").info("GET /x 200", extra=FIELDS)
    stamp, message = written(capsys).rstrip("\n").split(" INFO    ")
    assert datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007  (only its shape matters)
    assert message == "GET /x 200 request_id=req_abcdefghijkl duration_ms=1.25 team=acme key=…_key"


def test_a_text_line_leaves_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").warning("hello", extra={"duration_ms": 0.0, "team": None})
    assert written(capsys).endswith("WARNING hello duration_ms=0.0\n")


def test_a_json_line_has_every_field_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, LogLevel.INFO)
    logging.getLogger("cstar_mock.requests").info("GET /x 200", extra=FIELDS | {"status": 200})
    (text,) = written(capsys).splitlines()
    line = json.loads(text)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {
        "level": "INFO",
        "logger": "cstar_mock.requests",
        "message": "GET /x 200",
        "status": 200,
        **FIELDS,
    }


def test_a_crash_is_one_json_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, LogLevel.ERROR)
    logging.getLogger("any").error("crash", exc_info=RuntimeError("boom"))
    (text,) = written(capsys).splitlines()
    assert "RuntimeError: boom" in json.loads(text)["exc_info"]


@pytest.mark.parametrize("level", list(LogLevel))
def test_lines_below_the_level_are_not_written(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, level)
    names = [one.value for one in LogLevel]
    for name in names:
        getattr(logging.getLogger("any"), name)(f"said at {name}")
    said = [line.rsplit(maxsplit=1)[1] for line in written(capsys).splitlines()]
    assert said == names[names.index(level.value) :]


def test_uvicorn_says_neither_that_it_starts_nor_every_request_again(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.DEBUG)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").error("GET / 200")
    logging.getLogger("uvicorn.error").warning("something odd")
    assert [line.split("WARNING ")[1] for line in written(capsys).splitlines()] == ["something odd"]


def test_lines_are_written_soon_and_warnings_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    log = logging.getLogger("any")
    log.info("one")
    log.warning("two")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["one", "two"]
    log.info("three")
    deadline = time.monotonic() + 10
    while not (err := capsys.readouterr().err):
        assert time.monotonic() < deadline, "the line was not written"
        time.sleep(0.005)
    assert err.endswith(" three\n")
