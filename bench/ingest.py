"""How quick and how small an ingest is, beside psql, ogr2ogr, geopandas and Cerberus itself.

    python -m bench.ingest [--quick] [PART ...]

Parts: append, latest, checker, tools, rejects, memory, sizes, workers, import. Everything runs against one private
PostGIS, ours and the reference in turn, medians of three. Results are merged into bench/results.json, each with a line
that says where its time went. All of it takes about 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

from bench.results import Result, merge, table
from bench.serving import BENCH_PYTHON, ROOT, cold_import_of
from bench.worker import COMPUTED, INDEX, POINTS, known
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
"""Rows of a station in an hour: files grow in time, or by stations, not in density."""
CSV_ROW_BYTES, FEATURE_BYTES = 72, 235
MEMORY_NOISE = 0.1
CSV, GEO = "landing/earthquakes-csv/", "landing/earthquakes/"


def rows(count: int, *, bad: float = 0.0, start: int = 0, stations: int = STATIONS) -> Any:
    """Reports of 3,000 stations, ten an hour each, as tuples of text in the order of HEADER."""
    draw = random.Random(7)
    places = [(f"{draw.uniform(-60, 60):.4f}", f"{draw.uniform(-170, 170):.4f}") for _ in range(stations)]
    for number in range(start, start + count):
        latitude, longitude = places[draw.randrange(stations)]
        hour = number // (stations * ROWS_A_BUCKET)
        day = f"2026-{1 + hour // 672 % 12:02d}-{1 + hour // 24 % 28:02d}"
        if bad and draw.random() < bad:
            latitude = draw.choice(["", "unknown", f"{90.0001 + number:.4f}", f"{number}_0"])
        yield (
            f"{day}T{hour % 24:02d}:{number % 60:02d}:{number * 7 % 60:02d}.{number % 1000:03d}Z",
            latitude,
            longitude,
            f"{number % 700 / 10:.1f}",
            f"{number % 97 / 10:.2f}",
            f"id{number}",
            "explosion" if number % 5 == 0 else "earthquake",
        )


def csv_file(path: Path, count: int, **of_rows: Any) -> Path:
    """A CSV file of that many rows."""
    with path.open("w") as out:
        out.write(HEADER)
        out.writelines(",".join(row) + "\n" for row in rows(count, **of_rows))
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
        return self.together(pairs)[1][0]

    def together(self, *shares: tuple[tuple[str, Path], ...]) -> tuple[float, list[dict[str, Any]]]:
        """Ingest each share of files in a process of its own, all at once. Seconds until the last is done."""
        running = []
        for share in shares:
            given = [str(part) for pair in share for part in pair]
            command = [sys.executable, "-m", "bench.worker", self.url, *given]
            running.append(subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True))
        for process in running:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("a worker did not start; its message is above")
        begun = time.perf_counter()
        for process in running:
            with suppress(BrokenPipeError):  # then its status tells
                process.stdin.write("\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
        told = [process.stdout.read() for process in running]  # type: ignore[union-attr]
        taken = time.perf_counter() - begun
        if any(process.wait() for process in running):
            raise RuntimeError("a worker failed; its message is above")
        return taken, [json.loads(line) for line in told]

    def psql(self, *scripts: str) -> float:
        """Seconds that psql takes for scripts, each in a session of its own, all at once."""
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url.split("?")[0]]
        begun = time.perf_counter()
        running = []
        for script in scripts:
            process = subprocess.Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, text=True)
            process.stdin.write(script)  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
            running.append(process)
        for process in running:
            if process.wait():
                raise RuntimeError(f"psql: {process.stderr.read()}")  # type: ignore[union-attr]
        return time.perf_counter() - begun

    def bare(self, contract: Contract, path: Path, number: int = 1) -> str:
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
            dataset = load.dataset_id(connection, contract)
        entry, recorder = load.Entry(number, dataset, counts_now=False), Recorder()
        if contract.mode == "append":
            load.append(recorder, contract, entry)  # type: ignore[arg-type]
        else:
            load.latest(recorder, contract, entry, "2026-01-01T00:00:00Z", "bench/x")  # type: ignore[arg-type]
        updated = "time" if contract.mode == "latest" else "null::timestamptz"
        return (
            f"begin; {load.TEMPORARY}; drop table stage;\n"
            "insert into geodrop.ledger (object_id, dataset_id, bucket, key, state) overriding system value"
            f" values ({number}, {dataset}, 'bench', 'x{number}', 'loaded');\n"
            "create temp table raw (time timestamptz, latitude float8, longitude float8, depth float8, mag float8,"
            " id text, type text, n bigserial);\n"
            f"\\copy raw (time, latitude, longitude, depth, mag, id, type) from '{path}' csv header\n"
            "create temp view stage as select longitude, latitude, time, (extract(epoch from time) * 1000000)::bigint"
            ' as time_us, type collate "C" as category, mag as value, id collate "C" as id,'
            f" {updated} as updated, (extract(epoch from {updated}) * 1000000)::bigint as updated_us, n from raw;\n"
            + ";\n".join(recorder.told)
            + ";\ndrop view stage; drop table raw; commit;\n"
        )

    def in_turn(self, *runs: Callable[[], float], rounds: int = 3) -> list[float]:
        """Medians of three, the runs taken in turn on a cleared database."""
        taken: list[list[float]] = [[] for _ in runs]
        for _ in range(1 if self.quick else rounds):
            for place, run in enumerate(runs):
                self.clear()
                taken[place].append(run())
        return [statistics.median(times) for times in taken]


def parts_of(told: dict[str, Any]) -> str:
    """Where the time of an ingest went: the longest statements, and what Python used beside them."""
    spent = sorted(told["spent"].items(), key=lambda one: -one[1])
    named = ", ".join(f"`{name}` {seconds:.2f} s" for name, seconds in spent if seconds > told["seconds"] / 50)
    return f"of {told['seconds']:.2f} s: {named}; Python's own CPU, most of it during COPY, {told['cpu']:.2f} s"


class Last:
    """Runs ingests and keeps what the last of them told."""

    def __init__(self, bench: Bench, *pairs: tuple[str, Path]) -> None:
        self._bench, self._pairs = bench, pairs
        self.told: dict[str, Any] = {}

    def __call__(self) -> float:
        """Seconds of one ingest."""
        self.told = self._bench.ours(*self._pairs)
        return float(self.told["seconds"])

    @property
    def note(self) -> str:
        """Where its time went."""
        return parts_of(self.told)


def share(name: str, mine: float, theirs: float, reference: str, goal: float) -> Result:
    """How much of the reference's speed ours reaches."""
    return Result(name, mine, theirs, reference, "s", theirs / mine, f">= {goal}", theirs / mine >= goal)


