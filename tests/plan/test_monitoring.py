"""Alarms: on metrics that exist, with the dimensions they have, heard by somebody, and each with its runbook."""

import json
import re

import pytest

from tests.plan.harness import ROOT
from tests.plan.inputs import ACCOUNT, ENVIRONMENT, INPUTS, NAME, REGION, TOPIC

# What AWS writes: namespace -> metrics, and the dimensions that name one series.
METRICS = {
    "AWS/ApiGateway": ({"4xx", "5xx", "Count", "Latency"}, {"ApiId", "Stage"}),
    "AWS/Backup": ({"NumberOfBackupJobsCompleted", "NumberOfBackupJobsFailed"}, {"BackupVaultName"}),
    "AWS/Lambda": ({"Duration", "Errors", "Throttles"}, {"FunctionName"}),
    "AWS/RDS": ({"CPUUtilization", "DatabaseConnections", "FreeStorageSpace"}, {"DBInstanceIdentifier"}),
    "AWS/S3": ({"PostRequests", "PutRequests"}, {"BucketName", "FilterId"}),
    "AWS/SQS": (
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent"},
        {"QueueName"},
    ),
}

# The values that the names of inputs.py give those dimensions.
VALUES = {
    "ApiId": {"a1b2c3d4e5"},
    "BackupVaultName": {NAME},
    "BucketName": {"landing"},
    "DBInstanceIdentifier": {NAME},
    "FilterId": {"landing"},
    "FunctionName": {f"{NAME}-ingest", f"{NAME}-api", f"{NAME}-migrate"},
    "QueueName": {f"{NAME}-ingest", f"{NAME}-ingest-dead-letter"},
    "Stage": {ENVIRONMENT},
}

ALARMS = {
    "monitoring": {
        "api-errors",
        "api-latency",
        "backup-failed",
        "backup-missed",
        "database-connections",
        "database-cpu",
        "database-storage",
        "dead-letter",
        "ingest-errors",
        "oldest-message",
        "s3-event-failures",
    },
    "schema": {"migrate-function-errors", "migrate-function-throttles", "migrate-function-duration"},
    "ingest": {"ingest-function-errors", "ingest-function-throttles", "ingest-function-duration"},
    "api": {"api-function-errors", "api-function-throttles", "api-function-duration"},
}


def alarms(plans, calls=("monitoring", "schema", "ingest", "api")):
    """Yield (call, alarm) of all alarms."""
    for call in calls:
        for alarm in plans[call].of("aws_cloudwatch_metric_alarm").values():
            yield call, alarm


def series(alarm):
    """Yield (namespace, metric, dimensions) of what an alarm looks at."""
    if alarm["metric_name"]:
        yield alarm["namespace"], alarm["metric_name"], alarm["dimensions"]
    for query in alarm["metric_query"]:
        for metric in query["metric"]:
            yield metric["namespace"], metric["metric_name"], metric["dimensions"]


@pytest.mark.parametrize("call", ALARMS)
def test_every_alarm_that_was_promised(plans, call):
    assert {alarm["alarm_name"] for _, alarm in alarms(plans, [call])} == {f"{NAME}-{name}" for name in ALARMS[call]}


def test_alarms_have_different_names(plans):
    # A second alarm of the same name would replace the first without a word.
    names = [alarm["alarm_name"] for _, alarm in alarms(plans)]
    assert len(set(names)) == len(names)


def test_alarms_look_at_metrics_that_exist_with_the_dimensions_they_have(plans):
    for _, alarm in alarms(plans):
        for namespace, metric, dimensions in series(alarm):
            metrics, names = METRICS[namespace]
            assert metric in metrics, alarm["alarm_name"]
            assert set(dimensions) == names, alarm["alarm_name"]
            assert all(value in VALUES[name] for name, value in dimensions.items()), alarm["alarm_name"]


def test_the_alarm_on_files_asks_for_the_metric_that_ingest_writes(plans):
    (query,) = plans["monitoring"]["aws_cloudwatch_metric_alarm.ingest_errors"]["metric_query"]
    form = r"SELECT SUM\((\w+)\) FROM SCHEMA\(\"(\w+)\", (\w+), (\w+)\) WHERE (\w+) = '(\w+)'"
    metric, namespace, *dimensions, where, environment = re.fullmatch(form, query["expression"]).groups()
    # Metrics Insights looks dimensions up in alphabetical order.
    assert dimensions == sorted(dimensions)
    assert (where, environment) == ("environment", ENVIRONMENT)

    written = (ROOT / "functions/ingest/handler.py").read_text()
    call = re.search(r"logs\.metrics\(\s*\{(.*)\},\n(.*?)\n        \)", written, re.DOTALL)
    assert set(re.findall(r'"(\w+)": ', call[1])) == set(dimensions)
    assert f"{metric}=" in call[2]
    assert f'"Namespace": "{namespace}"' in (ROOT / "functions/geodrop/logs.py").read_text()
    dashboard = json.loads(plans["monitoring"]["aws_cloudwatch_dashboard.this"]["dashboard_body"])
    shown = re.findall(r'MetricName="(\w+)"', repr(dashboard))
    assert len(shown) == 3
    assert all(f"{name}=" in call[2] for name in shown)


