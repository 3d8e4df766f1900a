"""The API on a real PostGIS: what it answers, pages, refuses and keeps to itself."""

import base64
import gzip
import json
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlencode

import pytest

from geodrop import api, grid, package, parameters
from geodrop.database import connect
from tests.integration.conftest import HEADER, Pipeline, collection, csv_rows, feature

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"
Get = Callable[..., dict]


@pytest.fixture
def get(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Get:
    """`get("/path", parameter=value)`: the answer, its JSON in `json`. Connected as the reading role."""
    monkeypatch.setenv("GEODROP_DATABASE_URL", pipeline.url.replace("//postgres:", "//geodrop_api:"))
    monkeypatch.setattr(api, "database", api.Database())

    def ask(
        path: str, *, headers: dict | None = None, method: str = "GET", pathed: dict | None = None, **given
    ) -> dict:
        query = given.pop("query", None) or urlencode(given, safe=",:/")
        event = {
            "version": "2.0",
            "routeKey": f"{method} {path}",
            "rawQueryString": query,
            "headers": headers or {},
            "pathParameters": pathed or {},
            "requestContext": {
                "requestId": "r1",
                "stage": "dev",
                "domainName": "api.example.com",
                "http": {"method": method},
            },
        }
        answer = api.respond(event)
        body = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"].encode()
        if answer["headers"].get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        answer["data"] = body
        if "json" in answer["headers"].get("content-type", "") and "ndjson" not in answer["headers"]["content-type"]:
            answer["json"] = json.loads(body) if body else None
        return answer

    yield ask
    api.database._kept.drop()


@pytest.fixture
def loaded(pipeline: Pipeline) -> Pipeline:
    pipeline.put(CSV + "a.csv", HEADER + csv_rows(900) + csv_rows(300, start=300, kind="quarry blast"))
    return pipeline


def test_a_page_is_a_feature_collection(loaded: Pipeline, get: Get):
    answer = get("/aggregated-data", dataset="earthquakes-csv", level=3)
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"] == "application/geo+json"
    page = answer["json"]
    assert page["type"] == "FeatureCollection"
    assert page["numberReturned"] == len(page["features"])
    assert sum(one["properties"]["count"] for one in page["features"]) == 1200
    one = page["features"][0]
    level, x, y = (one["properties"][name] for name in ("level", "x", "y"))
    west, south, east, north = grid.bounds(level, x, y)
    assert one["geometry"]["coordinates"] == [
        [[west, south], [east, south], [east, north], [west, north], [west, south]]
    ]
    assert one["id"] == f"{level}/{x}/{y}"
    assert page["links"][0]["href"] == "https://api.example.com/dev/aggregated-data?dataset=earthquakes-csv&level=3"


def test_statistics_are_those_of_the_rows(pipeline: Pipeline, get: Get):
    magnitudes = [1.25, 2.5, 2.75, -0.5]
    pipeline.put(
        GEO + "a",
        collection(*(feature(f"us{n}", mag=mag) for n, mag in enumerate(magnitudes)), feature("us9", mag=None)),
    )
    found = get("/aggregated-data", dataset="earthquakes", stats="count,sum,avg,min,max,stddev,centroid", bucket="hour")
    properties = found["json"]["features"][0]["properties"]
    assert {name: properties[name] for name in ("count", "sum", "avg", "min", "max", "stddev")} == {
        "count": 5,
        "sum": 6.0,
        "avg": 1.5,
        "min": -0.5,
        "max": 2.75,
        "stddev": 1.48605,
    }
    assert properties["centroid"] == [-118.5, 34.25]
    assert properties["bucket"] == "2018-02-07T01:00:00+00:00"


def test_level_is_chosen_so_that_hundreds_of_cells_come(loaded: Pipeline, get: Get):
    world = get("/aggregated-data", dataset="earthquakes-csv")["json"]
    town = get("/aggregated-data", dataset="earthquakes-csv", bbox="-118.6,34,-118.2,34.3")["json"]
    assert (world["level"], town["level"]) == (6, 12)


@pytest.mark.parametrize("bbox", [None, "-180,-90,180,90", "-60,-30,60,30", "150,-60,-150,60"])
def test_walking_the_pages_gives_each_cell_once(loaded: Pipeline, get: Get, bbox):
    for bucket in ("all", "hour", "day", "month"):
        for sortby in ("cell", "-count", "avg"):
            _walk(get, bucket, bbox, sortby)


def _walk(get: Get, bucket: str, bbox: str | None, sortby: str) -> None:
    given = {"dataset": "earthquakes-csv", "bucket": bucket, "sortby": sortby, "level": 6, "count": "true"}
    if bbox:
        given["bbox"] = bbox
    whole = get("/aggregated-data", limit=5000, **given)["json"]
    assert whole["numberReturned"] == whole["numberMatched"] > 20
    seen, query = [], urlencode(given | {"limit": 37})
    while query:
        page = get("/aggregated-data", query=query)["json"]
        seen += page["features"]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        query = following[0].split("?", 1)[1] if following else None
    assert seen == whole["features"]
    if sortby != "cell":
        keys = [one["properties"][sortby.lstrip("-")] for one in seen]
        assert keys == sorted(keys, reverse=sortby.startswith("-"))
    assert len({one["id"] for one in seen}) == len(seen)


def test_paging_while_files_come_in_gives_each_cell_once(loaded: Pipeline, get: Get):
    query, seen = urlencode({"dataset": "earthquakes-csv", "level": 6, "limit": 20}), []
    while query:
        page = get("/aggregated-data", query=query)["json"]
        seen += [one["id"] for one in page["features"]]
        loaded.put(CSV + f"{len(seen)}.csv", HEADER + csv_rows(50, start=len(seen)))
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        query = following[0].split("?", 1)[1] if following else None
    assert len(seen) == len(set(seen)) > 100


def test_bbox_takes_the_cells_it_meets_and_crosses_the_antimeridian(pipeline: Pipeline, get: Get):
    for n, (lon, lat) in enumerate([(179.9, 0.1), (-179.9, 0.1), (0.1, 0.1), (0.1, 80), (180, 90), (-180, -90)]):
        pipeline.put(GEO + str(n), collection(feature(f"us{n}", lon=lon, lat=lat)))

    def total(bbox: str) -> int:
        page = get("/aggregated-data", dataset="earthquakes", bbox=bbox, level=12)["json"]
        return sum(one["properties"]["count"] for one in page["features"])

    assert total("-180,-90,180,90") == 6
    assert total("179,-1,-179,1") == 2
    assert total("-1,-1,1,1") == 1
    assert total("0.1,0.1,0.1,0.1") == 1
    assert total("170,80,180,90") == 1
    assert total("1,-1,-1,1") == 2, "all the way round"


def test_near_takes_cells_by_distance(pipeline: Pipeline, get: Get):
    for n, (lon, lat) in enumerate([(10, 50), (10.5, 50), (12, 50), (-179.95, 0), (179.95, 0)]):
        pipeline.put(GEO + str(n), collection(feature(f"us{n}", lon=lon, lat=lat)))

    def total(near: str, radius: int) -> int:
        page = get("/aggregated-data", dataset="earthquakes", near=near, radius=radius, level=12)["json"]
        return sum(one["properties"]["count"] for one in page["features"])

    assert [total("10,50", radius) for radius in (20_000, 60_000, 200_000)] == [1, 2, 3]
    assert total("180,0", 30_000) == 2
    series = get("/aggregated-data/series", dataset="earthquakes", near="10,50", radius=60_000, level=12)["json"]
    assert sum(row["count"] for row in series["series"]) == 2


@pytest.mark.parametrize(
    ("datetime", "expected"),
    [
        ("2018-02-01", 1),
        ("2018-02-01/2018-02-03", 3),
        ("../2018-02-02", 2),
        ("2018-02-06/..", 2),
        ("/2018-02-01", 1),
        ("2018-02-03T02:30:00Z", 1),
        ("2018-02-03T03:30:00+01:00", 1),
        ("2018-02-03T03:00:00Z", 0),
        ("2018-02-03T02:59:59Z/2018-02-03T12:00:00Z", 1),
        ("2019-01-01/..", 0),
        ("../..", 7),
    ],
)
def test_datetime_takes_the_buckets_it_meets(pipeline: Pipeline, get: Get, datetime, expected):
    rows = "".join(f"2018-02-0{day}T02:10:00Z,10,10,1,1,us{day},earthquake\n" for day in range(1, 8))
    pipeline.put(CSV + "a.csv", HEADER + rows)
    page = get("/aggregated-data", dataset="earthquakes-csv", datetime=datetime)["json"]
    assert sum(one["properties"]["count"] for one in page["features"]) == expected


def test_category_min_count_and_geometry(loaded: Pipeline, get: Get):
    blasts = get("/aggregated-data", dataset="earthquakes-csv", category="quarry blast", level=3)["json"]
    both = get("/aggregated-data", dataset="earthquakes-csv", category="quarry blast,earthquake", level=3)["json"]
    none = get("/aggregated-data", dataset="earthquakes-csv", category="x'y", level=3)["json"]
    totals = [sum(one["properties"]["count"] for one in page["features"]) for page in (blasts, both, none)]
    assert totals == [300, 1200, 0]
    many = get("/aggregated-data", dataset="earthquakes-csv", min_count=40, level=3)["json"]["features"]
    assert many
    assert all(one["properties"]["count"] >= 40 for one in many)
    bare = get("/aggregated-data", dataset="earthquakes-csv", geometry="none", level=3)["json"]["features"][0]
    point = get("/aggregated-data", dataset="earthquakes-csv", geometry="centroid", level=3)["json"]["features"][0]
    assert (bare["geometry"], point["geometry"]["type"]) == (None, "Point")


def test_csv_and_ndjson_hold_the_same_rows(loaded: Pipeline, get: Get):
    page = get("/aggregated-data", dataset="earthquakes-csv", level=3)["json"]["features"]
    lines = get("/aggregated-data", dataset="earthquakes-csv", level=3, f="ndjson")["data"].decode().splitlines()
    assert [json.loads(line) for line in lines] == page
    table = get("/aggregated-data", dataset="earthquakes-csv", level=3, headers={"accept": "text/csv"})
    assert table["headers"]["content-type"].startswith("text/csv")
    header, *rows = table["data"].decode().splitlines()
    assert header == "level,x,y,count,sum,avg,min,max,first,last"
    assert [int(row.split(",")[3]) for row in rows] == [one["properties"]["count"] for one in page]
    for sortby in ("count", "-avg"):
        answer = get("/aggregated-data", dataset="earthquakes-csv", level=3, f="csv", bucket="day", sortby=sortby)
        assert answer["statusCode"] == 200
        assert answer["data"].decode().startswith("level,x,y,bucket,count")


def test_series_has_a_row_per_bucket_and_category(loaded: Pipeline, get: Get):
    whole = get("/aggregated-data/series", dataset="earthquakes-csv", bucket="day")["json"]["series"]
    assert len(whole) == 14
    assert sum(row["count"] for row in whole) == 1200
    assert whole == sorted(whole, key=lambda row: (row["bucket"], row["category"]))
    seen, query = [], urlencode({"dataset": "earthquakes-csv", "bucket": "day", "limit": 3})
    while query:
        page = get("/aggregated-data/series", query=query)["json"]
        seen += page["series"]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        query = following[0].split("?", 1)[1] if following else None
    assert seen == whole
    total = get("/aggregated-data/series", dataset="earthquakes-csv", bucket="all")["json"]["series"]
    assert [row["count"] for row in total] == [900, 300]
    assert get("/aggregated-data/series", dataset="earthquakes-csv", bucket="day", f="csv")["data"].count(b"\n") == 15


def test_a_tile_holds_the_cells_of_its_square(loaded: Pipeline, get: Get):
    answer = get("/aggregated-data/tiles/{z}/{x}/{y}", dataset="earthquakes-csv", pathed={"z": "2", "x": "1", "y": "1"})
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"] == "application/vnd.mapbox-vector-tile"
    assert answer["data"][:1] == b"\x1a"
    assert b"cells" in answer["data"]
    about = get("/aggregated-data/tiles.json", dataset="earthquakes-csv", category="earthquake")["json"]
    assert about["tiles"] == [
        "https://api.example.com/dev/aggregated-data/tiles/{z}/{x}/{y}?dataset=earthquakes-csv&category=earthquake"
    ]
    outside = get(
        "/aggregated-data/tiles/{z}/{x}/{y}", dataset="earthquakes-csv", pathed={"z": "2", "x": "4", "y": "1"}
    )
    assert (outside["statusCode"], outside["json"]["parameter"]) == (400, "x")


@pytest.mark.parametrize(
    ("query", "parameter", "told"),
    [
        ("", "dataset", "missing"),
        ("dataset=nope", "dataset", "earthquakes"),
        ("dataset=earthquakes&color=red", "color", "unknown parameter"),
        ("dataset=earthquakes&dataset=earthquakes", "dataset", "2 times"),
        ("dataset=earthquakes&bbox=1,2,3", "bbox", "4 values"),
        ("dataset=earthquakes&bbox=1,2,3,nan", "bbox", "a number"),
        ("dataset=earthquakes&bbox=1,2,3,inf", "bbox", "a number"),
        ("dataset=earthquakes&bbox=1,50,3,40", "bbox", "south at most north"),
        ("dataset=earthquakes&bbox=1,2,3,91", "bbox", "-90 to 90"),
        ("dataset=earthquakes&bbox=1,2,181,3", "bbox", "180"),
        ("dataset=earthquakes&bbox=1,%202,3,4", "bbox", "a number"),
        ("dataset=earthquakes&datetime=yesterday", "datetime", "RFC 3339"),
        ("dataset=earthquakes&datetime=2018-02-30", "datetime", "RFC 3339"),
        ("dataset=earthquakes&datetime=2018-02-05/2018-02-01", "datetime", "not after"),
        ("dataset=earthquakes&datetime=..", "datetime", "RFC 3339"),
        ("dataset=earthquakes&datetime=a/b/c", "datetime", "RFC 3339"),
        ("dataset=earthquakes&level=5", "level", "3, 6, 9, 12"),
        ("dataset=earthquakes&level=x", "level", "an integer"),
        ("dataset=earthquakes&limit=0", "limit", "from 1"),
        ("dataset=earthquakes&limit=5001", "limit", "5000"),
        ("dataset=earthquakes&bucket=year", "bucket", "hour"),
        ("dataset=earthquakes&stats=count,median", "stats", "stddev"),
        ("dataset=earthquakes&f=xml", "f", "geojson"),
        ("dataset=earthquakes&near=1,2", "near", "radius"),
        ("dataset=earthquakes&radius=5", "radius", "near"),
        ("dataset=earthquakes&cursor=abc", "cursor", "next"),
        ("dataset=earthquakes&cursor=WyJhIiwxLDJd", "cursor", "next"),
        ("dataset=earthquakes&category=%00", "category", "characters"),
        ("dataset=%ff", "query", "UTF-8"),
    ],
)
def test_a_wrong_parameter_is_a_400_that_says_what_is_allowed(get: Get, query, parameter, told):
    answer = get("/aggregated-data", query=query)
    assert answer["statusCode"] == 400
    assert answer["headers"]["content-type"] == "application/problem+json"
    problem = answer["json"]
    assert problem["parameter"] == parameter
    assert told in problem["detail"]
    assert problem["request_id"] == "r1"


def test_the_same_answer_is_a_304_until_a_file_comes_in(loaded: Pipeline, get: Get):
    first = get("/aggregated-data", dataset="earthquakes-csv")
    again = get("/aggregated-data", dataset="earthquakes-csv", headers={"if-none-match": first["headers"]["etag"]})
    assert (again["statusCode"], again["body"]) == (304, "")
    loaded.put(CSV + "b.csv", HEADER + csv_rows(1))
    later = get("/aggregated-data", dataset="earthquakes-csv", headers={"if-none-match": first["headers"]["etag"]})
    assert later["statusCode"] == 200


def test_gzip_head_and_request_id(loaded: Pipeline, get: Get):
    plain = get("/aggregated-data", dataset="earthquakes-csv")
    packed = get("/aggregated-data", dataset="earthquakes-csv", headers={"Accept-Encoding": "br, gzip"})
    assert packed["headers"]["content-encoding"] == "gzip"
    assert packed["json"] == plain["json"]
    head = get("/aggregated-data", dataset="earthquakes-csv", method="HEAD")
    assert (head["statusCode"], head["body"], head["headers"]["x-request-id"]) == (200, "", "r1")
    assert get("/nothing")["statusCode"] == 404


def test_datasets_ingestions_health_and_openapi(loaded: Pipeline, get: Get):
    loaded.put(CSV + "bad.csv", HEADER + csv_rows(3).replace("earthquake", "X"))
    datasets = {one["name"]: one for one in get("/datasets")["json"]["datasets"]}
    assert datasets["earthquakes-csv"]["count"] == 1200
    assert datasets["earthquakes-csv"]["categories"][0] == {"category": "earthquake", "count": 900}
    assert datasets["earthquakes"]["count"] == 0
    listed = get("/ingestions")["json"]
    assert [one["object"] for one in listed["ingestions"]] == [
        f"s3://landing-test/{CSV}{name}" for name in ("bad.csv", "a.csv")
    ]
    page = get("/ingestions", limit=1)["json"]
    cursor = page["links"][1]["href"].split("cursor=")[1]
    assert get("/ingestions", limit=1, cursor=cursor)["json"]["ingestions"] == listed["ingestions"][1:]
    one = get("/ingestions/{id}", pathed={"id": str(listed["ingestions"][0]["id"])})["json"]
    assert (one["rows"], one["accepted"], one["rejected"]) == (3, 0, 3)
    assert one["rejects_by_rule"] == [{"field": "type", "rule": "regex", "count": 3}]
    assert one["rejects"][0]["line"] == 2
    assert get("/ingestions/{id}", pathed={"id": "999999"})["statusCode"] == 404
    assert get("/ingestions/{id}", pathed={"id": "x"})["statusCode"] == 400
    assert get("/health")["json"] == {"status": "ok", "database": "reachable", "migrations": "current"}
    assert get("/openapi.json")["json"]["paths"].keys() == package.openapi()["paths"].keys()


def test_health_is_well_with_a_database_that_a_later_version_has_migrated(get: Get, pipeline: Pipeline):
    """As it is while an apply is under way, and after a rollback."""
    pipeline.kept.get().run("insert into geodrop.migration (version, name, checksum) values ('9000', '9000_x', 'x')")
    answer = get("/health")
    told = {"status": "ok", "database": "reachable", "migrations": "ahead of this version: 9000"}
    assert (answer["statusCode"], answer["json"]) == (200, told)
    pipeline.kept.get().run("update geodrop.migration set checksum = 'x' where version = '0002'")
    answer = get("/health")
    assert (answer["statusCode"], answer["json"]["migrations"]) == (503, "other than this version's")


def test_health_tells_of_missing_migrations_and_of_no_database(get: Get, pipeline: Pipeline, monkeypatch):
    pipeline.kept.get().run("delete from geodrop.migration where version = '0002'")
    answer = get("/health")
    assert (answer["statusCode"], answer["json"]["migrations"]) == (503, "not applied yet: 0002")
    monkeypatch.setenv("GEODROP_DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/x?sslmode=disable")
    api.database._kept.drop()
    assert get("/health")["json"] == {"status": "unavailable", "database": "unreachable", "migrations": "unknown"}
    refused = get("/aggregated-data", dataset="earthquakes")
    assert (refused["statusCode"], refused["headers"]["retry-after"]) == (503, "5")
    assert "127.0.0.1" not in refused["data"].decode()


ATTACKS = ["' or 1=1 --", "1); drop table geodrop.ledger; --", "$1", ":limit", "\\'; select pg_sleep(5)--", "%'", "0x1"]


@pytest.mark.parametrize(
    "path", ["/aggregated-data", "/aggregated-data/series", "/aggregated-data/tiles.json", "/ingestions"]
)
def test_sql_in_any_parameter_is_refused_or_harmless(loaded: Pipeline, get: Get, path):
    before = loaded.aggregates()
    for name in [one["name"] for one in parameters.declared(f"GET {path}")]:
        for attack in ATTACKS:
            answer = get(path, query=urlencode({"dataset": "earthquakes-csv", name: attack}))
            assert answer["statusCode"] in (200, 400), (name, attack)
    assert loaded.aggregates() == before


def test_the_reading_role_cannot_write(get: Get, loaded: Pipeline):
    from pg8000.native import DatabaseError

    from geodrop.query import Statement

    for sql in (
        "delete from geodrop.aggregate",
        "set transaction read write; delete from geodrop.aggregate",
        "create table geodrop.x ()",
        "create table public.x ()",
        "create temp table x ()",
        "select * from geodrop.observation",
    ):
        with pytest.raises(DatabaseError, match=r"42501|25006|42601"):
            api.database.run(Statement(sql, {}))


def test_a_query_that_takes_too_long_is_a_504(get: Get, loaded: Pipeline, monkeypatch):
    monkeypatch.setattr(api, "_STATEMENT_TIMEOUT_S", 0.001)
    answer = get("/aggregated-data", dataset="earthquakes-csv", bucket="hour", count="true")
    assert answer["statusCode"] in (200, 504)
    monkeypatch.setattr(
        "geodrop.query.cells", lambda *_, **__: __import__("geodrop.query").query.Statement("select pg_sleep(1)", {})
    )
    answer = get("/aggregated-data", dataset="earthquakes-csv", level=3)
    assert (answer["statusCode"], answer["json"]["title"]) == (504, "Took too long")
    assert "pg_sleep" not in answer["data"].decode()


def test_a_server_that_says_nothing_is_a_503_and_then_asked_on_another_connection(
    get: Get, loaded: Pipeline, monkeypatch
):
    monkeypatch.setattr(api, "_SILENCE_S", 0.5)  # less than the statement may take: nothing is heard meanwhile
    with closing(connect(loaded.url)) as connection:
        connection.run("begin; lock table geodrop.dataset in access exclusive mode")
        answer = get("/aggregated-data", dataset="earthquakes-csv")
        assert (answer["statusCode"], answer["json"]["title"]) == (503, "Database unavailable")
        connection.run("rollback")
    assert get("/aggregated-data", dataset="earthquakes-csv")["statusCode"] == 200
