"""The functions' zips: reproducible, pure Python, and complete without anything from the environment."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

import build

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "functions").glob("*/function.json"))
# What the Lambda runtime brings along: its boto3 and what that needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3")


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build.build_all(tmp_path_factory.mktemp("dist"))


def checkout(target: Path) -> Path:
    """Copy what the build reads, with other times and modes than here."""
    for part in ("functions", "datasets", "requirements"):
        shutil.copytree(ROOT / part, target / part, copy_function=shutil.copyfile)
    (target / ".local").mkdir()
    shutil.copytree(build._packages(ROOT).parent, target / ".local" / "packages", copy_function=shutil.copyfile)
    for path in target.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 86_400, time.time() - 86_400))
            path.chmod(0o600)
    return target


def digests(made: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made.items()}


def test_every_function_has_a_zip(zips):
    assert sorted(zips) == NAMES == ["api", "ingest", "migrate"]


def test_two_builds_from_two_folders_are_byte_for_byte_the_same(zips, tmp_path):
    first = build.build_all(tmp_path / "out", root=checkout(tmp_path / "one"))
    second = build.build_all(tmp_path / "elsewhere", root=checkout(tmp_path / "a" / "deeper folder"))
    assert digests(first) == digests(second) == digests(zips)


def test_a_build_leaves_the_other_zips_alone_when_one_handler_changes(zips, tmp_path):
    changed = checkout(tmp_path / "changed")
    handler = changed / "functions" / "migrate" / "handler.py"
    handler.write_text(handler.read_text() + "\n# changed\n")
    before, after = digests(zips), digests(build.build_all(tmp_path / "out", root=changed))
    assert {name for name in NAMES if before[name] != after[name]} == {"migrate"}


@pytest.mark.parametrize("name", NAMES)
def test_a_zip_holds_only_what_it_should(zips, name):
    with zipfile.ZipFile(zips[name]) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    print(f"{name}: {zips[name].stat().st_size / 1000:.0f} kB, {len(names)} files")
    assert names == sorted(names)
    assert "handler.py" in names
    assert not [path for path in names if path.endswith((".so", ".pyd", ".pyc", ".yaml", ".exe"))]
    assert not [path for path in names if path.split("/")[0] in {*RUNTIME, "yaml", "bin", "tests"}]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert zips[name].stat().st_size < 5_000_000  # far below the 50 MB that Lambda takes


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_imports_from_its_zip_alone(zips, name, tmp_path):
    package = tmp_path / "task"
    with zipfile.ZipFile(zips[name]) as archive:
        archive.extractall(package)
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for module in RUNTIME:
        origin = Path(sys.modules[module].__file__ if module in sys.modules else __import__(module).__file__)
        (runtime / module).symlink_to(origin.parent)
    handler = json.loads((ROOT / "functions" / name / "function.json").read_text())["handler"]
    module, function = handler.rsplit(".", 1)
    # -I -S: no environment, no site-packages; the standard library, the zip's content and the runtime's boto3 only.
    program = f"""
import sys
sys.path[:0] = {[str(package)]!r}
sys.path.append({str(runtime)!r})
import {module}
assert callable({module}.{function})
from geodrop import package
print(package.__file__)
"""
    command = [sys._base_executable, "-I", "-S", "-B", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(package / "geodrop" / "package.py")


@pytest.mark.parametrize("name", ["api", "ingest"])
def test_contracts_travel_as_json(zips, name):
    with zipfile.ZipFile(zips[name]) as archive:
        packed = json.loads(archive.read("geodrop/data/datasets.json"))
    written = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "datasets").glob("*.yaml")}
    assert packed == written


def test_the_openapi_document_travels_with_the_api(zips):
    with zipfile.ZipFile(zips["api"]) as archive:
        packed = json.loads(archive.read("geodrop/data/openapi.json"))
    assert packed == yaml.safe_load((ROOT / "functions/api/openapi.yaml").read_text())


def test_migrations_travel_with_migrate(zips):
    with zipfile.ZipFile(zips["migrate"]) as archive:
        packed = {name.removeprefix("sql/") for name in archive.namelist() if name.startswith("sql/")}
    assert packed == {path.name for path in (ROOT / "functions/migrate/sql").glob("*.sql")} != set()


def test_the_api_knows_the_migrations(zips):
    with zipfile.ZipFile(zips["api"]) as archive:
        packed = json.loads(archive.read("geodrop/data/migrations.json"))
    files = sorted((ROOT / "functions/migrate/sql").glob("*.sql"))
    assert packed == {path.name[:4]: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_value_that_json_has_not_is_refused_with_its_file(tmp_path):
    wrong = checkout(tmp_path)
    contract = min((wrong / "datasets").glob("*.yaml"))
    contract.write_text(contract.read_text() + "\nsince: 2020-01-01\n")
    with pytest.raises(build.BuildError, match=r"datasets/.*quote it"):
        build.build_all(tmp_path / "out", root=wrong)


def test_native_code_is_refused(tmp_path):
    wrong = checkout(tmp_path)
    [packages] = (wrong / ".local/packages").glob("*")
    (packages / "pg8000" / "fast.so").write_bytes(b"\x7fELF")
    with pytest.raises(build.BuildError, match=r"pg8000/fast\.so is native code"):
        build.build_all(tmp_path / "out", root=wrong)


def test_the_rds_certificates_are_valid_for_another_year():
    import ssl

    context = ssl.create_default_context(cafile=str(ROOT / "functions/geodrop/data/rds-ca.pem"))
    certificates = context.get_ca_certs()
    assert len(certificates) == 81  # 27 regions, three kinds of key
    ends = [datetime.fromtimestamp(ssl.cert_time_to_seconds(one["notAfter"]), tz=UTC) for one in certificates]
    assert (min(ends) - datetime.now(tz=UTC)).days > 365
