"""Terragrunt on live/ as it is: with AWS's settings, and no AWS.

Only the S3 of the state and STS are there, on an emulator of the tests' own; a plan of what does not exist yet asks
nothing else. `AWS_ENDPOINT_URL`, which turns the emulator's switches, is not set.
"""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.emulator import Emulator
from tests.e2e.environment import ACCOUNTS, ROOT, UNITS, terragrunt, variables
from tests.e2e.environment import build as build_packages
from tests.plan.harness import Planned
from tests.require import TERRAFORM, require

ENVIRONMENTS = ("dev", "prod")


class UnitPlan(Planned):
    """The plan of a unit, whose module is the root module."""

    def __init__(self, raw):
        self.raw = raw
        self._configuration = raw["configuration"]["root_module"]
        changes = raw.get("resource_changes", [])
        self.resources = {each["address"]: each["change"]["after"] for each in changes if each["mode"] == "managed"}
        self.documents = {each["address"]: each["change"]["after"] for each in changes if each["mode"] == "data"}


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def aws(scratch):
    """Environment variables by environment: Terragrunt with an S3 and an STS, both empty."""
    require("terragrunt", TERRAFORM, "provider")
    with Emulator(scratch / "emulator") as emulator:
        yield {
            name: variables(
                scratch / name,
                AWS_ENDPOINT_URL_S3=emulator.url,
                AWS_ENDPOINT_URL_STS=emulator.url,
                AWS_ACCESS_KEY_ID=ACCOUNTS[name],
                AWS_SECRET_ACCESS_KEY="any",
                AWS_REGION="eu-central-1",
            )
            for name in ENVIRONMENTS
        }


@pytest.fixture(scope="session")
def plan_files(aws, scratch, build):
    """The folder of every plan as JSON: <environment>/<unit>/tfplan.json."""
    folder = scratch / "plans"

    def plan(name):
        out = ["--out-dir", str(scratch / "out" / name), "--json-out-dir", str(folder / name)]
        return terragrunt("run", "--all", "plan", *out, environment=aws[name], folder=ROOT / "live" / name)

    with ThreadPoolExecutor(len(ENVIRONMENTS)) as at_once:
        done = dict(zip(ENVIRONMENTS, at_once.map(plan, ENVIRONMENTS), strict=True))
    said = {name: each.stdout + each.stderr for name, each in done.items()}
    (folder / "said.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="session")
def plans(plan_files):
    """Every plan: plans[environment][unit]."""
    return {
        name: {unit: UnitPlan(json.loads((plan_files / name / unit / "tfplan.json").read_text())) for unit in UNITS}
        for name in ENVIRONMENTS
    }


@pytest.fixture(scope="session")
def build():
    """The functions' packages in dist/."""
    build_packages()


def git(folder, *arguments):
    """Run git, as somebody who may commit."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def clone(folder):
    """Clone the project's commit without its tags, on main, with what is set up here in .local."""
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", "main")
    (folder / ".local").symlink_to(ROOT / ".local")
    with (folder / ".git/info/exclude").open("a") as exclude:
        exclude.write(".local\n")  # a link, which .gitignore does not know


def settings(name):
    """What env.hcl sets, by name, as text."""
    text = (ROOT / "live" / name / "env.hcl").read_text()
    return dict(re.findall(r"^  (\w+) += (.*?)(?: #.*)?$", text, re.MULTILINE))


def all_files(*patterns):
    """Files of the project's Terragrunt part."""
    return sorted(
        path
        for pattern in patterns
        for path in Path(ROOT / "live").glob(pattern)
        if ".terragrunt-cache" not in path.parts
    )
