"""The promises of docs/design.md, on a real PostGIS."""

import json
import random

import pytest

from geodrop.errors import MissingObjectError
from geodrop.events import object_events
from tests.integration.conftest import HEADER, Pipeline, collection, csv_rows, feature, zipped

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"


def test_a_file_becomes_aggregates_at_every_level(pipeline: Pipeline):
    outcome = pipeline.put(CSV + "a.csv", HEADER + csv_rows(500))
    assert (outcome.state, outcome.rows, outcome.accepted, outcome.rejected) == ("loaded", 500, 500, 0)
    assert pipeline.counted("earthquakes-csv") == {3: 500, 6: 500, 9: 500, 12: 500}


def test_duplicate_event_changes_nothing(pipeline: Pipeline):
    event = pipeline.bucket.put(CSV + "a.csv", HEADER + csv_rows(50))
    pipeline.ingest(event)
    before = pipeline.aggregates()
    assert pipeline.ingest(event).state == "stale"
    assert pipeline.aggregates() == before


def test_overwrite_with_fewer_rows_replaces(pipeline: Pipeline):
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(300))
    pipeline.put(CSV + "b.csv", HEADER + csv_rows(100, start=50))
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(20))
    replaced = pipeline.aggregates()
    pipeline.put(CSV + "a.csv", HEADER)
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(20))
    assert pipeline.aggregates() == replaced
    assert pipeline.counted("earthquakes-csv") == dict.fromkeys((3, 6, 9, 12), 120)
    assert pipeline.ledger(CSV + "a.csv")["accepted"] == 20


@pytest.mark.parametrize("prefix", [CSV, GEO])
def test_out_of_order_versions_end_as_in_order(pipeline: Pipeline, prefix: str):
    def body(count: int) -> str:
        if prefix == CSV:
            return HEADER + csv_rows(count)
        return collection(*(feature(f"id{n}", lon=n % 90, mag=count / 100) for n in range(count)))

    first = pipeline.bucket.put(prefix + "a", body(30))
    second = pipeline.bucket.put(prefix + "a", body(10))
    pipeline.ingest(second)
    expected = pipeline.aggregates()
    assert pipeline.ingest(first).state == "stale"
    assert pipeline.aggregates() == expected
    assert pipeline.counted(prefix.split("/")[1])[3] == 10


def test_delete_takes_back(pipeline: Pipeline):
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(100))
    alone = pipeline.aggregates()
    pipeline.put(CSV + "b.csv", HEADER + csv_rows(100, start=30))
    assert pipeline.ingest(pipeline.bucket.delete(CSV + "b.csv")).state == "deleted"
    assert pipeline.aggregates() == alone
    pipeline.ingest(pipeline.bucket.delete(CSV + "a.csv"))
    assert pipeline.aggregates() == []
    assert pipeline.ledger(CSV + "a.csv")["state"] == "deleted"


def test_delete_that_overtakes_its_put_wins(pipeline: Pipeline):
    put = pipeline.bucket.put(CSV + "a.csv", HEADER + csv_rows(5))
    pipeline.ingest(pipeline.bucket.delete(CSV + "a.csv"))
    assert pipeline.ingest(put).state == "stale"
    assert pipeline.aggregates() == []


def test_latest_keeps_the_newest_report_whatever_the_order(pipeline: Pipeline, database_url: str):
    old = collection(feature("us1", mag=1.0, updated=1000), feature("us2", mag=2.0, updated=5000, lat=10))
    new = collection(feature("us1", mag=3.0, updated=2000, lon=5), feature("us2", mag=9.0, updated=4000))
    pipeline.put(GEO + "old.json", old)
    pipeline.put(GEO + "new.json", new)
    one = pipeline.aggregates()
    assert pipeline.counted("earthquakes") == dict.fromkeys((3, 6, 9, 12), 2)
    for key in ("old.json", "new.json"):
        pipeline.ingest(pipeline.bucket.delete(GEO + key))
    assert pipeline.aggregates() == []
    pipeline.put(GEO + "new.json", new)
    pipeline.put(GEO + "old.json", old)
    assert pipeline.aggregates() == one
    sums = pipeline.rows("select sum(value_sum) from geodrop.aggregate where level = 3 and bucket > '-infinity'")
    assert sums[0][0] == 300 + 200


def test_latest_delete_brings_the_earlier_report_back(pipeline: Pipeline):
    pipeline.put(GEO + "a.json", collection(feature("us1", mag=1.0, updated=1000)))
    before = pipeline.aggregates()
    pipeline.put(GEO + "b.json", collection(feature("us1", mag=2.0, updated=2000, lon=100)))
    assert pipeline.aggregates() != before
    pipeline.ingest(pipeline.bucket.delete(GEO + "b.json"))
    assert pipeline.aggregates() == before


def test_latest_the_later_row_of_a_file_wins_a_tie(pipeline: Pipeline):
    pipeline.put(GEO + "a.json", collection(feature("us1", mag=1.0), feature("us1", mag=4.0)))
    assert pipeline.rows("select value_sum, count from geodrop.aggregate where level = 3 and bucket > '-infinity'") == [
        [400, 1]
    ]
    assert pipeline.ledger(GEO + "a.json")["accepted"] == 2


