"""What AWS enforces and an emulator does not, held on the plans of both environments as they would be applied."""

import json
import os
import re
import subprocess
from itertools import chain

import pytest

from tests.e2e.environment import ACCOUNTS, REPOSITORY, ROOT, UNITS, terragrunt
from tests.live.conftest import ENVIRONMENTS
from tests.plan.test_names import LIMITS
from tests.require import require

# Dynamic and static parameters of RDS for PostgreSQL 16 that are set; `aws rds describe-engine-default-parameters`.
POSTGRES_16 = {
    "autovacuum_analyze_scale_factor", "autovacuum_vacuum_scale_factor", "effective_io_concurrency",
    "idle_in_transaction_session_timeout", "jit", "log_lock_waits", "log_min_duration_statement", "log_statement",
    "maintenance_work_mem", "random_page_cost", "rds.force_ssl", "track_io_timing", "work_mem",
    "shared_preload_libraries", "pg_stat_statements.track", "rds.force_admin_logging_level", "log_connections",
    "log_disconnections", "max_connections", "checkpoint_timeout", "max_wal_size", "wal_compression",
}  # fmt: skip
FUNCTIONS = {"schema": None, "ingest": "geodrop_ingest", "api": "geodrop_api"}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request):
    return request.param


@pytest.fixture
def units(plans, environment):
    return plans[environment]


def everywhere(units, kind):
    """All resources of a type in an environment."""
    return [each for plan in units.values() for each in plan.of(kind).values()]


def statements(text):
    found = json.loads(text)["Statement"]
    return found if isinstance(found, list) else [found]


def listed(value):
    return value if isinstance(value, list) else [value]


def services(statement):
    principal = statement.get("Principal", {})
    return set(listed(principal.get("Service", []))) if isinstance(principal, dict) else {"*"}


def test_a_plan_warns_of_nothing_but_mocks(plan_files):
    for said in json.loads((plan_files / "said.json").read_text()).values():
        warned = re.findall(r"^.*\bWARN\b.*$", said, re.MULTILINE)
        # An emulator that cuts a connection off is asked again, as AWS would be.
        assert [line for line in warned if "mock" not in line and "retryable error" not in line] == []


def test_terraform_finds_every_unit_valid_and_terragrunt_nothing_deprecated(aws, plan_files, environment):
    assert plan_files  # what they have set up is used again
    folder = ROOT / "live" / environment
    done = terragrunt("--strict-mode", "run", "--all", "validate", environment=aws[environment], folder=folder)
    assert (done.stdout + done.stderr).count("The configuration is valid") == len(UNITS)


def test_names_fit_and_are_the_environment_s_own(plans, environment):
    other = next(name for name in ENVIRONMENTS if name != environment)
    for kind, (attribute, allowed) in LIMITS.items():
        names = {each.get(attribute) for each in everywhere(plans[environment], kind)} - {None}
        for name in names:
            assert re.fullmatch(allowed, name), f"{kind} {name}"
        assert names.isdisjoint(each.get(attribute) for each in everywhere(plans[other], kind)), kind


def test_everything_is_in_the_environment_s_account_and_tagged(units, environment):
    other = next(account for name, account in ACCOUNTS.items() if name != environment)
    for unit, plan in units.items():
        # The mocks of what is not applied yet are in an account of their own.
        assert other not in json.dumps(plan.resources), unit
        for address, each in plan.resources.items():
            tags = each.get("tags_all")
            assert tags is None or tags["environment"] == environment, address


def test_a_message_is_not_handed_out_while_it_is_worked_on(units):
    plan = units["ingest"]
    queue, function = plan["aws_sqs_queue.this"], plan["module.function.aws_lambda_function.this"]
    assert queue["visibility_timeout_seconds"] >= 6 * function["timeout"]
    (scaling,) = plan["aws_lambda_event_source_mapping.this"]["scaling_config"]
    reserved = function["reserved_concurrent_executions"]
    assert scaling["maximum_concurrency"] >= 2
    assert reserved == -1 or scaling["maximum_concurrency"] <= reserved
    assert plan["aws_lambda_event_source_mapping.this"]["function_response_types"] == ["ReportBatchItemFailures"]


def test_keys_admit_every_service_that_uses_them(units):
    admitted = {
        (unit, service)
        for unit, plan in units.items()
        for key in plan.of("aws_kms_key").values()
        for statement in statements(key["policy"])
        for service in services(statement)
    }
    region = "eu-central-1"
    wanted = {
        ("network", f"logs.{region}.amazonaws.com"),  # every log group takes this key
        ("ingest", "s3.amazonaws.com"),  # S3 sends its events to the encrypted queue
        ("monitoring", "cloudwatch.amazonaws.com"),  # alarms notify the encrypted topic
    }
    assert wanted <= admitted
    for unit, plan in units.items():
        for key in plan.of("aws_kms_key").values():
            assert key["enable_key_rotation"] is True, unit
            # RDS and AWS Backup use their keys by grants, which the account's own statement allows.
            assert any("kms:*" in listed(each["Action"]) for each in statements(key["policy"])), unit
            assert all(services(each) != {"*"} for each in statements(key["policy"])), unit


