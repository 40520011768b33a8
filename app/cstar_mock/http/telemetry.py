"""FastAPI's own telemetry, which is off unless a setting asks for traces."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # older releases of FastAPI have no telemetry

NO_TELEMETRY: "TelemetryConfig" = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI would send spans with query strings, and so keys, to whatever provider is in the process."""