def test_key_with_spaces_and_other_letters_and_several_records(pipeline: Pipeline):
    keys = [CSV + "août 2018/fichier n°1.csv", CSV + "plain.csv"]
    records = []
    from urllib.parse import quote_plus

    for key in keys:
        event = pipeline.bucket.put(key, HEADER + csv_rows(3))
        entry = {"key": quote_plus(key), "sequencer": event.sequencer, "versionId": event.version}
        records.append({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": event.bucket}, "object": entry}})
    outcomes = [pipeline.ingest(event) for event in object_events({"Records": records})]
    assert [outcome.state for outcome in outcomes] == ["loaded", "loaded"]
    assert [pipeline.ledger(key)["rows"] for key in keys] == [3, 3]


@pytest.mark.parametrize(
    ("key", "body", "state", "rows", "rejected", "told"),
    [
        (CSV + "empty.csv", b"", "loaded", 0, 0, None),
        (CSV + "header.csv", HEADER, "loaded", 0, 0, None),
        (CSV + "header-only-no-newline.csv", HEADER.strip(), "loaded", 0, 0, None),
        (GEO + "empty.json", b"", "loaded", 0, 0, None),
        (GEO + "none.json", collection(), "loaded", 0, 0, None),
        (CSV + "wrong.csv", HEADER + "x,y,z,,,,\n" * 7, "loaded", 7, 7, None),
        (CSV + "short.csv", HEADER + "only,three,columns\n" + csv_rows(2), "loaded", 3, 1, None),
        (CSV + "bom.csv", b"\xef\xbb\xbf" + (HEADER + csv_rows(4)).encode(), "loaded", 4, 0, None),
        (CSV + "crlf.csv", (HEADER + csv_rows(4)).replace("\n", "\r\n"), "loaded", 4, 0, None),
        (CSV + "blank.csv", HEADER + "\n" + csv_rows(4) + "\n\n", "loaded", 4, 0, None),
        (CSV + "zip.csv.gz", zipped(HEADER + csv_rows(4)), "loaded", 4, 0, None),
        (CSV + "zip-not-by-name.csv", zipped(HEADER + csv_rows(4)), "loaded", 4, 0, None),
        (CSV + "cut.csv.gz", zipped(HEADER + csv_rows(9000))[:-2000], "failed", 0, 0, "truncated gzip"),
        (CSV + "damaged.csv.gz", zipped(HEADER + csv_rows(900))[:200] + b"x" * 500, "failed", 0, 0, "damaged"),
        (CSV + "utf16.csv", (HEADER + csv_rows(4)).encode("utf-16"), "failed", 0, 0, "UTF-16"),
        (CSV + "no-column.csv", "time,latitude\n1,2\n", "failed", 0, 0, "lacks the column"),
        (CSV + "twice.csv", "time,time,latitude\n1,2,3\n", "failed", 0, 0, "twice"),
        (GEO + "cut.json", collection(feature("us1"), feature("us2"))[:-30], "failed", 0, 0, "feature 2"),
        (GEO + "not.json", "time,latitude\n", "failed", 0, 0, "not a GeoJSON FeatureCollection"),
        (GEO + "geometry.json", json.dumps(feature("us1")), "failed", 0, 0, "expected a FeatureCollection"),
        ("landing/unknown/a.csv", "x", "failed", 0, 0, "unknown dataset 'unknown'"),
        ("landing/readme.txt", "x", "failed", 0, 0, "under no dataset"),
        ("elsewhere/a.csv", "x", "failed", 0, 0, "under no dataset"),
    ],
)
def test_every_kind_of_file(pipeline: Pipeline, key, body, state, rows, rejected, told):
    outcome = pipeline.put(key, body)
    assert (outcome.state, outcome.rows, outcome.rejected) == (state, rows, rejected)
    assert outcome.accepted + outcome.rejected == outcome.rows
    ledger = pipeline.ledger(key)
    assert (ledger["state"], ledger["rows"], ledger["rejected"]) == (state, rows, rejected)
    assert (told or "") in (ledger["reason"] or "")
    assert sum(pipeline.counted(key.split("/")[1]).values()) == 4 * outcome.accepted


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({2: "NaN"}, "longitude", "coerce"),
        ({4: "Infinity"}, "mag", "coerce"),
        ({4: "-inf"}, "mag", "coerce"),
        ({1: "91"}, "latitude", "max"),
        ({1: "-90.0001"}, "latitude", "min"),
        ({2: "180.5"}, "longitude", "max"),
        ({4: "1_0"}, "mag", "coerce"),
        ({4: " 1"}, "mag", "coerce"),
        ({4: "\u0661"}, "mag", "coerce"),
        ({0: "2018-02-30T00:00:00Z"}, "time", "coerce"),
        ({0: "2018-02-03 00:00:00"}, "time", "coerce"),
        ({0: ""}, "time", "nullable"),
        ({5: "x"}, "id", "minlength"),
        ({5: "a b"}, "id", "regex"),
        ({6: "Quake"}, "type", "regex"),
        ({6: "earth\0quake"}, "type", "value"),
        ({6: "earth\udcffquake"}, "type", "value"),
    ],
)
def test_a_wrong_row_is_a_reject_with_line_field_and_reason(pipeline: Pipeline, change, field, rule):
    cells = csv_rows(1).strip().split(",")
    for at, value in change.items():
        cells[at] = value
    text = HEADER + csv_rows(2) + ",".join(cells) + "\n" + csv_rows(3, start=2)
    outcome = pipeline.put(CSV + "a.csv", text.encode("utf-8", "surrogateescape"))
    assert (outcome.rows, outcome.accepted, outcome.rejected) == (6, 5, 1)
    assert [told[:3] for told in pipeline.rejects(CSV + "a.csv")][:1] == [(4, field, rule)]


