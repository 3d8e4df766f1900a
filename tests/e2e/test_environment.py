"""live/dev or live/prod, as it is, applied to an emulated AWS from nothing, used, planned again and destroyed.

`make e2e ENV=dev`. The tests below are one story: each needs what the one before has left.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.environment import PROGRAM, ROOT, UNITS, Emulated
from tests.require import TERRAFORM, require

ENVIRONMENT = os.environ.get("GEODROP_ENV", "dev")

# A minute less, and nothing less tested: a dependency's outputs are read in its state, not asked of Terraform as `make
# e2e-iam` does, and what the second plan has just read is not read once more to be destroyed.
FASTER = {"TG_DEPENDENCY_FETCH_OUTPUT_FROM_STATE": "true", "TF_CLI_ARGS_destroy": "-refresh=false"}

# What the emulator reads back otherwise than it was told, so that a second apply would change it again.
GAPS = {
    r"network: aws_flow_log\.this": "the IAM role and the interval are forgotten",
    r"network: aws_vpc_endpoint\.s3": "the policy is forgotten",
    r"database: aws_db_instance\.this": "the exported logs and Performance Insights' key are forgotten",
    r"\w+: (module\.function\.)?aws_cloudwatch_metric_alarm\.\w+(\[.+\])?": "dimensions or actions are forgotten",
}


@pytest.fixture(scope="module")
def emulated():
    require(PROGRAM, TERRAFORM, "provider")
    with Emulated(ENVIRONMENT, ROOT / ".local" / f"e2e-{ENVIRONMENT}", **FASTER) as started:
        yield started
    print("\n" + ", ".join(f"{what} {taken:.0f} s" for what, taken in started.seconds.items()))


def unexpected(changes):
    """Return what is not among the emulator's gaps."""
    return {where: action for where, action in changes.items() if not any(re.fullmatch(gap, where) for gap in GAPS)}


@pytest.fixture(scope="module")
def applied(emulated):
    """What the apply printed, and what a second one would change: "unit: address" -> action.

    The provider waits for most of the time, so what is applied is used and planned again meanwhile: the pipeline's
    tests begin when ingest and api are there, which is before the alarms and the backups are.
    """
    with ThreadPoolExecutor() as pool:
        apply = pool.submit(emulated.run, "apply", "apply")

        def when_applied(*units):
            while not apply.done() and not all(emulated.is_applied(unit) for unit in units):
                time.sleep(0.5)
            if apply.done():
                apply.result()  # raises what went wrong
            return units

        found = emulated.changes(when_applied("network", "database", "schema", "github-oidc"))
        when_applied("ingest", "api")
        emulated.write_stack()
        planned = pool.submit(emulated.changes, ("ingest", "api"))
        emulated.use("-m", "not reconfigures")
        found |= planned.result()
        emulated.use("-m", "reconfigures")
        found |= emulated.changes(when_applied("monitoring"))
        found |= emulated.changes(when_applied("backup"))
        done = apply.result()
    return done.stdout + done.stderr, found


def test_it_applies_from_nothing_without_a_warning_and_files_become_answers(emulated, applied):
    said, _ = applied
    warned = re.findall(r"^.*\bWARN\b.*$", said, re.MULTILINE)
    # An emulator that cuts a connection off is asked again, as AWS would be: see `errors` in terragrunt.hcl.
    # Terragrunt before 0.90 warns of its own spelling.
    assert [line for line in warned if "retryable error: " not in line and "`run-all " not in line] == []
    print(f"\n{len(emulated.resources())} resources in {len(UNITS)} units")


def test_a_second_apply_changes_only_what_the_emulator_forgets(applied):
    _, changes = applied
    assert not unexpected(changes)
    print(f"{len(changes)} resources that the emulator does not read back as they were made, as listed")


def test_destroy_leaves_nothing(emulated):
    emulated.run("destroy", "destroy")
    assert emulated.resources() == []
    assert emulated.leftovers() == []
