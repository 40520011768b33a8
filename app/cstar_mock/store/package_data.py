"""The files that ship with the package: `migrations/` and `seed/`.

In a checkout they are top-level folders, in an installed wheel they are inside the package, and from a zip archive they
are extracted.
"""

import atexit
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path


def folder(name: str) -> Path:
    """Return the folder `migrations` or `seed`.

    Raises:
        FileNotFoundError: neither the package nor the checkout has it: the installation is broken.
    """
    package = Path(__file__).parent.parent
    for candidate in (package / name, package.parent.parent / name):
        if candidate.is_dir():
            return candidate
    if package.parent.is_file():
        return _extracted(package.parent, f"{package.name}/{name}")
    raise FileNotFoundError(f"cstar-mock is installed without its folder {name!r}; install it again")


@cache
def _extracted(archive: Path, name: str) -> Path:
    target = Path(tempfile.mkdtemp(prefix="cstar-mock-files-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    with zipfile.ZipFile(archive) as files:
        files.extractall(target, [member for member in files.namelist() if member.startswith(f"{name}/")])
    return target / name
