"""Log lines: on standard error, as text for people or as JSON for machines, one line a request.

Keys never get into a line; `…abcd`, a key's last four characters, is all that a log may know.
"""

import logging
import logging.config
import threading
import time
from typing import Any, TextIO

from cstar_mock.settings import LogFormat, LogLevel

_BATCH_SECONDS = 0.02
_FIELDS = ("request_id", "duration_ms", "team", "key")


class TextFormatter(logging.Formatter):
    """A line for people: time, severity, message, then what else is known as `name=value`."""

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
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


class BatchHandler(logging.StreamHandler[TextIO]):
    """Writes lines to standard error a batch at a time, some hundredths of a second later.

    A line of its own for each request would make all requests wait for the disk or the terminal. From warnings on,
    and at the end of the process, everything is written at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._some = threading.Event()
        threading.Thread(target=self._write_now_and_then, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        try:
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING:
                self.flush()
            elif len(self._lines) == 1:
                self._some.set()
        except Exception:  # noqa: BLE001  (as every handler does: logging must not be what fails)
            self.handleError(record)

    def flush(self) -> None:
        """Write what there is."""
        with self.lock or threading.RLock():
            lines, self._lines = self._lines, []
            if lines and not self.stream.closed:
                self.stream.write("\n".join([*lines, ""]))
                super().flush()

    def _write_now_and_then(self) -> None:
        while True:
            self._some.wait()
            time.sleep(_BATCH_SECONDS)
            self._some.clear()
            self.flush()


def configure(log_format: LogFormat, log_level: LogLevel) -> None:
    """Send all log lines to standard error; uvicorn's access lines are ours already."""
    # Nothing of this is in a line of ours, and finding it out costs more than writing the line.
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
            "handlers": {"stderr": {"()": BatchHandler, "formatter": log_format.value}},
            "root": {"handlers": ["stderr"], "level": log_level.value.upper()},
            # Its lines about starting and stopping say less than ours.
            "loggers": {"uvicorn": {"level": "WARNING"}, "uvicorn.access": {"level": "CRITICAL"}},
        }
    )
