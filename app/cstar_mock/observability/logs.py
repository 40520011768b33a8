"""Log lines: on standard error, as text for people or as JSON for machines, one line a request.

Keys never get into a line; `…abcd`, a key's last four characters, is all that a log may know. Nothing ever waits for
the log: what can't be written is dropped, and counted.
"""

import logging
import logging.config
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from cstar_mock import bounds
from cstar_mock.contract.redaction import printable
from cstar_mock.observability.background_writer import BackgroundWriter
from cstar_mock.settings import LogFormat, LogLevel

_STDERR = 2
_FIELDS = ("request_id", "duration_ms", "team", "key")
_log = logging.getLogger("cstar_mock.logs")


class TextFormatter(logging.Formatter):
    """A line for people: time, severity, message, then further fields as `name=value`.

    Control characters are escaped, so that a client can neither forge a line nor change the terminal. The lines of a
    traceback are indented, so that they can't be taken for entries.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._shown = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        second = int(record.created)
        if second != self._second:
            # Writing a time costs more than the rest of the line.
            self._second, self._shown = second, self.formatTime(record, self.default_time_format)
        line = "%s,%03d %-7s %s" % (self._shown, record.msecs, record.levelname, record.getMessage())  # noqa: UP031
        for name in _FIELDS:
            if (value := getattr(record, name, None)) is not None:
                line += f" {name}={value}"
        line = printable(line)
        if record.exc_info:
            details = self.formatException(record.exc_info).split("\n")
            line = "\n    ".join([line, *map(printable, details)])
        return line


class BackgroundHandler(logging.Handler):
    """Passes lines to a thread that writes them to standard error; warnings and errors at once."""

    def __init__(self) -> None:
        super().__init__()
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._writer = BackgroundWriter(_STDERR, self._dropped_notice)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line."""
        try:
            self._writer.write(self._encoded(self.format(record)), urgent=record.levelno >= logging.WARNING)
        except Exception:  # noqa: BLE001  (as every handler does: logging must not be what fails)
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (logging's own signature)
        """Write the reason why a line could not be formatted, without blocking."""
        self._writer.write(self._encoded(traceback.format_exc()), urgent=True)

    def flush(self) -> None:
        """Wait until all lines are written, for a second at most."""
        self._writer.flush(bounds.LOG_EXIT_SECONDS)

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")

    def _dropped_notice(self, count: int) -> bytes:
        message = "%d log entries were dropped, as standard error did not take them"
        return self._encoded(self.format(logging.LogRecord(_log.name, logging.WARNING, "", 0, message, (count,), None)))


def configure(log_format: LogFormat, log_level: LogLevel) -> None:
    """Send all log lines to standard error; uvicorn's access lines would repeat ours.

    Python's own warnings, and exceptions that nothing catches, become log lines too: printing them could block.
    """
    # Our lines have none of this, and the look-up costs more than the writing.
    logging._srcfile = None  # noqa: SLF001  (as the logging HOWTO advises)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    formatters: dict[str, Any] = {
        "text": {"()": TextFormatter},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(levelname)s %(name)s %(message)s",
            "timestamp": True,
            "rename_fields": {"levelname": "level", "name": "logger"},
        },
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {log_format.value: formatters[log_format.value]},
            "handlers": {"stderr": {"()": BackgroundHandler, "formatter": log_format.value}},
            "root": {"handlers": ["stderr"], "level": log_level.value.upper()},
            # Its lines about starting and stopping say less than ours.
            "loggers": {"uvicorn": {"level": "WARNING"}, "uvicorn.access": {"level": "CRITICAL"}},
        }
    )
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_exception


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    message = unraisable.err_msg or "exception ignored"
    _log_exception(f"{message} in {unraisable.object!r}", unraisable.exc_value, unraisable.exc_traceback)


def _log_thread_exception(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "a thread"
    _log_exception(f"exception in {name}", arguments.exc_value, arguments.exc_traceback)


def _log_exception(message: str, exception: BaseException | None, details: TracebackType | None) -> None:
    _log.error("%s", message, exc_info=(type(exception), exception, details) if exception else None)
