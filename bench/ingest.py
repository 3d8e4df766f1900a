"""How quick and how small an ingest is, beside psql, ogr2ogr, geopandas and Cerberus itself.

    python -m bench.ingest [--quick] [PART ...]

Parts: append, latest, checker, tools, rejects, memory, sizes, workers, import. Everything runs against one private
PostGIS, ours and the reference in turn, medians of three. Results are merged into bench/results.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.results import Result, merge
from bench.serving import BENCH_PYTHON, ROOT, cold_import_of
from geodrop import load
from geodrop.checker import Checker
from geodrop.contract import Contract, contracts
from geodrop.database import connect
from geodrop.migrations import load as migrations_of
from geodrop.migrations import migrate
from geodrop.package import migrations
from local.postgres import Cluster

HEADER = "time,latitude,longitude,depth,mag,id,type\n"
STATIONS = 3000
ROWS_A_BUCKET = 10
"""Rows of a station in an hour: the files grow in time, not in density."""
CSV, GEO = "landing/earthquakes-csv/", "landing/earthquakes/"


def rows(count: int, *, bad: float = 0.0, start: int = 0) -> Any:
    """Reports of 3,000 stations, ten an hour each, as tuples of text in the order of HEADER."""
    draw = random.Random(7)
    places = [(f"{draw.uniform(-60, 60):.4f}", f"{draw.uniform(-170, 170):.4f}") for _ in range(STATIONS)]
    for number in range(start, start + count):
        latitude, longitude = places[draw.randrange(STATIONS)]
        hour = number // (STATIONS * ROWS_A_BUCKET)
        day = f"2026-{1 + hour // 672 % 12:02d}-{1 + hour // 24 % 28:02d}"
        if bad and draw.random() < bad:
            latitude = "91.5"
        yield (
            f"{day}T{hour % 24:02d}:{number % 60:02d}:{number * 7 % 60:02d}.{number % 1000:03d}Z",
            latitude,
            longitude,
            f"{number % 700 / 10:.1f}",
            f"{number % 97 / 10:.2f}",
            f"id{number}",
            "explosion" if number % 5 == 0 else "earthquake",
        )


def csv_file(path: Path, count: int, *, bad: float = 0.0, start: int = 0) -> Path:
    """A CSV file of that many rows."""
    with path.open("w") as out:
        out.write(HEADER)
        out.writelines(",".join(row) + "\n" for row in rows(count, bad=bad, start=start))
    return path


def geojson_file(path: Path, count: int) -> Path:
    """A FeatureCollection of that many rows, in the layout of the USGS feeds."""
    with path.open("w") as out:
        out.write('{"type":"FeatureCollection","features":[\n')
        for number, (_, latitude, longitude, depth, mag, identity, kind) in enumerate(rows(count)):
            stamp = 1_767_225_600_000 + number // (STATIONS * ROWS_A_BUCKET) * 3_600_000 + number % 3_600_000
            out.write(
                f'{"," if number else ""}{{"type":"Feature","id":"{identity}","properties":{{"mag":{mag},'
                f'"time":{stamp},"updated":{stamp},"type":"{kind}","status":"reviewed","place":"5km N of somewhere"}},'
                f'"geometry":{{"type":"Point","coordinates":[{longitude},{latitude},{depth}]}}}}\n'
            )
        out.write("]}\n")
    return path


class Bench:
    """A private database and a folder for files."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.million = 20_000 if quick else 1_000_000
        self.cluster = Cluster(folder / "data", auth="trust", durable=False)
        self.cluster.start()
        self.url = self.cluster.url()
        with closing(connect(self.url)) as connection:
            migrate(connection, migrations_of(migrations()))

    def clear(self) -> None:
        """Forget what was loaded."""
        with closing(connect(self.url)) as connection:
            connection.run(
                "truncate geodrop.aggregate, geodrop.partial, geodrop.observation, geodrop.cell, geodrop.reject,"
                " geodrop.reject_count, geodrop.ledger cascade; checkpoint"
            )

    def ours(self, *pairs: tuple[str, Path]) -> dict[str, Any]:
        """Ingest files in a process of their own."""
        given = [str(part) for pair in pairs for part in pair]
        done = subprocess.run(
            [sys.executable, "-m", "bench.worker", self.url, *given],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def psql(self, script: str) -> float:
        """Seconds that psql takes for a script."""
        begun = time.perf_counter()
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url.split("?")[0]]
        subprocess.run(command, input=script, text=True, check=True, capture_output=True)
        return time.perf_counter() - begun

    def bare(self, contract: Contract, path: Path) -> str:
        r"""The script of psql: \copy, and the very SQL that an ingest runs, without a check of any row."""

        class Recorder:
            def __init__(self) -> None:
                self.told: list[str] = []

            def run(self, sql: str, **values: object) -> list[list[bool]]:
                for name, value in values.items():
                    sql = sql.replace(f":{name}", str(value) if isinstance(value, int) else f"'{value}'")
                if not sql.startswith("select exists"):
                    self.told.append(sql)
                return [[False]]

        with closing(connect(self.url)) as connection:
            number = load.dataset_id(connection, contract)
        entry, recorder = load.Entry(1, number, counts_now=False), Recorder()
        if contract.mode == "append":
            load.append(recorder, contract, entry)  # type: ignore[arg-type]
        else:
            load.latest(recorder, contract, entry, "2026-01-01T00:00:00Z", "bench/x")  # type: ignore[arg-type]
        updated = "time" if contract.mode == "latest" else "null::timestamptz"
        return (
            f"begin; {load.TEMPORARY}; drop table stage;\n"
            "insert into geodrop.ledger (object_id, dataset_id, bucket, key, state) overriding system value"
            f" values (1, {number}, 'bench', 'x', 'loaded');\n"
            "create temp table raw (time timestamptz, latitude float8, longitude float8, depth float8, mag float8,"
            " id text, type text, n bigserial);\n"
            f"\\copy raw (time, latitude, longitude, depth, mag, id, type) from '{path}' csv header\n"
            "create temp view stage as select longitude, latitude, time, (extract(epoch from time) * 1000000)::bigint"
            ' as time_us, type collate "C" as category, mag as value, id collate "C" as id,'
            f" {updated} as updated, (extract(epoch from {updated}) * 1000000)::bigint as updated_us, n from raw;\n"
            + ";\n".join(recorder.told)
            + ";\ncommit;\n"
        )

    def in_turn(self, *runs: Callable[[], float]) -> list[float]:
        """Medians of three, the runs taken in turn on a cleared database."""
        taken: list[list[float]] = [[] for _ in runs]
        for _ in range(1 if self.quick else 3):
            for place, run in enumerate(runs):
                self.clear()
                taken[place].append(run())
        return [statistics.median(times) for times in taken]


