"""Names: within what AWS allows even for the longest prefix, and apart for each environment and account."""

import re

import pytest

from tests.plan.inputs import ACCOUNT, NAME

# Type -> (attribute, what AWS allows).
LIMITS = {
    "aws_apigatewayv2_api": ("name", r".{1,128}"),
    "aws_backup_plan": ("name", r"[A-Za-z0-9_.-]{1,50}"),
    "aws_backup_selection": ("name", r"[A-Za-z0-9_.-]{1,50}"),
    "aws_backup_vault": ("name", r"[A-Za-z0-9_-]{2,50}"),
    "aws_cloudwatch_dashboard": ("dashboard_name", r"[A-Za-z0-9_-]{1,255}"),
    "aws_cloudwatch_log_group": ("name", r"[A-Za-z0-9_/.#-]{1,512}"),
    "aws_cloudwatch_metric_alarm": ("alarm_name", r".{1,255}"),
    "aws_db_instance": ("identifier", r"[a-z](?!.*--)[a-z0-9-]{0,61}[a-z0-9]"),
    "aws_db_parameter_group": ("name", r"[a-z](?!.*--)[a-z0-9-]{0,253}[a-z0-9]"),
    "aws_db_proxy": ("name", r"[a-z](?!.*--)[a-z0-9-]{0,61}[a-z0-9]"),
    "aws_db_subnet_group": ("name", r"[a-z][a-z0-9-]{0,254}"),
    "aws_iam_role": ("name", r"[A-Za-z0-9_+=,.@-]{1,64}"),
    "aws_kms_alias": ("name", r"alias/[A-Za-z0-9/_-]{1,250}"),
    "aws_lambda_function": ("function_name", r"[A-Za-z0-9_-]{1,64}"),
    "aws_s3_bucket": ("bucket", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "aws_scheduler_schedule": ("name", r"[A-Za-z0-9_.-]{1,64}"),
    "aws_security_group": ("name", r"(?!sg-)[A-Za-z0-9 ._:/()#,@+=&;{}!$*-]{1,255}"),
    "aws_sns_topic": ("name", r"[A-Za-z0-9_-]{1,256}"),
    "aws_sqs_queue": ("name", r"[A-Za-z0-9_-]{1,80}"),
}
# All that EC2 takes in a description.
DESCRIBABLE = r"[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}"
DESCRIBED = {"aws_db_parameter_group": 255, "aws_db_subnet_group": 255, "aws_security_group": 255, "aws_iam_role": 1000}


@pytest.mark.parametrize("kind", LIMITS)
def test_names_are_allowed_and_begin_with_the_environment_s(plans, kind):
    attribute, allowed = LIMITS[kind]
    found = [each[attribute] for plan in plans.values() for each in plan.of(kind).values()]
    assert found
    for name in found:
        assert re.fullmatch(allowed, name), name
        assert NAME in name


def test_bucket_names_hold_the_account_as_all_the_world_shares_them(plans):
    names = [each["bucket"] for plan in plans.values() for each in plan.of("aws_s3_bucket").values()]
    assert all(ACCOUNT in name for name in names)


@pytest.mark.parametrize("kind", DESCRIBED)
def test_descriptions_fit(plans, kind):
    for plan in plans.values():
        for each in plan.of(kind).values():
            assert 1 <= len(each["description"]) <= DESCRIBED[kind]
            assert kind != "aws_security_group" or re.fullmatch(DESCRIBABLE, each["description"])


def test_rules_describe_themselves_in_allowed_letters(plans):
    for plan in plans.values():
        for direction in ("ingress", "egress"):
            for rule in plan.of(f"aws_vpc_security_group_{direction}_rule").values():
                assert re.fullmatch(DESCRIBABLE, rule["description"])


def test_modules_of_one_environment_do_not_take_each_other_s_names(plans):
    calls = ["network", "database_production", "schema", "ingest", "api", "backup_production", "monitoring"]
    calls += ["github_oidc"]
    for kind, (attribute, _) in LIMITS.items():
        names = [each[attribute] for call in calls for each in plans[call].of(kind).values()]
        assert len(set(names)) == len(names), kind


def test_nothing_is_public_but_the_api(plans):
    for plan in plans.values():
        assert not any(each["publicly_accessible"] for each in plan.of("aws_db_instance").values())
        assert not plan.of("aws_lambda_function_url")
        assert not any(each.get("cidr_ipv4") for each in plan.of("aws_vpc_security_group_ingress_rule").values())
        assert len(plan.of("aws_s3_bucket_public_access_block")) == len(plan.of("aws_s3_bucket"))
        for permission in plan.of("aws_lambda_permission").values():
            assert permission["principal"] == "apigateway.amazonaws.com"


def test_every_policy_of_a_resource_admits_this_account_and_its_services_alone(plans):
    for plan in plans.values():
        for kind in ("aws_kms_key", "aws_s3_bucket_policy", "aws_sqs_queue", "aws_sns_topic_policy"):
            for address in plan.of(kind):
                for statement in plan.policy(with_kind(address, kind)).values():
                    if statement["Effect"] == "Allow":
                        (who,) = statement["Principal"].items()
                        assert who == ("AWS", f"arn:aws:iam::{ACCOUNT}:root") or who[0] == "Service"
                        # A service speaks for other accounts too, unless the policy says which.
                        assert who[0] == "AWS" or ACCOUNT in str(statement["Condition"])


def with_kind(address, kind):
    *inner, name = re.split(r"\.(?![^\[]*\])", address)
    return ".".join([*inner, kind, name])
