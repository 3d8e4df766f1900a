"""Make the functions' deployment packages: one zip a function, byte for byte the same on every machine.

    python functions/build.py [--out dist]

A zip holds handler.py, the modules of geodrop/ that the handler reaches by its imports, the pure Python packages that
those reach (from the hashed lock requirements/functions.txt), the function's own folders (sql/, say), and in
geodrop/data/ the contracts and the OpenAPI document as JSON, the checksums of the migrations and the RDS certificates.
boto3 is not in it: the Lambda runtime gives it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "geodrop"
# Zip's own zero of time: a package must not change because a file was checked out later.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_SKIPPED_FOLDERS = {"__pycache__", "tests", "benchmarks"}


class BuildError(Exception):
    """A package cannot be made; the message says of which file and why."""


def build_all(out: Path, root: Path = ROOT) -> dict[str, Path]:
    """Write <out>/<name>.zip for every functions/<name>/function.json; return them by name.

    Raises
    ------
    BuildError
        When a package is not pure Python, a contract holds what JSON cannot, or the packages cannot be installed.
    """
    out.mkdir(parents=True, exist_ok=True)
    packages = _packages(root)
    made = {}
    for definition in sorted((root / "functions").glob("*/function.json")):
        name = definition.parent.name
        made[name] = out / f"{name}.zip"
        _write_zip(made[name], _contents(name, root, packages))
    return made


def _contents(name: str, root: Path, packages: Path) -> dict[str, bytes]:
    """Return what goes into a function's zip: path in the zip -> content."""
    function = root / "functions" / name
    trigger = json.loads((function / "function.json").read_text(encoding="utf-8"))["trigger"]["type"]
    modules, needed = _reached(function / "handler.py", root / "functions" / LIBRARY, packages)
    files = {"handler.py": (function / "handler.py").read_bytes()}
    for module in modules:
        files[module.relative_to(root / "functions").as_posix()] = module.read_bytes()
    library = root / "functions" / LIBRARY
    for other in _files(library):  # SQL and the like, not what is made below
        if other.suffix != ".py" and not other.is_relative_to(library / "data"):
            files[other.relative_to(root / "functions").as_posix()] = other.read_bytes()
    for package in needed:
        files |= _package_files(package, packages)
    for folder in sorted(path for path in function.iterdir() if path.is_dir()):
        files |= _folder(folder, function)
    data = f"{LIBRARY}/data"
    files[f"{data}/rds-ca.pem"] = (root / "functions" / data / "rds-ca.pem").read_bytes()
    if trigger != "deploy":
        contracts = sorted((root / "datasets").glob("*.yaml"))
        files[f"{data}/datasets.json"] = _json({path.stem: _yaml(path) for path in contracts}, "datasets/*.yaml")
    if trigger == "http":
        files[f"{data}/openapi.json"] = _json(_yaml(function / "openapi.yaml"), f"functions/{name}/openapi.yaml")
        # So that GET /health knows what the database should have.
        scripts = sorted((root / "functions" / "migrate" / "sql").glob("*.sql"))
        checksums = {path.name[:4]: hashlib.sha256(path.read_bytes()).hexdigest() for path in scripts}
        files[f"{data}/migrations.json"] = _json(checksums, "functions/migrate/sql/*.sql")
    return files


def _reached(handler: Path, library: Path, packages: Path) -> tuple[set[Path], set[str]]:
    """Return the library's modules and the names of the installed packages that a handler's imports lead to.

    Imports inside functions count too: they are late, not optional.
    """
    modules: set[Path] = set()
    needed: set[str] = set()
    to_read = [handler]
    while to_read:
        path = to_read.pop()
        for name in _imports(path, library.parent):
            top, *_ = name.split(".")
            if top == library.name:
                found = [file for file in _module_files(name, library.parent) if file not in modules]
                modules.update(found)
                to_read.extend(found)
            elif top not in needed and ((packages / top).is_dir() or (packages / f"{top}.py").is_file()):
                needed.add(top)
                folder = packages / top
                to_read.extend(file for file in _files(folder) if file.suffix == ".py")
    return modules, needed


