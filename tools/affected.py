"""Prints the units of an environment that a change affects: `python tools/affected.py ENVIRONMENT [BASE]`.

Terragrunt knows which units read a changed file of live/ and which take a changed module as their source. What it
cannot see is added here: the packages in dist/ are made of functions/, and modules/function is a part of others. No
change of either reaches an environment that runs a release.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from promote import release

ROOT = Path(__file__).resolve().parent.parent
WITH_FUNCTION = frozenset({"ingest", "api", "schema"})
# Files by how their paths begin -> the units that they end up in.
PARTS = {
    "datasets/": WITH_FUNCTION,
    "functions/api/": frozenset({"api"}),
    "functions/build.py": WITH_FUNCTION,
    "functions/geodrop/": WITH_FUNCTION,
    "functions/ingest/": frozenset({"ingest"}),
    "functions/migrate/": frozenset({"schema"}),
    "modules/function/": WITH_FUNCTION,
    "requirements/functions.txt": WITH_FUNCTION,
}


def packaged(files: list[str]) -> set[str]:
    """Return the units whose package or nested module the files are a part of."""
    return {unit for file in files for part, units in PARTS.items() if file.startswith(part) for unit in units}


def run(*command: str, folder: Path = ROOT) -> list[str]:
    """Run a program and return the lines that it prints. Raises CalledProcessError with what it said where it fails."""
    program = shutil.which(command[0]) or command[0]
    done = subprocess.run([program, *command[1:]], cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.stdout.split("\n")[:-1]


def affected(environment: str, base: str, folder: Path = ROOT) -> list[str]:
    """Return the names of the units that differ from where HEAD left `base`."""
    files = run("git", "diff", "--name-only", f"{base}...HEAD", folder=folder)
    place = f"live/{environment}"
    if "terragrunt.hcl" in files:  # the root of all units
        return sorted(path.parent.name for path in (folder / place).glob("*/terragrunt.hcl"))
    # One filter that narrows: several would add up.
    found = run("terragrunt", "find", "--filter", f"[{base}...HEAD] | ./{place}/**", folder=folder)
    released = release((folder / place / "env.hcl").read_text())
    return sorted({Path(unit).name for unit in found} | (set() if released else packaged(files)))


def main(environment: str, base: str = "main") -> int:
    """Print one unit a line."""
    sys.stdout.writelines(f"{unit}\n" for unit in affected(environment, base))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
