"""Functions and what calls them: least rights, exact settings, limits that AWS enforces."""

import json
from pathlib import Path

import pytest

from tests.plan.inputs import ACCOUNT, KEY, NAME, REGION, SECRET, definition

CALLS = {
    "function": ("ingest", f"{NAME}-ingest", ""),
    "schema": ("migrate", f"{NAME}-migrate", "module.function."),
    "ingest": ("ingest", f"{NAME}-ingest", "module.function."),
    "api": ("api", f"{NAME}-api", "module.function."),
}
INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}


def told(function):
    return json.loads(Path(definition(function)).read_text())


@pytest.mark.parametrize("call", CALLS)
def test_a_function_is_what_its_function_json_says(plans, call):
    name, full_name, inner = CALLS[call]
    function, expected = plans[call][f"{inner}aws_lambda_function.this"], told(name)
    assert function["function_name"] == full_name
    assert (function["handler"], function["runtime"]) == (expected["handler"], expected["runtime"])
    assert (function["memory_size"], function["timeout"]) == (expected["memory_mb"], expected["timeout_s"])
    assert function["architectures"] == [expected["architecture"]]
    assert set(function["environment"][0]["variables"]) == set(expected["environment"])
    assert function["vpc_config"][0]["subnet_ids"] == ["subnet-1", "subnet-2"]
    assert function["vpc_config"][0]["security_group_ids"] == ["sg-function"]
    assert function["tracing_config"] == [{"mode": "Active"}]


@pytest.mark.parametrize("call", CALLS)
def test_its_log_group_is_made_first_and_encrypted(plans, call):
    _, full_name, inner = CALLS[call]
    plan = plans[call]
    group = plan[f"{inner}aws_cloudwatch_log_group.this"]
    assert (group["name"], group["kms_key_id"], group["retention_in_days"]) == (f"/aws/lambda/{full_name}", KEY, 30)
    assert plan[f"{inner}aws_lambda_function.this"]["logging_config"][0]["log_group"] == group["name"]
    # The role's rights too: Lambda refuses a role that may not make network interfaces.
    assert plan.depends_on(f"{inner}aws_lambda_function.this") == {
        "aws_cloudwatch_log_group.this",
        "aws_iam_role_policy.base",
        "aws_iam_role_policy.own",
    }