def share(name: str, mine: float, theirs: float, reference: str, goal: float) -> Result:
    """How much of the reference's speed ours reaches."""
    return Result(name, mine, theirs, reference, "s", theirs / mine, f">= {goal}", theirs / mine >= goal)


def append(bench: Bench) -> list[Result]:
    """Mode append beside psql."""
    path = csv_file(bench.folder / "a.csv", bench.million)
    script = bench.bare(contracts()["earthquakes-csv"], path)
    mine, theirs = bench.in_turn(lambda: bench.ours((f"{CSV}a.csv", path))["seconds"], lambda: bench.psql(script))
    print(f"append: {bench.million / mine:,.0f} rows/s")
    return [
        share(
            f"validated ingest, append, {bench.million:,} rows",
            mine,
            theirs,
            "psql \\copy + the same SQL, unchecked",
            0.8,
        )
    ]


def latest(bench: Bench) -> list[Result]:
    """Mode latest beside psql: the same rows, ours from GeoJSON's contract read as GeoJSON."""
    count = bench.million
    path, same = geojson_file(bench.folder / "l.json", count), csv_file(bench.folder / "l.csv", count)
    script = bench.bare(contracts()["earthquakes"], same)
    mine, theirs = bench.in_turn(lambda: bench.ours((f"{GEO}l.json", path))["seconds"], lambda: bench.psql(script))
    return [
        share(
            f"validated ingest, latest, {count:,} rows",
            mine,
            theirs,
            "psql \\copy of the CSV + the same upsert SQL",
            0.85,
        )
    ]


