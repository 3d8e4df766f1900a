"""An environment of live/ on an emulated AWS: its own MiniStack with its own account, its own PostGIS, Terragrunt."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from botocore.exceptions import ClientError

from local.emulator import Emulator
from local.postgres import Cluster, connect
from tests.require import TERRAFORM

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("network", "database", "schema", "ingest", "api", "backup", "monitoring", "github-oidc")
ACCOUNTS = {"dev": "111111111111", "prod": "222222222222"}
REPOSITORY = "acme/geodrop"
PROGRAM = os.environ.get("GEODROP_TERRAGRUNT", "terragrunt")
# What a connection that was cut off is known by.
CUT_OFF = re.search(r"\((connection reset[^)]*)\)", (ROOT / "terragrunt.hcl").read_text())[1]


def variables(folder, **more):
    """Environment variables for Terragrunt: nothing of the caller's that could lead it to AWS, and no file in live/.

    `folder` takes Terragrunt's cache and the temporary files.
    """
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    kept = ("PATH", "HOME", "LANG", "TF_PLUGIN_CACHE_DIR")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "TMPDIR": str(folder / "tmp"),
        "TG_DOWNLOAD_DIR": str(folder / ".terragrunt-cache"),  # by this name Terragrunt knows that no units are in it
        "TG_NON_INTERACTIVE": "true",
        "TG_NO_COLOR": "true",
        "TG_TF_PATH": TERRAFORM,  # else OpenTofu comes first where both are there
        "TG_BACKEND_BOOTSTRAP": "true",
        # On several threads, the SDK (smithy-go) now and then takes a request that was answered quicker than it looks
        # for one that was cut short, and closes the connection. Only an emulator on the same machine is so quick.
        "GOMAXPROCS": "1",
        "TF_IN_AUTOMATION": "true",
        "CHECKPOINT_DISABLE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "GEODROP_DEV_ACCOUNT": ACCOUNTS["dev"],
        "GEODROP_PROD_ACCOUNT": ACCOUNTS["prod"],
        "GEODROP_PROD_SUBSCRIBERS": "ops@example.org",  # an https one waits for a confirmation that the emulator loses
        "GEODROP_PROD_COPY_VAULT": f"arn:aws:backup:eu-west-1:{ACCOUNTS['prod']}:backup-vault:copies",
        "GEODROP_GITHUB_REPOSITORY": REPOSITORY,
        **more,
    }


def build():
    """Make dist/*.zip."""
    subprocess.run([sys.executable, "functions/build.py"], cwd=ROOT, check=True, capture_output=True)


class TerragruntError(AssertionError):
    """Terragrunt failed; the message ends with what it said."""


@cache
def all_units(program=PROGRAM):
    """How this Terragrunt spells "in every unit": `run-all` before 0.90, `run --all` since."""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return ["run-all"] if " v0." in said and int(said.split(" v0.")[1].split(".")[0]) < 90 else ["run", "--all"]


def terragrunt(*arguments, environment, program=PROGRAM, folder=ROOT, niceness=0):
    """Run Terragrunt in a folder; return the finished process with what it printed."""
    done = subprocess.run(
        ["nice", "-n", str(niceness), program, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
        raise TerragruntError(f"{program} {' '.join(arguments)} in {folder}: {done.returncode}\n{said}")
    return done


class Emulated:
    """One environment, applied to a MiniStack and a PostGIS of its own, with `more` variables for Terragrunt.

    Entering it starts both, and makes dist/*.zip.
    """

    def __init__(self, name, folder, *, enforce_iam=False, **more):
        self.name = name
        self.account = ACCOUNTS[name]
        self.folder = folder
        self.live = ROOT / "live" / name
        self.cluster = Cluster(folder / "postgres", auth="trust", durable=False)
        self.emulator = Emulator(folder / "emulator", account=self.account, enforce_iam=enforce_iam)
        self.more = more
        self.seconds = {}
        self.client = cache(self.emulator.client)  # making one takes longer than asking it

    def __enter__(self):
        self.__exit__()  # what an interrupted run left
        self.folder.mkdir(parents=True)
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(step) for step in (build, self.emulator.start)]
            self.cluster.start()
            with closing(connect(self.cluster.url())) as connection:
                # RDS makes its master user; here there is only ours.
                connection.run("CREATE ROLE geodrop SUPERUSER LOGIN")
            for step in started:
                step.result()
        return self

    def __exit__(self, *_):
        self.emulator.stop()
        self.cluster.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self):
        return variables(
            self.folder,
            **self.emulator.environment(),
            GEODROP_EMULATOR_DATABASE_PORT=str(self.cluster.port),
            **self.more,
        )

    def run(self, what, *arguments, environment=None, **options):
        """Run Terragrunt in every unit with these arguments, and keep under `what` how long it took.

        What it printed is in .local/e2e-<name>-<what>.log until the next run.
        """
        started = time.monotonic()
        where = {"environment": environment or self.environment(), "folder": self.live}
        try:
            done = terragrunt(*all_units(), *arguments, **where, **options)
        finally:
            self.seconds[what] = self.seconds.get(what, 0) + time.monotonic() - started
        log = self.folder.with_name(f"{self.folder.name}-{what.replace(' ', '-')}.log")
        log.write_text(done.stdout + done.stderr)
        return done

    def state(self, unit, ending=""):
        """Return a unit's state, or the object of that name and ending; None where there is none."""
        key = f"live/{self.name}/{unit}/terraform.tfstate{ending}"
        try:
            found = self.client("s3").get_object(Bucket=f"geodrop-state-{self.account}", Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise
        return json.load(found["Body"])

    def is_applied(self, unit):
        """Say whether a unit's apply has ended well: it has outputs, and nobody holds the lock of its state."""
        state = self.state(unit)
        return bool(state and state["outputs"]) and self.state(unit, ".tflock") is None

    def outputs(self, unit):
        """Return a unit's outputs by name."""
        return {name: output["value"] for name, output in self.state(unit)["outputs"].items()}

    def resources(self):
        """Return the addresses of all resources in the state, each with its unit."""
        found = []
        for unit in UNITS:
            for resource in self.state(unit)["resources"]:
                if resource["mode"] == "managed":
                    address = ".".join([*filter(None, [resource.get("module")]), resource["type"], resource["name"]])
                    found += [f"{unit}: {address}"] * len(resource["instances"])
        return found

    def changes(self, units):
        """Plan some of the units, all at once, and return what an apply would do: "unit: address" -> action.

        An apply that still runs has the processor first.
        """
        chosen = [f"--queue-include-dir=./{unit}" for unit in units]
        # Terraform's messages as JSON, a line each: reading its plans would take as long as making them.
        # Strictly those units: Terragrunt before 0.90 takes what they depend on too.
        environment = self.environment() | {"TF_CLI_ARGS_plan": "-json", "TG_QUEUE_STRICT_INCLUDE": "true"}
        asked = ("second plan", *chosen, "--queue-ignore-dag-order", "plan")
        try:
            said = self.run(*asked, environment=environment, niceness=15).stdout
        except TerragruntError as error:
            # As JSON, errors do not reach what Terragrunt tries again: see `errors` in terragrunt.hcl.
            if not re.search(CUT_OFF, str(error)):
                raise
            said = self.run(*asked, environment=environment, niceness=15).stdout
        found, finished = {}, set()
        for unit, text in re.findall(r"^\S+ STDOUT +\[(\S+)\] \S+: (\{.*\})$", said, re.MULTILINE):
            message = json.loads(text)
            if message["type"] == "planned_change" and message["change"]["action"] != "read":
                found[f"{unit}: {message['change']['resource']['addr']}"] = message["change"]["action"]
            elif message["type"] == "change_summary":
                finished.add(unit)
        assert finished == set(units), said[-4000:]
        return found

    def leftovers(self):
        """Return what there still is in the account, of all kinds that are made in it, but for the state's bucket.

        Keys that wait for their deletion are gone as far as anybody can use them.
        """
        ask = self.client
        keys = [key["KeyId"] for page in ask("kms").get_paginator("list_keys").paginate() for key in page["Keys"]]
        states = {key: ask("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
        vpcs = [vpc["VpcId"] for vpc in ask("ec2").describe_vpcs()["Vpcs"] if not vpc.get("IsDefault")]
        in_vpcs = [{"Name": "vpc-id", "Values": vpcs or ["none"]}]
        found = {
            "buckets": [bucket["Name"] for bucket in ask("s3").list_buckets()["Buckets"]],
            "queues": ask("sqs").list_queues().get("QueueUrls", []),
            "functions": [each["FunctionName"] for each in ask("lambda").list_functions()["Functions"]],
            "event sources": [
                each["UUID"] for each in ask("lambda").list_event_source_mappings()["EventSourceMappings"]
            ],
            "apis": [each["ApiId"] for each in ask("apigatewayv2").get_apis()["Items"]],
            "databases": [each["DBInstanceIdentifier"] for each in ask("rds").describe_db_instances()["DBInstances"]],
            "subnet groups": [
                each["DBSubnetGroupName"] for each in ask("rds").describe_db_subnet_groups()["DBSubnetGroups"]
            ],
            "alarms": [each["AlarmName"] for each in ask("cloudwatch").describe_alarms()["MetricAlarms"]],
            "dashboards": [each["DashboardName"] for each in ask("cloudwatch").list_dashboards()["DashboardEntries"]],
            "topics": [each["TopicArn"] for each in ask("sns").list_topics()["Topics"]],
            "log groups": [each["logGroupName"] for each in ask("logs").describe_log_groups()["logGroups"]],
            "vaults": [each["BackupVaultName"] for each in ask("backup").list_backup_vaults()["BackupVaultList"]],
            "backup plans": [each["BackupPlanId"] for each in ask("backup").list_backup_plans()["BackupPlansList"]],
            "roles": [each["RoleName"] for each in ask("iam").list_roles()["Roles"]],
            "oidc providers": ask("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"],
            "keys": [key for key, state in states.items() if state != "PendingDeletion"],
            "networks": vpcs,
            "network addresses": [each["PublicIp"] for each in ask("ec2").describe_addresses()["Addresses"]],
            "security groups": [
                each["GroupId"] for each in ask("ec2").describe_security_groups(Filters=in_vpcs)["SecurityGroups"]
            ],
            "nat gateways": [
                each["NatGatewayId"]
                for each in ask("ec2").describe_nat_gateways()["NatGateways"]
                if each["State"] != "deleted"
            ],
        }
        kept = f"geodrop-state-{self.account}"
        return [f"{kind}: {one}" for kind, all_of_it in found.items() for one in all_of_it if one != kept]

    def api_url(self):
        """Return where the emulator answers for the API's stage."""
        api = self.outputs("api")
        return f"{self.emulator.url}/_aws/execute-api/{api['id']}/{api['stage_name']}"

    def write_stack(self):
        """Write stack.json as the embedded stack does; return its path."""
        path = self.folder / "stack.json"
        addresses = {
            "api": self.api_url(),
            "aws_endpoint": self.emulator.url,
            "bucket": self.outputs("ingest")["bucket_name"],
            # Any password is right; this one is found where it must not be.
            "database_url": self.cluster.url(password="looked-for-in-the-logs"),
            "env": self.name,
        }
        path.write_text(json.dumps(addresses, indent=2) + "\n")
        return path

    def use(self, *which):
        """Run the tests of the pipeline, or those that pytest's arguments choose, on what was applied."""
        used = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "tests/stack/test_pipeline.py", *which],
            cwd=ROOT,
            env={**os.environ, **self.emulator.environment(), "GEODROP_STACK": str(self.folder / "stack.json")},
            capture_output=True,
            text=True,
            check=False,
        )
        print(used.stdout)
        assert used.returncode == 0, used.stdout + used.stderr
