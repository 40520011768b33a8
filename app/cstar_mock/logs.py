"""Log lines: on standard error, as text for people or as JSON for machines, one line a request.

Keys never get into a line; `…abcd`, a key's last four characters, is all that a log may know.
"""

import logging
import logging.config
from typing import Any

from cstar_mock.settings import LogFormat, LogLevel

_TEXT = "%(asctime)s %(levelname)-7s %(message)s"
_FIELDS = ("request_id", "duration_ms", "team", "key")


class TextFormatter(logging.Formatter):
    """A line for people: time, severity, message, then what else is known as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        known = [f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) is not None]
        return " ".join([super().format(record), *known])


def configure(log_format: LogFormat, log_level: LogLevel) -> None:
    """Send all log lines to standard error; uvicorn's access lines are ours already."""
    formatters: dict[str, Any] = {
        "text": {"()": TextFormatter, "format": _TEXT},
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
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": log_format.value}},
            "root": {"handlers": ["stderr"], "level": log_level.value.upper()},
            # Its lines about starting and stopping say less than ours.
            "loggers": {"uvicorn": {"level": "WARNING"}, "uvicorn.access": {"level": "CRITICAL"}},
        }
    )
