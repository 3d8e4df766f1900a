"""Hostile files, broken connections and short invocations: a clear reason in the ledger, nothing half-loaded."""

import gzip
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore.response import StreamingBody

from geodrop.ingest import Deadline
from geodrop.objects import CHUNK_BYTES
from tests.integration.conftest import HEADER, Bucket, Pipeline, collection, csv_rows, feature, zipped

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"


def limit(pipeline: Pipeline, **given: int) -> None:
    """Give every dataset smaller limits, so that the files can be small too."""
    for name, contract in pipeline.contracts.items():
        pipeline.contracts[name] = replace(contract, limits=replace(contract.limits, **given))


def nothing_is_left(pipeline: Pipeline) -> bool:
    found = pipeline.rows(
        "select (select count(*) from geodrop.aggregate) + (select count(*) from geodrop.partial)"
        " + (select count(*) from geodrop.observation) + (select count(*) from geodrop.reject)"
    )
    return found == [[0]]


def long_feature() -> str:
    return collection(feature("us1"), feature("us2", place="x" * 1_000_000), feature("us3"))


@pytest.mark.parametrize(
    ("limits", "key", "body", "told"),
    [
        pytest.param(
            {"max_bytes": 4_000_000},
            CSV + "bomb.csv.gz",
            lambda: zipped(HEADER.encode() + b"\n" * 50_000_000),
            "holds more than 4000000 bytes once unpacked",
            id="gzip bomb",
        ),
        pytest.param(
            {"max_bytes": 4_000_000, "max_row_bytes": 300_000},
            CSV + "line-bomb.csv.gz",
            lambda: zipped(HEADER.encode() + csv_rows(3000).encode() + b"x" * 50_000_000),
            "a line of more than 300000 bytes",
            id="gzip bomb of one line",
        ),
        pytest.param(
            {"max_bytes": 1_000_000},
            CSV + "twice.csv.gz",
            lambda: gzip.compress(HEADER.encode() + csv_rows(9000).encode()) * 3,
            "holds more than 1000000 bytes once unpacked",
            id="many gzip members",
        ),
        pytest.param(
            {"max_bytes": 500_000},
            CSV + "bytes.csv",
            lambda: HEADER + csv_rows(15_000),
            "holds more than 500000 bytes",
            id="too many bytes",
        ),
        pytest.param(
            {"max_row_bytes": 300_000},
            CSV + "line.csv",
            lambda: HEADER + csv_rows(6000) + "x" * 800_000 + "\n" + csv_rows(3),
            "a line of more than 300000 bytes",
            id="long line",
        ),
        pytest.param(
            {},
            CSV + "quote.csv",
            lambda: HEADER + csv_rows(6000) + '"' + csv_rows(40_000),
            "is a quote left open",
            id="open quote",
        ),
        pytest.param(
            {"max_columns": 50},
            CSV + "columns.csv",
            lambda: HEADER.strip() + ",more" * 44 + "\n" + csv_rows(3),
            "has 51 columns; at most 50 are read",
            id="too many columns",
        ),
        pytest.param({"max_row_bytes": 100_000}, GEO + "feature.json", long_feature, "feature 2", id="long feature"),
        pytest.param(
            {"max_row_bytes": 100_000},
            GEO + "deep.json",
            lambda: '{"type": "FeatureCollection", "features": [' + "[" * 500_000,
            "feature 1",
            id="deep nesting",
        ),
        pytest.param(
            {"max_bytes": 100_000},
            GEO + "bytes.json",
            lambda: collection(*(feature(f"us{n}") for n in range(3000))),
            "holds more than 100000 bytes",
            id="too many bytes of features",
        ),
    ],
)
def test_beyond_a_limit_a_file_fails_whole(
    pipeline: Pipeline, limits: dict[str, int], key: str, body: Callable[[], str | bytes], told: str
):
    limit(pipeline, **limits)
    outcome = pipeline.put(key, body())
    ledger = pipeline.ledger(key)
    assert (outcome.state, ledger["state"], ledger["rows"]) == ("failed", "failed", 0)
    assert told in str(ledger["reason"])
    assert nothing_is_left(pipeline)
    # The same process goes on with the next file.
    assert pipeline.put(CSV + "next.csv", HEADER + csv_rows(5)).accepted == 5


