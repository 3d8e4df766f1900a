"""Every validation and every precondition of the modules refuses what it is there for, and says so."""

import json
import re

import pytest

from tests.plan.harness import MODULES, ROOT, Composition
from tests.plan.inputs import FILES, INPUTS, VAULT
from tests.require import TERRAFORM, require

# Terraform's errors go through a pipe that nobody empties until it ends: no more calls in one plan than fit.
BATCH = 75

# What several modules ask in the same words: (modules, changes, what Terraform must say).
_NAMED = ["network", "database", "schema", "ingest", "api", "backup", "monitoring", "github-oidc"]
_PLACED = [module for module in MODULES if module != "github-oidc"]
_FUNCTIONS = ["function", "schema", "ingest", "api"]
_CONNECTED = ["schema", "ingest", "api"]
_ENVIRONMENTS = ["ingest", "api", "monitoring"]
_NETWORK = INPUTS["function"]["network"]
_LOGS = INPUTS["function"]["logs"]
_DATABASE = INPUTS["ingest"]["database"]
SHARED = [
    (_NAMED, {"name": "Geodrop"}, "name must be 3 to 24 lower-case letters"),
    (_NAMED, {"name": "geodrop-staging-too-long1"}, "name must be 3 to 24 lower-case letters"),
    (_NAMED, {"name": "geodrop--dev"}, "name must be 3 to 24 lower-case letters"),
    (MODULES, {"account_id": "11112222333"}, "account_id must be 12 digits"),
    (_PLACED, {"region": "frankfurt"}, "region must be the name of an AWS region"),
    (_ENVIRONMENTS, {"environment_name": "the-test"}, "environment_name must be 2 to 12 lower-case letters"),
    (_FUNCTIONS, {"package": "missing.zip"}, "package must be the path of a zip that exists"),
    (_FUNCTIONS, {"definition": "missing.json"}, "definition must be the path of a function.json"),
    (
        _FUNCTIONS,
        {"network": {**_NETWORK, "subnet_ids": ["subnet-1", "subnet-1"]}},
        "network.subnet_ids must name at least two subnets",
    ),
    (_FUNCTIONS, {"network": {**_NETWORK, "security_group_id": "x"}}, "network.security_group_id must be the id"),
    (_FUNCTIONS, {"tracing": "Passive"}, "tracing must be Active or PassThrough"),
    (_FUNCTIONS, {"alarm_topic_arn": "alarms"}, "alarm_topic_arn must be the ARN of an SNS topic"),
    ([*_FUNCTIONS, "database"], {"logs": {**_LOGS, "kms_key_arn": "x"}}, "logs.kms_key_arn must be the ARN"),
    ([*_FUNCTIONS, "database"], {"logs": {**_LOGS, "retention_days": 31}}, "logs.retention_days must be a period"),
    (_CONNECTED, {"database": {**_DATABASE, "sslmode": "require"}}, "database.sslmode must be verify-full, or disable"),
    (_CONNECTED, {"database": {**_DATABASE, "sslmode": "disable"}}, "database.sslmode may be disable only for"),
    (_CONNECTED, {"database": {**_DATABASE, "resource_id": "geodrop"}}, "database.resource_id must be a DbiResourceId"),
    (["function", "ingest", "api"], {"reserved_concurrency": 0}, "reserved_concurrency must be 1 to 900, or -1"),
]

