"""What plans in JSON say: shared by plan_comment.py and drift.py.

A folder of plans is what `terragrunt run --all --json-out-dir DIR plan` writes: .../<environment>/<unit>/tfplan.json.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

# Resources that hold what cannot be made again.
DATA = {
    "aws_backup_vault",
    "aws_cloudwatch_log_group",
    "aws_db_instance",
    "aws_kms_key",
    "aws_s3_bucket",
    "aws_s3_object",
    "aws_secretsmanager_secret",
    "aws_sqs_queue",
}


@dataclass
class Unit:
    """What the plan of one unit would do: addresses of resources by kind of change."""

    environment: str
    name: str
    add: list[str] = field(default_factory=list)
    change: list[str] = field(default_factory=list)
    destroy: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # of destroy and replaced, what holds data
    failed: list[str] | None = None  # checks of checkov that fail; None: not checked

    @property
    def changes(self) -> list[str]:
        """All addresses, each once."""
        return self.add + self.change + self.destroy + self.replaced


def read_unit(path: Path) -> Unit:
    """Return what a tfplan.json says, with the checkov.json that may lie beside it."""
    unit = Unit(path.parent.parent.name, path.parent.name)
    for resource in json.loads(path.read_text()).get("resource_changes", []):
        actions, address = resource["change"]["actions"], resource["address"]
        if resource.get("mode") != "managed" or actions == ["no-op"]:
            continue
        if set(actions) == {"create", "delete"}:
            unit.replaced.append(address)
        elif actions == ["delete"]:
            unit.destroy.append(address)
        elif actions == ["create"]:
            unit.add.append(address)
        elif actions == ["update"]:
            unit.change.append(address)
        if "delete" in actions and resource["type"] in DATA:
            unit.lost.append(address)
    policy = path.with_name("checkov.json")
    if policy.exists():
        unit.failed = failed_checks(policy.read_text())
    return unit


def failed_checks(text: str) -> list[str]:
    """Return the failed checks of checkov's JSON, which is a list where several frameworks ran."""
    reports = json.loads(text)
    found = []
    for report in reports if isinstance(reports, list) else [reports]:
        found += [
            f"{each['check_id']} {each['resource']}" for each in report.get("results", {}).get("failed_checks", [])
        ]
    return sorted(set(found))


def read_all(folder: Path) -> list[Unit]:
    """Return the units of a folder of plans, by environment and name."""
    units = [read_unit(path) for path in folder.rglob("tfplan.json")]
    return sorted(units, key=lambda unit: (unit.environment, unit.name))
