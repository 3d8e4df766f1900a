"""From a file in the bucket to the answer of the API, on whatever stack runs: embedded, or applied by Terraform."""

import gzip
import json
import statistics
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.stack.conftest import HEADER, Stack, rows, table, wait_for
from tools import smoke

WEEK = Path(__file__).resolve().parents[2] / "examples/earthquakes/all_week.geojson"
FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [12.5, 41.9, 8.0]},
    "properties": {"time": 1715000000000, "updated": 1715000100000, "mag": 2.5, "status": "reviewed"},
}


def collection(category: str, identities: list[str]) -> str:
    features = [
        {**FEATURE, "id": identity, "properties": {**FEATURE["properties"], "type": category}}
        for identity in identities
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def seconds_until_counted(stack: Stack, key: str, body: str | bytes, category: str, expected: int) -> float:
    started = time.monotonic()
    stack.put(key, body)
    dataset = key.split("/")[1]
    wait_for(lambda: stack.count(category, dataset) == expected, f"{expected} rows of {key}")
    return time.monotonic() - started


def test_the_stack_is_healthy(stack):
    status, health = stack.get("/health")
    assert (status, health["status"]) == (200, "ok"), health


def test_a_file_is_queryable_within_two_seconds(stack, category):
    """Measured from before the put to after the answer, with functions that have run before."""
    seconds_until_counted(stack, f"landing/earthquakes-csv/{category}-warm.csv", table(category, 1), category, 1)
    taken = []
    for attempt in range(3):
        name = category + "abc"[attempt]
        key = f"landing/earthquakes-csv/{name}.csv"
        taken.append(seconds_until_counted(stack, key, table(name, 1000), name, 1000))
    print("put to query, CSV of 1,000 rows:", ", ".join(f"{one:.2f} s" for one in taken))
    assert statistics.median(taken) < 2


def test_geojson_is_queryable_too(stack, category):
    identities = [f"{category.removeprefix('test ')}{number}" for number in range(50)]
    key = f"landing/earthquakes/{category}.geojson"
    taken = seconds_until_counted(stack, key, collection(category, identities), category, 50)
    print(f"put to query, GeoJSON of 50 features: {taken:.2f} s")


def test_a_week_of_earthquakes_gives_the_totals_that_the_file_has(stack):
    """The real file, counted and summed here by Python and there by the whole pipeline."""
    magnitudes = defaultdict(list)
    for feature in json.loads(WEEK.read_text(), parse_float=Decimal)["features"]:
        magnitudes[feature["properties"]["type"]].append(feature["properties"]["mag"] or Decimal(0))
    rows = sum(map(len, magnitudes.values()))
    entry = stack.loaded(f"landing/earthquakes/{WEEK.name}", WEEK.read_bytes())
    assert (entry["state"], entry["rows"], entry["accepted"], entry["rejected"]) == ("loaded", rows, rows, 0)
    query = {"dataset": "earthquakes", "bucket": "all", "stats": "count,sum", "geometry": "none", "limit": 5000}
    for category, values in magnitudes.items():
        status, page = stack.get("/aggregated-data", category=category, **query)
        assert status == 200, page
        properties = [feature["properties"] for feature in page["features"]]
        assert sum(one["count"] for one in properties) == len(values), category
        assert round(sum(one["sum"] or 0 for one in properties), 6) == float(sum(values)), category
    print(f"{WEEK.name}: {rows} features put, {rows} counted")


def test_a_compressed_file_is_read(stack, category, key):
    entry = stack.loaded(f"{key}.gz", gzip.compress(table(category, 20).encode()))
    assert (entry["state"], entry["accepted"]) == ("loaded", 20)
    assert stack.count(category) == 20


@pytest.mark.parametrize("name", ["with space.csv", "Größe und Ärger/año 2024.csv", "a+b&c=d%20e#f.csv", "日本.csv"])
def test_any_key_that_s3_takes(stack, category, name):
    key = f"landing/earthquakes-csv/{category}/{name}"
    entry = stack.loaded(key, table(category, 3))
    assert entry["object"] == f"s3://{stack.bucket}/{key}"
    assert (entry["state"], entry["accepted"]) == ("loaded", 3)


def test_an_overwrite_replaces_and_a_delete_takes_back(stack, category, key):
    stack.loaded(key, table(category, 30))
    assert stack.count(category) == 30
    stack.loaded(key, table(category, 7, hour=3))
    assert stack.count(category) == 7
    stack.delete(key)
    wait_for(lambda: stack.entry(key)["state"] == "deleted", f"{key} deleted")
    assert stack.count(category) == 0


def test_the_same_file_under_two_keys_counts_twice_and_put_again_once(stack, category, key):
    stack.loaded(key, table(category, 4))
    stack.loaded(f"{key}-copy.csv", table(category, 4))
    assert stack.count(category) == 8
    before = stack.entry(key)["version"]
    stack.put(key, table(category, 4))
    wait_for(lambda: stack.entry(key)["version"] != before, "the second put in the ledger")
    assert stack.count(category) == 8


def test_every_row_is_accepted_or_rejected_with_its_reason(stack, category, key):
    wrong = [
        f"2024-05-06T00:00:00Z,91,0,5,1,bad1,{category}",
        f"2024-05-06T00:00:00Z,nan,0,5,1,bad2,{category}",
        f"yesterday,10,0,5,1,bad3,{category}",
    ]
    entry = stack.loaded(key, table(category, 5) + "\n".join(wrong) + "\n")
    assert (entry["rows"], entry["accepted"], entry["rejected"]) == (8, 5, 3)
    status, told = stack.get(f"/ingestions/{entry['id']}")
    assert status == 200
    assert {(one["line"], one["field"]) for one in told["rejects"]} == {(7, "latitude"), (8, "latitude"), (9, "time")}
    assert all(one["reason"] and one["rule"] for one in told["rejects"])
    assert stack.count(category) == 5


def message(stack: Stack, key: str, identity: str) -> dict[str, object]:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": stack.bucket}, "object": {"key": key}},
    }
    return {"messageId": identity, "eventSource": "aws:sqs", "body": json.dumps({"Records": [record]})}


