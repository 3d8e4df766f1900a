"""Ingest files in a process of its own, and say what it took.

python -m bench.worker <url> <key> <file> [<key> <file> ...]
python -m bench.worker <url> --points|--new-points <file>

It connects, prints "ready", and begins when a line comes in, so that several can begin together. The second form puts
all fields of the rows, checked, into the table ``points``, and makes no aggregates: into the one that is there with its
index, or into a new one, whose index it makes afterwards.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from geodrop.checker import Checker
from geodrop.contract import Contract, contracts, parse
from geodrop.database import Kept
from geodrop.events import ObjectEvent
from geodrop.ingest import Deadline, copy_lines, ingest
from geodrop.load import Counts
from geodrop.objects import CHUNK_BYTES
from geodrop.package import datasets
from geodrop.readers import read

POINTS = """
create table points (time timestamptz, latitude float8, longitude float8, depth float8, mag float8, id text, type text,
  geom geometry(point, 4326){computed})
"""
COMPUTED = " generated always as (st_setsrid(st_makepoint(longitude, latitude), 4326)) stored"
INDEX = "create index on points using gist (geom)"
_TABLE = re.compile(r"(copy|insert into|update|delete from|create index on) (?:geodrop\.)?(\w+)")


def known() -> dict[str, Contract]:
    """The datasets of the package, and `csv-latest`: the CSV in mode latest, which psql can read too."""
    file, mapping = datasets()["earthquakes-csv"]
    fields = {**mapping["fields"], "id": "id", "updated": "time"}
    latest = parse("csv-latest", file, {**mapping, "mode": "latest", "fields": fields})
    return {**contracts(), latest.name: latest}


class Folder:
    """A bucket whose objects are files: just what an ingest reads of S3."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def get_object(self, *, Bucket: str, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803  boto3's names
        """As boto3's, for a whole object."""
        del Bucket
        path = self._files[Key]
        body: BinaryIO = path.open("rb")
        modified = datetime(2026, 1, 1, tzinfo=UTC)
        return {"Body": body, "ContentLength": path.stat().st_size, "ETag": '"x"', "LastModified": modified}


class Points(Checker):
    """Checks as any Checker, and writes every field."""

    def written(self) -> list[tuple[str, str]]:
        """Each field under its own name."""
        return [(name, name) for name in self.contract.schema]


def timed(kept: Kept) -> Counter[str]:
    """Seconds by kind of statement, from now on."""
    connection: Any = kept.get()
    spent: Counter[str] = Counter()
    run = connection.run

    def timing(sql: str, *given: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return run(sql, *given, **named)
        finally:
            found = _TABLE.search(sql)
            spent[" ".join(found.groups()) if found else "other"] += time.perf_counter() - begun

    connection.run = timing
    return spent


def load_points(kept: Kept, path: Path, *, new: bool) -> Counts:
    """All fields of a CSV file's rows, checked, into the table ``points``, in one transaction."""
    contract, counts = contracts()["earthquakes-csv"], Counts()
    run = kept.get().run
    run("begin")
    if new:
        run(POINTS.format(computed=COMPUTED))
    with path.open("rb") as file:
        table = read(contract, iter(partial(file.read, CHUNK_BYTES), b""))
        checker = Points(contract, table.columns, text=True)
        lines = copy_lines(table.batches, checker, counts, Deadline())
        run(f"copy points ({', '.join(checker.copy_columns)}) from stdin", stream=lines)
    if new:
        run(INDEX)
    run("commit")
    return counts


def peak_memory() -> float:
    """The most that this process has held, in MB (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts the process that started this one
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> None:
    """Do it; print seconds, CPU seconds, seconds by statement, peak memory (MB) and counts as JSON."""
    url, *pairs = sys.argv[1:]
    files = {key: Path(file) for key, file in zip(pairs[::2], pairs[1::2], strict=True)}
    kept = Kept("bench", url)
    spent, of_all = timed(kept), known()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    begun, cpu = time.perf_counter(), time.process_time()
    counts: list[Any] = []
    if pairs[0] in ("--points", "--new-points"):
        counts.append(load_points(kept, Path(pairs[1]), new=pairs[0] == "--new-points"))
    else:
        bucket = Folder(files)
        for key in files:
            event = ObjectEvent("bench", key, removed=False, sequencer="")
            counts.append(ingest(kept, bucket, event, of_all))
            if counts[-1].state != "loaded":
                raise SystemExit(f"{key} was not loaded: {counts[-1]}")
    told = {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "spent": dict(spent),
        "memory_mb": peak_memory(),
        "rows": sum(one.rows for one in counts),
        "rejected": sum(one.rejected for one in counts),
    }
    kept.drop()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