# What one module asks: module -> [(changes, what Terraform must say)].
OWN = {
    "network": [
        ({"cidr": "10.20.0.0/25"}, "cidr must be an IPv4 range between /16 and /24"),
        ({"cidr": "10.20.0.0/33"}, "cidr must be an IPv4 range between /16 and /24"),
        ({"cidr": "100.64.0.0/16"}, "cidr must be a private range"),
        ({"zones": ["eu-central-1a"]}, "zones must be two or three different availability zones"),
        ({"zones": ["eu-central-1a", "eu-central-1a"]}, "zones must be two or three different availability zones"),
        ({"database_port": 443}, "database_port must be 1024 to 65535"),
        ({"interface_endpoints": ["s3"]}, "interface_endpoints must be short names of services"),
        ({"interface_endpoints": ["com/sqs"]}, "interface_endpoints must be short names of services"),
        ({"log_retention_days": 31}, "log_retention_days must be a period CloudWatch Logs knows"),
    ],
    "database": [
        ({"subnet_ids": ["subnet-1"]}, "subnet_ids must name at least two subnets"),
        ({"security_group_id": "x"}, "security_group_id must be the id of a security group"),
        ({"port": 1024}, "port must be 1150 to 65535"),
        ({"engine_version": "14.9"}, "engine_version must be PostgreSQL 15, 16 or 17"),
        ({"instance_class": "t4g.small"}, "instance_class must be an RDS instance class"),
        ({"storage": {"allocated_gib": 10}}, "storage.allocated_gib must be 20 to 65536"),
        ({"storage": {"allocated_gib": 100, "maximum_gib": 105}}, "storage.maximum_gib must be at least a tenth more"),
        ({"backup_retention_days": 0}, "backup_retention_days must be 1 to 35"),
        ({"backup_retention_days": 36}, "backup_retention_days must be 1 to 35"),
        ({"proxy_secret_arns": ["secret"]}, "proxy_secret_arns must be ARNs of Secrets Manager secrets"),
    ],
    "function": [
        ({"name": "geodrop-staging-longest1-much-too-long-xx"}, "name must be 3 to 40 lower-case letters"),
        ({"database_resource_id": "geodrop"}, "database_resource_id must be a DbiResourceId"),
        (
            {"statements": [{"sid": "All", "actions": ["s3:GetObject"], "resources": ["*"]}]},
            "statements must name actions and resources",
        ),
        (
            {"statements": [{"sid": "All", "actions": ["s3:*"], "resources": ["arn:aws:s3:::landing"]}]},
            "statements must name actions and resources",
        ),
    ],
    "schema": [
        ({"sql": str(FILES)}, "sql must be a folder of migrations"),
        ({"sql": "no-folder"}, "sql must be a folder of migrations"),
        ({"master_secret": {"arn": "x", "kms_key_arn": ""}}, "master_secret needs both arn and kms_key_arn"),
    ],
    "ingest": [
        ({"maximum_concurrency": 1}, "maximum_concurrency must be 2 to 1000"),
        ({"lifecycle_days": {"infrequent_access": 7}}, "lifecycle_days.infrequent_access must be at least 30"),
        ({"lifecycle_days": {"noncurrent": 0}}, "lifecycle_days.noncurrent must be at least 1"),
    ],
    "api": [
        ({"openapi": "missing.yaml"}, "openapi must be the path of an OpenAPI document"),
        ({"throttle": {"rate": 0}}, "throttle.rate must be 1 to 10000"),
        ({"throttle": {"burst": 6000}}, "throttle.rate must be 1 to 10000"),
        ({"cors_origins": ["https://map.example.org/page"]}, "cors_origins must be"),
        ({"authorizer": {"type": "key"}}, "authorizer.type must be none, iam or jwt"),
        ({"authorizer": {"type": "jwt"}}, "authorizer needs an https:// issuer"),
        (
            {"authorizer": {"type": "none", "issuer": "https://id.example.org", "audiences": ["geodrop"]}},
            "authorizer needs an https:// issuer",
        ),
        ({"public_url": "https://geo.example.org/"}, "public_url must be an http(s) address without a slash"),
    ],
    "backup": [
        ({"resource_arns": []}, "resource_arns must be ARNs of RDS instances and S3 buckets"),
        ({"resource_arns": ["*"]}, "resource_arns must be ARNs of RDS instances and S3 buckets"),
        ({"daily": {"schedule": "daily"}}, "daily.schedule must be an AWS cron expression"),
        ({"daily": {"schedule": "cron(0 2 * * *)"}}, "daily.schedule must be an AWS cron expression"),
        ({"daily": {"retention_days": 0}}, "daily.retention_days must be 1 to 3650"),
        ({"continuous_retention_days": 36}, "continuous_retention_days must be 1 to 35"),
        ({"vault_lock": {"minimum_days": 30, "maximum_days": 7}}, "vault_lock.minimum_days must be at least 1"),
        ({"vault_lock": {"compliance_after_days": 2}}, "vault_lock.compliance_after_days must be at least 3"),
        ({"copy": {"vault_arn": "vault"}}, "copy.vault_arn must be the ARN of a backup vault"),
        ({"logical": {"function_arn": "backup"}}, "logical.function_arn must be the ARN of a function"),
        ({"logical": {"schedule": "rate(1 day)"}}, "logical.schedule must be an AWS cron expression"),
        ({"logical": {"retention_days": 0}}, "logical.retention_days must be at least 1"),
    ],
    "monitoring": [
        ({"subscribers": ["http://alarms.example.org"]}, "subscribers must be e-mail addresses or https:// endpoints"),
        ({"subscribers": ["operations"]}, "subscribers must be e-mail addresses or https:// endpoints"),
        ({"thresholds": {"api_p95_ms": 0}}, "thresholds must be greater than zero"),
        ({"thresholds": {"database_cpu_percent": 101}}, "thresholds in percent must be at most 100"),
    ],
    "github-oidc": [
        ({"repository": "acme"}, "repository must be owner/name"),
        ({"repository": "acme/*"}, "repository must be owner/name"),
        ({"main_branch": "*"}, "main_branch must be the name of a branch"),
        ({"main_branch": ""}, "main_branch must be the name of a branch"),
        ({"apply_from": {}}, "apply_from needs either environment or branch"),
        ({"apply_from": {"environment": "prod", "branch": "main"}}, "apply_from needs either environment or branch"),
        ({"apply_from": {"branch": "*"}}, "apply_from must not hold wildcards"),
        ({"state_bucket": "Bucket"}, "state_bucket must be the name of a bucket"),
    ],
}