def beside(name: str, mine: float, theirs: float, reference: str) -> Result:
    """The same, to know and without a goal."""
    return Result(name, mine, theirs, reference, "s", theirs / mine, "", None)


def append(bench: Bench) -> list[Result]:
    """Mode append beside psql."""
    path = csv_file(bench.folder / "a.csv", bench.million)
    script = bench.bare(contracts()["earthquakes-csv"], path)
    run = Last(bench, (f"{CSV}a.csv", path))
    mine, theirs = bench.in_turn(run, lambda: bench.psql(script))
    name = f"validated ingest, append, {bench.million:,} rows"
    return [replace(share(name, mine, theirs, "psql \\copy + the same SQL, unchecked", 0.8), note=run.note)]


def latest(bench: Bench) -> list[Result]:
    """Mode latest beside psql: the same CSV for both, and ours from GeoJSON beside it."""
    count = bench.million
    path, same = geojson_file(bench.folder / "l.json", count), csv_file(bench.folder / "l.csv", count)
    script = bench.bare(known()["csv-latest"], same)
    csv, geojson = Last(bench, ("landing/csv-latest/l.csv", same)), Last(bench, (f"{GEO}l.json", path))
    mine, decoded, theirs = bench.in_turn(csv, geojson, lambda: bench.psql(script))
    name = f"validated ingest, latest, {count:,} rows"
    reference = "psql \\copy + the same upsert SQL, unchecked"
    return [
        replace(share(name, mine, theirs, reference, 0.85), note=csv.note),
        replace(beside(f"{name} of GeoJSON", decoded, theirs, f"{reference}, from CSV"), note=geojson.note),
    ]