def _imports(path: Path, base: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, `from a import b` as both a and a.b."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = node.module or ""
            if node.level:
                if not path.is_relative_to(base):
                    continue  # inside an installed package, which is taken whole
                above = path.relative_to(base).parts[: -node.level]
                parent = ".".join((*above, *([node.module] if node.module else [])))
            yield parent
            yield from (f"{parent}.{alias.name}" for alias in node.names)


def _statements(block: list[Any]) -> Iterator[ast.AST]:
    """Yield the statements of a block and of the blocks inside; expressions, most of a tree, hold no imports."""
    for node in block:
        yield node
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, inner, []))


def _module_files(name: str, base: Path) -> Iterator[Path]:
    """Yield the files of a dotted module name that exist, its parents' __init__.py included."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        stem = base.joinpath(*parts[:end])
        yield from (file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file())


def _package_files(name: str, packages: Path) -> dict[str, bytes]:
    """Return an installed package's files, with its metadata (some packages ask for their version) and licences."""
    module = packages / f"{name}.py"
    found = [module] if module.is_file() else list(_files(packages / name))
    for info in packages.glob("*.dist-info"):
        record = (info / "RECORD").read_text(encoding="utf-8")
        if any(line.startswith((f"{name}/", f"{name}.py,")) for line in record.splitlines()):
            found += [path for path in _files(info) if path.name == "METADATA" or _is_licence(path)]
    files = {path.relative_to(packages).as_posix(): path.read_bytes() for path in found}
    for path in files:
        if path.endswith((".so", ".pyd", ".dylib", ".dll")):
            raise BuildError(f"{path} is native code: the functions carry pure Python only")
    return files


def _folder(folder: Path, base: Path) -> dict[str, bytes]:
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in _files(folder)}


def _is_licence(path: Path) -> bool:
    return path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not _SKIPPED_FOLDERS.intersection(inside) and path.suffix != ".pyc":
            yield path


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _json(value: object, source: str) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise BuildError(f"{source} holds a value that JSON has not (a bare date, say: quote it): {error}") from error


def _write_zip(target: Path, files: dict[str, bytes]) -> None:
    """Write the files in the order of their names, with fixed times and modes.

    They are stored and not compressed: what zlib makes of the same bytes differs between its versions.
    """
    partial = target.with_suffix(".zip.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = _MODE << 16
            archive.writestr(entry, files[name])
    partial.replace(target)  # a reader never sees half a zip


def _packages(root: Path) -> Path:
    """Install requirements/functions.txt into a folder named by the lock's hash, once; return the folder."""
    lock = root / "requirements" / "functions.txt"
    target = root / ".local" / "packages" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        installed = Path(scratch) / "installed"
        command = [*_installer(), "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        command += ["--target", str(installed), "--requirement", str(lock)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (a fixed command)
        if done.returncode != 0:
            raise BuildError(f"the packages of {lock.name} cannot be installed:\n{done.stderr.strip()}")
        try:
            installed.rename(target)
        except OSError:  # another build was quicker
            if not target.is_dir():
                raise
    return target


def _installer() -> list[str]:
    """Return the command that installs packages: uv where it is (any version writes the same files), else pip."""
    own = ROOT / ".local" / "uv" / "bin" / "uv"
    uv = str(own) if own.is_file() else os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable, "--link-mode", "copy"]
    return [sys.executable, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check"]


def main() -> int:
    """Build the zips and print their sizes and hashes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips (default: dist)")
    arguments = parser.parse_args()
    try:
        made = build_all(arguments.out)
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    for name, path in made.items():
        content = path.read_bytes()
        print(f"{name:10} {len(content) / 1000:8.0f} kB  sha256 {hashlib.sha256(content).hexdigest()}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
