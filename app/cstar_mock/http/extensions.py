"""The names by which the application and our server's connection find each other.

On another server they are absent: then no connection is broken, and no replay comes before the application.
"""

CONNECTION = "cstar_mock.connection"
"""The extension of an ASGI scope that can break its connection."""

DRAINING = "cstar_mock.draining"
"""Set in the lifespan state of an application once its server shuts down."""

REPLAY = "cstar_mock.replay"
"""The function in the lifespan state of an application that answers a request before the application is started."""
