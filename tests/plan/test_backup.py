"""Backup: locked vault, two plans over database and bucket, a bucket of its own, copies and schedule by input."""

import json

import pytest

from tests.plan.inputs import ACCOUNT, INPUTS, NAME, REGION, VAULT


def test_the_vault_is_encrypted_and_locked(plans):
    plan = plans["backup"]
    assert plan.references("aws_backup_vault.this", "kms_key_arn") == {"aws_kms_key.this"}
    assert plan["aws_backup_vault.this"]["force_destroy"] is False
    lock = plan["aws_backup_vault_lock_configuration.this[0]"]
    assert (lock["min_retention_days"], lock["max_retention_days"]) == (7, 3650)
    # No cooling-off: the lock may be lifted by those with the right, until compliance is asked for.
    assert lock.get("changeable_for_days") is None
    assert plans["backup_production"]["aws_backup_vault_lock_configuration.this[0]"]["changeable_for_days"] == 3
    assert not plans["backup_emulated"].of("aws_backup_vault_lock_configuration")


@pytest.mark.parametrize("call", ["backup", "backup_production"])
def test_a_daily_and_a_continuous_plan_within_the_lock(plans, call):
    plan = plans[call]
    (daily,) = plan["aws_backup_plan.daily"]["rule"]
    (continuous,) = plan["aws_backup_plan.continuous"]["rule"]
    assert daily["schedule"] == "cron(0 2 * * ? *)"
    assert not daily["enable_continuous_backup"]
    assert continuous["enable_continuous_backup"] is True
    assert continuous["lifecycle"][0]["delete_after"] <= 35, "AWS Backup keeps continuous backups no longer"
    lock = plan["aws_backup_vault_lock_configuration.this[0]"]
    for rule in (daily, continuous):
        assert lock["min_retention_days"] <= rule["lifecycle"][0]["delete_after"] <= lock["max_retention_days"]


def test_both_plans_cover_everything(plans):
    selections = plans["backup"].of("aws_backup_selection")
    assert len(selections) == 2
    assert all(set(each["resources"]) == set(INPUTS["backup"]["resource_arns"]) for each in selections.values())
    assert plans["backup"].depends_on("aws_backup_selection.this") == {"aws_iam_role_policy_attachment.backup"}


def test_the_role_may_back_up_and_restore_databases_and_buckets(plans):
    policies = {each["policy_arn"] for each in plans["backup"].of("aws_iam_role_policy_attachment").values()}
    assert policies == {
        f"arn:aws:iam::aws:policy/{name}"
        for name in (
            "service-role/AWSBackupServiceRolePolicyForBackup",
            "service-role/AWSBackupServiceRolePolicyForRestores",
            "AWSBackupServiceRolePolicyForS3Backup",
            "AWSBackupServiceRolePolicyForS3Restore",
        )
    }
    (trust,) = plans["backup"].policy("aws_iam_role.backup", "assume_role_policy").values()
    assert trust["Principal"] == {"Service": "backup.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_daily_backups_are_copied_by_input(plans):
    (daily,) = plans["backup"]["aws_backup_plan.daily"]["rule"]
    assert not daily["copy_action"]
    (daily,) = plans["backup_production"]["aws_backup_plan.daily"]["rule"]
    (copy,) = daily["copy_action"]
    assert (copy["destination_vault_arn"], copy["lifecycle"][0]["delete_after"]) == (VAULT, 60)


def test_the_key_admits_aws_backup(plans):
    statement = plans["backup"].policy("aws_kms_key.this")["Backup"]
    assert "kms:CreateGrant" in statement["Action"]
    assert f"backup.{REGION}.amazonaws.com" in statement["Condition"]["StringEquals"]["kms:ViaService"]


def test_the_bucket_of_logical_backups_is_private_encrypted_versioned(plans):
    plan = plans["backup"]
    assert plan["aws_s3_bucket.this"]["bucket"] == f"{NAME}-backups-{ACCOUNT}"
    block = plan["aws_s3_bucket_public_access_block.this"]
    assert all(value for name, value in block.items() if name.startswith(("block_", "ignore_", "restrict_")))
    assert plan["aws_s3_bucket_versioning.this"]["versioning_configuration"][0]["status"] == "Enabled"
    (encryption,) = plan["aws_s3_bucket_server_side_encryption_configuration.this"]["rule"]
    assert encryption["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    assert plan.policy("aws_s3_bucket_policy.this")["TlsOnly"]["Effect"] == "Deny"
    (rule,) = plan["aws_s3_bucket_lifecycle_configuration.this"]["rule"]
    assert rule["expiration"][0]["days"] == 90


def test_logical_backups_are_scheduled_once_there_is_a_function(plans):
    assert not plans["backup"].of("aws_scheduler_schedule")
    plan = plans["backup_production"]
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{NAME}-backup"
    (target,) = plan["aws_scheduler_schedule.logical[0]"]["target"]
    assert target["arn"] == function
    assert json.loads(target["input"]) == {"action": "backup", "bucket": f"{NAME}-backups-{ACCOUNT}"}
    invoke = plan.policy("aws_iam_role_policy.schedule[0]")["Invoke"]
    assert (invoke["Action"], invoke["Resource"]) == ("lambda:InvokeFunction", function)
    (trust,) = plan.policy("aws_iam_role.schedule[0]", "assume_role_policy").values()
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
