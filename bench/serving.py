"""How quick the API is, beside tools that people know: tipg and the query that pg_featureserv makes.

    python -m bench.serving [--quick]

One PostgreSQL, one table of the same aggregates with their outlines, the same filters, one run, requests in turn.
Ours goes through `python -m local.serve`, tipg through uvicorn, each with one process that answers. Results are
merged into bench/results.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.results import Result, merge
from geodrop.contract import contracts
from geodrop.database import connect
from geodrop.load import dataset_id
from geodrop.migrations import load, migrate
from geodrop.package import migrations
from local.postgres import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

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
on conflict do nothing
"""
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
def database(total: int, *, flat: bool) -> Iterator[str]:
    """URL of a private PostGIS with so many aggregates; with ``flat`` also the table that tipg serves."""
    with tempfile.TemporaryDirectory(prefix="geodrop-bench-") as folder:
        cluster = Cluster(Path(folder) / "data", auth="trust", durable=False)
        cluster.start()
        try:
            with closing(connect(cluster.url())) as connection:
                migrate(connection, load(migrations()))
                number = dataset_id(connection, CONTRACT)
                connection.run(SEED.format(dataset=number, levels=shares(total)))
                if flat:
                    connection.run(OUTLINES)
                    connection.run(FLAT)
                connection.run("vacuum analyze geodrop.aggregate")
                counted = connection.run("select count(*) from geodrop.aggregate") or []
                print(f"{counted[0][0]:,} aggregates")
            yield cluster.url()
        finally:
            cluster.remove()


@contextmanager
def running(command: list[str], environment: dict[str, str], ready: str, folder: Path) -> Iterator[str]:
    """A server of ours or another's; yields its host and port once it answers ``ready``."""
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            said = ""
            while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", said)):
                line = server.stdout.readline() if server.stdout else ""
                if not line:
                    raise SystemExit(f"{command[0]} ended:\n{said}")
                said += line
            for _ in range(100):
                try:
                    if fetch(found[1], ready)[0] == 200:
                        break
                except OSError:
                    pass
                time.sleep(0.1)
            yield found[1]
        finally:
            server.terminate()


def ours(url: str, workers: int = 1) -> object:
    """Our API behind its plain server, as the role that only reads."""
    reading = url.replace("//postgres:", "//geodrop_api:")
    command = [sys.executable, "-m", "local.serve", "--port", "0", "--no-reload", "--workers", str(workers)]
    return running(command, {"GEODROP_DATABASE_URL": reading}, "/health", ROOT)


def tipg(url: str, folder: Path, workers: int = 1) -> object:
    """Tipg behind uvicorn, with its table and nothing else to look at."""
    command = [str(BENCH_PYTHON), "-m", "uvicorn", "tipg.main:app", "--host", "127.0.0.1", "--port", "18111"]
    environment = {"DATABASE_URL": url.split("?", maxsplit=1)[0], "TIPG_DB_SCHEMAS": '["bench"]'}
    return running([*command, "--workers", str(workers)], environment, "/collections", folder)


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
    with ours(url) as mine, tipg(url, folder) as other:  # type: ignore[attr-defined]
        here = f"/aggregated-data?dataset=earthquakes&bucket=hour&{PAGE}"
        there = f"/collections/bench.cells/items?f=geojson&{PAGE}"
        features = [len(json.loads(fetch(*target)[1])["features"]) for target in ((mine, here), (other, there))]
        if features[0] != features[1]:
            raise SystemExit(f"not the same page: {features}")
        seconds = in_turn({"ours": (mine, here), "tipg": (other, there)}, times)
        label = f"page of {features[0]} features"
        for share, told in ((0.5, "p50"), (0.99, "p99")):
            pair = percentile(seconds["ours"], share), percentile(seconds["tipg"], share)
            found.append(faster(f"{label}, {told}", *pair, "tipg over HTTP (it counts numberMatched)", 4))
        bare = psql(url, times)
        whole = statistics.median(seconds["ours"])
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
    """The same bbox at growing numbers of aggregates."""
    asked = {
        "map of an area": "/aggregated-data?dataset=earthquakes&bbox=0,0,40,40&level=6",
        "page of 200 by hour": "/aggregated-data?dataset=earthquakes&bbox=0,0,40,40&level=6&bucket=hour&limit=200",
    }
    taken: dict[str, dict[int, float]] = {name: {} for name in asked}
    for size in sizes:
        with database(size, flat=False) as url, ours(url) as mine:  # type: ignore[attr-defined]
            for name, path in asked.items():
                seconds = in_turn({"ours": (mine, path)}, times)["ours"]
                taken[name][size] = statistics.median(seconds)
    found = []
    for name, by_size in taken.items():
        print(name, {f"{size:,}": f"{seconds * 1e3:.2f} ms" for size, seconds in by_size.items()})
        small, large = by_size[sizes[0]], by_size[sizes[-1]]
        label = f"{name}, {sizes[-1]:,} aggregates"
        found.append(
            Result(
                label,
                large * 1e3,
                small * 1e3,
                f"the same at {sizes[0]:,}",
                "ms",
                large / small,
                "< 2",
                large < 2 * small,
            )
        )
    return found


