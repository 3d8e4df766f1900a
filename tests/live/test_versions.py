"""Modules by version, and the spelling of Terragrunt before 0.90 on the same files."""

import re
import shutil

import pytest

from tests.e2e.environment import ROOT, terragrunt
from tests.live.conftest import git
from tests.require import require


@pytest.fixture
def released(tmp_path):
    """A repository with two tags, whose modules say in a file which they are."""
    folder = tmp_path / "released"
    shutil.copytree(ROOT / "modules", folder / "modules", ignore=shutil.ignore_patterns(".terraform*"))
    git(folder, "init", "--quiet")
    for tag in ("v1.0.0", "v1.1.0"):
        (folder / "modules/network/released.txt").write_text(tag)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)
    return folder


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
