"""On a clone of the repository: a wrong change is stopped by a named check; a right one plans only what it affects."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from geodrop import migrations
from local.postgres import connect
from tests.require import TERRAFORM, require

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import affected  # noqa: E402
import promote  # noqa: E402

COMMIT = ["-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--all", "--message", "x"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone") / "geodrop"
    git(ROOT, "clone", "--quiet", "--local", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", "main")
    return folder


@pytest.fixture
def change(clone):
    """Commit a change of one file on a branch: change(file, old, new); without `old`, `new` goes to the end."""

    def commit(file, old, new):
        path = clone / file
        text = path.read_text()
        assert not old or old in text
        path.write_text(text.replace(old, new, 1) if old else text + new)
        git(clone, *COMMIT)
        return clone

    git(clone, "checkout", "--quiet", "-B", "change", "main")
    yield commit
    git(clone, "checkout", "--quiet", "--force", "main")


def git(folder, *arguments):
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def check(folder, *tests):
    """Run tests of the clone; return how many failed and what they said."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


WELL_FORMED = "tests/live/test_files.py::test_terragrunt_finds_every_file_well_formed_and_every_input_used"
MOCKS = "tests/live/test_files.py::test_mocks_are_the_outputs_of_their_modules_both_ways"
WRONG = {
    "a module's input is renamed, its units are not": (
        ("modules/backup/variables.tf", 'variable "production"', 'variable "is_production"'),
        f"{WELL_FORMED}[live/dev]",
        "production",
    ),
    "a mock of what is no output": (
        ("live/_mocks.hcl", "  network = {\n", '  network = {\n    planted = "x"\n'),
        MOCKS,
        "planted",
    ),
    "an output without its mock": (
        ("modules/network/outputs.tf", "", '\noutput "planted" {\n  description = "None."\n  value       = 1\n}\n'),
        MOCKS,
        "planted",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_change_fails_a_named_check(change, wrong):
    require("terragrunt", TERRAFORM)
    what, test, says = WRONG[wrong]
    code, said = check(change(*what), test)
    assert code == 1, said
    assert says in said


AFFECTED = {
    "modules/backup/main.tf": ["backup"],
    "live/_units/api.hcl": ["api"],
    "modules/function/main.tf": ["api", "ingest", "schema"],
    "functions/migrate/sql/0001_tables.sql": ["schema"],
    "functions/geodrop/load.py": ["api", "ingest", "schema"],
    "README.md": [],
}


@pytest.mark.parametrize("file", AFFECTED)
def test_only_the_units_that_a_change_affects_are_planned_in_both_environments(change, file):
    require("terragrunt", TERRAFORM)
    clone = change(file, "", "\n")
    for environment in ("dev", "prod"):
        assert affected.affected(environment, "main", clone) == AFFECTED[file]


@pytest.mark.parametrize("file", ["modules/function/main.tf", "functions/geodrop/load.py", "modules/backup/main.tf"])
def test_no_change_reaches_an_environment_that_runs_a_release(change, clone, file):
    require("terragrunt", TERRAFORM)
    path = clone / "live/prod/env.hcl"
    path.write_text(promote.promote(path.read_text(), "v1.2.3"))
    git(clone, *COMMIT)
    git(clone, "branch", "--force", "base", "HEAD")
    change(file, "", "\n")
    assert affected.affected("prod", "base", clone) == []
    assert affected.affected("dev", "base", clone) == AFFECTED[file]


def test_the_environment_s_own_file_affects_all_its_units_and_no_other_environment(change):
    require("terragrunt", TERRAFORM)
    clone = change("live/prod/env.hcl", "", "\n")
    assert affected.affected("dev", "main", clone) == []
    assert affected.affected("prod", "main", clone) == sorted(p.parent.name for p in clone.glob("live/prod/*/*.hcl"))


def test_the_root_file_affects_all(change):
    clone = change("terragrunt.hcl", "", "\n")
    assert "network" in affected.affected("dev", "main", clone)
    assert "network" in affected.affected("prod", "main", clone)


def test_every_file_of_a_package_leads_to_its_unit():
    """The folders of functions/ are the ones that affected.py knows."""
    folders = {f"functions/{path.parent.name}/" for path in ROOT.glob("functions/*/handler.py")}
    assert folders <= set(affected.PARTS)


def test_a_migration_that_was_edited_after_it_ran_is_refused(database_url, tmp_path):
    folder = Path(shutil.copytree(ROOT / "functions/migrate/sql", tmp_path / "sql"))
    with closing(connect(database_url)) as connection:
        assert migrations.pending(connection, migrations.load(folder)) == []
        first = next(folder.glob("0001*.sql"))
        first.write_text(first.read_text() + "-- edited\n")
        with pytest.raises(migrations.MigrationError, match="edited after it was applied"):
            migrations.migrate(connection, migrations.load(folder))
