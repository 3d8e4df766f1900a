"""Every kind of query uses an index at a million aggregates: the plans are read, not the clock."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from geodrop import api, query
from geodrop.contract import contracts
from geodrop.database import connect
from geodrop.load import dataset_id
from tests.conftest import at_database, execute

CONTRACT = contracts()["earthquakes-csv"]
SEED = """
insert into geodrop.aggregate
select :dataset, l.level, k.x, k.y, b.bucket, c.category, 3, 3, 12, 60, 1, 9, 30, 30, b.bucket, b.bucket
from (values (3, 32, 450), (6, 2048, 24), (9, 60000, 2), (12, 150000, 1)) as l (level, cells, buckets)
cross join lateral (select (m % (1 << l.level))::integer as x, (m / (1 << l.level))::integer as y
  from (select n * 7919 % (1::bigint << (2 * l.level - 1)) as m from generate_series(1::bigint, l.cells) as n)
  as k) as k
cross join lateral (select timestamptz '-infinity' as bucket union all
  select timestamptz '2026-01-01' + n * interval '7 hour' from generate_series(1, l.buckets) as n) as b
cross join (values ('earthquake'), ('explosion')) as c (category)
on conflict do nothing
"""
OUTLINES = """
insert into geodrop.cell select level, x, y, st_makeenvelope(x * 360.0 / (1 << level) - 180,
  y * 360.0 / (1 << level) - 90, (x + 1) * 360.0 / (1 << level) - 180, (y + 1) * 360.0 / (1 << level) - 90, 4326)
from (select distinct level, x, y from geodrop.aggregate) as k where x * 360.0 / (1 << level) - 180 between -10 and 20
"""


@pytest.fixture(scope="module")
def million(server_url: str, template_database: str) -> Iterator[tuple[api.Database, int]]:
    """The API's own connection to a database with a million aggregates."""
    name = f"{template_database}_million"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = at_database(server_url, name)
    try:
        with closing(connect(url)) as connection:
            number = dataset_id(connection, CONTRACT)
            connection.run(SEED.replace(":dataset", str(number)))
            connection.run(OUTLINES)
            connection.run("analyze geodrop.aggregate; analyze geodrop.cell")
            counted = connection.run("select count(*) from geodrop.aggregate") or []
            assert counted[0][0] >= 1_000_000
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GEODROP_DATABASE_URL", url.replace("//postgres:", "//geodrop_api:"))
            reader = api.Database()
            yield reader, number
            reader._kept.drop()
    finally:
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


AREA = {"bbox": [-10.0, 30.0, 20.0, 50.0]}
TOWN = {"bbox": [5.0, 45.0, 6.0, 46.0]}
NEAR = {"near": [5.0, 45.0], "radius": 50_000.0}
SPAN = {"datetime": "2026-01-03/2026-01-05"}
ONE = {"category": ["explosion"]}
QUERIES = {
    "world": {},
    "world of a category": ONE,
    "world of a span": SPAN,
    "world at the finest level": {"level": 12},
    "area": AREA,
    "area by hour": AREA | {"bucket": "hour"},
    "area by day of a category and a span": AREA | SPAN | ONE | {"bucket": "day"},
    "area over the antimeridian": {"bbox": [170.0, -20.0, -170.0, 20.0]},
    "area, busiest first": AREA | {"sortby": "-count"},
    "area with enough": AREA | {"min_count": 5},
    "town": TOWN,
    "town at the finest level by hour": TOWN | {"bucket": "hour", "level": 12},
    "near": NEAR,
    "near of a span": NEAR | SPAN,
}


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def scanned(reader: api.Database, statement: query.Statement) -> set[tuple[str, str]]:
    """How each table is read: (kind of scan, table)."""
    found = reader.run(query.Statement(f"explain (format json) {statement.sql}", statement.values))[0][0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return {(node["Node Type"], node["Relation Name"]) for node in nodes(plan) if "Relation Name" in node}


def check(found: set[tuple[str, str]], table: str = "aggregate") -> None:
    assert table in {name for _, name in found}
    for kind, name in found:
        assert kind in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"), f"{kind} on {name}"


@pytest.mark.parametrize("asked", QUERIES.values(), ids=QUERIES.keys())
def test_cells_series_and_counts_use_indexes(million, asked):
    reader, number = million
    parsed = query.parse(CONTRACT, asked | {"limit": 200})
    check(scanned(reader, query.cells(parsed, number, form="geojson")))
    check(scanned(reader, query.cells_matched(parsed, number)))
    by_day = query.parse(
        CONTRACT, {name: value for name, value in asked.items() if name != "sortby"} | {"bucket": "day"}
    )
    check(scanned(reader, query.series(by_day, number)))


@pytest.mark.parametrize("after", [(300, 100), (300, 100, "2026-01-04 00:00:00+00")])
@pytest.mark.parametrize("asked", [AREA, {"level": 12}, NEAR])
def test_later_pages_use_indexes(million, asked, after):
    from dataclasses import replace

    reader, number = million
    parsed = query.parse(CONTRACT, asked | {"limit": 200, "bucket": "hour" if len(after) > 2 else "all"})
    check(scanned(reader, query.cells(replace(parsed, after=after), number, form="geojson")))


@pytest.mark.parametrize(("zoom", "x", "y"), [(0, 0, 0), (2, 1, 1), (5, 16, 11), (8, 132, 92), (12, 2110, 1480)])
def test_tiles_use_indexes(million, zoom, x, y):
    reader, number = million
    for asked in ({}, SPAN, ONE):
        check(scanned(reader, query.tile(query.parse(CONTRACT, asked), number, zoom, x, y)))


@pytest.mark.parametrize("asked", [{}, ONE, AREA, TOWN, AREA | {"sortby": "-count"}], ids=str)
def test_all_time_is_not_looked_for_among_the_hours(million, asked):
    reader, number = million
    parsed = query.parse(CONTRACT, asked)
    for statement in (query.cells(parsed, number, form="geojson"), query.tile(parsed, number, 2, 1, 1)):
        found = reader.run(query.Statement(f"explain {statement.sql}", statement.values))
        assert any("aggregate_whole" in line for (line,) in found)


def test_near_finds_its_cells_by_the_spatial_index(million):
    reader, number = million
    statement = query.cells(query.parse(CONTRACT, NEAR), number, form="geojson")
    found = reader.run(query.Statement(f"explain {statement.sql}", statement.values))
    assert any("cell_centre" in line for (line,) in found)
