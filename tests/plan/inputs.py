"""Inputs that each module takes without complaint, with names as long as they may be."""

from pathlib import Path

from tests.plan.harness import ROOT

ACCOUNT = "111122223333"
REGION = "eu-central-1"
NAME = "geodrop-staging-longest1"
ENVIRONMENT = "staging"

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-12345678-abcdef"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-alarms"
DATABASE = {"host": "db.example.eu-central-1.rds.amazonaws.com", "resource_id": "db-ABCDEFGHIJKL"}
VAULT = f"arn:aws:backup:eu-west-1:{ACCOUNT}:backup-vault:copies"
OPENAPI = str(ROOT / "functions/api/openapi.yaml")
SQL = str(ROOT / "functions/migrate/sql")
FILES = Path(__file__).parent / "files"

# Beside the root module, where the harness puts it: plans only take its hash.
PACKAGE = "function.zip"


def definition(function):
    """Return the path of a function's function.json."""
    return str(ROOT / "functions" / function / "function.json")


_PLACE = {"name": NAME, "account_id": ACCOUNT, "region": REGION}
_LOGS = {"kms_key_arn": KEY, "retention_days": 30}
_FUNCTION = {
    **_PLACE,
    "package": PACKAGE,
    "network": {"subnet_ids": ["subnet-1", "subnet-2"], "security_group_id": "sg-function"},
    "logs": _LOGS,
    "alarm_topic_arn": TOPIC,
}

INPUTS = {
    "network": {**_PLACE, "zones": [f"{REGION}a", f"{REGION}b"]},
    "database": {**_PLACE, "subnet_ids": ["subnet-1", "subnet-2"], "security_group_id": "sg-database", "logs": _LOGS},
    "function": {
        **_FUNCTION,
        "name": f"{NAME}-ingest",
        "definition": definition("ingest"),
        "environment": {"GEODROP_DATABASE_URL": "postgresql://x", "GEODROP_ENV": "x", "GEODROP_LOG_LEVEL": "INFO"},
    },
    "schema": {
        **_FUNCTION,
        "definition": definition("migrate"),
        "sql": SQL,
        "database": DATABASE,
        "master_secret": {"arn": SECRET, "kms_key_arn": KEY},
    },
    "ingest": {
        **_FUNCTION,
        "definition": definition("ingest"),
        "environment_name": ENVIRONMENT,
        "database": DATABASE,
    },
    "api": {
        **_FUNCTION,
        "definition": definition("api"),
        "openapi": OPENAPI,
        "environment_name": ENVIRONMENT,
        "database": DATABASE,
    },
    "backup": {**_PLACE, "resource_arns": [f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{NAME}", "arn:aws:s3:::landing"]},
    "monitoring": {
        **_PLACE,
        "environment_name": ENVIRONMENT,
        "ingest": {
            "function_name": f"{NAME}-ingest",
            "queue_name": f"{NAME}-ingest",
            "dead_letter_queue_name": f"{NAME}-ingest-dead-letter",
            "bucket_name": "landing",
            "bucket_metrics_id": "landing",
        },
        "api": {"id": "a1b2c3d4e5", "stage_name": ENVIRONMENT, "function_name": f"{NAME}-api"},
        "database": {"identifier": NAME},
        "backup": {"vault_name": NAME},
    },
    "github-oidc": {
        "name": NAME,
        "account_id": ACCOUNT,
        "repository": "acme/geodrop",
        "main_branch": "trunk",
        "apply_from": {"environment": ENVIRONMENT},
        "state_bucket": "geodrop-staging-state",
    },
}

# The calls that are planned: name -> (module, what differs from INPUTS).
GOOD = {
    **{module.replace("-", "_"): (module, {}) for module in INPUTS},
    "network_production": (
        "network",
        {
            "zones": [f"{REGION}a", f"{REGION}b", f"{REGION}c"],
            "nat_per_zone": True,
            "production": True,
            "interface_endpoints": ["secretsmanager", "sqs"],
        },
    ),
    "database_small": (
        "database",
        {
            "engine_version": "17.2",
            "multi_az": False,
            "deletion_protection": False,
            "final_snapshot": False,
        },
    ),
    "database_production": ("database", {"production": True, "engine_version": "15", "proxy_secret_arns": [SECRET]}),
    "function_quiet": (
        "function",
        {"database_resource_id": "db-ABCDEFGHIJKL", "tracing": "PassThrough", "reserved_concurrency": 5},
    ),
    "schema_emulated": (
        "schema",
        {
            "master_secret": {"arn": "", "kms_key_arn": ""},
            "database": {"host": "127.0.0.1", "resource_id": "db-1", "sslmode": "disable"},
        },
    ),
    "ingest_production": (
        "ingest",
        {"production": True, "maximum_concurrency": 8, "reserved_concurrency": 8, "request_metrics": False},
    ),
    "api_jwt": (
        "api",
        {
            "openapi": str(FILES / "openapi.yaml"),
            "authorizer": {"type": "jwt", "issuer": "https://id.example.org", "audiences": ["geodrop"]},
            "cors_origins": ["https://map.example.org"],
            "public_url": "https://geo.example.org",
        },
    ),
    "api_iam": ("api", {"authorizer": {"type": "iam"}}),
    "backup_production": (
        "backup",
        {
            "production": True,
            "vault_lock": {"compliance_after_days": 3},
            "copy": {"vault_arn": VAULT, "retention_days": 60},
            "logical": {"function_arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{NAME}-backup"},
        },
    ),
    "backup_emulated": ("backup", {"vault_lock": {"enabled": False}, "force_destroy": True}),
    "monitoring_production": (
        "monitoring",
        {"production": True, "subscribers": ["ops@example.org", "https://alarms.example.org/hook"]},
    ),
    "monitoring_emulated": ("monitoring", {"ingest": {**INPUTS["monitoring"]["ingest"], "bucket_metrics_id": ""}}),
    "github_oidc_branch": ("github-oidc", {"apply_from": {"branch": "main"}, "create_provider": False}),
}