@pytest.mark.parametrize("call", CALLS)
def test_base_rights(plans, call):
    _, full_name, inner = CALLS[call]
    rights = plans[call].policy(f"{inner}aws_iam_role_policy.base")
    log = rights["Log"]
    assert set(log["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert log["Resource"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{full_name}:*"
    # Lambda may make interfaces with the role; the code that runs with it may not.
    assert set(rights["LambdaInterfaces"]["Action"]) == set(rights["CodeInterfaces"]["Action"]) == INTERFACES
    assert rights["CodeInterfaces"]["Effect"] == "Deny"
    assert rights["CodeInterfaces"]["Condition"] == {
        "ArnEquals": {"lambda:SourceFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{full_name}"}
    }
    assert set(rights) - {"SignIn"} == {"Log", "LambdaInterfaces", "CodeInterfaces", "Trace"}


@pytest.mark.parametrize(("call", "user"), [("ingest", "geodrop_ingest"), ("api", "geodrop_api")])
def test_it_signs_in_as_its_database_user_alone(plans, call, user):
    sign_in = plans[call].policy("module.function.aws_iam_role_policy.base")["SignIn"]
    assert sign_in["Action"] == "rds-db:connect"
    assert sign_in["Resource"] == f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ABCDEFGHIJKL/{user}"
    variables = plans[call]["module.function.aws_lambda_function.this"]["environment"][0]["variables"]
    assert variables["GEODROP_DATABASE_URL"] == (
        f"postgresql://{user}@db.example.eu-central-1.rds.amazonaws.com:5432/geodrop?sslmode=verify-full"
    )


def test_without_input_there_is_no_right_to_trace_or_to_sign_in(plans):
    assert "SignIn" not in plans["function"].policy("aws_iam_role_policy.base")
    quiet = plans["function_quiet"]
    assert "Trace" not in quiet.policy("aws_iam_role_policy.base")
    assert quiet["aws_lambda_function.this"]["tracing_config"] == [{"mode": "PassThrough"}]
    assert quiet["aws_lambda_function.this"]["reserved_concurrent_executions"] == 5
    assert not quiet.of("aws_iam_role_policy").keys() - {"base"}


# Migrations


def test_migrations_read_the_master_secret_and_nothing_else(plans):
    own = plans["schema"].policy("module.function.aws_iam_role_policy.own[0]")
    assert own["ReadMasterSecret"]["Resource"] == SECRET
    assert own["ReadMasterSecret"]["Action"] == "secretsmanager:GetSecretValue"
    assert own["DecryptMasterSecret"]["Condition"] == {
        "StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
    }
    assert set(own) == {"ReadMasterSecret", "DecryptMasterSecret"}
    assert "SignIn" not in plans["schema"].policy("module.function.aws_iam_role_policy.base")
    assert not plans["schema_emulated"].of("aws_iam_role_policy").keys() - {"module.function.base"}


def test_migrations_run_again_when_the_sql_or_the_package_changes(plans):
    run = plans["schema"]["aws_lambda_invocation.this"]
    told_function = json.loads(run["input"])
    assert told_function["action"] == "migrate"
    assert run["triggers"]["sql"] == told_function["checksum"]
    assert len(run["triggers"]["package"]) == 64
    assert plans["schema"].depends_on("aws_lambda_invocation.this") == {"module.function"}


# The way of a file


def test_the_landing_bucket_is_private_encrypted_versioned_and_kept(plans):
    plan = plans["ingest"]
    assert plan["aws_s3_bucket.this"]["bucket"] == f"{NAME}-landing-{ACCOUNT}"
    assert plan["aws_s3_bucket.this"]["force_destroy"] is False
    block = plan["aws_s3_bucket_public_access_block.this"]
    assert all(value for name, value in block.items() if name.startswith(("block_", "ignore_", "restrict_")))
    assert plan["aws_s3_bucket_ownership_controls.this"]["rule"] == [{"object_ownership": "BucketOwnerEnforced"}]
    assert plan["aws_s3_bucket_versioning.this"]["versioning_configuration"][0]["status"] == "Enabled"
    (encryption,) = plan["aws_s3_bucket_server_side_encryption_configuration.this"]["rule"]
    assert encryption["bucket_key_enabled"] is True
    assert encryption["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    (rule,) = plan["aws_s3_bucket_lifecycle_configuration.this"]["rule"]
    assert not rule["expiration"], "raw files are the record"
    assert rule["noncurrent_version_expiration"][0]["noncurrent_days"] == 90
    assert rule["transition"][0]["storage_class"] == "STANDARD_IA"


def test_the_bucket_refuses_plain_text(plans):
    policy = plans["ingest"].policy("aws_s3_bucket_policy.this")
    assert {name: statement["Effect"] for name, statement in policy.items()} == {"TlsOnly": "Deny", "Tls12": "Deny"}
    assert policy["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy["Tls12"]["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}


def test_s3_may_send_its_events_to_the_encrypted_queue(plans):
    plan = plans["ingest"]
    from_bucket = {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{NAME}-landing-{ACCOUNT}"},
    }
    send = plan.policy("aws_sqs_queue.this")["S3Events"]
    assert (send["Principal"], send["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    assert send["Resource"].endswith(f":{plan['aws_sqs_queue.this']['name']}")
    assert send["Condition"] == from_bucket
    key = plan.policy("aws_kms_key.this")["S3Events"]
    assert key["Principal"] == {"Service": "s3.amazonaws.com"}
    assert set(key["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
    assert key["Condition"] == from_bucket
    for queue in ("this", "dead_letter"):
        assert plan.references(f"aws_sqs_queue.{queue}", "kms_master_key_id") == {"aws_kms_key.this"}
        assert plan.policy(f"aws_sqs_queue.{queue}")["TlsOnly"]["Effect"] == "Deny"


def test_events_of_landing_reach_the_queue_and_eventbridge(plans):
    notification = plans["ingest"]["aws_s3_bucket_notification.this"]
    (queue,) = notification["queue"]
    assert set(queue["events"]) == {"s3:ObjectCreated:*", "s3:ObjectRemoved:*"}
    assert queue["filter_prefix"] == "landing/"
    assert notification["eventbridge"] is True
    # S3 tries the queue as it is set: the queue, which carries its policy, comes first.
    assert "aws_sqs_queue.this" in plans["ingest"].references("aws_s3_bucket_notification.this", "queue")
    assert plans["ingest"]["aws_s3_bucket_metric.this[0]"]["filter"][0]["prefix"] == "landing/"
    assert not plans["ingest_production"].of("aws_s3_bucket_metric")


@pytest.mark.parametrize("call", ["ingest", "ingest_production"])
def test_no_batch_is_handed_out_twice_while_it_is_worked_on(plans, call):
    plan, expected = plans[call], told("ingest")
    queue, mapping = plan["aws_sqs_queue.this"], plan["aws_lambda_event_source_mapping.this"]
    timeout = plan["module.function.aws_lambda_function.this"]["timeout"]
    window = mapping["maximum_batching_window_in_seconds"]
    assert 6 * timeout + window <= queue["visibility_timeout_seconds"] <= 12 * 3600
    assert mapping["batch_size"] == expected["trigger"]["batch_size"]
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]


def test_the_queue_asks_for_no_more_at_a_time_than_the_function_has(plans):
    plan = plans["ingest_production"]
    reserved = plan["module.function.aws_lambda_function.this"]["reserved_concurrent_executions"]
    assert 2 <= plan["aws_lambda_event_source_mapping.this"]["scaling_config"][0]["maximum_concurrency"] <= reserved


def test_what_fails_every_try_is_kept_longer_than_it_was_tried(plans):
    queue, dead = plans["ingest"]["aws_sqs_queue.this"], plans["ingest"]["aws_sqs_queue.dead_letter"]
    # A message keeps its age when it moves: the dead-letter queue must outlast the queue.
    assert dead["message_retention_seconds"] > queue["message_retention_seconds"]
    assert json.loads(dead["redrive_allow_policy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue['name']}"],
    }


def test_ingest_reads_the_landing_objects_and_its_queue_alone(plans):
    (document,) = plans["ingest"].documents.values()
    rights = {each["sid"]: (set(each["actions"]), each["resources"]) for each in document["statement"]}
    bucket = f"arn:aws:s3:::{NAME}-landing-{ACCOUNT}"
    assert rights["ReadObjects"] == ({"s3:GetObject", "s3:GetObjectVersion"}, [f"{bucket}/landing/*"])
    assert rights["TellMissingFromForbidden"] == ({"s3:ListBucket"}, [bucket])
    assert rights["TakeEvents"] == (
        {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
        [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}-ingest"],
    )
    assert rights["Decrypt"][0] == {"kms:Decrypt"}
    assert set(rights) == {"ReadObjects", "TellMissingFromForbidden", "TakeEvents", "Decrypt"}