def test_one_bad_message_in_a_batch_does_not_hurt_the_others(stack, category, key):
    stack.loaded(key, table(category, 2))
    batch = [
        message(stack, key, "good-1"),
        message(stack, f"landing/earthquakes-csv/{category}-is-not-there.csv", "missing"),
        {"messageId": "not-json", "eventSource": "aws:sqs", "body": "{"},
        message(stack, key, "good-2"),
    ]
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.ingest_function, Payload=json.dumps({"Records": batch}).encode()
    )
    assert "FunctionError" not in answer
    said = json.loads(answer["Payload"].read())
    assert {one["itemIdentifier"] for one in said["batchItemFailures"]} == {"missing", "not-json"}
    assert stack.count(category) == 2


@pytest.mark.reconfigures
def test_a_hopeless_file_ends_in_the_dead_letter_queue_and_blocks_nothing(stack, category, key):
    sqs = stack.aws("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=["RedrivePolicy"])["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"])
    dead = sqs.get_queue_url(QueueName=redrive["deadLetterTargetArn"].split(":")[-1])["QueueUrl"]
    hopeless = f"landing/earthquakes-csv/{category.replace(' ', '-')}-cut.csv.gz"
    with stack.quick_retries():
        started = time.monotonic()
        stack.put(hopeless, gzip.compress(table(category, 50).encode())[:-20])
        assert stack.loaded(key, table(category, 5))["accepted"] == 5  # others go on meanwhile

        def buried() -> dict[str, str] | None:
            found = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, VisibilityTimeout=1, WaitTimeSeconds=1)
            return next((one for one in found.get("Messages", []) if hopeless in one["Body"]), None)

        letter = wait_for(buried, f"{hopeless} in the dead-letter queue", seconds=60)
    print(f"in the dead-letter queue after {time.monotonic() - started:.1f} s and {redrive['maxReceiveCount']} tries")
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=letter["ReceiptHandle"])
    entry = stack.entry(hopeless)
    assert (entry["state"], entry["rows"]) == ("failed", 0)
    assert entry["reason"]
    assert stack.count(category) == 5


