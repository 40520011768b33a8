"""Where the files that ship with the package are: `migrations/` and `seed/`.

In a checkout they are top-level folders; in an installed wheel they lie inside the package.
"""

from pathlib import Path


def folder(name: str) -> Path:
    """Return the folder `migrations` or `seed`.

    Raises:
        FileNotFoundError: neither the package nor the checkout has it: the installation is broken.
    """
    package = Path(__file__).parent
    for candidate in (package / name, package.parent.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"cstar-mock is installed without its folder {name!r}; install it again")
