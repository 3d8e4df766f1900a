"""Database: private, encrypted, backed up, and with parameters that its engine knows."""

import re

import pytest

from tests.plan.inputs import ACCOUNT, KEY, NAME, REGION, SECRET

# Parameters of RDS for PostgreSQL 15 to 17 that may be changed: (read at start only, least value, greatest value).
# None: a switch or a word. Source: "Working with parameters on your RDS for PostgreSQL DB instance".
KNOWN = {
    "autovacuum_analyze_scale_factor": (False, 0, 100),
    "autovacuum_vacuum_scale_factor": (False, 0, 100),
    "effective_io_concurrency": (False, 0, 1000),
    "idle_in_transaction_session_timeout": (False, 0, 2147483647),
    "jit": (False, 0, 1),
    "log_lock_waits": (False, 0, 1),
    "log_min_duration_statement": (False, -1, 2147483647),
    "log_statement": (False, None, None),
    "maintenance_work_mem": (False, 1024, 2147483647),
    "random_page_cost": (False, 0, 1e308),
    "rds.force_ssl": (False, 0, 1),
    "shared_preload_libraries": (True, None, None),
    "track_io_timing": (False, 0, 1),
    "work_mem": (False, 64, 2147483647),
}


def test_it_is_private_encrypted_and_signed_in_to_with_tokens(plans):
    instance = plans["database"]["aws_db_instance.this"]
    assert instance["publicly_accessible"] is False
    assert instance["storage_encrypted"] is True
    assert instance["iam_database_authentication_enabled"] is True
    assert instance["manage_master_user_password"] is True
    assert instance.get("password") is None
    assert instance["ca_cert_identifier"] == "rds-ca-rsa2048-g1"
    for attribute in ("kms_key_id", "master_user_secret_kms_key_id", "performance_insights_kms_key_id"):
        assert plans["database"].references("aws_db_instance.this", attribute) >= {"aws_kms_key.this"}
    assert len(plans["database"]["aws_db_subnet_group.this"]["subnet_ids"]) >= 2


def test_safe_by_default(plans):
    instance = plans["database"]["aws_db_instance.this"]
    assert instance["multi_az"] is True
    assert instance["deletion_protection"] is True
    assert instance["skip_final_snapshot"] is False
    assert instance["final_snapshot_identifier"] == f"{NAME}-final"
    assert instance["delete_automated_backups"] is False
    assert instance["backup_retention_period"] == 14
    assert instance["max_allocated_storage"] > instance["allocated_storage"]
    assert instance["performance_insights_enabled"] is True
    assert instance["monitoring_interval"] == 60


def test_a_small_one_can_be_thrown_away(plans):
    instance = plans["database_small"]["aws_db_instance.this"]
    assert not any(instance[name] for name in ("multi_az", "deletion_protection"))
    assert instance["skip_final_snapshot"] is True
    assert instance.get("final_snapshot_identifier") is None


@pytest.mark.parametrize(
    ("call", "version"), [("database", "16"), ("database_small", "17.2"), ("database_production", "15")]
)
def test_the_parameter_group_is_of_the_engine_s_family(plans, call, version):
    instance, group = plans[call]["aws_db_instance.this"], plans[call]["aws_db_parameter_group.this"]
    assert (instance["engine"], instance["engine_version"]) == ("postgres", version)
    assert group["family"] == f"postgres{version.split('.')[0]}"
    assert instance["parameter_group_name"] == group["name"]


def test_parameters_exist_and_are_within_their_bounds(plans):
    parameters = {each["name"]: each for each in plans["database"]["aws_db_parameter_group.this"]["parameter"]}
    assert parameters["rds.force_ssl"]["value"] == "1"
    for name, parameter in parameters.items():
        at_start, least, greatest = KNOWN[name]
        assert parameter["apply_method"] == ("pending-reboot" if at_start else "immediate"), name
        assert least is None or least <= float(parameter["value"]) <= greatest, name


def test_log_groups_are_made_before_rds_writes_to_them(plans):
    plan = plans["database"]
    instance = plan["aws_db_instance.this"]
    groups = {group["name"]: group for group in plan.of("aws_cloudwatch_log_group").values()}
    assert set(groups) == {f"/aws/rds/instance/{NAME}/{kind}" for kind in instance["enabled_cloudwatch_logs_exports"]}
    assert all((group["kms_key_id"], group["retention_in_days"]) == (KEY, 30) for group in groups.values())
    assert "aws_cloudwatch_log_group.this" in plan.depends_on("aws_db_instance.this")


def test_the_windows_keep_apart_from_each_other_and_from_the_backup_jobs(plans):
    instance = plans["database"]["aws_db_instance.this"]
    windows = [*re.findall(r"\d\d:\d\d", instance["backup_window"] + instance["maintenance_window"])]
    begin, end, quiet, over = (int(each[:2]) * 60 + int(each[3:]) for each in windows)
    jobs = []
    for plan in ("daily", "continuous"):
        (rule,) = plans["backup"][f"aws_backup_plan.{plan}"]["rule"]
        minute, hour = re.match(r"cron\((\d+) (\d+) ", rule["schedule"]).groups()
        jobs.append(int(hour) * 60 + int(minute))
    # RDS takes no snapshot within an hour of either window.
    assert all(job >= end + 60 or job <= begin - 60 for job in jobs)
    assert all(job <= quiet - 60 or job >= over + 60 for job in jobs)
    assert end <= quiet


def test_the_key_admits_rds_secrets_manager_and_aws_backup(plans):
    statement = plans["database"].policy("aws_kms_key.this")["DatabaseServices"]
    assert "kms:CreateGrant" in statement["Action"]
    assert statement["Condition"]["StringEquals"] == {
        "kms:CallerAccount": ACCOUNT,
        "kms:ViaService": [f"{service}.{REGION}.amazonaws.com" for service in ("rds", "secretsmanager", "backup")],
    }


def test_the_monitoring_role_is_for_rds_of_this_account(plans):
    (trust,) = plans["database"].policy("aws_iam_role.monitoring", "assume_role_policy").values()
    assert trust["Principal"] == {"Service": "monitoring.rds.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_a_proxy_only_by_input(plans):
    assert not plans["database"].of("aws_db_proxy")

    plan = plans["database_production"]
    proxy = plan["aws_db_proxy.this[0]"]
    assert proxy["require_tls"] is True
    assert [(each["iam_auth"], each["secret_arn"]) for each in proxy["auth"]] == [("REQUIRED", SECRET)]
    assert plan.depends_on("aws_db_proxy.this") >= {"aws_cloudwatch_log_group.proxy"}
    # In and out of the group that proxy and instance share.
    for direction in ("ingress", "egress"):
        rule = plan[f"aws_vpc_security_group_{direction}_rule.proxy[0]"]
        assert rule["security_group_id"] == rule["referenced_security_group_id"]
        assert (rule["from_port"], rule["to_port"]) == (5432, 5432)
    assert plan.documents["data.aws_iam_policy_document.proxy[0]"]["statement"][0]["resources"] == [SECRET]
