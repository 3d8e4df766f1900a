"""The comment on a pull request that changes one module, by the very steps of the workflow, on this repository."""

import os
import re
import subprocess
import sys

import pytest

from tests.e2e.environment import ROOT
from tests.guardrails.test_workflow_steps import steps
from tests.live.conftest import ENVIRONMENTS, git


@pytest.fixture
def clone(tmp_path):
    """A clone whose origin has this commit as its main."""
    origin, folder = tmp_path / "origin.git", tmp_path / "geodrop"
    git(tmp_path, "clone", "--quiet", "--bare", str(ROOT), str(origin))
    git(origin, "update-ref", "refs/heads/main", "HEAD")
    git(origin, "symbolic-ref", "HEAD", "refs/heads/main")
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-b", "change")
    return folder


def test_it_names_only_the_units_of_the_module_in_both_environments(aws, plan_files, clone):
    assert plan_files  # these plans have made the buckets of the states
    module = clone / "modules/backup/main.tf"
    module.write_text(module.read_text() + "\n# Changed.\n")
    git(clone, "commit", "--quiet", "--all", "--message", "A change of one module")

    script = steps("plan", "plan")["Plan what the change affects"]
    for name in ENVIRONMENTS:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=clone,
            env=aws[name] | {"ENVIRONMENT": name, "GEODROP_MODULES_REPOSITORY": "file:///nowhere"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    said = subprocess.run(
        [sys.executable, "tools/plan_comment.py", "plans", "https://example.org/run"],
        cwd=clone,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    print(said)
    environments = re.split(r"^#+ ", said, flags=re.MULTILINE)
    for name in ENVIRONMENTS:
        [part] = [part for part in environments if part.startswith(name)]
        assert re.findall(r"^\| `?([a-z-]+)`? \| \**\d", part, re.MULTILINE) == ["backup"], said
