"""Keys, cut down to what may be shown of them: the prefix and the last four characters."""

import re
from urllib.parse import unquote

_KEY = re.compile(r"([sp]k_(?:live|test)_)([A-Za-z0-9_-]*)")


def redacted(text: str) -> str:
    """Return a text without a whole key in it, wherever it came from: a path, a query, a header."""
    if "%" in text and _KEY.search(unquote(text)):
        # A key is as readable with its characters percent-encoded.
        text = unquote(text)
    return _KEY.sub(_cut, text) if "_live_" in text or "_test_" in text else text


def _cut(key: re.Match[str]) -> str:
    # Of a short key, four characters would be too many.
    shown = key[2][-4:] if len(key[2]) > 7 else ""  # noqa: PLR2004
    return f"{key[1]}…{shown}"
