"""Runs one hook of .pre-commit-config.yaml: `python3 tools/hook.py NAME FILE...`.

It finds each program in .local/venv, .local/bin, .local/checkov or on PATH, so that a hook needs no more than
`make setup`. A program that is nowhere is named, with the way to get it; the hook fails for it only where
GEODROP_REQUIRE names it (as in CI). Standard library only: it runs before any environment is chosen.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
FOLDERS = [LOCAL / "venv/bin", LOCAL / "bin", LOCAL / "checkov/bin"]
LARGEST_KIB = 600

# How to get what is missing.
ADVICE = {
    "terraform": "mise install, or terraform 1.10 or newer on PATH",
    "terragrunt": "mise install, or terragrunt 1.1.3 on PATH",
    "actionlint": "make hooks where go is on PATH, or mise install",
    "tflint": "make hooks where go is on PATH, or mise install",
    "checkov": "make checkov",
}
# What a hook cannot do without, whatever GEODROP_REQUIRE says: `make setup` brings it.
ALWAYS = {"ruff", "mypy", "yamllint", "shellcheck", "check-jsonschema", "detect-secrets-hook", "zizmor", "python"}


def find(program: str) -> str | None:
    """Return the path of a program: the project's own before those on PATH."""
    for folder in FOLDERS:
        if (folder / program).is_file():
            return str(folder / program)
    return shutil.which(program)


def run(program: str, *arguments: str) -> int:
    """Run a program in the repository's root and return its exit code; 0 where it is missing and not required."""
    found = find(program)
    if found is None:
        required = {name.strip() for name in os.environ.get("GEODROP_REQUIRE", "").split(",")}
        advice = ADVICE.get(program, "make setup")
        sys.stdout.write(f"NOT CHECKED: {program} is missing ({advice})\n")
        return int(program in ALWAYS or program in required)
    # The project's programs find one another (actionlint asks for shellcheck).
    path = os.pathsep.join([*map(str, FOLDERS), os.environ.get("PATH", "")])
    return subprocess.run([found, *arguments], cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode


def modules_of(files: list[str]) -> list[str]:
    """Return the folders modules/<name> that the files lie in."""
    return sorted({"/".join(Path(file).parts[:2]) for file in files if file.startswith("modules/")})


def terraform_fmt(files: list[str]) -> int:
    """Terraform files as `terraform fmt` writes them."""
    return run("terraform", "fmt", "-check", "-diff", *files)


def hcl_fmt(files: list[str]) -> int:
    """Terragrunt files as `terragrunt hcl fmt` writes them."""
    codes = [run("terragrunt", "hcl", "fmt", "--check", "--diff", "--log-level", "error", "--file", f) for f in files]
    bad = [file for file, code in zip(files, codes, strict=True) if code]
    sys.stdout.writelines(f"{file}: not formatted; terragrunt hcl fmt --file {file}\n" for file in bad)
    return int(bool(bad))


def checkov(files: list[str]) -> int:
    """No failed check in the modules that changed."""
    folders = [word for folder in modules_of(files) for word in ("--directory", folder)]
    return run("checkov", *folders, "--framework", "terraform", "--skip-download", "--compact", "--quiet")


def tflint(files: list[str]) -> int:
    """Terraform rules that tflint carries on the modules that changed; rules of a provider would need a plugin."""
    return max(run("tflint", f"--chdir={folder}", f"--config={ROOT / '.tflint.hcl'}") for folder in modules_of(files))


def secrets(files: list[str]) -> int:
    """No secret in plain text, but for those that .secrets.baseline says are none."""
    return run("detect-secrets-hook", "--baseline", ".secrets.baseline", "--no-verify", *files)


def workflows(files: list[str]) -> int:
    """Keys and values of workflows that GitHub knows."""
    return run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)


def actionlint(files: list[str]) -> int:
    """Expressions and shell of workflows; shellcheck reads their `run` blocks."""
    return run("actionlint", "-color=false", *files)


def zizmor(files: list[str]) -> int:
    """Workflows that give away too much: unpinned actions, templates in shell, wide permissions."""
    return run("zizmor", "--offline", "--pedantic", "--no-progress", "--color=never", *files)


def large_files(files: list[str]) -> int:
    """No file above LARGEST_KIB KiB."""
    large = [f for f in files if (ROOT / f).is_file() and (ROOT / f).stat().st_size > LARGEST_KIB * 1024]
    sys.stdout.writelines(
        f"{file}: {(ROOT / file).stat().st_size // 1024} KiB, above {LARGEST_KIB}\n" for file in large
    )
    return int(bool(large))


def migrations(files: list[str]) -> int:
    """A migration that a release carries is never edited: its checksum is in databases. Without tags, none is."""
    found = shutil.which("git") or "git"
    command = [found, "tag", "--list", "v*", "--sort=-v:refname"]
    newest = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tags = newest.stdout.split()
    edited = []
    for file in files if tags else []:
        old = subprocess.run([found, "show", f"{tags[0]}:{file}"], cwd=ROOT, capture_output=True, check=False)
        if old.returncode == 0 and old.stdout != (ROOT / file).read_bytes():
            edited.append(file)
    sys.stdout.writelines(f"{file}: released with {tags[0]}; write a new migration instead\n" for file in edited)
    return int(bool(edited))


HOOKS: dict[str, Callable[[list[str]], int]] = {
    "terraform-fmt": terraform_fmt,
    "hcl-fmt": hcl_fmt,
    "ruff-check": lambda files: run("ruff", "check", "--quiet", "--force-exclude", *files),
    "ruff-format": lambda files: run("ruff", "format", "--check", "--quiet", "--diff", "--force-exclude", *files),
    "mypy": lambda _: run("mypy"),
    "checkov": checkov,
    "tflint": tflint,
    "secrets": secrets,
    "shellcheck": lambda files: run("shellcheck", *files),
    "yamllint": lambda files: run("yamllint", "--strict", *files),
    "workflow-schema": workflows,
    "actionlint": actionlint,
    "zizmor": zizmor,
    "large-files": large_files,
    "module-docs": lambda _: run("python", "tools/module_docs.py", "--check"),
    "migrations": migrations,
}


def main(arguments: list[str]) -> int:
    """Run the hook that the first argument names on the files that follow; return its exit code."""
    if not arguments or arguments[0] not in HOOKS:
        sys.stderr.write(f"usage: hook.py NAME FILE...; NAME is one of {', '.join(HOOKS)}\n")
        return 2
    return HOOKS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