@pytest.mark.reconfigures
def test_a_key_under_no_dataset_fails_with_its_reason(stack, category):
    stray = f"landing/no-such-dataset/{category}.csv"
    with stack.quick_retries():
        stack.put(stray, "a\n1\n")
        entry = wait_for(lambda: stack.entry(stray), stray)
    assert entry["state"] == "failed"
    assert "no-such-dataset" in entry["reason"]


def test_what_lies_outside_landing_is_left_alone(stack, category):
    stack.put(f"elsewhere/earthquakes-csv/{category}.csv", table(category, 3))
    stack.loaded(f"landing/earthquakes-csv/{category}.csv", table(category, 1))
    assert stack.count(category) == 1


def test_logs_are_json_lines_that_tell_counts_but_no_content(stack, category, key):
    private = "do-not-log-" + category.removeprefix("test ")
    body = f"{HEADER}\n{rows(category, 3)}2024-05-06T00:00:00Z,10,10,5,1,{private}!,{category}\n"
    entry = stack.loaded(key, body)
    assert (entry["accepted"], entry["rejected"]) == (3, 1)
    address = f"s3://{stack.bucket}/{key}"
    lines = wait_for(
        lambda: (found := stack.logs(stack.ingest_function)) and any(address in line for line in found) and found,
        "the log of the ingest",
    )
    platform = ("START ", "END ", "REPORT ", "INIT_START ")
    ours = [json.loads(line) for line in lines if not line.startswith(platform)]
    [told] = [line for line in ours if line.get("object") == address]
    assert {"time", "level", "message", "request_id", "duration_s"} <= told.keys()
    assert (told["dataset"], told["rows"], told["accepted"], told["rejected"]) == ("earthquakes-csv", 4, 3, 1)
    text = "\n".join(lines + stack.logs(stack.function("api")) + stack.logs(stack.function("migrate")))
    assert private not in text
    password = urlsplit(stack.addresses["database_url"]).password
    assert password
    assert password not in text
    assert "postgresql://" not in text


def test_metrics_are_in_the_embedded_metric_format(stack, category, key):
    stack.loaded(key, table(category, 2))
    lines = [json.loads(line) for line in stack.logs(stack.ingest_function) if '"_aws"' in line]
    assert lines
    for line in lines:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "geodrop"
        assert [set(dimensions) <= line.keys() for dimensions in directive["Dimensions"]] == [True]
        values = [line[metric["Name"]] for metric in directive["Metrics"]]
        assert {type(value) for value in values} <= {int, float}, "a boolean is no metric's value"


def test_the_api_serves_its_own_description(stack):
    from local.deploy import route_keys

    status, document = stack.get("/openapi.json")
    assert status == 200
    assert {f"{method} {path}" for path in document["paths"] for method in ("GET", "HEAD")} == route_keys()


def test_a_wrong_parameter_is_named(stack):
    status, problem = stack.get("/aggregated-data", dataset="earthquakes", bbox="1,2,3")
    assert status == 400
    assert problem["parameter"] == "bbox"


def test_the_smoke_test_of_a_deployment_passes_here_and_fails_where_nothing_answers(stack, monkeypatch):
    s3 = stack.s3
    monkeypatch.setattr(smoke.boto3, "client", lambda *_, **__: s3)
    assert smoke.smoke(stack.bucket, stack.addresses["api"], patience_s=30)
    assert not smoke.smoke(stack.bucket, "http://127.0.0.1:9", patience_s=0)
