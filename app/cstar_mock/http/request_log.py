"""The request log: one line for each request, and one for each failure."""

import logging
import sys
import time

from cstar_mock.contract.errors import Unavailable
from cstar_mock.http.context import RequestContext
from cstar_mock.http.facts import RequestFacts

HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
logger = logging.getLogger("cstar_mock.requests")


def log_answer(context: RequestContext, facts: RequestFacts) -> None:
    """Log the answer to a request."""
    # A health check every second would bury everything else.
    level = logging.DEBUG if facts.shown_path in HEALTH_PATHS else logging.INFO
    if logger.isEnabledFor(level):
        logger.handle(_RequestRecord(level, context, facts))


def log_unavailable(context: RequestContext, error: Unavailable) -> None:
    """Log an unavailable engine with the reason."""
    logger.error("%s: %s", error.sentence, error.reason, extra=context.log_fields())


class _RequestRecord(logging.LogRecord):
    """A log record without the look-up of frame, thread and process, which costs more than writing the line."""

    team: str | None = None
    key: str | None = None

    def __init__(self, level: int, context: RequestContext, facts: RequestFacts) -> None:
        self.method, self.path, self.status = facts.method, facts.shown_path, context.status
        self.name, self.msg, self.args = logger.name, "%s %s %d", (self.method, self.path, self.status)
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = time.time()
        self.msecs = float(int(self.created % 1 * 1000))
        # The attributes that any formatter may use.
        self.pathname = self.filename = self.module = self.funcName = ""
        self.lineno, self.relativeCreated = 0, 0.0
        self.exc_info = self.exc_text = self.stack_info = None
        self.thread = self.threadName = self.process = self.processName = None
        if sys.version_info >= (3, 12):
            self.taskName = None
        self.duration_ms = context.milliseconds()
        self.request_id = context.request_id
        if context.caller is not None:
            self.team = context.caller.team_slug
            self.key = f"…{context.caller.last_four}"
