"""Readers give the same rows however the bytes are cut, and say what is wrong with a file."""

import gzip
import json
import re

import pytest

from geodrop import grid
from geodrop.checker import Malformed
from geodrop.contract import Contract, parse
from geodrop.errors import ContractError, UnreadableObjectError
from geodrop.events import message_of, object_events, pad
from geodrop.readers import read

SCHEMA = {
    "longitude": {"type": "float"},
    "latitude": {"type": "float"},
    "time": {"type": "datetime"},
    "note": {"type": "string"},
}
POINTS = [
    {
        "type": "Feature",
        "properties": {"time": "t", "note": 'é "]}" 1e5'},
        "geometry": {"type": "Point", "coordinates": [n, -12.5e-3]},
    }
    for n in range(3)
]
FILES = {
    "csv": "time,longitude,latitude,note\n"
    '2018-02-07T01:00:00Z,1,2,"a ""quoted"", é\nline"\n\n'
    "2018-02-07T01:00:00Z,3,4,\U0001f30d\r\n",
    "geojson": json.dumps(
        {"type": "FeatureCollection", "features": POINTS, "bbox": [1, 2, 3.25, 4]}, ensure_ascii=False, indent=1
    ),
    "geojsonl": '\x1e{"type":"Feature","properties":null,"geometry":{"type":"Point","coordinates":[1,2]}}\n\n{bad\n[]',
}


def contract(kind: str, **limits: int) -> Contract:
    return parse(
        "made", "made.yaml",
        {"title": "x", "format": kind, "levels": [1], "fields": {"time": "time"}, "schema": SCHEMA, "limits": limits},
    )  # fmt: skip


def rows(kind: str, chunks: list[bytes], **limits: int) -> list[tuple[int, object]]:
    table = read(contract(kind, **limits), iter(chunks))
    return [(batch.line(at), row) for batch in table.batches for at, row in enumerate(batch.rows)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", FILES)
def test_rows_do_not_depend_on_where_the_bytes_are_cut(kind: str, packed: bool):
    data = FILES[kind].encode()
    data = gzip.compress(data[:50]) + gzip.compress(data[50:]) if packed else data
    whole = rows(kind, [data])
    assert len(whole) in (2, 3)
    for size in [*range(1, 24), 100, 1000]:
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert repr(rows(kind, cut)) == repr(whole), size


def test_what_looks_like_the_end_of_a_feature_is_none():
    features = [
        {
            "type": "Feature",
            "properties": {"time": "t", "note": "},{", "more": [{"a": n}, {"a": [n]}, {"a": {}}]},
            "geometry": {"type": "Point", "coordinates": [n, 1]},
        }
        for n in range(60)
    ]
    data = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")).encode()
    longitude = list(SCHEMA).index("longitude")
    for size in [*range(7, 900, 31), len(data)]:
        found = rows("geojson", [data[at : at + size] for at in range(0, len(data), size)])
        assert [(number, row[longitude]) for number, row in found] == [(n + 1, n) for n in range(60)], size


def test_lines_and_malformed_rows_are_told():
    found = rows("geojsonl", [FILES["geojsonl"].encode()])
    assert [line for line, _ in found] == [1, 3, 4]
    assert [type(row) for _, row in found] == [tuple, Malformed, Malformed]
    assert [line for line, _ in rows("csv", [FILES["csv"].encode()])] == [2, 5]


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("geojson", '{"type":"FeatureCollection"}', "no features"),
        ("geojson", '{"type":"FeatureCollection","features":[],"features":[]}', "two members"),
        ("geojson", '{"type":"FeatureCollection","features":[1,]}', "comma"),
        ("geojson", '{"type":"FeatureCollection","features":[]} x', "goes on"),
        ("geojson", '{"type":"FeatureCollection","features":[{"a":' + "[" * 100_000, "feature 1"),
        ("geojson", '{"type":"FeatureCollection","features":[' + "9" * 5000 + "]}", "feature 1"),
        ("geojson", "[]", "FeatureCollection"),
        ("csv", "time,longitude,latitude\n" + "x" * 3000, "line of more than"),
        ("geojsonl", "x" * 3000, "line 1 has more than"),
        ("csv", "a," * 30, "columns"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(kind: str, text: str, told: str):
    with pytest.raises(UnreadableObjectError, match=re.escape(told)):
        rows(kind, [text.encode()], max_row_bytes=2000, max_columns=20)


def test_a_bomb_is_stopped():
    bomb = gzip.compress(b"time,longitude,latitude,note\n" + b"0" * 50_000_000)
    with pytest.raises(UnreadableObjectError, match="once unpacked"):
        rows("csv", [bomb], max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "xml"}, "made.yaml: format"),
        ({"levels": [3, 2]}, "made.yaml: levels"),
        ({"fields": {"time": "when"}}, "made.yaml: fields.time"),
        ({"fields": {"time": "time", "place": ["a", "b"]}}, "made.yaml: fields.place"),
        ({"mode": "latest"}, "made.yaml: fields.id"),
        ({"schema": {**SCHEMA, "note": {"type": "string", "minn": 1}}}, "made.yaml: schema.note.minn"),
        ({"schema": {**SCHEMA, "note": {"type": "string", "coerce": "float32"}}}, "made.yaml: schema.note.coerce"),
        ({"schema": {**SCHEMA, "note": {"type": "string", "regex": "("}}}, "made.yaml: schema.note.regex"),
        ({"surprise": 1}, "made.yaml: surprise"),
        ({"title": None}, "made.yaml: title"),
    ],
)
def test_a_wrong_contract_is_refused_with_file_and_key(change: dict, told: str):
    given = {"title": "x", "format": "csv", "levels": [1], "fields": {"time": "time"}, "schema": SCHEMA}
    with pytest.raises(ContractError) as refused:
        parse("made", "made.yaml", given | change)
    assert told in str(refused.value)


def test_cells_at_the_edges_of_the_world():
    assert grid.cell(-180, -90, 3) == (0, 0)
    assert grid.cell(180, 90, 3) == (7, 3)
    assert grid.cell(0, 0, 0) == (0, 0)
    for level in range(1, 20):
        x, y = grid.cell(12.3456789, -45.6789, level)
        assert grid.cell(12.3456789, -45.6789, level - 1) == (x >> 1, y >> 1)
        west, south, east, north = grid.bounds(level, x, y)
        assert west <= 12.3456789 < east
        assert south <= -45.6789 < north


def test_events_are_read_and_what_is_none_is_refused():
    assert pad("5D") < pad("005E") < pad("FFFF")
    assert list(object_events({"Event": "s3:TestEvent"})) == []
    record = {
        "eventName": "ObjectRemoved:Delete",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "landing/d/a+b%C3%A9"}},
    }
    (event,) = object_events({"Records": [record]})
    assert (event.key, event.removed, event.dataset) == ("landing/d/a bé", True, "d")
    for wrong in ({}, {"Records": [{}]}, {"Records": 5}):
        with pytest.raises(ValueError, match="not an S3 notification"):
            list(object_events(wrong))
    with pytest.raises(ValueError, match="not a"):
        message_of("[]")
