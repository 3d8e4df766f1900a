"""The OpenAPI document and the API say the same: fuzzed over HTTP, parameter by parameter, and opened by GDAL."""

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from geodrop import package, parameters
from tests.conftest import at_database, execute
from tests.integration.conftest import HEADER, Pipeline, collection, csv_rows, feature
from tests.require import require

ROOT = Path(__file__).resolve().parents[2]
ROUTES = [f"{method.upper()} {path}" for path, methods in package.openapi()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def served(server_url: str, template_database: str) -> Iterator[str]:
    """Address of the API behind a plain HTTP server, with some data in it."""
    name = f"{template_database}_served"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = at_database(server_url, name)
    pipeline = Pipeline(url)
    pipeline.put("landing/earthquakes-csv/a.csv", HEADER + csv_rows(400) + "wrong\n")
    pipeline.put("landing/earthquakes/a.json", collection(*(feature(f"us{n}", lon=n, lat=n / 3) for n in range(90))))
    pipeline.kept.drop()
    command = [sys.executable, "-m", "local.serve", "--port", "0", "--no-reload"]
    environment = os.environ | {"GEODROP_DATABASE_URL": url.replace("//postgres:", "//geodrop_api:")}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout
            found = None
            while found is None:
                line = server.stdout.readline()
                assert line, "the server ended"
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
            yield found[0]
        finally:
            server.terminate()
    with contextlib.suppress(Exception):
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


ENOUGH = 800
"""Examples of each operation that make more than 5,000 requests in all."""


def get(address: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_schemathesis_finds_nothing(served: str, record_property: Callable[[str, object], None]):
    """Some hundreds of requests, always the same; `make fuzz` makes thousands, other ones each time."""
    long = "GEODROP_FUZZ" in os.environ
    examples = os.environ.get("GEODROP_FUZZ", "12")
    seed = os.environ.get("GEODROP_FUZZ_SEED") or (str(random.randrange(2**32)) if long else "1")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{served}/openapi.json",
            "--url",
            served,
            "--max-examples",
            examples,
            "--seed",
            seed,
            "--checks",
            "all",
            "--continue-on-failure",
            "--phases",
            "examples,coverage,fuzzing",
            # A bbox may be well-formed and reversed; a route that is not there is the gateway's to refuse.
            "--exclude-checks",
            "positive_data_acceptance,unsupported_method",
            "--generation-database",
            "none",
        ],
        cwd=ROOT / ".local",
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    counted = re.search(r"(\d+) generated", done.stdout)
    assert done.returncode == 0, f"GEODROP_FUZZ_SEED={seed}: {done.stdout[-4000:]}"
    assert counted
    record_property("notice", f"schemathesis: {int(counted[1]):,} requests without a failure, seed {seed}")
    assert int(counted[1]) > (5000 if int(examples) >= ENOUGH else 100)


SAMPLES = {
    "dataset": "earthquakes-csv",
    "bbox": "-10,-10,60,60",
    "near": "10,3",
    "radius": "500000",
    "datetime": "2018-02-01/..",
    "category": "earthquake,explosion",
    "level": "9",
    "bucket": "day",
    "stats": "count,stddev,centroid",
    "geometry": "centroid",
    "min_count": "2",
    "sortby": "-avg",
    "count": "true",
    "limit": "7",
    "cursor": None,  # taken from a link below
    "f": "csv",
    "state": "loaded",
    "z": "1",
    "x": "1",
    "y": "0",
    "id": "1",
    "version": None,
    "file": None,
}


@pytest.mark.parametrize("route", ROUTES)
def test_every_documented_parameter_works(served: str, route: str):
    path = route.split(" ", 1)[1]
    declared = parameters.declared(route)
    assert {one["name"] for one in declared} <= set(SAMPLES), "a parameter without a sample"
    if "{file}" in path:
        return  # its addresses are the page's own: tests/browser
    for one in declared:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", SAMPLES[one["name"]] or "")
    needed = {one["name"]: SAMPLES[one["name"]] for one in declared if one["in"] == "query" and one.get("required")}
    for one in declared:
        name = one["name"]
        if one["in"] == "path" or name == "cursor":
            continue
        given = needed | {name: SAMPLES[name]}
        if name in ("near", "radius"):
            given |= {"near": SAMPLES["near"], "radius": SAMPLES["radius"]}
        status, body = get(f"{served}{path}?{urlencode(given)}")
        assert status == 200, (name, body)
    if any(one["name"] == "cursor" for one in declared):
        first = json.loads(get(f"{served}{path}?{urlencode(needed | {'limit': 1})}")[1])
        following = [link["href"] for link in first["links"] if link["rel"] == "next"]
        status, body = get(f"{served}{path}?{following[0].split('?', 1)[1]}")
        assert (status, json.loads(body)["numberReturned"]) == (200, 1)


def test_code_reads_the_parameters_that_are_documented_and_no_other():
    code = "".join((ROOT / "functions" / "geodrop" / name).read_text() for name in ("api.py", "query.py"))
    read = set(re.findall(r"""values(?:\.get\(|\[)"(\w+)\"""", code)) | set(
        re.findall(r'"(\w+)" in (?:request\.)?values', code)
    )
    documented = {one["name"] for route in ROUTES for one in parameters.declared(route)}
    assert documented <= read | {"version", "file"}
    # The SQL's own parameters are named in the same way; they are not read from a request.
    assert {name for name in read - documented if f'request.values["{name}"]' in code} == set()


def test_gdal_opens_geojson_csv_and_tiles(served: str):
    require("ogrinfo")

    def layer(address: str) -> str:
        done = subprocess.run(["ogrinfo", "-ro", "-al", "-so", address], capture_output=True, text=True, check=False)
        assert "successful" in done.stdout, done.stdout + done.stderr
        return done.stdout

    page = layer(f"{served}/aggregated-data?dataset=earthquakes&level=9")
    assert "Feature Count: 90" in page
    assert "Geometry: Polygon" in page
    tile = layer(f"MVT:{served}/aggregated-data/tiles/1/1/0?dataset=earthquakes")
    assert "Layer name: cells" in tile
    assert "count: Integer" in tile
