"""The event files say what is true of the examples and of the local stack."""

import hashlib
import json
from pathlib import Path

import pytest

from geodrop.events import object_events
from local.deploy import BUCKET, route_keys
from local.stack import function_for

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "events").glob("*.json"))
FUNCTIONS = {
    "api-request": "api",
    "migrate-check": "migrate",
    "s3-delete": "ingest",
    "s3-put": "ingest",
    "s3-put-versioned": "ingest",
    "s3-test-event": "ingest",
    "sqs": "ingest",
}


def event(name: str) -> dict:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def test_each_event_has_its_function_and_its_line_in_the_readme():
    assert {path.stem: function_for(event(path.stem)) for path in FILES} == FUNCTIONS
    readme = (ROOT / "events" / "README.md").read_text()
    assert all(f"`{path.name}` | {FUNCTIONS[path.stem]} |" in readme for path in FILES)


@pytest.mark.parametrize("name", ["s3-put", "s3-delete", "s3-put-versioned"])
def test_s3_events_name_the_local_bucket_and_a_file_of_the_examples(name):
    [told] = list(object_events(event(name)))
    assert told.bucket == BUCKET
    if name == "s3-put-versioned":
        assert told.key == "landing/earthquakes-csv/März 2024/all week (copy).csv"
        example = ROOT / "examples" / "earthquakes-csv" / "all_week.csv"
        assert told.version
    else:
        example = ROOT / "examples" / told.key.removeprefix("landing/")
    assert example.is_file()
    if not told.removed:
        content = example.read_bytes()
        assert (told.size, told.etag) == (len(content), hashlib.md5(content).hexdigest())


def test_the_delete_is_newer_than_the_put_and_both_are_older_than_the_local_stack():
    [put], [delete] = (list(object_events(event(name))) for name in ("s3-put", "s3-delete"))
    assert put.sequencer < delete.sequencer
    assert int(delete.sequencer, 16) < 1_704_067_200_000_000  # microseconds until 2024, which the local stack counts


def test_sqs_wraps_the_put_and_the_test_event():
    records = event("sqs")["Records"]
    assert [json.loads(record["body"]) for record in records] == [event("s3-put"), event("s3-test-event")]
    assert all(record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest() for record in records)


def test_the_api_request_is_for_a_route_that_exists():
    request = event("api-request")
    assert request["routeKey"] in route_keys()
    assert request["version"] == "2.0"
