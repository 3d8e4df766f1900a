"""verify, rebuild, reingest and ingest, as an operator runs them."""

import dataclasses
import json
from contextlib import closing

import pytest

from geodrop import __main__ as command
from geodrop import contract, load, maintenance
from geodrop.database import connect
from geodrop.events import object_events
from tests.integration.conftest import HEADER, Pipeline, collection, csv_rows, feature

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"


@pytest.fixture
def loaded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("GEODROP_DATABASE_URL", pipeline.url)
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(200))
    pipeline.put(CSV + "b.csv", HEADER + csv_rows(100, start=150))
    pipeline.put(GEO + "a.json", collection(*(feature(f"us{n}", lon=n, mag=n / 10) for n in range(20))))
    pipeline.put(GEO + "b.json", collection(*(feature(f"us{n}", lon=n, updated=9**15) for n in range(10, 30))))
    return pipeline


@pytest.mark.parametrize("dataset", ["earthquakes", "earthquakes-csv"])
def test_verify_finds_what_differs_and_rebuild_mends_it(loaded: Pipeline, dataset, capsys):
    assert command.main(["verify", "--dataset", dataset]) == 0
    before = loaded.aggregates()
    with closing(connect(loaded.url)) as connection:
        number = load.dataset_id(connection, loaded.contracts[dataset])
        connection.run(
            f"update geodrop.aggregate set value_sum = value_sum + 1 where dataset_id = {number} and level = 3"
        )
        connection.run(f"delete from geodrop.aggregate where dataset_id = {number} and level = 6")
        connection.run(
            "insert into geodrop.aggregate select dataset_id, 12, 0, 0, bucket, category, count, value_count,"
            " value_sum,"
            " value_squares, value_min, value_max, lon_sum, lat_sum, first_time, last_time"
            " from geodrop.aggregate"
            f" where dataset_id = {number} and level = 9 limit 1"
        )
    assert command.main(["verify", "--dataset", dataset]) == 1
    assert "differs: level=3" in capsys.readouterr().out
    assert command.main(["rebuild", "--dataset", dataset]) == 0
    assert "recomputed" in capsys.readouterr().out
    assert command.main(["verify", "--dataset", dataset]) == 0
    assert loaded.aggregates() == before


def test_a_changed_contract_is_refused_until_a_rebuild(loaded: Pipeline):
    was = loaded.contracts["earthquakes-csv"]
    coarser = dataclasses.replace(was, levels=(2, 5, 12))
    loaded.contracts["earthquakes-csv"] = coarser
    with pytest.raises(load.ContractChangedError, match="python -m geodrop rebuild --dataset earthquakes-csv"):
        loaded.put(CSV + "c.csv", HEADER + csv_rows(5))
    with closing(connect(loaded.url)) as connection:
        assert maintenance.rebuild(connection, coarser) == "aggregates recomputed"
        assert loaded.counted("earthquakes-csv") == {2: 300, 5: 300, 12: 300}
        daily = dataclasses.replace(coarser, bucket="day")
        assert "reingest" in maintenance.rebuild(connection, daily)
        assert loaded.counted("earthquakes-csv") == {}
        assert loaded.ledger(CSV + "a.csv")["state"] == "deferred"
    loaded.contracts["earthquakes-csv"] = daily
    for message in sent_again(loaded, daily):
        for event in object_events(message):
            assert loaded.ingest(event).state == "loaded"
    assert loaded.counted("earthquakes-csv") == {2: 305, 5: 305, 12: 305}


def sent_again(pipeline: Pipeline, of: contract.Contract) -> list[dict]:
    """The messages of `reingest` for what is in the bucket."""

    class Listing:
        def get_paginator(self, _name: str) -> "Listing":
            return self

        def paginate(self, *, Bucket: str, Prefix: str) -> list[dict]:
            assert Bucket == pipeline.bucket.name
            keys = [key for key in pipeline.bucket.newest if key.startswith(Prefix)]
            return [{"Contents": [{"Key": key, "Size": 1} for key in keys]}]

    class Queue:
        def __init__(self) -> None:
            self.bodies: list[str] = []

        def send_message_batch(self, *, QueueUrl: str, Entries: list[dict]) -> dict:
            assert QueueUrl == "queue"
            self.bodies += [entry["MessageBody"] for entry in Entries]
            return {}

    queue = Queue()
    assert maintenance.reingest(Listing(), queue, pipeline.bucket.name, "queue", of) == len(queue.bodies)
    return [json.loads(body) for body in queue.bodies]


def test_ingest_loads_one_object_however_long_it_takes(loaded: Pipeline, monkeypatch, capsys):
    monkeypatch.setattr(command, "_client", lambda _service: loaded.bucket)
    loaded.bucket.put(CSV + "große Datei.csv", HEADER + csv_rows(7))
    assert command.main(["ingest", f"s3://{loaded.bucket.name}/{CSV}große Datei.csv"]) == 0
    assert "7 rows, 7 accepted" in capsys.readouterr().out
    assert command.main(["ingest", "https://example.org/x"]) == 2
    assert command.main(["verify", "--dataset", "nothing"]) == 2
    assert "known are" in capsys.readouterr().out