def checker(bench: Bench) -> list[Result]:
    """The compiled checker beside Cerberus, on the same rows."""
    contract = contracts()["earthquakes-csv"]
    names = HEADER.strip().split(",")
    sample = [list(row) for row in rows(200_000 if not bench.quick else 20_000)]
    compiled, reference = Checker(contract, names, text=True), contract.validator()
    fast, slow = [], []
    gc.freeze()  # an ingest never holds 200,000 rows: neither of the two is to pay for collecting among them
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
    gc.unfreeze()
    mine, theirs = statistics.median(fast) * 1e6, statistics.median(slow) * 1e6
    return [
        Result("compiled checker, a row", mine, theirs, "Cerberus", "us", theirs / mine, ">= 200", theirs / mine >= 200)
    ]


GEOPANDAS = """
import sys, time, geopandas, pandas, sqlalchemy
engine = sqlalchemy.create_engine(sys.argv[1])
begun = time.perf_counter()
rows = pandas.read_csv(sys.argv[2], parse_dates=["time"])
places = geopandas.GeoSeries(geopandas.points_from_xy(rows.longitude, rows.latitude), crs=4326)
frame = geopandas.GeoDataFrame(rows, geometry=places).rename_geometry("geom")
frame.to_postgis("points", engine, if_exists=sys.argv[3])
print(time.perf_counter() - begun)
"""


def tools(bench: Bench) -> list[Result]:
    """The same CSV file into a table of points with seven fields and a GiST index, by each tool.

    First each makes the table and its index in its own way; then each appends to the same empty table, which has its
    index already. Nobody makes aggregates: ours is an ingest's reading, checking and COPY, into that table. A whole
    ingest of the same file, aggregates of four levels included, is told beside them.
    """
    count = bench.million
    path = csv_file(bench.folder / "t.csv", count)
    target = bench.url.split("?")[0]

    def loaded(load_them: Callable[[], float], *before: str) -> Callable[[], float]:
        """Loading, with the table dropped and then made as said; afterwards it must be whole and have its index."""

        def run() -> float:
            with closing(connect(bench.url)) as connection:
                connection.run("drop table if exists points")
                for sql in before:
                    connection.run(sql)
            taken = load_them()
            with closing(connect(bench.url)) as connection:
                found = connection.run("select count(*), count(geom), count(id) from points")
                indexed = connection.run("select from pg_indexes where tablename = 'points' and indexdef like '%gist%'")
            if found != [[count, count, count]] or not indexed:
                raise RuntimeError(f"{found} of {count} rows are in the table, index {indexed}")
            return taken

        return run

    def ogr(*how: str) -> float:
        begun = time.perf_counter()
        places = ["-oo", "X_POSSIBLE_NAMES=longitude", "-oo", "Y_POSSIBLE_NAMES=latitude", "-oo", "AUTODETECT_TYPE=YES"]
        into = ["-nln", "points", "-a_srs", "EPSG:4326", *how, "--config", "PG_USE_COPY", "YES"]
        command = ["ogr2ogr", "-f", "PostgreSQL", f"PG:{target}", str(path), *places, *into]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begun

    def geopandas(how: str) -> float:
        address = target.replace("postgresql://", "postgresql+psycopg2://")
        command = [BENCH_PYTHON, "-c", GEOPANDAS, address, str(path), how]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    new, appended = Last(bench, ("--new-points", path)), Last(bench, ("--points", path))
    whole = Last(bench, (f"{CSV}t.csv", path))
    copy = f"\\copy points ({HEADER.strip()}) from '{path}' csv header\n"
    plain, computed = POINTS.format(computed=""), POINTS.format(computed=COMPUTED)
    mine, by_psql, by_ogr, by_frame, in_all = bench.in_turn(
        loaded(new),
        loaded(lambda: bench.psql(f"begin; {computed};\n{copy}{INDEX}; commit;\n")),
        loaded(lambda: ogr("-lco", "SPATIAL_INDEX=GIST", "-lco", "GEOMETRY_NAME=geom")),
        loaded(lambda: geopandas("fail")),
        whole,
    )
    mine_more, psql_more, ogr_more, frame_more = bench.in_turn(
        loaded(appended, computed, INDEX),
        loaded(lambda: bench.psql(copy), computed, INDEX),
        loaded(lambda: ogr("-append"), plain, INDEX),
        loaded(lambda: geopandas("append"), plain, INDEX),
        rounds=1,  # to know, without a goal
    )
    name = f"{count:,} rows checked and loaded into a new table of points with a GiST index"
    more = f"{count:,} rows checked and appended to a table of points that has its GiST index"
    all_of_it = f"{count:,} rows, whole ingest with all aggregates"
    by_new = [
        share(name, mine, by_ogr, "ogr2ogr with COPY, unchecked", 1.3),
        share(name, mine, by_frame, "geopandas.to_postgis, unchecked", 4),
        beside(name, mine, by_psql, "psql \\copy, unchecked: PostgreSQL's limit"),
    ]
    by_more = [
        beside(more, mine_more, ogr_more, "ogr2ogr with COPY, unchecked"),
        beside(more, mine_more, frame_more, "geopandas.to_postgis, unchecked"),
        beside(more, mine_more, psql_more, "psql \\copy, unchecked: PostgreSQL's limit"),
        beside(all_of_it, in_all, by_ogr, "ogr2ogr, which loads a new table and no more"),
        beside(all_of_it, in_all, by_frame, "geopandas, which loads a new table and no more"),
    ]
    return [replace(one, note=new.note) for one in by_new] + by_more


