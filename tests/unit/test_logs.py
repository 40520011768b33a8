"""Log lines: text for people, JSON for machines, on standard error only."""

import io
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest

from cstar_mock.observability import logs
from cstar_mock.settings import LogFormat, LogLevel
from cstar_mock.testing.requests import _line

FIELDS = {"request_id": "req_abcdefghijkl", "duration_ms": 1.25, "team": "acme", "key": "…_key"}


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Put the root logger back, and uvicorn's, as pytest set them up."""
    loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.access")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    hooks = sys.unraisablehook, threading.excepthook
    yield
    sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def written(capfd: pytest.CaptureFixture[str]) -> str:
    """Return what was written to standard error, and nothing to standard output."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    out, err = capfd.readouterr()
    assert out == ""
    return err


def test_a_text_line_has_time_severity_message_and_what_is_known(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("cstar_mock.requests").info("GET /x 200", extra=FIELDS)
    stamp, message = written(capfd).rstrip("\n").split(" INFO    ")
    assert datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007  (only its shape matters)
    assert message == "GET /x 200 request_id=req_abcdefghijkl duration_ms=1.25 team=acme key=…_key"


def test_a_text_line_leaves_out_what_is_not_known(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").warning("hello", extra={"duration_ms": 0.0, "team": None})
    assert written(capfd).endswith("WARNING hello duration_ms=0.0\n")


def test_a_json_line_has_every_field_under_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, LogLevel.INFO)
    logging.getLogger("cstar_mock.requests").info("GET /x 200", extra=FIELDS | {"status": 200})
    (text,) = written(capfd).splitlines()
    line = json.loads(text)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {
        "level": "INFO",
        "logger": "cstar_mock.requests",
        "message": "GET /x 200",
        "status": 200,
        **FIELDS,
    }


def test_a_crash_is_one_json_line_with_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, LogLevel.ERROR)
    logging.getLogger("any").error("crash", exc_info=RuntimeError("boom"))
    (text,) = written(capfd).splitlines()
    assert "RuntimeError: boom" in json.loads(text)["exc_info"]


@pytest.mark.parametrize("level", list(LogLevel))
def test_lines_below_the_level_are_not_written(level: LogLevel, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, level)
    names = [one.value for one in LogLevel]
    for name in names:
        getattr(logging.getLogger("any"), name)(f"said at {name}")
    said = [line.rsplit(maxsplit=1)[1] for line in written(capfd).splitlines()]
    assert said == names[names.index(level.value) :]


def test_uvicorn_says_neither_that_it_starts_nor_every_request_again(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.DEBUG)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").error("GET / 200")
    logging.getLogger("uvicorn.error").warning("something odd")
    assert [line.split("WARNING ")[1] for line in written(capfd).splitlines()] == ["something odd"]


def test_lines_are_written_soon_though_nobody_asks(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").info("one")
    logging.getLogger("any").warning("two")
    deadline, err = time.monotonic() + 10, ""
    while err.count("\n") < 2:
        err += capfd.readouterr().err
        assert time.monotonic() < deadline, "the lines were not written"
        time.sleep(0.005)
    assert [line.split()[-1] for line in err.splitlines()] == ["one", "two"]


HOSTILE = "/api/\r\n2026-01-01 FORGED\x1b[31m\0\x7f\x9b31m\u202eevil\u2066\u2028\ud800 ü"


def test_a_client_can_neither_forge_a_text_line_nor_change_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").info("GET %s", HOSTILE, extra={"team": "a\nb"})
    err = written(capfd)
    assert err.count("\n") == 1
    shown = r"/api/\r\n2026-01-01 FORGED\x1b[31m\x00\x7f\x9b31m\u202eevil\u2066\u2028\ud800 ü team=a\nb"
    assert err.rstrip("\n").endswith(shown)


def test_nor_does_a_failing_test_show_what_it_sent() -> None:
    request = {"method": "GET", "path": HOSTILE, "query": "\x1b]0;"}
    response = {"status": 404, "code": None, "fault": None, "hint": None}
    line = _line({"request": request, "state": "answered", "response": response})
    assert line.isprintable()
    assert line.endswith(r" ü?\x1b]0; -> 404")


def test_a_traceback_in_text_can_not_be_taken_for_entries(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").error("crash", exc_info=RuntimeError("2026-01-01 FORGED\n2026-01-01 FORGED\x1b[31m"))
    first, *others = written(capfd).splitlines()
    assert first.endswith(" crash")
    assert others == ["    RuntimeError: 2026-01-01 FORGED", r"    2026-01-01 FORGED\x1b[31m"]


def test_what_python_would_print_itself_becomes_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __del__(self) -> None:
            raise RuntimeError("in a finalizer")

    def raises() -> None:
        raise RuntimeError("in a thread")

    logs.configure(LogFormat.JSON, LogLevel.INFO)
    Broken()
    thread = threading.Thread(target=raises, name="worker 7")
    thread.start()
    thread.join()
    finalizer, in_thread = map(json.loads, written(capfd).splitlines())
    assert "RuntimeError: in a finalizer" in finalizer["exc_info"]
    assert in_thread["message"] == "exception in worker 7"
    assert "RuntimeError: in a thread" in in_thread["exc_info"]


def test_a_warning_becomes_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("out of fashion", stacklevel=1)
    assert "UserWarning: out of fashion" in written(capfd)


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "ü…"), ("ascii", r"\xfc\u2026"), ("latin-1", r"ü\u2026")])
def test_a_line_is_written_in_any_locale(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received, sent = os.pipe()
    monkeypatch.setattr(logs, "_STDERR", sent)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logging.getLogger("any").info("ü…")
    assert os.read(received, 1000).decode(encoding).endswith(f" {shown}\n")
    os.close(received)
