"""The modules are written alike, and their READMEs' tables say what they take and give."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.plan.harness import MODULES, ROOT
from tests.require import TERRAFORM, require

PROGRAM = ROOT / "tools/module_docs.py"


def run(root, *arguments):
    command = [sys.executable, root / "tools/module_docs.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    """The modules and the program in a folder of their own."""
    shutil.copytree(ROOT / "modules", tmp_path / "modules", ignore=shutil.ignore_patterns(".terraform*"))
    (tmp_path / "tools").mkdir()
    shutil.copy(PROGRAM, tmp_path / "tools")
    return tmp_path


def test_no_table_is_stale():
    checked = run(ROOT, "--check")
    assert checked.returncode == 0, checked.stdout


def test_a_changed_input_makes_its_table_stale_until_it_is_written(copy):
    variables = copy / "modules/network/variables.tf"
    variables.write_text(variables.read_text().replace("Address range of the VPC", "Range of the VPC"))
    checked = run(copy, "--check")
    assert checked.returncode == 1
    assert checked.stdout == "modules/network/README.md is stale: run python tools/module_docs.py\n"

    assert run(copy).returncode == 0
    assert run(copy, "--check").returncode == 0
    assert "Range of the VPC, /16 to /24" in (copy / "modules/network/README.md").read_text()


@pytest.mark.parametrize("module", MODULES)
def test_every_input_and_output_has_a_row_with_a_description(module):
    folder = ROOT / "modules" / module
    inputs, outputs = (folder / "README.md").read_text().split("### Outputs")
    for file, table in (("variables.tf", inputs), ("outputs.tf", outputs)):
        names = re.findall(r'^(?:variable|output) "(\w+)"', (folder / file).read_text(), re.MULTILINE)
        rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE))
        assert list(rows) == names
        assert all(len(description) > 8 for description in rows.values())


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_laid_out_alike(module):
    folder = ROOT / "modules" / module
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".terraform")} == {
        "README.md",
        "main.tf",
        "outputs.tf",
        "variables.tf",
        "versions.tf",
    }
    assert (folder / "versions.tf").read_text() == (ROOT / "modules/network/versions.tf").read_text()


@pytest.mark.parametrize("module", MODULES)
def test_every_input_is_typed_described_used_and_never_null(module):
    folder = ROOT / "modules" / module
    used = (folder / "main.tf").read_text() + (folder / "outputs.tf").read_text()
    for block in (folder / "variables.tf").read_text().split("\nvariable "):
        name = block.removeprefix("variable ").split('"')[1]
        assert "\n  description = " in block, name
        assert "\n  type" in block, name
        assert "\n  nullable = false" in block or "\n  nullable    = false" in block, name
        assert f"var.{name}" in used, f"{name} is not used"


def test_modules_are_formatted():
    require(TERRAFORM)
    command = [TERRAFORM, "fmt", "-check", "-recursive", "modules"]
    formatted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stdout
