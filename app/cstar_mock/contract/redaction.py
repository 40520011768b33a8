"""Client text that is safe to show: keys are shortened, control characters are escaped."""

import re
from urllib.parse import unquote

_KEY = re.compile(r"([sp]k_(?:live|test)_)([A-Za-z0-9_-]*)")


def redacted(text: str) -> str:
    """Return a text of a path, query or header without a whole key in it."""
    if "%" in text and _KEY.search(unquote(text)):
        # A key is as readable with its characters percent-encoded.
        text = unquote(text)
    return _KEY.sub(_cut, text) if "_live_" in text or "_test_" in text else text


def _cut(key: re.Match[str]) -> str:
    # Of a short key, four characters would be too many.
    shown = key[2][-4:] if len(key[2]) > 7 else ""  # noqa: PLR2004
    return f"{key[1]}…{shown}"


def printable(text: str) -> str:
    """Return a text as one line that is safe in a terminal: control characters and bidi controls are escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(sentence: str) -> str:
    """Return a sentence for a message without the middle of a long value that it quotes."""
    half = 160
    return sentence if len(sentence) <= 2 * half else f"{sentence[:half]}…{sentence[-half:]}"