# What depends on several inputs: module -> [(changes, what Terraform must say)]. A path of files/ is a function.json.
PRECONDITIONS = {
    "network": [
        ({"zones": ["eu-west-1a", "eu-west-1b"]}, "zones must all be zones of the region"),
        ({"production": True}, "In production nat_per_zone must be true"),
    ],
    "database": [
        ({"production": True, "multi_az": False}, "In production multi_az, deletion_protection and final_snapshot"),
        ({"production": True, "deletion_protection": False}, "In production multi_az, deletion_protection and"),
        ({"production": True, "final_snapshot": False}, "In production multi_az, deletion_protection and"),
        ({"production": True, "backup_retention_days": 6}, "In production multi_az, deletion_protection and"),
        ({"port": 6432, "proxy_secret_arns": ["arn:aws:secretsmanager:x"]}, "An RDS Proxy listens on 5432"),
    ],
    "function": [
        ({"environment": {"GEODROP_LOG_LEVEL": "INFO"}}, "The environment set for"),
        ({"environment": {**INPUTS["function"]["environment"], "EXTRA": "x"}}, "The environment set for"),
        ({"definition": {"timeout_s": 901}}, "memory_mb must be 128 to 10240 and timeout_s 1 to 900"),
        ({"definition": {"memory_mb": 64}}, "memory_mb must be 128 to 10240 and timeout_s 1 to 900"),
    ],
    "schema": [
        ({"master_secret": {"arn": "", "kms_key_arn": ""}}, "master_secret is needed"),
    ],
    "ingest": [
        ({"production": True, "force_destroy": True}, "In production force_destroy must be false and lifecycle_days"),
        ({"production": True, "lifecycle_days": {"noncurrent": 7}}, "In production force_destroy must be false and"),
        ({"maximum_concurrency": 9, "reserved_concurrency": 8}, "maximum_concurrency (9) must not exceed"),
        ({"definition": {"trigger": {"type": "http"}}}, "the trigger of ingest must be of type sqs"),
        ({"definition": {"trigger": {"batch_size": 11}}}, "a batch_size over 10 needs a batch_window_s"),
    ],
    "api": [
        ({"definition": {"timeout_s": 30}}, "timeout_s must be at most 29"),
    ],
    "backup": [
        ({"production": True, "force_destroy": True}, "In production force_destroy must be false and vault_lock"),
        ({"production": True, "vault_lock": {"enabled": False}}, "In production force_destroy must be false and"),
        ({"daily": {"retention_days": 6}}, "daily.retention_days and continuous_retention_days must lie between"),
        ({"continuous_retention_days": 6}, "daily.retention_days and continuous_retention_days must lie between"),
        ({"copy": {"vault_arn": VAULT.replace("eu-west-1", "eu-central-1")}}, "copy.vault_arn must lie in another"),
    ],
    "monitoring": [
        ({"production": True}, "In production there must be a subscriber"),
    ],
}