class Breaking(StreamingBody):
    """A body whose connection breaks after some bytes."""

    def __init__(self, data: bytes, after: int) -> None:
        super().__init__(io.BytesIO(data), len(data))
        self._left = after

    def read(self, amt: int | None = None) -> bytes:
        if self._left <= 0:
            raise ConnectionResetError("connection reset by peer")
        data = super().read(min(amt or self._left, self._left))
        self._left -= len(data)
        return data


class BreakingBucket(Bucket):
    """Each answer breaks after ``after`` bytes; ``ranges`` are those that were asked for."""

    after = CHUNK_BYTES + 1000

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[str, str]] = []

    def get_object(self, **asked: str):
        answer = super().get_object(**asked)
        self.ranges.append((asked.get("Range", ""), asked.get("IfMatch", "")))
        return answer | {"Body": Breaking(answer["Body"].read(), self.after)}


def test_a_broken_connection_is_taken_up_where_it_broke(pipeline: Pipeline):
    body = HEADER + csv_rows(6000)
    pipeline.put(CSV + "whole.csv", body)
    expected = [row[1:] for row in pipeline.aggregates()]
    pipeline.ingest(pipeline.bucket.delete(CSV + "whole.csv"))
    assert nothing_is_left(pipeline)

    pipeline.bucket = BreakingBucket()
    outcome = pipeline.put(CSV + "broken.csv", body)
    assert (outcome.state, outcome.accepted, outcome.rejected) == ("loaded", 6000, 0)
    assert [row[1:] for row in pipeline.aggregates()] == expected
    step = BreakingBucket.after
    asked = [("", "")] + [(f"bytes={at}-", '"v1"') for at in range(step, len(body), step)]
    assert len(asked) > 2
    assert pipeline.bucket.ranges == asked


def test_a_connection_that_breaks_for_good_is_left_for_a_retry(pipeline: Pipeline):
    sound, pipeline.bucket = pipeline.bucket, BreakingBucket()
    event = pipeline.bucket.put(CSV + "a.csv", HEADER + csv_rows(30_000))
    with pytest.raises(ConnectionResetError):
        pipeline.ingest(event)
    assert len(pipeline.bucket.ranges) < 10, "it gives up"
    assert nothing_is_left(pipeline)
    assert pipeline.rows("select count(*) from geodrop.ledger") == [[0]]
    sound.versions = pipeline.bucket.versions
    pipeline.bucket = sound
    assert pipeline.ingest(event).accepted == 30_000


def running_out(after: int) -> Deadline:
    """A deadline of 100 s that is near after it was asked for a number of times."""
    left = iter([100.0] * after)
    return Deadline(lambda: next(left, 10.0), 100.0)


@pytest.mark.parametrize("key", [CSV + "a.csv", GEO + "a.json"])
def test_too_little_time_defers_and_backfill_loads(pipeline: Pipeline, key: str):
    body = (
        HEADER + csv_rows(9000)
        if key.startswith(CSV)
        else collection(*(feature(f"us{n}", lon=n % 180) for n in range(9000)))
    )
    event = pipeline.bucket.put(key, body)
    assert pipeline.ingest(event, deadline=running_out(3)).state == "deferred"
    ledger = pipeline.ledger(key)
    assert (ledger["state"], ledger["rows"]) == ("deferred", 0)
    assert "python -m geodrop ingest" in str(ledger["reason"])
    assert nothing_is_left(pipeline)
    assert pipeline.ingest(event, deadline=running_out(3)).state == "stale", "the same event is no news: no loop"
    assert pipeline.ingest(event, force=True).accepted == 9000
    assert pipeline.ledger(key)["reason"] is None
    assert pipeline.counted(key.split("/")[1])[12] == 9000


def test_a_deferred_version_takes_the_earlier_one_back(pipeline: Pipeline):
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(30))
    event = pipeline.bucket.put(CSV + "a.csv", HEADER + csv_rows(9000))
    assert pipeline.ingest(event, deadline=running_out(2)).state == "deferred"
    assert nothing_is_left(pipeline)
