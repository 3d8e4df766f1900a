"""A running stack for the tests: the one whose stack.json GEODROP_STACK names, or one of their own."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from local.emulator import REGION, client

ROOT = Path(__file__).resolve().parents[2]
HEADER = "time,latitude,longitude,depth,mag,id,type"


@dataclass(frozen=True)
class Stack:
    """A running geodrop, known by the addresses in its stack.json alone."""

    addresses: dict[str, str]

    @property
    def bucket(self) -> str:
        return self.addresses["bucket"]

    def aws(self, service: str) -> Any:
        return client(service, self.addresses["aws_endpoint"], self.addresses.get("region", REGION))

    @cached_property
    def s3(self) -> Any:
        return self.aws("s3")

    @cached_property
    def queue_arn(self) -> str:
        configuration = self.s3.get_bucket_notification_configuration(Bucket=self.bucket)
        return configuration["QueueConfigurations"][0]["QueueArn"]

    @cached_property
    def queue_url(self) -> str:
        return self.aws("sqs").get_queue_url(QueueName=self.queue_arn.split(":")[-1])["QueueUrl"]

    @cached_property
    def ingest_function(self) -> str:
        [mapping] = self.aws("lambda").list_event_source_mappings(EventSourceArn=self.queue_arn)["EventSourceMappings"]
        return mapping["FunctionArn"].split(":function:")[1].split(":")[0]

    def function(self, name: str) -> str:
        """ingest, api or migrate as this stack calls it."""
        return self.ingest_function.removesuffix("ingest") + name

    def get(self, path: str, **parameters: object) -> tuple[int, Any]:
        url = f"{self.addresses['api']}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            with urllib.request.urlopen(url, timeout=40) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def put(self, key: str, body: str | bytes) -> str:
        """Put an object; return its ETag."""
        data = body.encode() if isinstance(body, str) else body
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)["ETag"].strip('"')

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def entry(self, key: str, etag: str | None = None) -> dict[str, Any] | None:
        """The ledger's row of a key (of this very content), or None."""
        status, page = self.get("/ingestions", limit=1000)
        assert status == 200, page
        for row in page["ingestions"]:
            if row["object"] == f"s3://{self.bucket}/{key}" and etag in (None, row["etag"]):
                return row
        return None

    def loaded(self, key: str, body: str | bytes) -> dict[str, Any]:
        """Put an object and wait until the ledger has it."""
        etag = self.put(key, body)
        return wait_for(lambda: self.entry(key, etag), f"{key} in the ledger")

    def count(self, category: str, dataset: str = "earthquakes-csv") -> int:
        """The sum of counts of a category."""
        status, page = self.get("/aggregated-data", dataset=dataset, category=category, stats="count", limit=5000)
        assert status == 200, page
        assert not [link for link in page["links"] if link["rel"] == "next"]
        return sum(feature["properties"]["count"] for feature in page["features"])

    def logs(self, function: str) -> list[str]:
        """Every line that a function has logged."""
        pages = self.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
        return [line for page in pages for event in page["events"] for line in event["message"].splitlines()]

    @contextmanager
    def quick_retries(self) -> Iterator[None]:
        """Let failed messages come back after a second instead of the time that users get."""
        sqs = self.aws("sqs")
        attributes = sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["VisibilityTimeout"])
        sqs.set_queue_attributes(QueueUrl=self.queue_url, Attributes={"VisibilityTimeout": "1"})
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=self.queue_url, Attributes=attributes["Attributes"])


def wait_for(ask: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain: {what}")


def local_stack(command: str, folder: Path, *arguments: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    """Run a command of the embedded stack with a state folder of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GEODROP_"))}
    inherited.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "local.stack", command, *arguments],
        env={**inherited, "GEODROP_LOCAL": str(folder)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    given = os.environ.get("GEODROP_STACK")
    if given:
        yield Stack(json.loads(Path(given).read_text()))
        return
    folder = ROOT / ".local" / "test"  # always the same: what an interrupted run left is found and stopped
    assert local_stack("reset", folder).returncode == 0
    done = local_stack("up", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield Stack(json.loads((folder / "stack.json").read_text()))
    finally:
        assert local_stack("reset", folder).returncode == 0


@pytest.fixture
def category() -> str:
    """A category that no other test and no earlier run has used: a stack may be in use."""
    return "test " + "".join(chr(ord("a") + int(digit, 16)) for digit in uuid.uuid4().hex)


@pytest.fixture
def key(category: str) -> str:
    return f"landing/earthquakes-csv/{category.replace(' ', '-')}.csv"


def rows(category: str, count: int, *, hour: int = 0) -> str:
    """CSV rows for `earthquakes-csv`, without the header."""
    return "".join(
        f"2024-05-06T{hour:02}:{n % 60:02}:00Z,{n % 80},{n % 170},5,{n % 90 / 10},t{n},{category}\n"
        for n in range(count)
    )


def table(category: str, count: int, *, hour: int = 0) -> str:
    return f"{HEADER}\n{rows(category, count, hour=hour)}"
