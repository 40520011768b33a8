"""Look for the habits that CONTRIBUTING.md asks writers to avoid, in docstrings, comments, messages and pages.

    python .ci/check_words.py [FILE ...]

Prints file, line, word and advice for each, and exits with 1 if there is one.
"""

import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ADVICE = {
    r"anew": "again, or: rebuild, recompute",
    r"who(?:m|ever|mever)": "name the person, client or process",
    r"nobody": "no one; better, name the client or the process",
    r"manieth": "index, number",
    r"betrays?|betrayed": "shows",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"as ever|for ever": "as before; forever",
    r"so many|so often": "name the number",
    r"stands?|lies": "is",
    r"(?<!there )(?:is|are|was) none": "is not a …",
    r"of (?:ours|theirs|its own|their own)": "our …, their …, a separate …",
    r"way out": "shutdown, exit",
    r"into words": "compile, format",
    r"how (?:often|long|much) (?:it|to)": "name the number",
}
"""Words and phrases, as regular expressions, and what to write instead."""

STARTS = re.compile(r'^(?:[rRfFbBuU]*"""|# )(What|Who|Whose|Whom|How)\b')
"""A noun clause in place of a noun: `What is kept of a request` is a journal entry."""

PATTERN = re.compile(r"\b(?:" + "|".join(f"({expression})" for expression in ADVICE) + r")\b", re.IGNORECASE)
PARTS = {tokenize.COMMENT, tokenize.STRING} | {
    getattr(tokenize, name) for name in ("FSTRING_MIDDLE",) if hasattr(tokenize, name)
}
EXEMPT = (".ci/check_words.py", "CHANGELOG.md", "tests/", "uv.lock", "migrations/versions/")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and strings of a Python file, or the lines of a page, each with its line number."""
    if path.suffix == ".py":
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in PARTS:
                    yield token.start[0], token.string
    else:
        yield from enumerate(path.read_text().splitlines(), 1)


def findings(path: Path) -> Iterator[str]:
    """Yield one line for each habit in a file."""
    for line, text in texts(path):
        for match in PATTERN.finditer(text):
            advice = next(advice for advice, found in zip(ADVICE.values(), match.groups(), strict=True) if found)
            yield f"{path}:{line + text[: match.start()].count(chr(10))}: {match[0]!r}: {advice}"
        if path.suffix == ".py" and (start := STARTS.match(text)):
            yield f"{path}:{line}: begins with {start[1]!r}: begin with a noun or a verb"


def main() -> int:
    """Check the files that are named, or all that the repository has."""
    names = (
        sys.argv[1:] or subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    )
    paths = [Path(name) for name in names if name.endswith((".py", ".md", ".toml", ".yaml", ".html"))]
    found = [
        finding
        for path in paths
        if path.is_file() and not path.is_symlink() and not str(path).startswith(EXEMPT)
        for finding in findings(path)
    ]
    print("\n".join(found) or "no habit to avoid was found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