def test_lines_of_rejects_survive_quoted_line_breaks_and_blank_lines(pipeline: Pipeline):
    header = HEADER.strip() + ",place\n"
    good = csv_rows(1).strip()
    bad = good.replace("earthquake", "QUAKE")
    text = header + f'{good},"two\nlines"\n\n{bad},x\n{good},y\n{bad},"z\r\nz"\n'
    pipeline.put(CSV + "a.csv", text)
    assert [line for line, *_ in pipeline.rejects(CSV + "a.csv")] == [5, 7]


def test_wrong_features_are_rejects_and_the_others_count(pipeline: Pipeline):
    features = [
        feature("us1"),
        5,
        {"type": "Feature"},
        {**feature("us2"), "geometry": None},
        {**feature("us3"), "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}},
        feature("us4", lat=91),
        feature("us5", mag=float("nan")),
        feature("us6", mag=True),
        feature("us7", mag=None),
        feature("us8", time="yesterday"),
        {**feature("us9"), "id": 9},
        {**feature("us\ud800")},
        feature("us11", type="a\u0000b"),
    ]
    outcome = pipeline.put(GEO + "a.json", collection(*features))
    assert (outcome.rows, outcome.accepted, outcome.rejected) == (13, 2, 11)
    assert {line for line, *_ in pipeline.rejects(GEO + "a.json")} == set(range(1, 14)) - {1, 9}


def test_only_the_first_rejects_are_kept_in_full_and_all_are_counted(pipeline: Pipeline):
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(1500).replace("earthquake", "X"))
    assert pipeline.ledger(CSV + "a.csv")["rejected"] == 1500
    assert len(pipeline.rejects(CSV + "a.csv")) == 1000
    assert pipeline.rows("select field, rule, count from geodrop.reject_count") == [["type", "regex", 1500]]


def test_a_version_that_cannot_be_read_takes_the_earlier_one_back(pipeline: Pipeline):
    good = pipeline.bucket.put(CSV + "a.csv.gz", zipped(HEADER + csv_rows(20)))
    broken = pipeline.bucket.put(CSV + "a.csv.gz", zipped(HEADER + csv_rows(2000))[:-30])
    pipeline.ingest(good)
    assert pipeline.ingest(broken).state == "failed"
    assert pipeline.aggregates() == []
    assert pipeline.ingest(broken).state == "failed", "a retry of a failed one tries again"
    assert pipeline.ingest(good).state == "stale"


def test_an_object_that_is_not_there_is_left_for_a_retry(pipeline: Pipeline):
    event = pipeline.bucket.put(CSV + "a.csv", HEADER)
    pipeline.bucket.versions.clear()
    with pytest.raises(MissingObjectError):
        pipeline.ingest(event)
    assert pipeline.rows("select count(*) from geodrop.ledger") == [[0]]


def test_any_order_of_any_events_ends_the_same(pipeline: Pipeline):
    draw = random.Random(5)
    events = []
    for round_ in range(4):
        for name in "abc":
            if round_ and draw.random() < 0.25:
                events.append(pipeline.bucket.delete(CSV + name))
            events.append(
                pipeline.bucket.put(CSV + name, HEADER + csv_rows(draw.randrange(1, 60), start=draw.randrange(40)))
            )
            features = [
                feature(
                    f"us{draw.randrange(30)}",
                    mag=draw.randrange(90) / 10,
                    updated=draw.randrange(9),
                    lon=draw.randrange(9),
                )
                for _ in range(40)
            ]
            events.append(pipeline.bucket.put(GEO + name, collection(*features)))
            if draw.random() < 0.2:
                events.append(pipeline.bucket.delete(GEO + name))
    for event in events:
        pipeline.ingest(event)
    expected = pipeline.aggregates()
    assert expected
    for _ in range(3):
        for table in ("aggregate", "partial", "observation", "reject", "reject_count", "ledger"):
            pipeline.kept.get().run(f"delete from geodrop.{table}")
        shuffled = events * 2
        draw.shuffle(shuffled)
        for event in shuffled:
            pipeline.ingest(event)
        assert pipeline.aggregates() == expected
