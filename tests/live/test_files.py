"""The files of live/: what differs is in one place, mocks are true to the modules, the order is the designed one."""

import json
import re
import subprocess

import pytest

from tests.e2e.environment import ROOT, UNITS, TerragruntError, terragrunt, variables
from tests.live.conftest import ENVIRONMENTS, all_files, settings
from tests.require import TERRAFORM, require

# What must be applied before a unit, directly.
BEFORE = {
    "network": set(),
    "database": {"network"},
    "schema": {"network", "database"},
    "ingest": {"network", "database", "schema"},
    "api": {"network", "database", "schema"},
    "backup": {"database", "ingest"},
    "monitoring": {"database", "ingest", "api"},
    "github-oidc": set(),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Variables for what needs no AWS at all."""
    require("terragrunt", TERRAFORM)
    return variables(tmp_path_factory.mktemp("quiet"))


def mocks():
    """Return the names of the mocked outputs by unit."""
    text = (ROOT / "live/_mocks.hcl").read_text()
    blocks = re.findall(r"^  ([\w-]+) = \{\n(.*?)^  \}", text, re.MULTILINE | re.DOTALL)
    return {unit: set(re.findall(r"^    (\w+) +=", body, re.MULTILINE)) for unit, body in blocks}


def outputs(module):
    text = (ROOT / "modules" / module / "outputs.tf").read_text()
    return set(re.findall(r'^output "(\w+)"', text, re.MULTILINE))


def dependencies(unit):
    """Return the dependency blocks of a unit by name."""
    text = (ROOT / f"live/_units/{unit}.hcl").read_text()
    return dict(re.findall(r'^dependency "([\w-]+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL))


def test_environments_differ_in_env_hcl_alone():
    units = {path.relative_to(ROOT / "live" / name) for name in ENVIRONMENTS for path in all_files(f"{name}/**/*.hcl")}
    assert {str(path) for path in units} == {"env.hcl", *(f"{unit}/terragrunt.hcl" for unit in UNITS)}
    texts = {path.read_text() for path in all_files("*/*/terragrunt.hcl")}
    assert len(texts) == 1, "a unit is two includes, the same everywhere"
    assert re.findall(r"^(\w+)", texts.pop(), re.MULTILINE) == ["include", "include"]
    assert settings("dev").keys() == settings("prod").keys()


def test_everything_that_env_hcl_sets_is_used():
    text = "".join(path.read_text() for path in [ROOT / "terragrunt.hcl", *all_files("_*.hcl", "_units/*.hcl")])
    unused = {name for name in settings("dev") if f"env.{name}" not in text}
    assert not unused


def test_mocks_are_the_outputs_of_their_modules_both_ways():
    found = mocks()
    wanted = {name for unit in UNITS for name in dependencies(unit)}
    assert set(found) == wanted
    for unit, names in found.items():
        assert names == outputs(unit), unit


def test_mocks_stand_in_for_plans_but_never_for_an_apply():
    commands = re.search(r"commands = (\[.*\])", (ROOT / "live/_mocks.hcl").read_text())[1]
    assert set(json.loads(commands)) == {"init", "validate", "plan", "show", "destroy"}
    for unit in UNITS:
        for name, body in dependencies(unit).items():
            settings_of = dict(line.split("=", 1) for line in body.splitlines() if "=" in line)
            said = {left.strip(): right.strip() for left, right in settings_of.items()}
            assert said == {
                "config_path": f'"${{get_terragrunt_dir()}}/../{name}"',
                "mock_outputs": f"local.mocks.{name}",
                "mock_outputs_allowed_terraform_commands": "local.mocks.commands",
                "mock_outputs_merge_strategy_with_state": '"shallow"',
            }, (unit, name)


def test_an_apply_is_refused_what_a_plan_is_mocked(aws):
    with pytest.raises(TerragruntError, match=r'resolving dependency "network" outputs|no outputs'):
        terragrunt("apply", "-auto-approve", environment=aws["dev"], folder=ROOT / "live/dev/database")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_order_is_the_designed_one_and_has_no_circle(quiet, name):
    arguments = ["find", "--dag", "--dependencies", "--format", "json"]
    found = json.loads(terragrunt(*arguments, environment=quiet, folder=ROOT / "live" / name).stdout)
    order = [each["path"] for each in found]
    assert {each["path"]: set(each.get("dependencies", [])) for each in found} == BEFORE
    for unit, before in BEFORE.items():
        assert all(order.index(earlier) < order.index(unit) for earlier in before)


def test_the_root_file_is_no_unit(quiet):
    found = terragrunt("find", environment=quiet, folder=ROOT).stdout.split()
    assert sorted(found) == sorted(f"live/{name}/{unit}" for name in ENVIRONMENTS for unit in UNITS)


def test_nobody_at_github_is_trusted_unless_a_repository_is_named(quiet):
    nobody = {name: value for name, value in quiet.items() if name != "GEODROP_GITHUB_REPOSITORY"}
    arguments = ["find", "--exclude", "--format", "json"]
    for environment, excluded in ((nobody, True), (quiet, False)):
        found = json.loads(terragrunt(*arguments, environment=environment, folder=ROOT / "live/dev").stdout)
        left_out = {each["path"] for each in found if each["exclude"]["if"]}
        assert left_out == ({"github-oidc"} if excluded else set())


@pytest.mark.parametrize("folder", [".", "live/dev", "live/prod"])
def test_terragrunt_finds_every_file_well_formed_and_every_input_used(quiet, folder):
    """--strict-mode turns what is deprecated into errors; --strict refuses inputs that a module does not have."""
    done = terragrunt(
        "--strict-mode", "hcl", "validate", "--inputs", "--strict", environment=quiet, folder=ROOT / folder
    )
    warnings = re.findall(r"^.*\bWARN\b.*$", done.stdout + done.stderr, re.MULTILINE)
    assert [line for line in warnings if "mock outputs provided" not in line] == []


def test_files_are_formatted(quiet):
    for path in [ROOT / "terragrunt.hcl", *all_files("**/*.hcl")]:
        terragrunt("hcl", "fmt", "--check", "--file", str(path), environment=quiet)
    subprocess.run([TERRAFORM, "fmt", "-check", "-recursive", "modules"], cwd=ROOT, check=True, capture_output=True)


def test_every_switch_of_the_emulator_is_explained_and_used():
    text = (ROOT / "live/_emulator.hcl").read_text()
    blocks = [block for block in text.split("locals {\n")[1].split("\n\n") if "=" in block]
    switches = [name for block in blocks for name in re.findall(r"^  (\w+) +=", block, re.MULTILINE)]
    explained = [block for block in blocks if re.match(r"\s*(on\b|#)", block)]
    assert len(explained) == len(blocks)
    used = "".join(path.read_text() for path in [ROOT / "terragrunt.hcl", *all_files("_mocks.hcl", "_units/*.hcl")])
    assert not [name for name in switches if f"emulator.{name}" not in used]


def test_nothing_but_the_example_account_is_committed():
    text = "".join(path.read_text() for path in [ROOT / "terragrunt.hcl", *all_files("**/*.hcl")])
    assert set(re.findall(r"\b\d{12}\b", text)) <= {"000000000000", "111122223333", "444455556662"}
