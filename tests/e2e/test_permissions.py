"""The functions of live/dev with their own roles, where IAM is enforced: they work, and can do nothing else.

`make e2e-iam`. MiniStack checks each call against the policies that the modules made: roles, queues, buckets, keys.
"""

import io
import json
import zipfile

import pytest

from tests.e2e.environment import ROOT, Emulated
from tests.require import TERRAFORM, require

UNITS = ("network", "database", "schema", "ingest", "api")  # all that a file passes
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}

# A function that makes the calls it is told to make, with the role it is given.
PROBE = """
import boto3
from botocore.exceptions import ClientError

def handle(event, context):
    try:
        getattr(boto3.client(event["service"]), event["method"])(**event["arguments"])
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"
"""


@pytest.fixture(scope="module")
def emulated():
    require("terragrunt", TERRAFORM, "provider", "openssl")
    with Emulated("dev", ROOT / ".local" / "e2e-iam", enforce_iam=True) as started:
        started.run("apply", *(f"--filter=./{unit}" for unit in UNITS), "apply")
        yield started


@pytest.fixture(scope="module")
def probe(emulated):
    """`probe("ingest", "s3", "get_object", Bucket=...)`: "allowed", or the error's code, with that function's role."""
    functions = emulated.client("lambda")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("probe.py", PROBE)
    for name in ("ingest", "api", "migrate"):
        role = functions.get_function(FunctionName=f"geodrop-dev-{name}")["Configuration"]["Role"]
        functions.create_function(
            FunctionName=f"probe-{name}",
            Runtime="python3.12",
            Handler="probe.handle",
            Role=role,
            Code={"ZipFile": package.getvalue()},
            Timeout=30,
        )

    def ask(name, service, method, **arguments):
        event = {"service": service, "method": method, "arguments": arguments}
        answer = functions.invoke(FunctionName=f"probe-{name}", Payload=json.dumps(event))
        said = json.load(answer["Payload"])
        assert "FunctionError" not in answer, said
        return said

    return ask


def denied(probe, name, *calls):
    """Hold that each call (service, method, arguments) is beyond a function's role."""
    for service, method, arguments in calls:
        assert probe(name, service, method, **arguments) in DENIED, (service, method, arguments)


def test_files_become_answers_with_the_functions_own_roles(emulated):
    emulated.write_stack()
    emulated.use()


def test_the_ingest_function_reads_what_lies_in_landing_and_nothing_else(emulated, probe):
    ingest = emulated.outputs("ingest")
    bucket, s3 = ingest["bucket_name"], emulated.client("s3")
    for key in ("landing/earthquakes-csv/probe.txt", "elsewhere/probe.txt"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"probe")
    queue = emulated.client("sqs").list_queues()["QueueUrls"][0]

    assert probe("ingest", "s3", "get_object", Bucket=bucket, Key="landing/earthquakes-csv/probe.txt") == "allowed"
    # Without the right to list, a missing object could not be told from a forbidden one.
    assert probe("ingest", "s3", "get_object", Bucket=bucket, Key="landing/earthquakes-csv/missing") == "NoSuchKey"
    denied(
        probe,
        "ingest",
        ("s3", "get_object", {"Bucket": bucket, "Key": "elsewhere/probe.txt"}),
        (
            "s3",
            "get_object",
            {"Bucket": f"geodrop-state-{emulated.account}", "Key": "live/dev/ingest/terraform.tfstate"},
        ),
        ("s3", "put_object", {"Bucket": bucket, "Key": "landing/earthquakes-csv/probe.txt", "Body": "x"}),
        ("s3", "delete_object", {"Bucket": bucket, "Key": "landing/earthquakes-csv/probe.txt"}),
        ("sqs", "send_message", {"QueueUrl": queue, "MessageBody": "x"}),
        ("sqs", "purge_queue", {"QueueUrl": queue}),
        ("lambda", "invoke", {"FunctionName": "geodrop-dev-migrate", "Payload": "{}"}),
        ("secretsmanager", "list_secrets", {}),
        ("iam", "list_roles", {}),
    )


def test_the_api_function_calls_nothing_of_aws(emulated, probe):
    bucket = emulated.outputs("ingest")["bucket_name"]
    queue = emulated.client("sqs").list_queues()["QueueUrls"][0]
    denied(
        probe,
        "api",
        ("s3", "get_object", {"Bucket": bucket, "Key": "landing/earthquakes-csv/probe.txt"}),
        ("s3", "list_objects_v2", {"Bucket": bucket}),
        ("sqs", "receive_message", {"QueueUrl": queue}),
        ("lambda", "invoke", {"FunctionName": "geodrop-dev-ingest", "Payload": "{}"}),
        ("secretsmanager", "list_secrets", {}),
        ("rds", "describe_db_instances", {}),
    )


def test_the_migrate_function_reads_no_secret_but_its_own(emulated, probe):
    secrets = emulated.client("secretsmanager")
    secrets.create_secret(Name="somebody-elses", SecretString="x")
    bucket = emulated.outputs("ingest")["bucket_name"]
    denied(
        probe,
        "migrate",
        ("secretsmanager", "get_secret_value", {"SecretId": "somebody-elses"}),  # pragma: allowlist secret
        ("s3", "get_object", {"Bucket": bucket, "Key": "landing/earthquakes-csv/probe.txt"}),
        ("rds", "delete_db_instance", {"DBInstanceIdentifier": "geodrop-dev", "SkipFinalSnapshot": True}),
    )
