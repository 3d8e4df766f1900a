"""Eight processes, overlapping files, every event twice and in any order: the aggregates stay exact.

GEODROP_SOAK=N (`make soak`) makes it N times as large.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from geodrop import maintenance
from geodrop.database import connect
from geodrop.events import ObjectEvent
from tests.conftest import ROOT
from tests.integration.conftest import HEADER, Pipeline, collection, csv_rows, feature
from tests.integration.worker import save

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"
WORKERS = 8
SOAK = int(os.environ.get("GEODROP_SOAK", "1"))


def history(pipeline: Pipeline, draw: random.Random, rounds: int) -> list[ObjectEvent]:
    """Files of both modes that share cells, buckets and ids, put, overwritten and deleted."""
    events = []
    for turn in range(rounds):
        for name in "abcdef":
            for prefix in (CSV, GEO):
                if turn and draw.random() < 0.3:
                    events.append(pipeline.bucket.delete(prefix + name))
                    if draw.random() < 0.3:
                        continue  # it stays deleted for a while
                if prefix == CSV:
                    body = HEADER + csv_rows(draw.randrange(1, 60), start=draw.randrange(40))
                else:
                    body = collection(
                        *(
                            feature(
                                f"us{draw.randrange(50)}",
                                lon=draw.randrange(12),
                                mag=draw.randrange(90) / 10,
                                updated=draw.randrange(20),
                            )
                            for _ in range(40)
                        )
                    )
                events.append(pipeline.bucket.put(prefix + name, body))
    return events


def work(url: str, folder: Path, events: list[ObjectEvent]) -> list[dict]:
    """Give every worker its share at the same time; returns all that they told."""
    running = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "functions")])}
    for number in range(WORKERS):
        share = folder / f"share-{number}.json"
        share.write_text(json.dumps([asdict(event) for event in events[number::WORKERS]]))
        command = [sys.executable, "-m", "tests.integration.worker", url, str(folder), str(share)]
        out = (folder / f"out-{number}").open("w+")
        running.append((subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out), out))
    told = []
    for process, out in running:
        code = process.wait(timeout=120 * SOAK)
        out.seek(0)
        told += map(json.loads, out)
        out.close()
        assert code == 0
    return told


def test_eight_processes_end_exact(pipeline: Pipeline, tmp_path: Path):
    draw = random.Random(8)
    events = history(pipeline, draw, rounds=12 * SOAK)
    save(tmp_path / "bucket", pipeline.bucket.versions)
    # Shuffled within about two rounds: were it all of them, most versions would come too late to be loaded at all.
    order = {draw.random() * 50 + place % len(events): event for place, event in enumerate(events * 2)}
    twice = [event for _, event in sorted(order.items(), key=lambda entry: entry[0])]
    told = work(pipeline.url, tmp_path / "bucket", twice)
    outcomes = [line for line in told if "state" in line]
    assert [line for line in told if "error" in line] == [], "no deadlock, and nothing else that needs a retry"
    assert len(outcomes) == len(twice)
    states = Counter(line["state"] for line in outcomes)
    assert set(states) == {"loaded", "deleted", "stale"}
    newest = {event.key: event for event in events}  # the last one of each key
    assert states["loaded"] > 3 * len(newest), "most are overwrites"

    ledger = pipeline.rows("select key, state, sequencer, rows, accepted, rejected from geodrop.ledger")
    assert {key: (state, sequencer) for key, state, sequencer, *_ in ledger} == {
        key: ("deleted" if event.removed else "loaded", event.sequencer) for key, event in newest.items()
    }
    assert all(rows == accepted + rejected for *_, rows, accepted, rejected in ledger)
    added = sum(accepted for key, *_, accepted, _ in ledger if key.startswith(CSV))
    assert set(pipeline.counted("earthquakes-csv").values()) == {added}
    with closing(connect(pipeline.url)) as connection:
        for contract in pipeline.contracts.values():
            assert maintenance.verify(connection, contract) == []

    # One process, in order, on an empty database: the same.
    expected = pipeline.aggregates()
    assert expected
    for table in ("aggregate", "partial", "observation", "reject", "reject_count", "ledger"):
        pipeline.rows(f"delete from geodrop.{table}")
    for event in newest.values():
        pipeline.ingest(event)
    assert pipeline.aggregates() == expected