@pytest.mark.parametrize("unit", FUNCTIONS)
def test_functions_may_have_interfaces_and_sign_in_as_their_user_alone(units, environment, unit):
    plan = units[unit]
    role = plan["module.function.aws_iam_role_policy.base"]
    allowed = [each for each in statements(role["policy"]) if each["Effect"] == "Allow"]
    actions = set(chain.from_iterable(listed(each["Action"]) for each in allowed))
    assert {"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"} <= actions
    assert not any(action == "*" or action.endswith(":*") for action in actions)
    users = [
        resource for each in allowed if "rds-db:connect" in each["Action"] for resource in listed(each["Resource"])
    ]
    user = FUNCTIONS[unit]
    account = ACCOUNTS[environment]
    expected = [rf"arn:aws:rds-db:eu-central-1:{account}:dbuser:(db|prx)-\w+/{user}"] if user else []
    assert len(users) == len(expected)
    assert all(re.fullmatch(pattern, found) for pattern, found in zip(expected, users, strict=True))
    function = plan["module.function.aws_lambda_function.this"]
    assert function["vpc_config"]
    assert function["runtime"] == "python3.12"
    assert plan["module.function.aws_cloudwatch_log_group.this"]["name"] == f"/aws/lambda/{function['function_name']}"
    assert "aws_cloudwatch_log_group.this" in plan.depends_on("module.function.aws_lambda_function.this")


def test_log_groups_are_made_before_what_writes_to_them(units):
    """Else AWS makes a group of the same name first, without key and end, and the apply fails on it."""
    database, network, api = (units[name] for name in ("database", "network", "api"))
    instance = database["aws_db_instance.this"]
    groups = {each["name"] for each in database.of("aws_cloudwatch_log_group").values()}
    assert groups == {
        f"/aws/rds/instance/{instance['identifier']}/{log}" for log in instance["enabled_cloudwatch_logs_exports"]
    }
    assert "aws_cloudwatch_log_group.this" in database.depends_on("aws_db_instance.this")
    assert "aws_cloudwatch_log_group.flow" in network.references("aws_flow_log.this", "log_destination")
    assert "aws_cloudwatch_log_group.access" in api.references("aws_apigatewayv2_stage.this", "access_log_settings")
    days = {each["retention_in_days"] for each in everywhere(units, "aws_cloudwatch_log_group")}
    assert len(days) == 1, "the environment's retention, everywhere"
    assert days != {0}, "kept for ever"


def test_security_group_rules_pair_up(units):
    plan = units["network"]
    into, out = plan.of("aws_vpc_security_group_ingress_rule"), plan.of("aws_vpc_security_group_egress_rule")
    (admitted,) = into.values()
    ports = (admitted["from_port"], admitted["to_port"])
    assert ports == (5432, 5432)
    assert admitted["cidr_ipv4"] is None
    assert admitted["cidr_ipv6"] is None
    assert ports in {(rule["from_port"], rule["to_port"]) for rule in out.values()}
    assert {rule["from_port"] for rule in out.values()} == {443, 5432}
    assert units["database"]["aws_db_instance.this"]["port"] == 5432


def test_the_database_is_private_encrypted_and_of_its_family(units):
    plan = units["database"]
    instance, group = plan["aws_db_instance.this"], plan.one("aws_db_parameter_group")
    assert instance["publicly_accessible"] is False
    assert instance["storage_encrypted"] is True
    assert instance["iam_database_authentication_enabled"] is True
    assert instance["manage_master_user_password"] is True
    assert group["family"] == f"postgres{instance['engine_version'].split('.')[0]}"
    set_to = {each["name"]: each["value"] for each in group["parameter"]}
    assert set(set_to) <= POSTGRES_16
    assert set_to["rds.force_ssl"] == "1"


def test_there_are_two_zones_or_more_under_the_database(units):
    zones = [
        each["availability_zone"] for name, each in units["network"].of("aws_subnet").items() if "database" in name
    ]
    assert len(zones) == len(set(zones)) >= 2


def test_github_is_admitted_from_one_repository_and_place_alone(units, environment):
    place = {"dev": "ref:refs/heads/main", "prod": "environment:prod"}[environment]
    wanted = {"plan": ["pull_request", "ref:refs/heads/main"], "apply": [place]}
    for name, places in wanted.items():
        (trust,) = statements(units["github-oidc"][f"aws_iam_role.{name}"]["assume_role_policy"])
        assert set(trust["Condition"]) == {"StringEquals"}
        condition = {key.rsplit(":", 1)[1]: value for key, value in trust["Condition"]["StringEquals"].items()}
        assert condition["aud"] == "sts.amazonaws.com"
        assert sorted(listed(condition["sub"])) == [f"repo:{REPOSITORY}:{each}" for each in places]


