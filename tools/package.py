"""Puts a function's package beside the module that is planned: `python3 tools/package.py functions/ingest`.

Terragrunt runs it in the module's folder, with the folder of the function: that of the working tree, whose packages
`make build` has made, or that of the release which the module came with, whose package is built here. So an environment
that takes its modules from a release runs that release's code, whatever the working tree has. Standard library only.
"""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "package.zip"  # the same path on every machine, or each would plan a change


class PackageError(Exception):
    """There is no package to take; the message says what to do."""


def find(function: Path) -> Path:
    """Return the package of a function, built where it is a release's and not built yet. Raises PackageError."""
    tree = function.resolve().parents[1]
    package = tree / "dist" / f"{function.name}.zip"
    if not package.is_file():
        if tree == ROOT:
            raise PackageError(f"dist/{package.name} is missing: run `make build`")
        build(tree)
    return package


def build(tree: Path) -> None:
    """Run a release's own build in its tree. Raises PackageError with what it said."""
    ours = ROOT / ".local"
    python = ours / "venv/bin/python"
    if not python.is_file():
        raise PackageError("a release's packages are built with the project's Python: run `make setup`")
    with suppress(FileExistsError):
        (tree / ".local").symlink_to(ours)  # what it installs is kept there by the lock's hash: once for all releases
    command = [str(python), "functions/build.py"]
    done = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PackageError(f"functions/build.py failed in {tree}:\n{done.stdout}{done.stderr}")


def main(function: str) -> int:
    """Copy the package into the working directory; return 1 where there is none."""
    try:
        shutil.copyfile(find(Path(function)), PACKAGE)
    except PackageError as error:
        sys.stderr.write(f"package: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