def rejects(bench: Bench) -> list[Result]:
    """A file with one row in a hundred wrong, beside a clean one."""
    clean = csv_file(bench.folder / "c.csv", bench.million)
    dirty = csv_file(bench.folder / "d.csv", bench.million, bad=0.01)
    bad = Last(bench, (f"{CSV}d.csv", dirty))
    mine, theirs = bench.in_turn(bad, Last(bench, (f"{CSV}c.csv", clean)))
    ratio, name = mine / theirs, "file with 1 % bad rows"
    if not 0.008 < bad.told["rejected"] / bad.told["rows"] < 0.012:
        raise RuntimeError(f"not one row in a hundred was rejected: {bad.told}")
    found = Result(name, mine, theirs, "the same without bad rows", "s", ratio, "<= 1.3", ratio <= 1.3)
    return [replace(found, note=bad.note)]


def memory(bench: Bench) -> list[Result]:
    """Peak memory of the ingesting process by format and size."""
    small, large = (4, 8) if bench.quick else (200, 1000)
    peaks: dict[tuple[str, int], dict[str, Any]] = {}
    for size in (small, large):
        plain = csv_file(bench.folder / "m.csv", size * 1_000_000 // CSV_ROW_BYTES)
        peaks["csv", size] = _peak(bench, f"{CSV}m.csv", plain)
        packed = bench.folder / "m.csv.gz"
        with plain.open("rb") as taken, gzip.open(packed, "wb", 1) as out:
            shutil.copyfileobj(taken, out)
        plain.unlink()
        peaks["csv.gz", size] = _peak(bench, f"{CSV}m.csv.gz", packed)
        packed.unlink()
        features = geojson_file(bench.folder / "m.json", size * 1_000_000 // FEATURE_BYTES)
        peaks["geojson", size] = _peak(bench, f"{GEO}m.json", features)
        features.unlink()
    found = []
    for kind, limit in (("csv", 64), ("geojson", 96), ("csv.gz", 64)):
        of_small, of_large = (peaks[kind, size]["memory_mb"] for size in (small, large))
        ratio = of_large / of_small
        found.append(
            Result(
                f"peak memory, {kind} of {large:,} MB",
                of_large,
                of_small,
                f"the same of {small} MB",
                "MB",
                ratio,
                f"< {limit} MB, the same at both sizes (within {MEMORY_NOISE:.0%})",
                of_large < limit and abs(ratio - 1) <= MEMORY_NOISE,
                parts_of(peaks[kind, large]),
            )
        )
    return found


def _peak(bench: Bench, key: str, path: Path) -> dict[str, Any]:
    bench.clear()
    told = bench.ours((key, path))
    size = path.stat().st_size / 1e6
    print(
        f"{key} of {size:,.0f} MB: {told['memory_mb']:.1f} MB, {told['rows'] / told['seconds']:,.0f} rows/s", flush=True
    )
    return told


def sizes(bench: Bench) -> list[Result]:
    """Rows a second at growing sizes: the same 33 hours of ever more stations, so that a row has the same work."""
    speeds, notes = {}, []
    for count in (5_000, 20_000) if bench.quick else (100_000, 1_000_000, 5_000_000):
        run = Last(
            bench, (f"{CSV}s.csv", csv_file(bench.folder / "s.csv", count, stations=count * STATIONS // 1_000_000))
        )
        taken = []
        for _ in range(1 if bench.quick or count > 1_000_000 else 3):
            bench.clear()
            taken.append(run())
        speeds[count] = count / statistics.median(taken)
        with closing(connect(bench.url)) as connection:
            ((made,),) = connection.run("select count(*) from geodrop.aggregate") or [[0]]
        share_made = f"{made / count:.2f} aggregates a row"
        notes.append(f"{count:,} rows at {speeds[count]:,.0f} rows/s, {share_made}, {run.note}")
        print(f"{count:,} rows: {speeds[count]:,.0f} rows/s", flush=True)
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
            "; ".join(notes),
        )
    ]


def workers(bench: Bench) -> list[Result]:
    """Eight workers beside one, on files that overlap in cells and hours; and psql with the same SQL, eight and one."""
    count = bench.million // 16
    paths = [csv_file(bench.folder / f"w{n}.csv", count, start=n * count // 2) for n in range(16)]
    pairs = tuple((f"{CSV}w{n}.csv", path) for n, path in enumerate(paths))
    scripts = [bench.bare(contracts()["earthquakes-csv"], path, n + 1) for n, path in enumerate(paths)]
    eight, one, psql_eight, psql_one = bench.in_turn(
        lambda: bench.together(*(pairs[n::8] for n in range(8)))[0],
        lambda: bench.together(pairs)[0],
        lambda: bench.psql(*("".join(scripts[n::8]) for n in range(8))),
        lambda: bench.psql("".join(scripts)),
    )
    allowed, reached = psql_one / psql_eight, one / eight
    note = (
        f"psql, unchecked, with the same SQL on the same files: {psql_one:.2f} s in one session, {psql_eight:.2f} s in"
        f" eight; one worker {one:.2f} s, eight {eight:.2f} s"
    )
    goal = f">= 1.6, or what psql reaches ({allowed:.2f}, within 5 %)"
    holds = reached >= min(1.6, 0.95 * allowed)
    return [
        Result("8 workers, 16 overlapping files", eight, one, "one worker", "s", reached, goal, holds, note),
        Result("psql, 8 sessions, the same", psql_eight, psql_one, "psql, one session", "s", allowed, "", None, note),
    ]


def imports(_: Bench) -> list[Result]:
    """CPU of a cold import of the ingest function, and its parts."""
    code = "import sys; sys.path[:0] = ['functions', 'functions/ingest']; import handler; handler._s3()"
    told = subprocess.run(
        [sys.executable, "-B", "-X", "importtime", "-c", code],
        cwd=ROOT,
        env={"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    own: Counter[str] = Counter()
    for line in told.splitlines()[1:]:
        alone, _, module = (part.strip() for part in line.removeprefix("import time:").split("|"))
        package = module.split(".")[0]
        own[package if package in IMPORTED else "the standard library and others"] += int(alone)
    named = ", ".join(f"{name} {micros / 1000:.0f} ms" for name, micros in own.most_common())
    return [replace(cold_import_of("ingest", 0.4), note=f"by package, imports alone: {named}")]


IMPORTED = {
    "boto3",
    "botocore",
    "urllib3",
    "pg8000",
    "cerberus",
    "yaml",
    "geodrop",
    "dateutil",
    "s3transfer",
    "jmespath",
}

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
    failed = []
    with tempfile.TemporaryDirectory(prefix="geodrop-bench-") as folder:
        bench = Bench(Path(folder), quick=given.quick)
        try:
            for name in given.parts or PARTS:
                begun = time.monotonic()
                try:
                    found = PARTS[name](bench)
                except Exception:  # noqa: BLE001  the other parts are worth having
                    traceback.print_exc()
                    failed.append(name)
                    continue
                if given.quick:  # what is kept is what a whole run measured
                    print(table([asdict(one) for one in found]))
                else:
                    merge(f"ingest {name}", found)
                print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
        finally:
            bench.cluster.remove()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
