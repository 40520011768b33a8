"""Check the subjects of the commits since the main branch: at most 72 characters, and no full stop.

    python .ci/check_commits.py [BASE]

BASE is `origin/main`, or `main` without a remote. Exits with 1 if a subject is refused.
"""

import subprocess
import sys

LONGEST_SUBJECT = 72


def git(*arguments: str) -> str:
    """Return the output of a git command; nothing if it fails."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout


def problem(subject: str) -> str | None:
    """Return why a subject is refused, or None."""
    if len(subject) > LONGEST_SUBJECT:
        return f"has {len(subject)} characters, not at most {LONGEST_SUBJECT}"
    if subject.endswith("."):
        return "ends with a full stop"
    return None


def main() -> int:
    """Check the commits since the main branch."""
    bases = sys.argv[1:] or ["origin/main", "main"]
    base = next((name for name in bases if git("rev-parse", "--verify", "--quiet", name)), None)
    if base is None:
        print("there is no main branch to compare with: no subject was checked")
        return 0
    subjects = git("log", "--no-merges", "--format=%s", f"{base}..HEAD").splitlines()
    refused = [f"{subject!r} {why}" for subject in subjects if (why := problem(subject))]
    print("\n".join(refused) or f"{len(subjects)} subjects since {base} are fine")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
