"""How quick the API is, beside tools that people know: tipg and the query that pg_featureserv makes.

    python -m bench.serving [--quick]

One PostgreSQL, one table of the same aggregates with their outlines, the same filters, one run, requests in turn.
Ours goes through `python -m local.serve`, tipg through uvicorn without its access log, each with one process that
answers. Results are merged into bench/results.json.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.results import Result, merge, table
from geodrop.contract import contracts
from geodrop.database import connect
from geodrop.load import dataset_id
from geodrop.migrations import load, migrate
from geodrop.package import migrations
from local.deploy import function_name
from local.emulator import ACCOUNT, REGION, client
from local.postgres import Cluster, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parents[1]
BENCH_PYTHON = ROOT / ".local" / "bench-venv" / "bin" / "python"
CONTRACT = contracts()["earthquakes"]
SEED = """
insert into geodrop.aggregate
select {dataset}, l.level, k.x, k.y, b.bucket, c.category, n, n, n * 12, n * 60, 1, 9, n * 30, n * 30, b.first, b.first
from (values {levels}) as l (level, cells, buckets)
cross join lateral (select (m % (1 << l.level))::integer as x, (m / (1 << l.level))::integer as y
  from (select i * 7919 % (1::bigint << (2 * l.level - 1)) as m
    from generate_series(1::bigint, least(l.cells, 1::bigint << (2 * l.level - 1))) as i) as i) as k
cross join lateral (select timestamptz '-infinity' as bucket, timestamptz '2026-01-01' as first, l.buckets * 3 as n
  union all select t, t, 3 from (select timestamptz '2026-01-01' + i * interval '1 hour' as t
    from generate_series(1, l.buckets) as i) as t) as b
cross join (values ('earthquake'), ('explosion')) as c (category)
{apart}on conflict do nothing
"""
# What of a growing database stays the same: the square 0,0,40,40 with 24 hours in each cell of level 6. In the square
# west of it the cells are as many at every size, and their hours grow with it.
FIXED = "0,0,40,40"
HISTORY = "-44,0,-6,40"
SQUARES = """
insert into geodrop.aggregate
select {dataset}, 6, x, y, b.bucket, c.category, n, n, n * 12, n * 60, 1, 9, n * 30, n * 30, b.first, b.first
from (values (32, 24), (24, {hours})) as s (west, hours)
cross join lateral generate_series(s.west, s.west + 7) as x cross join generate_series(16, 23) as y
cross join lateral (select timestamptz '-infinity' as bucket, timestamptz '2026-01-01' as first, s.hours * 3 as n
  union all select t, t, 3 from (select timestamptz '2026-01-01' + i * interval '1 hour' as t
    from generate_series(1, s.hours) as i) as t) as b
cross join (values ('earthquake'), ('explosion')) as c (category)
"""
APART = "where not (k.x >> (l.level - 3) in (3, 4) and k.y >> (l.level - 3) = 2)\n"
OUTLINES = """
insert into geodrop.cell select level, x, y, st_makeenvelope(x * 360.0 / (1 << level) - 180,
  y * 360.0 / (1 << level) - 90, (x + 1) * 360.0 / (1 << level) - 180, (y + 1) * 360.0 / (1 << level) - 90, 4326)
from (select distinct level, x, y from geodrop.aggregate) as k
"""
FLAT = """
create schema bench;
create table bench.cells as select row_number() over (order by a.level, a.x, a.y, a.bucket, a.category) as id,
  a.level, a.x, a.y, a.bucket, a.category, a.count, a.value_sum as sum, a.value_min as min, a.value_max as max,
  a.first_time as first, a.last_time as last, c.outline as geom
