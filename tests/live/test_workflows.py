"""What the workflows ask of AWS is what the roles for them admit, and what env.hcl reads is what they set."""

import json
import re

import pytest
import yaml

from tests.e2e.environment import REPOSITORY, ROOT
from tests.live.conftest import ENVIRONMENTS, all_files

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
ROLE = re.compile(r"vars\.GEODROP_([A-Z]+)_(PLAN|APPLY)_ROLE")


def jobs():
    """Every job of every workflow: (workflow, job, its text)."""
    return [(name, job, text) for name, workflow in WORKFLOWS.items() for job, text in workflow["jobs"].items()]


def roles(job):
    """Return the roles that a job takes, each as (environment, plan or apply)."""
    asked = [step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})]
    return {(name.lower(), kind.lower()) for expression in asked for name, kind in ROLE.findall(expression)}


def subjects(workflow, job):
    """Return the places that GitHub writes into a job's tokens, for each event that the job answers, on main."""
    if "environment" in job:
        return {f"environment:{job['environment']}"}
    events = set(WORKFLOWS[workflow][True])  # YAML takes `on` for a boolean
    only = set(re.findall(r"github\.event_name == '(\w+)'", job.get("if", "")))
    places = {"pull_request": "pull_request"}
    return {places.get(event, "ref:refs/heads/main") for event in (events & only or events)}


def test_there_are_jobs_that_take_each_role():
    taken = {role for _, _, job in jobs() for role in roles(job)}
    assert taken == {(name, kind) for name in ENVIRONMENTS for kind in ("plan", "apply")}


@pytest.mark.parametrize(("workflow", "name", "job"), [each for each in jobs() if roles(each[2])])
def test_a_role_admits_every_job_that_takes_it(plans, workflow, name, job):
    for environment, kind in roles(job):
        role = plans[environment]["github-oidc"][f"aws_iam_role.{kind}"]
        (trust,) = json.loads(role["assume_role_policy"])["Statement"]
        (admitted,) = [said for key, said in trust["Condition"]["StringEquals"].items() if key.endswith(":sub")]
        admitted = {admitted} if isinstance(admitted, str) else set(admitted)
        wanted = {f"repo:{REPOSITORY}:{place}" for place in subjects(workflow, job)}
        assert wanted <= admitted, f"{workflow}, {name}: {environment}'s {kind} role refuses {wanted - admitted}"


@pytest.mark.parametrize(("workflow", "name", "job"), [each for each in jobs() if roles(each[2])])
def test_a_job_that_runs_terragrunt_sets_every_variable_that_it_reads(workflow, name, job):
    """One that is not set takes its default, and an apply without it would undo what an apply with it has made."""
    text = "".join(path.read_text() for path in [ROOT / "terragrunt.hcl", *all_files("*/env.hcl")])
    read = set(re.findall(r'get_env\("(GEODROP_\w+)"', text))
    # A release is chosen in env.hcl itself, and is looked for in the checkout.
    read -= {"GEODROP_MODULES_REPOSITORY", *(f"GEODROP_{name.upper()}_MODULES" for name in ENVIRONMENTS)}
    assert read - set(job["env"]) == set(), f"{workflow}, {name}"


@pytest.mark.parametrize(("workflow", "name", "job"), [each for each in jobs() if roles(each[2])])
def test_a_job_that_runs_terragrunt_has_the_releases(workflow, name, job):
    """The checkout is where `modules_version` is looked up: it must have the tags."""
    (checkout,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["fetch-depth"] == 0, f"{workflow}, {name}"
