"""cstar-mock: the reference double of cStar's Analytics API.

The whole public surface is here; everything else may change between versions.
"""

from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cstar_mock.application import create_app
    from cstar_mock.settings import Settings

VERSION = "0.1.0"

# `cstar_mock.testing` is of another distribution, pytest-cstar-mock, which may be installed in another folder.
__path__ = extend_path(__path__, __name__)

__all__ = ["VERSION", "Settings", "create_app"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use: `import cstar_mock` must cost nothing (command line, pytest)."""
    if name == "create_app":
        from cstar_mock.application import create_app  # noqa: PLC0415

        return create_app
    if name == "Settings":
        from cstar_mock.settings import Settings  # noqa: PLC0415

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