def pressed(host: str, path: str, seconds: int) -> tuple[float, float, int]:
    """50 clients at once: requests a second, p99 in seconds, and how many did not get a 200."""
    command = ["wrk", "-t2", "-c50", f"-d{seconds}s", "--latency", "--timeout", "20s", f"http://{host}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    failed = sum(int(count) for count in re.findall(r"(?:Non-2xx or 3xx responses:|timeout) (\d+)", said))
    return rate, float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit], failed


def crowd(url: str, folder: Path, seconds: int) -> list[Result]:
    """50 clients on the embedded stack, and on our plain server beside tipg, two processes each."""
    found = []
    here = f"/aggregated-data?dataset=earthquakes&bucket=hour&{PAGE}"
    with ours(url, 2) as mine:  # type: ignore[attr-defined]
        rate, p99, failed = pressed(mine, here, seconds)
    with tipg(url, folder, 2) as other:  # type: ignore[attr-defined]
        theirs, their_p99, their_failed = pressed(other, f"/collections/bench.cells/items?f=geojson&{PAGE}", seconds)
    print(f"50 clients: ours {rate:.0f}/s, p99 {p99:.3f} s, {failed} failed;", end=" ")
    print(f"tipg {theirs:.0f}/s, p99 {their_p99:.3f} s, {their_failed} failed")
    found.append(
        Result(
            f"50 clients for {seconds} s, requests a second",
            rate,
            theirs,
            "tipg, two processes each",
            "1/s",
            rate / theirs,
            "no error",
            failed == 0,
        )
    )
    found.append(faster("50 clients, p99", p99, their_p99, "tipg, two processes each", 1))
    stack = ROOT / ".local" / "stack.json"
    if stack.exists():
        parts = urlsplit(json.loads(stack.read_text())["api"])
        rate, p99, failed = pressed(parts.netloc, f"{parts.path}/aggregated-data?dataset=earthquakes", seconds)
        found.append(
            Result(
                f"50 clients for {seconds} s on the embedded stack, p99",
                p99 * 1e3,
                rate,
                "its requests a second",
                "ms",
                failed,
                "no error",
                failed == 0,
            )
        )
    return found


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
        raise SystemExit("the bench environment is missing: make bench-setup")
    found = [cold_import_of("api", 0.2)]
    with tempfile.TemporaryDirectory() as folder, database(50_000 if quick else 1_000_000, flat=True) as url:
        found += compare(url, Path(folder), 20 if quick else 300)
        found += crowd(url, Path(folder), 3 if quick else 60)
    found += growth(20 if quick else 200, [10_000, 50_000] if quick else [10_000, 100_000, 1_000_000, 5_000_000])
    merge("serving", found)


if __name__ == "__main__":
    main()