# Only an answer of the function can break this one; it was seen to on the emulator, and the e2e shows the other side.
AFTER_APPLY = ["The migration did not end at"]


def _cases():
    """Yield (name of the call, module, changes, message, whether a precondition says it)."""
    found = [(module, changes, said, False) for modules, changes, said in SHARED for module in modules]
    found += [(module, changes, said, False) for module, cases in OWN.items() for changes, said in cases]
    found += [(module, changes, said, True) for module, cases in PRECONDITIONS.items() for changes, said in cases]
    for number, (module, changes, said, late) in enumerate(found):
        yield f"case_{number}", module, changes, said, late


CASES = list(_cases())


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What Terraform says of every case: name -> text."""
    require(TERRAFORM, "provider")
    definitions = tmp_path_factory.mktemp("definitions")
    found = {}
    for batch in _batches():
        calls = {
            name: (module, {**INPUTS[module], **_written(name, module, changes, definitions)})
            for name, module, changes, _, _ in batch
        }
        by_validations = not any(late for *_, late in batch)
        said = Composition(tmp_path_factory.mktemp("refused"), calls, variables_only=by_validations).refusals()
        found |= {name: said.get(module if late else name, "") for name, module, _, _, late in batch}
    return found


def _batches():
    """Return the cases as lists that share a plan: of a precondition, which names no call, only one in each."""
    early = [case for case in CASES if not case[-1]]
    batches = [early[start : start + BATCH] for start in range(0, len(early), BATCH)]
    late = {}
    for case in CASES[len(early) :]:
        seen = sum(case[1] == other[1] and case[3][:20] == other[3][:20] for batch in late.values() for other in batch)
        late.setdefault(seen, []).append(case)
    return batches + list(late.values())


def _written(name, module, changes, folder):
    """Return the changes with a changed function.json written to a file of its own."""
    if not isinstance(changes.get("definition"), dict):
        return changes
    usual = json.loads((ROOT / "functions" / module / "function.json").read_text()) if module != "function" else None
    usual = usual or json.loads((ROOT / "functions/ingest/function.json").read_text())
    change = changes["definition"]
    trigger = {**usual["trigger"], **change.get("trigger", {})}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**usual, **change, "trigger": trigger}))
    return {**changes, "definition": str(path)}


@pytest.mark.parametrize(
    ("name", "said"), [pytest.param(name, said, id=f"{module}: {said} [{name}]") for name, module, _, said, _ in CASES]
)
def test_wrong_inputs_are_refused_with_their_message(refusals, name, said):
    assert said in (refusals[name] or "taken without complaint")


@pytest.mark.parametrize("module", MODULES)
def test_every_rule_of_a_module_has_a_case(module):
    rules = [
        re.split(r"\$\{|\\\"", message)
        for path in sorted((ROOT / "modules" / module).glob("*.tf"))
        for message in re.findall(r'error_message = "(.*)"', path.read_text())
    ]
    said = [said for _, of, _, said, _ in CASES if of == module] + AFTER_APPLY
    missing = [parts for parts in rules if not any(_matches(parts, each) for each in said)]
    assert not missing


def _matches(parts, said):
    """Say whether a case's words are those of a message, whose parts lie between interpolations."""
    return any(said in part or (len(part) > 15 and part.strip() in said) for part in parts)
