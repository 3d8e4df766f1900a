"""What geodrop needs of a machine, what of it is here, and how to get the rest."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from local import state
from local.postgres import find_postgis

_HOOK_TOOLS = {
    "actionlint": "make hooks where go is on PATH, or mise install",
    "tflint": "make hooks where go is on PATH, or mise install",
    "checkov": "make checkov",
    "shellcheck": "make setup",
    "zizmor": "make setup",
    "detect-secrets": "make setup",  # pragma: allowlist secret
}


def _version(*command: str) -> str | None:
    """Return the first line that a program prints, or None when it is not here."""
    program = shutil.which(command[0])
    if program is None:
        return None
    done = subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else None


def _at_least(least: tuple[int, int], *command: str) -> str | None:
    """Return the first line that a program prints, or None when it is not here or older than `least`."""
    line = _version(*command)
    number = re.search(r"(\d+)\.(\d+)", line or "")
    return line if number and (int(number[1]), int(number[2])) >= least else None


def _postgis() -> str | None:
    if os.environ.get("DATABASE_URL"):
        return "the server that DATABASE_URL names"
    found = find_postgis()
    return str(found) if found else None


def _hook_tool(name: str) -> str | None:
    """Return where a program of the hooks is: in one of the project's folders, or on PATH."""
    found = [
        path
        for folder in (".local/bin", ".local/checkov/bin", ".local/venv/bin")
        if (path := Path(folder) / name).is_file()
    ]
    return str(found[0]) if found else shutil.which(name)


def provider() -> str | None:
    """Say where Terraform finds the AWS provider without a download, or None."""
    folders = [Path.home() / ".terraform.d/plugins", Path("/usr/local/share/terraform/plugins")]
    folders += [Path(os.environ[name]) for name in ("TF_PLUGIN_CACHE_DIR",) if name in os.environ]
    found = [path for folder in folders for path in folder.glob("*/hashicorp/aws/*")]
    return f"{found[0].name} in {found[0].parent}" if found else None


def main() -> int:
    """Print one line for each thing; return 1 when something that `make demo` and `make test` need is missing."""
    root_on_debian = os.geteuid() == 0 and shutil.which("apt-get") is not None
    needed = [
        ("Python 3.11 or newer", platform.python_version() if sys.version_info >= (3, 11) else None, "python.org"),
        (
            "PostGIS",
            _postgis() or ("will be installed by apt-get" if root_on_debian else None),
            "apt-get install postgresql-postgis, brew install postgis, or set DATABASE_URL",
        ),
    ]
    optional = [
        ("Terraform", _at_least((1, 10), "terraform", "version"), "plans, deployment: 1.10 or newer (mise install)"),
        ("OpenTofu", _at_least((1, 10), "tofu", "version"), "in Terraform's place, if you like: 1.10 or newer"),
        ("Terragrunt", _at_least((0, 89), "terragrunt", "--version"), "live/: 0.89.4 or newer (mise install)"),
        (
            "AWS provider",
            provider(),
            "plan tests: terraform -chdir=modules/network providers mirror ~/.terraform.d/plugins",
        ),
        *((name, _hook_tool(name), f"one of the hooks: {advice}") for name, advice in _HOOK_TOOLS.items()),
        (
            "Chromium",
            _version("chromium", "--version"),
            "make browser-test, make screenshots: apt-get install chromium",
        ),
        (
            "GDAL",
            _version("ogrinfo", "--version"),
            "a test opens the API as QGIS would, bench: apt-get install gdal-bin",
        ),
        ("openssl", _version("openssl", "version"), "make e2e-iam: apt-get install openssl"),
        ("Docker Compose", _version("docker", "compose", "version"), "only for local/docker-compose.yml"),
    ]
    for name, found, advice in needed + optional:
        print(f"{'ok' if found else '--':3} {name:22} {found or advice}")
    emulator, cluster = state.emulator(), state.cluster() if find_postgis() else None
    running = [
        name for name, part in (("MiniStack", emulator), ("PostGIS", cluster)) if part is not None and part.running()
    ]
    print(f"    running now            {', '.join(running) or 'nothing'}")
    missing = [name for name, found, _ in needed if not found]
    if missing:
        print(f"\nmake demo needs: {', '.join(missing)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
