"""What the integration tests share: a bucket in memory, a real database, and the ingest of one event."""

import gzip
import io
import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from geodrop.contract import contracts
from geodrop.database import Kept, connect
from geodrop.events import ObjectEvent, pad
from geodrop.ingest import Outcome, ingest


class Bucket:
    """A versioned bucket in memory: just what `get_object` needs. The real S3 protocol is in tests/stack."""

    name = "landing-test"

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], tuple[bytes, datetime]] = {}
        self.newest: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)

    def put(self, key: str, body: bytes | str) -> ObjectEvent:
        number = next(self._numbers)
        version = f"v{number}"
        self.clock += timedelta(seconds=1)
        data = body.encode() if isinstance(body, str) else body
        self.versions[key, version] = (data, self.clock)
        self.newest[key] = version
        return ObjectEvent(self.name, key, False, pad(f"{number:X}"), version, "etag", len(data))

    def delete(self, key: str) -> ObjectEvent:
        self.newest.pop(key, None)
        return ObjectEvent(self.name, key, True, pad(f"{next(self._numbers):X}"))

    def get_object(self, *, Bucket: str, Key: str, VersionId: str | None = None, Range: str = "", IfMatch: str = ""):
        assert Bucket == self.name
        version = VersionId or self.newest.get(Key)
        if (Key, version) not in self.versions:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        data, modified = self.versions[Key, version]
        start = int(Range.removeprefix("bytes=").rstrip("-")) if Range else 0
        return {
            "Body": StreamingBody(io.BytesIO(data[start:]), len(data) - start),
            "ContentLength": len(data) - start,
            "ETag": f'"{version}"',
            "LastModified": modified,
            "VersionId": version,
        }


class Pipeline:
    """A database and a bucket, and what one event does to them."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket()
        self.url = url
        self.kept = Kept("test", url)
        self.contracts = dict(contracts())

    def ingest(self, event: ObjectEvent, **options: object) -> Outcome:
        return ingest(self.kept, self.bucket, event, self.contracts, **options)

    def put(self, key: str, body: bytes | str) -> Outcome:
        return self.ingest(self.bucket.put(key, body))

    def rows(self, sql: str, **parameters: object) -> list[list]:
        with closing(connect(self.url)) as connection:
            return list(connection.run(sql, **parameters) or [])

    def aggregates(self) -> list[list]:
        return self.rows(
            "select name, level, x, y, bucket, category, count, value_count, value_sum, value_squares, value_min,"
            " value_max, lon_sum, lat_sum, first_time, last_time from geodrop.aggregate join geodrop.dataset"
            " using (dataset_id) order by 1, 2, 3, 4, 5, 6"
        )

    def counted(self, dataset: str) -> dict[int, int]:
        found = self.rows(
            "select level, sum(count)::bigint from geodrop.aggregate join geodrop.dataset using (dataset_id)"
            " where name = :dataset and bucket > '-infinity' group by 1",
            dataset=dataset,
        )
        return dict(found)

    def ledger(self, key: str) -> dict[str, object]:
        names = ["state", "reason", "rows", "accepted", "rejected", "version", "object_id"]
        found = self.rows(f"select {', '.join(names)} from geodrop.ledger where key = :key", key=key)
        return dict(zip(names, found[0], strict=True))

    def rejects(self, key: str) -> list[tuple[int, str, str, str]]:
        found = self.rows(
            "select line, field, rule, reject.reason from geodrop.reject join geodrop.ledger using (object_id)"
            " where key = :key order by line, field",
            key=key,
        )
        return [tuple(row) for row in found]


@pytest.fixture
def pipeline(database_url: str) -> Iterator[Pipeline]:
    made = Pipeline(database_url)
    yield made
    made.kept.drop()


HEADER = "time,latitude,longitude,depth,mag,id,type\n"


def csv_rows(count: int, *, start: int = 0, kind: str = "earthquake") -> str:
    """`count` rows in the layout of earthquakes-csv, the same for the same numbers."""
    return "".join(
        f"2018-02-0{1 + n % 7}T{n % 24:02d}:{n % 60:02d}:13.840Z,{(n * 37) % 180 - 90 + 0.25},"
        f"{(n * 91) % 360 - 180 + 0.5},{n % 70}.5,{n % 9}.{n % 10},id{n},{kind}\n"
        for n in range(start, start + count)
    )


def feature(identity: str, **given: object) -> dict[str, object]:
    """One earthquake as the USGS feeds have it."""
    properties = {"mag": 1.5, "time": 1517966773840, "updated": 1517966996303, "type": "earthquake"}
    coordinates = [given.pop("lon", -118.5), given.pop("lat", 34.25), 10]
    return {
        "type": "Feature",
        "id": identity,
        "properties": properties | given,
        "geometry": {"type": "Point", "coordinates": coordinates},
    }


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "metadata": {"features": [1]}, "features": list(features)})


def zipped(text: str | bytes) -> bytes:
    return gzip.compress(text.encode() if isinstance(text, str) else text)
