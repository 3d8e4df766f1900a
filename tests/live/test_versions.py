"""Modules by version, and the spelling of Terragrunt before 0.90 on the same files."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.e2e.environment import ROOT, terragrunt
from tests.live.conftest import UnitPlan, clone, git
from tests.require import require

RELEASES = {"v1.0.0": 1111, "v1.1.0": 1222}  # and the memory that their ingest function asks for (MB)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A clone with two tags, whose modules and functions say which they are; its working tree has gone on since."""
    folder = tmp_path_factory.mktemp("releases") / "released"
    clone(folder)
    for part in ("live", "modules", "functions", "datasets", "requirements", "tools", "terragrunt.hcl"):
        shutil.rmtree(folder / part, ignore_errors=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else lambda old, new, **_: shutil.copyfile(old, new)
        copy(ROOT / part, folder / part, ignore=shutil.ignore_patterns(".terra*", "__pycache__"))
    for tag in RELEASES:
        mark(folder, tag)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)
    mark(folder, "unreleased")
    return folder


def mark(folder, version):
    """Let modules, functions and migrations say that they are of this version."""
    (folder / "modules/network/released.txt").write_text(version)
    definition = folder / "functions/ingest/function.json"
    definition.write_text(json.dumps({**json.loads(definition.read_text()), "memory_mb": RELEASES.get(version, 999)}))
    (folder / "functions/migrate/sql/9000_released.sql").write_text(f"SELECT '{version}';\n")
    with (folder / "functions/ingest/handler.py").open("a") as handler:
        handler.write(f"\nRELEASE = {version!r}\n")


def test_each_environment_takes_its_own_version_of_the_modules(aws, released, tmp_path):
    versions = {"dev": "v1.1.0", "prod": "v1.0.0"}
    for name, version in versions.items():
        scratch = tmp_path / name
        chosen = {"GEODROP_MODULES_REPOSITORY": f"file://{released}", f"GEODROP_{name.upper()}_MODULES": version}
        unit = ROOT / "live" / name / "network"
        environment = aws[name] | chosen | {"TG_DOWNLOAD_DIR": str(scratch)}
        terragrunt("run", "--", "init", "-backend=false", environment=environment, folder=unit)
        found = {path.read_text() for path in scratch.rglob("released.txt")}
        assert found == {version}


def test_an_environment_runs_the_functions_of_its_release_and_not_those_of_the_working_tree(aws, released, tmp_path):
    """Its package, its settings and its migrations: a promotion brings all of them, a rollback takes all back."""
    version = "v1.0.0"  # v1.1.0 came after it, and the working tree after that
    subprocess.run([sys.executable, "tools/promote.py", "prod", version], cwd=released, check=True)
    plans = tmp_path / "plans"
    arguments = ["--filter=./ingest", "--filter=./schema", "plan", "--json-out-dir", str(plans)]
    environment = aws["prod"] | {"TG_DOWNLOAD_DIR": str(tmp_path / "cache")}
    terragrunt("run", "--all", *arguments, environment=environment, folder=released / "live/prod")
    ingest, schema = (UnitPlan(json.loads((plans / unit / "tfplan.json").read_text())) for unit in ("ingest", "schema"))

    function = ingest["module.function.aws_lambda_function.this"]
    assert function["memory_size"] == RELEASES[version]
    [package] = {path.read_bytes() for path in (tmp_path / "cache").rglob("modules/ingest/package.zip")}
    assert function["source_code_hash"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    handler = zipfile.ZipFile(io.BytesIO(package)).read("handler.py").decode()
    assert handler.splitlines()[-1] == f"RELEASE = {version!r}"
    git(released, "checkout", "--quiet", version, "--", "functions")
    files = sorted((released / "functions/migrate/sql").glob("*.sql"))
    lines = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    told = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert schema["aws_lambda_invocation.this"]["triggers"]["sql"] == told


def test_without_a_version_the_working_tree_is_taken(aws, tmp_path):
    environment = aws["dev"] | {"TG_DOWNLOAD_DIR": str(tmp_path)}
    terragrunt("run", "--", "init", "-backend=false", environment=environment, folder=ROOT / "live/dev/network")
    (taken,) = {path.read_text() for path in tmp_path.rglob("network/main.tf")}
    assert taken == (ROOT / "modules/network/main.tf").read_text()


def test_terragrunt_before_0_90_plans_the_same_files_without_a_warning(aws, build):
    """Terragrunt 0.89, whose spelling is run-all, goes by the name terragrunt-0.89 here."""
    require("terragrunt-0.89")
    done = terragrunt("run-all", "plan", program="terragrunt-0.89", environment=aws["dev"], folder=ROOT / "live/dev")
    warned = re.findall(r"^.*\bWARN\b.*$", done.stdout + done.stderr, re.MULTILINE)
    ours = [line for line in warned if "mock" not in line and "retryable" not in line and "run-all" not in line]
    assert ours == []
