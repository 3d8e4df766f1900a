"""Deploy geodrop to a MiniStack: what Terraform does for AWS, from the same function.json and openapi.yaml.

Everything is made when missing and mended when different, so that running it again is quick and harmless.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import pg8000.native
import yaml
from botocore.exceptions import ClientError

from local.emulator import ACCOUNT, REGION, client
from local.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = "local"
PREFIX = f"geodrop-{ENVIRONMENT}"
BUCKET = f"{PREFIX}-landing"
LANDING = "landing/"
_QUEUE = f"{PREFIX}-ingest"
_DEAD_LETTER_QUEUE = f"{_QUEUE}-dead-letter"
_API_ID = "geodrop"
_CONCURRENCY = 4
# Until a message that failed is tried again. AWS has six times the timeout of the function; here nobody wants to wait.
_RETRY_S = 30


class DeployError(RuntimeError):
    """geodrop cannot be deployed; the message says what is in the way."""


@dataclass(frozen=True)
class Deployment:
    """Deploys to one MiniStack and one PostGIS.

    Parameters
    ----------
    endpoint
        Address of the MiniStack.
    database_url
        A superuser's URL of the database.
    zips
        Folder of the functions' packages, as functions/build.py makes them.
    passwords
        File that keeps the passwords of the database roles; made when missing.
    """

    endpoint: str
    database_url: str
    zips: Path
    passwords: Path

    @property
    def api_url(self) -> str:
        """Address of the API with its stage."""
        return f"{self.endpoint}/_aws/execute-api/{_API_ID}/{ENVIRONMENT}"

    def run(self) -> dict[str, Any]:
        """Deploy everything and return what the database migration said.

        Raises
        ------
        DeployError
            When a function needs an environment variable that nobody knows, or the migration fails.
        """
        migrated = self._migrate()
        self._set_passwords()
        self._bucket_and_queues()
        for name in self._definitions:
            if name != "migrate":
                self._function(name)
        self._event_source()
        self._api()
        return migrated

    @cached_property
    def _definitions(self) -> dict[str, dict[str, Any]]:
        files = sorted((ROOT / "functions").glob("*/function.json"))
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in files}

    @cached_property
    def _lambda(self) -> Any:
        return client("lambda", self.endpoint)

    @cached_property
    def _sqs(self) -> Any:
        return client("sqs", self.endpoint)

    # --- Database -----------------------------------------------------------

    def _migrate(self) -> dict[str, Any]:
        self._function("migrate")
        answer = self._lambda.invoke(FunctionName=function_name("migrate"), Payload=b'{"action": "migrate"}')
        said: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            told = said.get("errorMessage", said)
            raise DeployError(f"the migration failed: {told} (`make reset` makes the local database anew)")
        return said

    @cached_property
    def _role_passwords(self) -> dict[str, str]:
        users = {one["database_user"] for name, one in self._definitions.items() if name != "migrate"}
        known: dict[str, str] = json.loads(self.passwords.read_text()) if self.passwords.exists() else {}
        if not users <= known.keys():
            known |= {user: secrets.token_urlsafe(24) for user in sorted(users - known.keys())}
            self.passwords.parent.mkdir(parents=True, exist_ok=True)
            self.passwords.touch(mode=0o600)
            self.passwords.write_text(json.dumps(known))
        return known

    def _set_passwords(self) -> None:
        """Give the roles that the migration made their passwords; on AWS they have none, but IAM tokens."""
        with closing(connect(self.database_url)) as connection:
            for user, password in self._role_passwords.items():
                name, literal = pg8000.native.identifier(user), pg8000.native.literal(password)
                connection.run(f"ALTER ROLE {name} PASSWORD {literal}")

    def _url_for(self, user: str) -> str:
        address = urlsplit(self.database_url)
        login = f"{quote(user, safe='')}:{quote(self._role_passwords[user], safe='')}"
        return urlunsplit(address._replace(netloc=f"{login}@{address.hostname}:{address.port or 5432}"))

    # --- Functions ----------------------------------------------------------

    def _function(self, name: str) -> None:
        """Create a function, or give it its new package or settings."""
        definition = self._definitions[name]
        package = (self.zips / f"{name}.zip").read_bytes()
        settings = {
            "Runtime": definition["runtime"],
            "Handler": definition["handler"],
            "Description": definition["description"],
            "MemorySize": definition["memory_mb"],
            "Timeout": definition["timeout_s"],
            "Environment": {"Variables": self._environment(name)},
            "Role": f"arn:aws:iam::{ACCOUNT}:role/{function_name(name)}",
        }
        try:
            present = self._lambda.get_function_configuration(FunctionName=function_name(name))
        except ClientError as error:
            if not _is_missing(error):
                raise
            self._lambda.create_function(
                FunctionName=function_name(name),
                Code={"ZipFile": package},
                Architectures=[definition["architecture"]],
                **settings,
            )
            return
        if present["CodeSha256"] != base64.b64encode(hashlib.sha256(package).digest()).decode():
            self._lambda.update_function_code(FunctionName=function_name(name), ZipFile=package)
        if any(present.get(key) != value for key, value in settings.items()):
            self._lambda.update_function_configuration(FunctionName=function_name(name), **settings)

    def _environment(self, name: str) -> dict[str, str]:
        """Return exactly the variables that function.json lists."""
        definition = self._definitions[name]
        known = {
            "GEODROP_DATABASE_URL": self.database_url
            if name == "migrate"
            else self._url_for(definition["database_user"]),
            "GEODROP_DATABASE_SECRET_ARN": "",
            "GEODROP_ENV": ENVIRONMENT,
            "GEODROP_LOG_LEVEL": "INFO",
            "GEODROP_PUBLIC_URL": self.api_url,
        }
        unknown = set(definition["environment"]) - known.keys()
        if unknown:
            raise DeployError(f"functions/{name}/function.json asks for {sorted(unknown)}: tell local/deploy.py of it")
        return {key: known[key] for key in definition["environment"]}

    # --- From the bucket to the function ------------------------------------

    def _bucket_and_queues(self) -> None:
        s3 = client("s3", self.endpoint)
        try:
            s3.head_bucket(Bucket=BUCKET)
        except ClientError as error:
            if not _is_missing(error):
                raise
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        if s3.get_bucket_versioning(Bucket=BUCKET).get("Status") != "Enabled":
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        tries = self._definitions["ingest"]["trigger"]["max_receive_count"]
        self._queue(_DEAD_LETTER_QUEUE, {"MessageRetentionPeriod": str(14 * 24 * 3600)})
        redrive = json.dumps({"deadLetterTargetArn": _queue_arn(_DEAD_LETTER_QUEUE), "maxReceiveCount": tries})
        self._queue(_QUEUE, {"VisibilityTimeout": str(_RETRY_S), "RedrivePolicy": redrive})
        wanted = {
            "Id": "landing",
            "QueueArn": _queue_arn(_QUEUE),
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": LANDING}]}},
        }
        present = s3.get_bucket_notification_configuration(Bucket=BUCKET).get("QueueConfigurations", [])
        if [(one["QueueArn"], sorted(one["Events"])) for one in present] != [(wanted["QueueArn"], wanted["Events"])]:
            configuration = {"QueueConfigurations": [wanted]}
            s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)

    def _queue(self, name: str, attributes: Mapping[str, str]) -> None:
        try:
            url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
            self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        except self._sqs.exceptions.QueueDoesNotExist:
            self._sqs.create_queue(QueueName=name, Attributes=attributes)

    def _event_source(self) -> None:
        trigger = self._definitions["ingest"]["trigger"]
        settings = {
            "BatchSize": trigger["batch_size"],
            "MaximumBatchingWindowInSeconds": trigger["batch_window_s"],
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": _CONCURRENCY},
        }
        name = function_name("ingest")
        present = self._lambda.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        if present:
            self._lambda.update_event_source_mapping(UUID=present[0]["UUID"], **settings)
        else:
            self._lambda.create_event_source_mapping(FunctionName=name, EventSourceArn=_queue_arn(_QUEUE), **settings)

    # --- API ----------------------------------------------------------------

    def _api(self) -> None:
        apis = client("apigatewayv2", self.endpoint)
        if _API_ID not in {one["ApiId"] for one in apis.get_apis()["Items"]}:
            apis.create_api(
                Name=PREFIX,
                ProtocolType="HTTP",
                CorsConfiguration={"AllowOrigins": ["*"], "AllowMethods": ["GET"]},
                Tags={"ms-custom-id": _API_ID},  # the same address after every start
            )
            apis.create_stage(ApiId=_API_ID, StageName=ENVIRONMENT, AutoDeploy=True)
        integrations = apis.get_integrations(ApiId=_API_ID)["Items"] or [
            apis.create_integration(
                ApiId=_API_ID,
                IntegrationType="AWS_PROXY",
                IntegrationUri=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function_name('api')}",
                PayloadFormatVersion="2.0",
                TimeoutInMillis=min(self._definitions["api"]["timeout_s"], 30) * 1000,
            )
        ]
        target = f"integrations/{integrations[0]['IntegrationId']}"
        present = {one["RouteKey"]: one["RouteId"] for one in apis.get_routes(ApiId=_API_ID)["Items"]}
        wanted = route_keys()
        for key in wanted - present.keys():
            apis.create_route(ApiId=_API_ID, RouteKey=key, Target=target)
        for key in present.keys() - wanted:
            apis.delete_route(ApiId=_API_ID, RouteId=present[key])


def route_keys() -> set[str]:
    """Return the routes of functions/api/openapi.yaml as HTTP APIs name them: "GET /ingestions/{id}"."""
    document = yaml.safe_load((ROOT / "functions" / "api" / "openapi.yaml").read_text(encoding="utf-8"))
    methods = {"get", "put", "post", "delete", "options", "head", "patch"}
    declared = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
        if method in methods
    }
    # What can be got can also be asked for its headers alone; modules/api does the same.
    return declared | {route.replace("GET", "HEAD", 1) for route in declared if route.startswith("GET ")}


def function_name(name: str) -> str:
    """Return a function's name here: ingest -> geodrop-local-ingest."""
    return f"{PREFIX}-{name}"


def _queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in {"404", "NoSuchBucket", "NotFound", "ResourceNotFoundException"}
