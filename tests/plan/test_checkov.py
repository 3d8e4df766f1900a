"""checkov on the modules: no failed check, and a reason for each that is skipped."""

import json
import subprocess

from tests.plan.harness import ROOT


def test_no_check_fails_and_each_skip_has_its_reason(record_property):
    # Quick when its environment is there.
    subprocess.run(["make", "checkov"], cwd=ROOT, check=True, capture_output=True)
    command = [".local/checkov/bin/checkov", "--directory", "modules", "--framework", "terraform", "--skip-download"]
    command += ["--compact", "--output", "json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    results = json.loads(run.stdout)["results"]

    assert not [f"{each['check_id']} {each['resource']}" for each in results["failed_checks"]]
    assert len(results["passed_checks"]) > 200, "too few: did it read the modules?"

    skips = {
        (each["check_id"], each["file_path"], each["file_line_range"][0]): each["check_result"]["suppress_comment"]
        for each in results["skipped_checks"]
    }
    assert all(len(reason.split()) >= 5 for reason in skips.values())
    passed = len(results["passed_checks"])
    record_property("notice", f"checkov: {passed} passed, {len(skips)} skipped with a reason in the modules")
