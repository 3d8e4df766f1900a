"""Puts one file, queries it, takes it back: `python tools/smoke.py BUCKET API_URL`, with AWS credentials.

The row is of a category that nothing else has, so what is counted is what was put. Prints how to roll back on failure.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import boto3

DATASET = "earthquakes-csv"
PATIENCE_S = 120.0
ROLLBACK = """The smoke test failed: what was applied does not take in a file and answer for it. To roll back:
  dev   revert the commit on main; the merge applies it
  prod  set modules_version in live/prod/env.hcl to the release before (python tools/promote.py prod vX.Y.Z), merge, and
        run the workflow `apply` for prod
Migrations go forward only. See docs/deploying.md, A rollback, and the function's log group.
"""


def category() -> str:
    """Return a category of letters that nobody else uses."""
    return "smoke-" + "".join(chr(ord("a") + int(digit, 16)) for digit in uuid.uuid4().hex)


def counted(api: str, name: str) -> int:
    """Return how many rows of a category the API counts; -1 where it does not answer."""
    query = urlencode({"dataset": DATASET, "category": name})
    try:
        with urllib.request.urlopen(f"{api}/aggregated-data?{query}", timeout=30) as answer:
            features = json.load(answer)["features"]
    except (urllib.error.URLError, TimeoutError):
        return -1
    return sum(feature["properties"]["count"] for feature in features)


def wait(condition: Callable[[], bool], patience_s: float) -> bool:
    """Return whether the condition came true in time."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def smoke(bucket: str, api: str, patience_s: float = PATIENCE_S, endpoint: str | None = None) -> bool:
    """Return whether one row that is put is counted, and no longer once it is deleted."""
    s3, name = boto3.client("s3", endpoint_url=endpoint), category()
    key = f"landing/{DATASET}/{name}.csv"
    row = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ},41.9,12.5,1.0,1.0,{uuid.uuid4().hex},{name}"
    s3.put_object(Bucket=bucket, Key=key, Body=f"time,latitude,longitude,depth,mag,id,type\n{row}\n".encode())
    came = wait(lambda: counted(api, name) == 1, patience_s)
    s3.delete_object(Bucket=bucket, Key=key)
    return came and wait(lambda: counted(api, name) == 0, patience_s)


def main(bucket: str, api: str) -> int:
    """Run the smoke test; return 1 where it fails."""
    if smoke(bucket, api.rstrip("/")):
        sys.stdout.write("A file was put, counted, and taken back.\n")
        return 0
    sys.stdout.write(ROLLBACK)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