def test_expressions_name_the_metrics_beside_them(plans):
    for _, alarm in alarms(plans):
        expressions = [query["expression"] for query in alarm["metric_query"] if query["expression"]]
        if any(query["metric"] for query in alarm["metric_query"]):
            used = set(re.findall(r"\b[a-z]\w*", expressions[0]))
            assert used == {query["id"] for query in alarm["metric_query"] if query["metric"]}
        assert sum(bool(query["return_data"]) for query in alarm["metric_query"]) in (0, 1)


def test_alarms_cover_no_more_time_than_cloudwatch_allows(plans):
    for _, alarm in alarms(plans):
        periods = {query["period"] for query in alarm["metric_query"] if query["period"]}
        periods |= {metric["period"] for query in alarm["metric_query"] for metric in query["metric"]}
        (period,) = periods or {alarm["period"]}
        limit = 7 * 86400 if period >= 3600 else 86400
        assert period * alarm["evaluation_periods"] <= limit, alarm["alarm_name"]


def test_alarms_are_heard_and_say_when_it_is_over(plans):
    for call, alarm in alarms(plans):
        if call == "monitoring":
            continue
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [TOPIC]
    for address in ("this", "expression", "ingest_errors"):
        for attribute in ("alarm_actions", "ok_actions"):
            assert plans["monitoring"].references(f"aws_cloudwatch_metric_alarm.{address}", attribute) == {
                "aws_sns_topic.this"
            }
    # The functions' alarms are made before the topic: its name is an agreement.
    assert TOPIC.endswith(f":{plans['monitoring']['aws_sns_topic.this']['name']}")


def test_a_missing_backup_is_an_alarm_and_missing_errors_are_not(plans):
    treated = {alarm["alarm_name"].removeprefix(f"{NAME}-"): alarm["treat_missing_data"] for _, alarm in alarms(plans)}
    assert treated["backup-missed"] == "breaching"
    assert treated["ingest-errors"] == treated["dead-letter"] == treated["api-errors"] == "notBreaching"


def test_every_alarm_names_its_runbook_and_every_runbook_its_alarm(plans):
    named = set()
    for _, alarm in alarms(plans):
        (path,) = re.findall(r"Runbook: (docs/runbooks/[a-z0-9-]+\.md)$", alarm["alarm_description"])
        text = (ROOT / path).read_text()
        assert all(f"\n## {part}\n" in text for part in ("What it means", "First look", "Mend")), path
        named.add(ROOT / path)
    assert named == set((ROOT / "docs/runbooks").glob("*.md")) - {ROOT / "docs/runbooks/README.md"}


def test_cloudwatch_may_notify_the_encrypted_topic(plans):
    plan = plans["monitoring"]
    assert plan.references("aws_sns_topic.this", "kms_master_key_id") == {"aws_kms_key.this"}
    key = plan.policy("aws_kms_key.this")["CloudWatchAlarms"]
    assert set(key["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    topic = plan.policy("aws_sns_topic_policy.this")["CloudWatchAlarms"]
    assert (topic["Action"], topic["Resource"]) == ("sns:Publish", TOPIC)
    for statement in (key, topic):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_subscribers_by_input(plans):
    assert not plans["monitoring"].of("aws_sns_topic_subscription")
    subscriptions = plans["monitoring_production"].of("aws_sns_topic_subscription").values()
    assert {(each["protocol"], each["endpoint"]) for each in subscriptions} == {
        ("email", "ops@example.org"),
        ("https", "https://alarms.example.org/hook"),
    }


def test_without_request_metrics_there_is_no_alarm_on_lost_events(plans):
    names = {alarm["alarm_name"] for _, alarm in alarms(plans, ["monitoring_emulated"])}
    assert names == {f"{NAME}-{name}" for name in ALARMS["monitoring"] - {"s3-event-failures"}}


def test_the_dashboard_shows_metrics_that_exist(plans):
    widgets = json.loads(plans["monitoring"]["aws_cloudwatch_dashboard.this"]["dashboard_body"])["widgets"]
    assert len({(widget["x"], widget["y"]) for widget in widgets}) == len(widgets) >= 12
    for widget in widgets:
        assert widget["properties"]["region"] == REGION
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], str):
                namespace, name, *rest = metric
                dimensions = dict(zip(rest[0:-1:2], rest[1:-1:2], strict=True))
                metrics, names = METRICS[namespace]
                assert name in metrics
                assert set(dimensions) == names
                assert all(value in VALUES[key] for key, value in dimensions.items())


def test_inputs_are_names_of_the_other_modules(plans):
    for call, attribute in (("ingest", "aws_sqs_queue.this"), ("ingest", "aws_sqs_queue.dead_letter")):
        assert plans[call][attribute]["name"] in INPUTS["monitoring"]["ingest"].values()
