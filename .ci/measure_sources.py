"""Measure the sources of a package: sizes, documentation, and how much of it is at its root.

    python .ci/measure_sources.py [FOLDER ...]

Without folders: the package, the modules on the way of a request, and the tests.
"""

import ast
import sys
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
REQUEST = (
    "serving/connection.py",
    "serving/connection_faults.py",
    "serving/refusals.py",
    "serving/replay_connection.py",
    "http/head.py",
    "http/extensions.py",
    "http/facts.py",
    "http/context.py",
    "http/middleware.py",
    "http/recording.py",
    "http/replies.py",
    "http/request_log.py",
    "http/errors.py",
    "api/replay.py",
    "api/dependencies.py",
    "api/answers.py",
    "api/analytics.py",
    "api/envelope.py",
    "traffic/answer_cache.py",
)
"""The modules on the way of a request for figures, below `app/cstar_mock`, without the rules and the SQL."""


@dataclass
class Sources:
    """The measures of some modules."""

    modules: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    complexities: list[int] = field(default_factory=list)
    code_lines: int = 0
    docstring_lines: int = 0
    comments: int = 0
    noqa: int = 0
    public: int = 0
    documented: int = 0
    returns: int = 0
    at_root: int = 0

    def add(self, file: Path, root: Path) -> None:
        """Add a module."""
        text = file.read_text()
        lines = text.count("\n")
        self.modules.append(lines)
        self.at_root += lines if file.parent == root else 0
        self.code_lines += sum(1 for line in text.splitlines() if line.strip())
        with file.open("rb") as opened:
            comments = [one.string for one in tokenize.tokenize(opened.readline) if one.type == tokenize.COMMENT]
        self.comments += len(comments)
        self.noqa += sum("noqa" in comment or "type: ignore" in comment for comment in comments)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and node.body:
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno:
                    self.docstring_lines += first.end_lineno - first.lineno + 1
            if isinstance(node, FUNCTIONS):
                self._add_function(node)

    def _add_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
        branches = sum(isinstance(part, BRANCHES) for part in ast.walk(node))
        branches += sum(len(part.values) - 1 for part in ast.walk(node) if isinstance(part, ast.BoolOp))
        self.complexities.append(1 + branches)
        self.returns += node.returns is not None
        if not node.name.startswith("_"):
            self.public += 1
            self.documented += ast.get_docstring(node) is not None

    def print(self, name: str) -> None:
        """Print the measures."""
        lines = sum(self.modules)
        print(f"{name}: {len(self.modules)} modules, {lines} lines, {self.code_lines} of them not blank")
        print(f"  module p50/p90/max      {_percentiles(self.modules, (50, 90, 100))}")
        print(f"  function p50/p90/p99/max {_percentiles(self.functions, (50, 90, 99, 100))}")
        print(f"  complexity p90/max      {_percentiles(self.complexities, (90, 100))}")
        print(f"  docstrings, comments    {self.docstring_lines / lines:.1%}, {self.comments / lines:.1%} of the lines")
        print(f"  public functions documented {self.documented / max(self.public, 1):.0%}")
        print(f"  functions with a return type {self.returns / max(len(self.functions), 1):.0%}")
        print(f"  noqa and type: ignore   {1000 * self.noqa / lines:.1f} in 1,000 lines")
        print(f"  at the root             {self.at_root / lines:.0%} of the lines")


def _percentiles(values: Sequence[int], percents: Sequence[int]) -> str:
    ordered = sorted(values)
    return " / ".join(str(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]) for percent in percents)


def measured(files: Sequence[Path], root: Path) -> Sources:
    """Return the measures of files."""
    sources = Sources()
    for file in files:
        sources.add(file, root)
    return sources


def main() -> None:
    """Print the measures of the folders, or of this project."""
    app = Path("app/cstar_mock")
    for folder in [Path(name) for name in sys.argv[1:]] or [app, Path("tests")]:
        measured(sorted(folder.rglob("*.py")), folder).print(str(folder))
    if not sys.argv[1:]:
        measured([app / name for name in REQUEST], app).print("the way of a request")
        rooms = sorted(folder.name for folder in app.iterdir() if (folder / "__init__.py").exists())
        print(f"{len(rooms)} rooms: {', '.join(rooms)}; {len(list(app.glob('*.py')))} modules at the root")


if __name__ == "__main__":
    main()
