"""The shell of the workflows, run as written: GitHub is a bare repository and a `gh` that notes what it is told."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLANS = Path(__file__).parent / "plans"
GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$GH_LOG"
case "$*" in *--paginate*|"issue list"*) cat "$GH_ANSWER" ;; esac
"""


@pytest.fixture
def github(tmp_path):
    """A clone whose origin is a bare copy, and a folder with a stand-in for GitHub's client."""
    origin, clone, programs = tmp_path / "origin.git", tmp_path / "geodrop", tmp_path / "bin"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(origin)], check=True, capture_output=True)
    git(origin, "update-ref", "--no-deref", "HEAD", git(ROOT, "rev-parse", "HEAD").strip())  # detached, as CI has it
    git(origin, "branch", "--force", "main", "HEAD")
    git(origin, "symbolic-ref", "HEAD", "refs/heads/main")
    subprocess.run(["git", "clone", "--quiet", str(origin), str(clone)], check=True, capture_output=True)
    programs.mkdir()
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(stat.S_IRWXU)
    (tmp_path / "answer").write_text("")
    for name in ("HOME", "SUMMARY"):
        (tmp_path / name).mkdir() if name == "HOME" else (tmp_path / name).touch()
    return tmp_path


def steps(workflow, job):
    """Return the shell of a job's steps, by name."""
    text = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yml").read_text())
    return {each.get("name", each["run"].strip()): each["run"] for each in text["jobs"][job]["steps"] if "run" in each}


def run(github, script, **variables):
    """Run a step as GitHub does with `shell: bash`; return its exit code and what it said."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=github / "geodrop",
        env={
            "PATH": f"{github / 'bin'}:{os.environ['PATH']}",
            "HOME": str(github / "HOME"),
            "GH_LOG": str(github / "log"),
            "GH_ANSWER": str(github / "answer"),
            "GITHUB_STEP_SUMMARY": str(github / "SUMMARY"),
            "GITHUB_REPOSITORY": "acme/geodrop",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_release_is_tagged_drafted_and_promoted_by_one_line(github):
    clone, origin = github / "geodrop", github / "origin.git"
    (clone / "dist").mkdir()
    (clone / "dist/api.zip").write_bytes(b"zip")
    shell = steps("release", "release")
    for name in ("Changelog, tag", "Draft of the release", "Pull request that promotes prod"):
        code, said = run(github, shell[name], VERSION="1.2.3")
        assert code == 0, said
    assert "## [1.2.3] - " in git(origin, "show", "v1.2.3:CHANGELOG.md")
    assert git(origin, "rev-parse", "v1.2.3^{commit}") == git(origin, "rev-parse", "main")
    assert "api.zip" in (clone / "dist/SHA256SUMS").read_text()
    assert git(origin, "diff", "--numstat", "v1.2.3", "promote-v1.2.3").split() == ["1", "1", "live/prod/env.hcl"]
    log = (github / "log").read_text()
    assert re.search(r"^release create v1\.2\.3 --draft --verify-tag", log, re.MULTILINE)
    assert re.search(r"^pr create .*--head promote-v1\.2\.3$", log, re.MULTILINE)


def test_a_version_that_is_none_ends_the_release_before_it_pushes(github):
    code, said = run(github, steps("release", "release")["Changelog, tag"], VERSION="1.2")
    assert code != 0
    assert "no version" in said
    assert git(github / "origin.git", "tag") == git(ROOT, "tag")


@pytest.mark.parametrize(("there", "method"), [("", "POST repos/acme/geodrop/issues/5"), ("77\n", "PATCH repos")])
def test_there_is_one_comment_and_what_was_not_checked_fails(github, there, method):
    shutil.copytree(PLANS, github / "geodrop/plans")
    (github / "answer").write_text(there)
    step = steps("plan", "comment")["One comment, updated in place"]
    code, said = run(github, step, NUMBER="5", RUN="https://example.org/run")
    assert code == 1, said
    assert f"--method {method}" in (github / "log").read_text()
    assert "### prod" in (github / "SUMMARY").read_text()
    for path in (github / "geodrop/plans").rglob("tfplan.json"):
        path.with_name("checkov.json").write_text(json.dumps({"results": {"failed_checks": []}}))
    assert run(github, step, NUMBER="5", RUN="https://example.org/run")[0] == 0


def test_no_plan_at_all_is_a_comment_too(github):
    code, said = run(github, steps("plan", "comment")["One comment, updated in place"], NUMBER="5", RUN="")
    assert code == 0, said
    assert "No unit is affected" in (github / "geodrop/comment.md").read_text()


def test_drift_opens_an_issue_updates_it_and_closes_it(github):
    shutil.copytree(PLANS, github / "geodrop/plans")
    [step] = [each for each in steps("drift", "drift").values() if "tools/drift.py" in each]

    def night(issues):
        (github / "answer").write_text(json.dumps(issues))
        code, said = run(github, step, ENVIRONMENT="dev")
        return code, said, (github / "log").read_text().splitlines()

    known = [{"number": 8, "title": "Drift in development"}, {"number": 9, "title": "Drift in dev"}]
    code, said, log = night(known[:1])
    assert code == 1, said
    assert any(line.startswith("issue create --title Drift in dev") for line in log)
    code, said, log = night(known)
    assert code == 1, said
    assert any(line.startswith("issue edit 9 ") for line in log)
    for path in (github / "geodrop/plans").rglob("tfplan.json"):
        path.write_text('{"resource_changes": []}')
    code, said, log = night(known)
    assert code == 0, said
    assert any(line.startswith("issue close 9 ") for line in log)
