"""What the workflows decide, on plans recorded from live/ (addresses and actions only)."""

import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import changelog  # noqa: E402
import drift  # noqa: E402
import plan_comment  # noqa: E402
import promote  # noqa: E402
from plans import read_all  # noqa: E402


@pytest.fixture
def plans(tmp_path):
    return Path(shutil.copytree(Path(__file__).parent / "plans", tmp_path / "plans"))


def rewrite(plans, unit, actions):
    """Let a recorded plan do something else: address -> actions, no-op for the rest."""
    path = plans / "live" / unit / "tfplan.json"
    plan = json.loads(path.read_text())
    for change in plan["resource_changes"]:
        change["change"]["actions"] = actions.get(change["type"], ["no-op"])
    path.write_text(json.dumps(plan))


def test_the_comment_has_a_table_for_each_environment_and_what_was_not_checked(plans):
    text = plan_comment.comment(read_all(plans), "https://example.org/run")
    assert text.startswith("<!-- geodrop plan -->")
    assert text.index("### dev") < text.index("### prod")
    assert "CAUTION" not in text
    assert "not checked" in text
    assert plan_comment.main(["--check", str(plans)]) == 1


def test_lost_data_stands_out(plans):
    rewrite(plans, "dev/database", {"aws_db_instance": ["delete", "create"]})
    rewrite(plans, "prod/database", {"aws_db_instance": ["delete"]})
    text = plan_comment.comment(read_all(plans))
    assert "> **This loses data:**\n> - `dev/database`: `aws_db_instance.this`" in text
    assert "| database ⚠ | 0 | 0 | 0 | **1** |" in text
    assert "| database ⚠ | 0 | 0 | **1** | 0 |" in text


def test_policy_and_length(plans):
    check = {"check_id": "CKV_AWS_20", "resource": "aws_s3_bucket.this"}
    for path in plans.rglob("tfplan.json"):
        path.with_name("checkov.json").write_text(json.dumps({"results": {"failed_checks": []}}))
    assert plan_comment.main(["--check", str(plans)]) == 0
    (plans / "live/dev/ingest/checkov.json").write_text(json.dumps([{"results": {"failed_checks": [check]}}]))
    assert plan_comment.main(["--check", str(plans)]) == 1
    units = read_all(plans)
    units[0].add = [f"aws_thing.that_is_long[{number}]" for number in range(5000)]
    assert len(plan_comment.comment(units)) < 65_536


def test_drift(plans):
    units = read_all(plans)
    assert drift.decide(units, None)[0] == "open"
    assert drift.decide(units, 7)[0] == "update"
    for path in plans.rglob("tfplan.json"):
        rewrite(plans, str(path.parent.relative_to(plans / "live")), {})
    assert drift.decide(read_all(plans), 7)[0] == "close"
    assert drift.decide(read_all(plans), None) == ("none", "")
    with pytest.raises(ValueError, match="nothing is known"):
        drift.decide([], 7)


def test_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    subjects = ["Sum levels", "fix: a hole", "feat!: other names", "feat(api): tiles"]
    changed, notes = changelog.release(text, "1.2.3", "2026-01-02", subjects)
    assert "## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n### Breaking\n\n- other names\n\n### Added\n" in changed
    assert "- tiles" in notes
    assert "### Fixed\n\n- a hole" in notes
    again, _ = changelog.release(changed, "1.2.4", "2026-01-03", ["fix: another"])
    assert again.index("## [1.2.4]") < again.index("## [1.2.3]")
    for wrong in ("1.2.3", "v2"):
        with pytest.raises(ValueError, match=r"version|already"):
            changelog.release(changed, wrong, "2026-01-03", [])


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_promotion_changes_one_line(environment):
    text = (ROOT / "live" / environment / "env.hcl").read_text()
    changed = promote.promote(text, "v1.2.3")
    lines = [new for old, new in zip(text.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert len(lines) == 1
    assert "modules_version" in lines[0]
    assert '"v1.2.3"' in lines[0]
    with pytest.raises(ValueError, match="no tag"):
        promote.promote(text, "main")