def test_nothing_is_public_but_the_api(units):
    buckets = everywhere(units, "aws_s3_bucket")
    blocks = everywhere(units, "aws_s3_bucket_public_access_block")
    assert len(blocks) == len(buckets) == 2
    for block in blocks:
        assert {block[name] for name in block if name.startswith(("block_", "ignore_", "restrict_"))} == {True}
    for rule in everywhere(units, "aws_vpc_security_group_ingress_rule"):
        assert rule["cidr_ipv4"] is rule["cidr_ipv6"] is None
    for subnet in everywhere(units, "aws_subnet"):
        assert not subnet["map_public_ip_on_launch"]
    assert everywhere(units, "aws_lambda_function_url") == []
    assert len(everywhere(units, "aws_apigatewayv2_api")) == 1
    for kind in ("aws_s3_bucket_policy", "aws_sqs_queue", "aws_sns_topic_policy"):
        for each in everywhere(units, kind):
            for statement in statements(each["policy"]) if each.get("policy") else []:
                assert statement["Effect"] == "Deny" or statement["Principal"] not in ("*", {"AWS": "*"})


def test_prod_outlives_a_zone_and_a_slip_and_dev_is_cheap(plans):
    nats = {name: len(plans[name]["network"].of("aws_nat_gateway")) for name in ENVIRONMENTS}
    assert nats == {"dev": 1, "prod": 2}
    for attribute in ("multi_az", "deletion_protection"):
        found = {name: plans[name]["database"]["aws_db_instance.this"][attribute] for name in ENVIRONMENTS}
        assert found == {"dev": False, "prod": True}
    assert {name: bool(plans[name]["backup"].of("aws_backup_vault_lock_configuration")) for name in ENVIRONMENTS} == {
        "dev": True, "prod": True,
    }  # fmt: skip
    for unit in ("database", "ingest", "backup"):
        text = (ROOT / f"live/_units/{unit}.hcl").read_text()
        assert "prevent_destroy = local.env.prevent_destroy" in text
    assert "prevent_destroy     = true" in (ROOT / "live/prod/env.hcl").read_text()


def test_alarms_reach_the_subscribers_of_prod(plans):
    protocols = {each["protocol"] for each in plans["prod"]["monitoring"].of("aws_sns_topic_subscription").values()}
    assert protocols == {"email"}


def test_checkov_finds_nothing_in_the_plans(plan_files, record_property):
    checkov = ROOT / ".local" / "checkov" / "bin" / "checkov"
    if not checkov.exists():
        require("checkov")
    files = [str(plan_files / name / unit / "tfplan.json") for name in ENVIRONMENTS for unit in UNITS]
    arguments = [argument for file in files for argument in ("-f", file)]
    done = subprocess.run(
        [checkov, *arguments, "--framework", "terraform_plan", "--repo-root-for-plan-enrichment", str(ROOT / "modules"),
         "--skip-download", "--quiet", "--compact", "-o", "json"],
        cwd=ROOT, env={**os.environ, "CHECKPOINT_DISABLE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    summary, failed = found.get("summary", found), found.get("results", {}).get("failed_checks", [])
    counted = ", ".join(f"{summary[name]} {name}" for name in ("passed", "failed", "skipped"))
    record_property("notice", f"checkov: {counted} in the plans of both environments")
    assert [f"{each['check_id']} {each['resource']} {each['file_path']}" for each in failed] == []
    assert summary["passed"] > 100


def test_the_costs_count_what_is_planned(units, environment):
    column = 2 + ENVIRONMENTS.index(environment)
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs/costs.md").read_text().splitlines() if "|" in line]
    cells = {row[0]: row[column] for row in rows if len(row) > column}

    assert cells["NAT gateways"].startswith(f"{len(everywhere(units, 'aws_nat_gateway'))} x 730")
    assert cells["KMS keys"].startswith(f"{len(everywhere(units, 'aws_kms_key'))} x")
    assert cells["CloudWatch alarms and a dashboard"].startswith(
        f"{len(everywhere(units, 'aws_cloudwatch_metric_alarm'))} x"
    )
    [instance] = everywhere(units, "aws_db_instance")
    standby = "2 x " if instance["multi_az"] else ""
    price = {"db.t4g.micro": "0.018", "db.t4g.medium": "0.073"}[instance["instance_class"]]
    assert cells["RDS instance"].startswith(f"{standby}730 x {price}")
    assert cells["RDS storage, gp3"].startswith(f"{standby}{instance['allocated_storage']} x")
