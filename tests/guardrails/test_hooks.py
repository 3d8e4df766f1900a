"""Each hook catches the fault that it is there for, planted in a clone, and names its file."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.require import require

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ".github/workflows/planted.yml"
JOB = """name: planted
on: push
permissions: {}
concurrency: {group: planted, cancel-in-progress: false}
jobs:
  planted:
    name: Planted
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
"""
PUBLIC_BUCKET = """
resource "aws_s3_bucket_public_access_block" "planted" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = false
  block_public_policy     = false
  ignore_public_acls      = false
  restrict_public_buckets = false
}
"""
UNENCRYPTED_BUCKET = """
resource "aws_s3_bucket" "planted" {
  bucket = "planted"
}
"""
OPEN_TO_THE_WORLD = """
resource "aws_vpc_security_group_ingress_rule" "planted" {
  security_group_id = aws_security_group.function.id
  description       = "Anyone"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 22
  to_port           = 22
  ip_protocol       = "tcp"
}
"""

# Hook, file, what is put at its end (a new file, where there is none), what the hook says, the program it needs.
FAULTS = [
    ("terraform-fmt", "modules/api/main.tf", 'locals {\n      planted="x"\n}\n', "modules/api/main.tf", "terraform"),
    ("hcl-fmt", "live/dev/env.hcl", 'locals {\n      planted="x"\n}\n', "live/dev/env.hcl", "terragrunt"),
    ("ruff-check", "functions/geodrop/planted.py", '"""Planted."""\n\nimport os\n', "planted.py", None),
    ("ruff-format", "functions/geodrop/planted.py", '"""Planted."""\n\nx = {  "a":1 }\n', "planted.py", None),
    ("mypy", "local/planted.py", '"""Planted."""\n\nX: int = "1"\n', "local/planted.py:3", None),
    (
        "checkov",
        "modules/ingest/main.tf",
        PUBLIC_BUCKET + UNENCRYPTED_BUCKET + OPEN_TO_THE_WORLD,
        ("CKV_AWS_53", "CKV_AWS_145", "CKV_AWS_24"),
        "checkov",
    ),
    ("tflint", "modules/api/variables.tf", '\nvariable "planted" {\n  type = string\n}\n', "variables.tf", "tflint"),
    ("secrets", "local/planted.py", 'KEY = "AKIA' + 'Z7QWERTYUIOP2345"\n', "local/planted.py:1", None),
    ("shellcheck", ".ci/planted.sh", "#!/bin/bash\ncd $1\nrm -rf $2/*\n", ".ci/planted.sh", None),
    ("yamllint", "datasets/planted.yaml", "a: 1\na: 2\n", "datasets/planted.yaml", None),
    ("workflow-schema", WORKFLOW, JOB.replace("runs-on", "run-on") + "      - run: 'true'\n", WORKFLOW, None),
    ("actionlint", WORKFLOW, JOB + "      - run: cd $UNSET && echo ${{ github.evnt }}\n", WORKFLOW, "actionlint"),
    ("zizmor", WORKFLOW, JOB + "      - uses: actions/checkout@v4\n", WORKFLOW, None),
    ("large-files", "docs/planted.txt", "x" * 700_000, "docs/planted.txt", None),
    (
        "module-docs",
        "modules/api/outputs.tf",
        '\noutput "planted" {\n  description = "."\n  value = 1\n}\n',
        "stale",
        None,
    ),
    ("migrations", "functions/migrate/sql/0001", "-- edited\n", "write a new migration", None),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The commit that is checked out with the hooks of the work tree, and the tools that `make hooks` made."""
    folder = tmp_path_factory.mktemp("clone") / "geodrop"
    git(ROOT, "clone", "--quiet", "--local", str(ROOT), str(folder))
    git(folder, "tag", "v0.0.1")
    for name in (".pre-commit-config.yaml", "tools/hook.py", ".secrets.baseline", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / ".local").mkdir()
    for name in ("venv", "bin", "checkov"):
        if (ROOT / ".local" / name).exists():
            (folder / ".local" / name).symlink_to(ROOT / ".local" / name)
    return folder


def git(folder, *arguments):
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def hook(folder, name, *files):
    """Run one hook as pre-commit does for a change of these files."""
    command = [ROOT / ".local/venv/bin/pre-commit", "run", name, "--files", *files]
    home = {"PRE_COMMIT_HOME": str(folder.parent / "home"), "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **home})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "file", "fault", "says", "program"), FAULTS, ids=[f"{name}-{file}" for name, file, *_ in FAULTS]
)
def test_a_planted_fault_is_caught_by_its_hook(clone, name, file, fault, says, program):
    if program == "checkov":
        subprocess.run(["make", "checkov"], cwd=ROOT, check=True, capture_output=True)
    elif program and not (ROOT / ".local/bin" / program).exists():
        require(program)
    path = clone / file
    if name == "migrations":
        path = next((clone / "functions/migrate/sql").glob("0001*.sql"))
    before = path.read_text() if path.exists() else None
    try:
        path.write_text((before or "") + fault)
        if before is None:
            git(clone, "add", "--intent-to-add", "--force", str(path))
        code, output = hook(clone, name, str(path.relative_to(clone)))
        assert code != 0, output
        for each in [says] if isinstance(says, str) else says:
            assert each in output, output
    finally:
        if before is None:
            git(clone, "rm", "--quiet", "--cached", str(path))
            path.unlink()
        else:
            path.write_text(before)
    if before is not None and program != "checkov":
        code, output = hook(clone, name, str(path.relative_to(clone)))
        assert code == 0, output


def test_a_missing_program_is_named_and_fails_only_where_it_is_required(tmp_path):
    """A copy of the program with no tools around it."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/hook.py").write_bytes((ROOT / "tools/hook.py").read_bytes())
    python = ["/usr/bin/env", "-i", "PATH=/nonexistent", os.path.realpath(ROOT / ".local/venv/bin/python")]
    run = [*python[:3], "{}", python[3], "tools/hook.py", "terraform-fmt", "a.tf"]
    for required, code in (("GEODROP_REQUIRE=", 0), ("GEODROP_REQUIRE=terraform,tflint", 1)):
        command = [required if word == "{}" else word for word in run]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "terraform is missing (mise install" in done.stdout


def test_the_workflows_are_clean():
    """actionlint, zizmor --pedantic, the schema, yamllint: all on all workflows."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert len(files) == 5
    if not (ROOT / ".local/bin/actionlint").exists():
        require("actionlint")
    for name in ("workflow-schema", "actionlint", "zizmor", "yamllint"):
        command = ["python3", "tools/hook.py", name, *files]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "NOT CHECKED" not in done.stdout