from geodrop.aggregate as a join geodrop.cell as c using (level, x, y) where a.bucket > '-infinity';
alter table bench.cells add primary key (id);
create index on bench.cells using gist (geom);
create index on bench.cells (level, category, x, y, bucket);
analyze bench.cells
"""
PAGE = "bbox=0.1,0.1,19.9,19.9&level=9&category=earthquake&limit=200"
TILES = {4: (8, 7), 5: (16, 15), 6: (32, 31), 7: (66, 62), 8: (132, 124), 9: (265, 249), 10: (530, 498)}


def shares(total: int) -> str:
    """Levels with cells and buckets that make about so many aggregates in all, a third or less at each level."""
    part = total / 3 / 2
    return ", ".join(
        f"({level}, {max(cells, 1)}, {max(round(part / max(cells, 1)) - 1, 1)})"
        for level, cells in ((3, min(32, part)), (6, min(2048, part)), (9, min(60_000, part / 2)))
        for cells in (int(cells),)
    )


@contextmanager
def postgres() -> Iterator[Cluster]:
    """A private PostgreSQL with PostGIS."""
    with tempfile.TemporaryDirectory(prefix="geodrop-bench-") as folder:
        cluster = Cluster(Path(folder) / "data", auth="trust", durable=False)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.remove()


def fill(url: str, total: int, *, squares: bool) -> None:
    """Migrate a database and put so many aggregates into it, with the squares that `growth` asks for or without."""
    with closing(connect(url)) as connection:
        migrate(connection, load(migrations()))
        number = dataset_id(connection, CONTRACT)
        if squares:
            connection.run(SQUARES.format(dataset=number, hours=max(total // 12_000, 2)))
            total -= int((connection.run("select count(*) from geodrop.aggregate") or [])[0][0])
        connection.run(SEED.format(dataset=number, levels=shares(total), apart=APART if squares else ""))
        connection.run("vacuum analyze geodrop.aggregate")
        counted = connection.run("select count(*) from geodrop.aggregate") or []
        print(f"{counted[0][0]:,} aggregates", flush=True)


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int, ready: str, folder: Path) -> Iterator[str]:
    """A server of ours or another's; yields its host and port once it answers ``ready``.

    What it says goes to a file: a pipe that nobody reads is full after some hundred requests, and then it hangs.
    """
    host = f"127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not answers(host, ready):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(command)} does not answer:\n{log.read()[-2000:]}")
                time.sleep(0.1)
            yield host
        finally:
            server.terminate()
            server.wait(30)


def answers(host: str, path: str) -> bool:
    """Whether a server is there and says 200."""
    try:
        return fetch(host, path)[0] == 200
    except OSError:
        return False


def ours(url: str, workers: int = 1) -> AbstractContextManager[str]:
    """Our API behind its plain server, as the role that only reads."""
    reading, port = url.replace("//postgres:", "//geodrop_api:"), free_port()
    command = [sys.executable, "-m", "local.serve", "--port", str(port), "--no-reload", "--workers", str(workers)]
    return running(command, {"GEODROP_DATABASE_URL": reading}, port, "/health", ROOT)


def tipg(url: str, folder: Path, workers: int = 1) -> AbstractContextManager[str]:
    """Tipg behind uvicorn, with its table and nothing else to look at."""
    port = free_port()
    command = [str(BENCH_PYTHON), "-m", "uvicorn", "tipg.main:app", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", "--workers", str(workers)]
    environment = {"DATABASE_URL": url.split("?", maxsplit=1)[0], "TIPG_DB_SCHEMAS": '["bench"]'}
    return running(command, environment, port, "/collections", folder)


def fetch(host: str, path: str) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def in_turn(targets: dict[str, tuple[str, str]], times: int) -> dict[str, list[float]]:
    """Seconds of each request, the targets taken in turn, each on one kept connection."""
    connections = {name: http.client.HTTPConnection(host, timeout=60) for name, (host, _) in targets.items()}
    seconds: dict[str, list[float]] = {name: [] for name in targets}
    for turn in range(times + 5):
        for name, (_, path) in targets.items():
            begun = time.perf_counter()
            connections[name].request("GET", path)
            answer = connections[name].getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{name}: {answer.status} for {path}")
            if turn >= 5:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them is."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def faster(name: str, mine: float, theirs: float, reference: str, goal: float) -> Result:
    """A result that says how many times faster ours is; times in milliseconds."""
    return Result(name, mine * 1e3, theirs * 1e3, reference, "ms", theirs / mine, f">= {goal}", theirs / mine >= goal)


def compare(url: str, folder: Path, times: int) -> list[Result]:
    """Pages and tiles against tipg, and a page against pg_featureserv's query."""
    found = []
    with ours(url) as mine, tipg(url, folder) as other:
        here = f"/aggregated-data?dataset=earthquakes&bucket=hour&{PAGE}"
        there = f"/collections/bench.cells/items?f=geojson&{PAGE}"
        features = [len(json.loads(fetch(*target)[1])["features"]) for target in ((mine, here), (other, there))]
        if features[0] != features[1]:
            raise SystemExit(f"not the same page: {features}")
        rounds = [in_turn({"ours": (mine, here), "tipg": (other, there)}, times) for _ in range(3)]
        label = f"page of {features[0]} features"
        for share, told in ((0.5, "p50"), (0.99, "p99")):
            # The median of three rounds: whatever else the machine did in one of them is left out, on both sides.
            pair = [statistics.median(percentile(one[name], share) for one in rounds) for name in ("ours", "tipg")]
            found.append(faster(f"{label}, {told}", *pair, "tipg over HTTP (it cannot leave out numberMatched)", 4))
        bare = psql(url, times)
        whole = statistics.median(statistics.median(one["ours"]) for one in rounds)
        found.append(
            Result(
                f"{label}, whole request",
                whole * 1e3,
                bare * 1e3,
                "the bare SQL of pg_featureserv in psql",
                "ms",
                whole / bare,
                "<= 1.3",
                whole / bare <= 1.3,
            )
        )
        for zoom, (x, y) in TILES.items():
            targets = {
                "ours": (mine, f"/aggregated-data/tiles/{zoom}/{x}/{y}?dataset=earthquakes"),
                "tipg": (other, f"/collections/bench.cells/tiles/WebMercatorQuad/{zoom}/{x}/{y}?level=9"),
            }
            seconds = in_turn(targets, max(times // 5, 10))
            pair = statistics.median(seconds["ours"]), statistics.median(seconds["tipg"])
            found.append(faster(f"tile z{zoom}", *pair, "tipg's tile of the same table", 2))
    return found


def psql(url: str, times: int) -> float:
    """Median seconds of the query that pg_featureserv makes for the same page, timed by psql."""
    west, south, east, north = PAGE.split("&", maxsplit=1)[0].removeprefix("bbox=").split(",")
    sql = (
        "select st_asgeojson(geom), id::text, level, x, y, bucket, category, count, sum, min, max, first, last"
        f" from bench.cells where level = 9 and category = 'earthquake'"
        f" and st_intersects(geom, st_makeenvelope({west}, {south}, {east}, {north}, 4326)) limit 200;\n"
    )
    script = "\\timing on\n\\o /dev/null\n" + sql * (times + 5)
    done = subprocess.run(
        ["psql", "-X", url.split("?", maxsplit=1)[0]], input=script, capture_output=True, text=True, check=True
    )
    measured = [float(text) / 1e3 for text in re.findall(r"Time: ([\d.]+) ms", done.stdout)]
    return statistics.median(measured[5:])


def growth(times: int, sizes: list[int]) -> list[Result]:
    """The same bbox at growing numbers of aggregates: databases of one server, asked in turn.

    In the fixed square are the same rows at every size, and all others are outside. In the other square the cells
    are the same, and what was counted in them grows with the size.
    """
    asked = {
        "map of an area": f"bbox={FIXED}&level=6",
        "page of 200 by hour": f"bbox={FIXED}&level=6&bucket=hour&limit=200",
        "map of an area whose history grows": f"bbox={HISTORY}&level=6",
    }
    found = []
    with postgres() as cluster, ExitStack() as stack:
        hosts = {}
        for size in sizes:
            name = f"geodrop_{size}"
            with closing(connect(cluster.url())) as connection:
                connection.run(f"create database {name}")
            fill(cluster.url(name), size, squares=True)
            hosts[size] = stack.enter_context(ours(cluster.url(name)))
        for label, filters in asked.items():
            path = f"/aggregated-data?dataset=earthquakes&{filters}"
            pages = [json.loads(fetch(host, path)[1])["features"] for host in hosts.values()]
            alike = pages if "history" not in label else [[one["id"] for one in page] for page in pages]
            if not pages[0] or any(page != alike[0] for page in alike):
                raise SystemExit(f"{label}: not the same answer at every size: {[len(page) for page in pages]}")
            seconds = in_turn({str(size): (host, path) for size, host in hosts.items()}, times)
            medians = {size: statistics.median(seconds[str(size)]) for size in sizes}
            print(label, {f"{size:,}": f"{taken * 1e3:.2f} ms" for size, taken in medians.items()})
            small, large = medians[sizes[0]], max(medians.values())
            name = (
                f"{label}, {len(pages[0])} features, the slowest of {len(sizes)} sizes up to {sizes[-1]:,} aggregates"
            )
            told = f"the same at {sizes[0]:,}"
            found.append(Result(name, large * 1e3, small * 1e3, told, "ms", large / small, "< 2", large < 2 * small))
    return found


def pressed(host: str, path: str, seconds: int) -> tuple[float, float, int]:
    """50 clients at once: requests a second, p99 in seconds, and how many got no answer or not a 200."""
    command = ["wrk", "-t2", "-c50", f"-d{seconds}s", "--latency", "--timeout", "20s", f"http://{host}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said).groups()  # type: ignore[union-attr]
    failed = sum(
        int(count) for count in re.findall(r"(?:Non-2xx or 3xx responses:|connect|read|write|timeout) (\d+)", said)
    )
    print(f"50 clients on {path.partition('?')[0]}: {rate:.0f}/s, p99 {number} {unit}, {failed} failed", flush=True)
    return rate, float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit], failed


def crowd(url: str, folder: Path, seconds: int) -> list[Result]:
    """50 clients on our plain server beside tipg, two processes each, and on the embedded stack."""
    here = f"/aggregated-data?dataset=earthquakes&bucket=hour&{PAGE}"
    there = f"/collections/bench.cells/items?f=geojson&{PAGE}"
    with ours(url, 2) as mine:
        rate, p99, failed = pressed(mine, here, seconds)
    with tipg(url, folder, 2) as other:
        theirs, their_p99, _ = pressed(other, there, seconds)
    label, reference = f"50 clients for {seconds} s", "tipg, two processes each"

    def rates(name: str, mine: float, other: float, told: str, failed: int) -> Result:
        return Result(f"{name}, requests a second", mine, other, told, "1/s", mine / other, "no error", failed == 0)

    found = [rates(label, rate, theirs, reference, failed), faster(f"{label}, p99", p99, their_p99, reference, 1)]
    least = "a function that returns at once, on the same emulator"
    with embedded(folder / "stack") as addresses:
        api = urlsplit(addresses["api"])
        pages, nothing = f"{api.path}/aggregated-data?dataset=earthquakes", f"{api.path}{at_once(addresses)}"
        for name, duration in (("all cold", 20), ("warm", seconds)):
            label = f"50 clients for {duration} s on the embedded stack, {name}"
            rate, p99, failed = pressed(api.netloc, pages, duration)
            its_rate, its_p99, _ = pressed(api.netloc, nothing, 20)
            if name == "warm":
                found.append(rates(label, rate, theirs, "tipg itself, two processes", failed))
                found.append(rates(label, rate, its_rate, least, failed))
            found.append(
                Result(f"{label}, p99", p99 * 1e3, its_p99 * 1e3, least, "ms", p99 / its_p99, "no error", failed == 0)
            )
    return found


@contextmanager
def embedded(folder: Path) -> Iterator[dict[str, str]]:
    """What `make demo` starts, with the examples in it, in a folder of its own; yields its addresses."""
    environment = os.environ | {"GEODROP_LOCAL": str(folder)}

    def run(command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "local.stack", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"local.stack {command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    try:
        run("demo")
        yield json.loads((folder / "stack.json").read_text(encoding="utf-8"))
    finally:
        run("reset")


def at_once(addresses: dict[str, str]) -> str:
    """Deploy a function that does nothing behind the stack's API; returns its path."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("nothing.py", "def handle(event, context):\n    return {'statusCode': 200, 'body': 'ok'}\n")
    name = function_name("at-once")
    client("lambda", addresses["aws_endpoint"]).create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="nothing.handle",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{name}",
        Code={"ZipFile": packed.getvalue()},
    )
    apis = client("apigatewayv2", addresses["aws_endpoint"])
    [api] = apis.get_apis()["Items"]
    integration = apis.create_integration(
        ApiId=api["ApiId"],
        IntegrationType="AWS_PROXY",
        IntegrationUri=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
        PayloadFormatVersion="2.0",
    )
    apis.create_route(
        ApiId=api["ApiId"], RouteKey="GET /at-once", Target=f"integrations/{integration['IntegrationId']}"
    )
    return "/at-once"


def cold_import_of(name: str, goal: float) -> Result:
    """CPU seconds of importing a handler from its unpacked zip, without compiled files, as a cold start does.

    boto3 is there for the functions that use it, as in the Lambda runtime.
    """
    subprocess.run([sys.executable, "functions/build.py"], cwd=ROOT, check=True, capture_output=True)
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:]; t = time.process_time(); import handler;"
        " getattr(handler, '_s3', int)(); print(time.process_time() - t)"
    )
    runtime = [path for path in sys.path if path.endswith("site-packages")] if name == "ingest" else []
    taken = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            shutil.unpack_archive(ROOT / "dist" / f"{name}.zip", folder)
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", code, folder, *runtime],
                env={"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
                capture_output=True,
                text=True,
                check=True,
            )
            taken.append(float(done.stdout))
    median = statistics.median(taken)
    label = f"cold import of the {name} function, CPU"
    return Result(
        label, median * 1e3, goal * 1e3, "the goal", "ms", median / goal, f"< {goal * 1e3:.0f} ms", median < goal
    )


def main() -> None:
    """Run all, or with --quick a short form that shows that the bench works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    quick = parser.parse_args().quick
    for tool in ("wrk", "psql"):
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is not on PATH: apt-get install wrk postgresql-client")
    if not BENCH_PYTHON.exists():
        raise SystemExit("the bench environment is missing: make bench")
    found = [cold_import_of("api", 0.2)]
    with tempfile.TemporaryDirectory(prefix="geodrop-bench-") as folder, postgres() as cluster:
        fill(cluster.url(), 50_000 if quick else 1_000_000, squares=False)
        with closing(connect(cluster.url())) as connection:
            connection.run(OUTLINES)
            connection.run(FLAT)
        found += compare(cluster.url(), Path(folder), 20 if quick else 400)
        found += crowd(cluster.url(), Path(folder), 3 if quick else 60)
    found += growth(20 if quick else 300, [10_000, 50_000] if quick else [10_000, 100_000, 1_000_000, 5_000_000])
    if quick:  # what is kept is what a whole run measured
        print(table([asdict(one) for one in found]))
    else:
        merge("serving", found)


if __name__ == "__main__":
    main()