def checker(bench: Bench) -> list[Result]:
    """The compiled checker beside Cerberus, on the same rows."""
    contract = contracts()["earthquakes-csv"]
    names = HEADER.strip().split(",")
    sample = [list(row) for row in rows(200_000 if not bench.quick else 20_000)]
    compiled, reference = Checker(contract, names, text=True), contract.validator()
    fast, slow = [], []
    for _ in range(3):
        begun = time.perf_counter()
        for at in range(0, len(sample), 2000):
            lines: list[str] = []
            bad: list[int] = []
            compiled.check(sample[at : at + 2000], lines, bad, at)
        fast.append((time.perf_counter() - begun) / len(sample))
        begun = time.perf_counter()
        for row in sample[:2000]:
            reference.validate(dict(zip(names, row, strict=True)))
        slow.append((time.perf_counter() - begun) / 2000)
    mine, theirs = statistics.median(fast) * 1e6, statistics.median(slow) * 1e6
    return [
        Result("compiled checker, a row", mine, theirs, "Cerberus", "us", theirs / mine, ">= 200", theirs / mine >= 200)
    ]


def tools(bench: Bench) -> list[Result]:
    """ogr2ogr and geopandas loading the same rows into a table with a spatial index."""
    count = 10_000 if bench.quick else 100_000
    path = csv_file(bench.folder / "t.csv", count)
    target = bench.url.split("?")[0]

    def ogr() -> float:
        begun = time.perf_counter()
        options = [
            "-oo",
            "X_POSSIBLE_NAMES=longitude",
            "-oo",
            "Y_POSSIBLE_NAMES=latitude",
            "-oo",
            "AUTODETECT_TYPE=YES",
        ]
        subprocess.run(
            [
                "ogr2ogr",
                "-f",
                "PostgreSQL",
                f"PG:{target}",
                str(path),
                *options,
                "-a_srs",
                "EPSG:4326",
                "-nln",
                "ogr",
                "-overwrite",
                "-lco",
                "SPATIAL_INDEX=GIST",
                "--config",
                "PG_USE_COPY",
                "YES",
            ],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - begun

    def geopandas() -> float:
        code = (
            "import sys, time, pandas, geopandas, sqlalchemy; engine = sqlalchemy.create_engine(sys.argv[1]);"
            "t = time.perf_counter(); d = pandas.read_csv(sys.argv[2], parse_dates=['time']);"
            "g = geopandas.GeoDataFrame(d, geometry=geopandas.points_from_xy(d.longitude, d.latitude), crs=4326);"
            "g.to_postgis('frame', engine, if_exists='replace'); print(time.perf_counter() - t)"
        )
        address = target.replace("postgresql://", "postgresql+psycopg2://")
        done = subprocess.run(
            [BENCH_PYTHON, "-c", code, address, str(path)], capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    mine, by_ogr, by_frame = bench.in_turn(lambda: bench.ours((f"{CSV}t.csv", path))["seconds"], ogr, geopandas)
    return [
        share(f"{count:,} rows", mine, by_ogr, "ogr2ogr with COPY into a table with a spatial index", 1.3),
        share(f"{count:,} rows", mine, by_frame, "geopandas.to_postgis (with its spatial index)", 4),
    ]


def rejects(bench: Bench) -> list[Result]:
    """A file with one row in a hundred wrong, beside a clean one."""
    clean = csv_file(bench.folder / "c.csv", bench.million)
    dirty = csv_file(bench.folder / "d.csv", bench.million, bad=0.01)
    mine, theirs = bench.in_turn(
        lambda: bench.ours((f"{CSV}d.csv", dirty))["seconds"], lambda: bench.ours((f"{CSV}c.csv", clean))["seconds"]
    )
    ratio = mine / theirs
    return [
        Result("file with 1 % bad rows", mine, theirs, "the same without bad rows", "s", ratio, "<= 1.3", ratio <= 1.3)
    ]


def memory(bench: Bench) -> list[Result]:
    """Peak memory of the ingesting process by format and size."""
    found = []
    small, large = (4, 8) if bench.quick else (200, 1000)
    for kind, prefix, limit in (("csv", CSV, 64), ("geojson", GEO, 96), ("csv.gz", CSV, 64)):
        peaks = {}
        for size in (small, large):
            path = bench.folder / f"m.{kind}"
            if kind == "geojson":
                geojson_file(path, size * 1_000_000 // 235)
            else:
                csv_file(bench.folder / "m.csv", size * 1_000_000 // 72)
            if kind == "csv.gz":
                with (bench.folder / "m.csv").open("rb") as plain, gzip.open(path, "wb", 1) as packed:
                    shutil.copyfileobj(plain, packed)
            bench.clear()
            told = bench.ours((f"{prefix}m.{kind}", path))
            peaks[size] = told["memory_mb"]
            print(f"{kind} {size} MB: {told['memory_mb']:.1f} MB, {told['rows'] / told['seconds']:,.0f} rows/s")
            path.unlink()
        found.append(
            Result(
                f"peak memory, {kind} of {large:,} MB",
                peaks[large],
                peaks[small],
                f"the same of {small} MB",
                "MB",
                peaks[large] / peaks[small],
                f"< {limit} MB",
                peaks[large] < limit,
            )
        )
    return found


def sizes(bench: Bench) -> list[Result]:
    """Rows a second at growing sizes."""
    speeds = {}
    for count in (5_000, 20_000) if bench.quick else (100_000, 1_000_000, 5_000_000):
        path = csv_file(bench.folder / "s.csv", count)
        taken = []
        for _ in range(1 if bench.quick or count > 1_000_000 else 3):
            bench.clear()
            taken.append(bench.ours((f"{CSV}s.csv", path))["seconds"])
        speeds[count] = count / statistics.median(taken)
        print(f"{count:,} rows: {speeds[count]:,.0f} rows/s")
    fastest, slowest = max(speeds.values()), min(speeds.values())
    told = ", ".join(f"{count:,}" for count in speeds)
    return [
        Result(
            f"rows a second at {told} rows, slowest",
            slowest,
            fastest,
            "the fastest of them",
            "1/s",
            slowest / fastest,
            ">= 0.8",
            slowest / fastest >= 0.8,
        )
    ]


def workers(bench: Bench) -> list[Result]:
    """Eight workers beside one, on files that overlap in cells and hours."""
    count = bench.million // 16
    paths = [csv_file(bench.folder / f"w{n}.csv", count, start=n * count // 2) for n in range(16)]
    pairs = [(f"{CSV}w{n}.csv", path) for n, path in enumerate(paths)]

    def eight() -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: bench.ours(*pairs[n::8]), range(8)))
        return time.perf_counter() - begun

    def one() -> float:
        begun = time.perf_counter()
        bench.ours(*pairs)
        return time.perf_counter() - begun

    mine, theirs = bench.in_turn(eight, one)
    return [share("8 workers, 16 overlapping files", mine, theirs, "one worker", 1.6)]


def imports(_: Bench) -> list[Result]:
    """CPU of a cold import of the ingest function."""
    return [cold_import_of("ingest", 0.4)]


PARTS: dict[str, Callable[[Bench], list[Result]]] = {
    "append": append, "latest": latest, "checker": checker, "tools": tools, "rejects": rejects, "memory": memory,
    "sizes": sizes, "workers": workers, "import": imports,
}  # fmt: skip


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, once: shows that the bench works")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    given = parser.parse_args()
    for name in given.parts:
        if name not in PARTS:
            raise SystemExit(f"unknown part {name}; known are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="geodrop-bench-") as folder:
        bench = Bench(Path(folder), quick=given.quick)
        try:
            for name in given.parts or PARTS:
                merge(f"ingest {name}", PARTS[name](bench))
        finally:
            bench.cluster.remove()


if __name__ == "__main__":
    main()
