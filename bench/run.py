"""All benches, or short forms of them: python bench/run.py [--quick].

Writes bench/results.json and docs/performance.md.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run them one after another, then write the table into docs/performance.md."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'functions'}"}
    failed = []
    for part in ("ingest", "serving"):
        command = [sys.executable, "-m", f"bench.{part}", *sys.argv[1:]]
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            failed.append(part)
    if "--quick" not in sys.argv:
        write()
    if failed:
        raise SystemExit(f"failed, and their results are not all new: {', '.join(failed)}")


def write() -> None:
    """Put the results between the marks of docs/performance.md."""
    sys.path.insert(0, str(ROOT))
    from bench.results import FILE, notes, table

    page = ROOT / "docs" / "performance.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- results -->")
    _, _, after = rest.partition("<!-- end -->")
    results = json.loads(FILE.read_text(encoding="utf-8"))
    made = f"{machine()}\n\n{table(results)}\n\nWhere the time went:\n\n{notes(results)}"
    page.write_text(f"{before}<!-- results -->\n{made}\n<!-- end -->{after}", encoding="utf-8")


def machine() -> str:
    """What the figures were measured on, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    server = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=False).stdout.split(" ")[2:3]
    return (
        f"Measured on {os.cpu_count()} cores with {memory:.0f} GiB, {platform.system()}, Python"
        f" {platform.python_version()}, PostgreSQL {''.join(server)} with fsync off."
    )


if __name__ == "__main__":
    main()
