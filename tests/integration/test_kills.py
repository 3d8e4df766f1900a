"""A worker that is killed at any point loses nothing and adds nothing twice: the retry ends as if undisturbed.

With GEODROP_SOAK set (`make soak`) it is killed at every statement.
"""

import json
import multiprocessing
import os
import signal
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from pg8000.exceptions import InterfaceError
from pg8000.native import Connection, DatabaseError

from geodrop import maintenance
from geodrop.database import connect
from geodrop.events import ObjectEvent
from tests.integration.conftest import HEADER, Bucket, Pipeline, collection, csv_rows, feature
from tests.integration.worker import main_into, save

CSV = "landing/earthquakes-csv/"
GEO = "landing/earthquakes/"
KINDS = ("first load", "overwrite", "delete")
TABLES = ("aggregate", "partial", "observation", "reject", "reject_count", "ledger")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "tests.integration.worker"])


def body(prefix: str, count: int, *, updated: int) -> str:
    """Many rows in few cells, so that there is more than one piece of COPY and not much to compare."""
    if prefix == CSV:
        return HEADER + "".join(csv_rows(1, start=updated + n % 50) for n in range(count))
    return collection(*(feature(f"us{n}", lon=(n + updated) % 40, updated=updated) for n in range(count)))


def story(bucket: Bucket, prefix: str, kind: str) -> tuple[list[ObjectEvent], ObjectEvent]:
    """What happens before, undisturbed, and the event in whose middle the worker is killed."""
    before = [bucket.put(prefix + "other", body(prefix, 90, updated=20))]
    if kind != "first load":
        before.append(bucket.put(prefix + "a", body(prefix, 120, updated=30)))
    if kind == "delete":
        return before, bucket.delete(prefix + "a")
    return before, bucket.put(prefix + "a", body(prefix, 2200, updated=40))


def worker(pipeline: Pipeline, folder: Path, event: ObjectEvent, point: str) -> int | None:
    """Let a new process do the event; returns its exit code, minus the signal that ended it."""
    events = folder / "events.json"
    events.write_text(json.dumps([asdict(event)]))
    arguments = (str(folder / "out"), pipeline.url, str(folder), str(events), point)
    process = PROCESSES.Process(target=main_into, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def told(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out").read_text().splitlines()]


def begin_again(pipeline: Pipeline, before: list[ObjectEvent]) -> None:
    for table in TABLES:
        pipeline.kept.get().run(f"delete from geodrop.{table}")
    for event in before:
        pipeline.ingest(event)


def state(pipeline: Pipeline) -> tuple[list, ...]:
    return (
        pipeline.aggregates(),
        pipeline.rows("select key, state, sequencer, rows, accepted, rejected, version from geodrop.ledger order by 1"),
        pipeline.rows("select field, rule, sum(count)::bigint from geodrop.reject_count group by 1, 2 order by 1, 2"),
    )


def points(statements: list[str], *, removed: bool, first: int) -> list[str]:
    """Where to kill: at pieces of COPY, around the commit, after it, and at every sixth statement from ``first``."""
    last = len(statements)
    pieces = [] if removed else ["chunk:1", "chunk:2"]
    end = [f"run:{last}", f"run:{last}:after", "end:1"]  # the last statement is the commit
    step = 1 if "GEODROP_SOAK" in os.environ else 6
    return pieces + end + [f"run:{number}" for number in range(1 + first % step, last, step)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", [CSV, GEO])
def test_killed_and_tried_again_it_ends_as_undisturbed(pipeline: Pipeline, tmp_path: Path, prefix: str, kind: str):
    before, event = story(pipeline.bucket, prefix, kind)
    save(tmp_path, pipeline.bucket.versions)
    begin_again(pipeline, before)
    untouched = state(pipeline)
    assert worker(pipeline, tmp_path, event, "trace") == 0
    statements = told(tmp_path)[-1]["statements"]
    assert statements[-1] == "commit"
    undisturbed = state(pipeline)
    assert undisturbed != untouched

    for point in points(statements, removed=event.removed, first=KINDS.index(kind) + 3 * (prefix == GEO)):
        begin_again(pipeline, before)
        assert worker(pipeline, tmp_path, event, point) == -signal.SIGKILL, point
        committed = point.startswith("end") or point.endswith(":after")
        again = pipeline.ingest(event)  # waits for the lock of the killed one's session, if that is still ending
        assert (again.state == "stale") == committed, point
        assert state(pipeline) == undisturbed, point
    with closing(connect(pipeline.url)) as connection:
        assert maintenance.verify(connection, pipeline.contracts[prefix.split("/")[1]]) == []


def test_a_killed_worker_leaves_what_was_there(pipeline: Pipeline, tmp_path: Path):
    before, event = story(pipeline.bucket, CSV, "overwrite")
    save(tmp_path, pipeline.bucket.versions)
    begin_again(pipeline, before)
    untouched = state(pipeline)
    assert worker(pipeline, tmp_path, event, "chunk:2") == -signal.SIGKILL
    assert state(pipeline) == untouched


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", [CSV, GEO])
def test_a_session_ended_by_the_server_is_retried_to_the_same(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, prefix: str, kind: str
):
    before, event = story(pipeline.bucket, prefix, kind)
    begin_again(pipeline, before)
    pipeline.ingest(event)
    undisturbed = state(pipeline)
    plain = Connection.run
    for wanted in ("copy stage", "insert into geodrop.aggregate", "update geodrop.ledger", "commit"):
        if wanted == "copy stage" and event.removed:
            continue
        begin_again(pipeline, before)
        ended = []

        def run(self: Connection, sql: str, stream: object = None, wanted: str = wanted, **parameters: object):
            if wanted in " ".join(sql.split()) and not ended:  # noqa: B023  it is called within this turn
                ended.append(sql)  # noqa: B023
                with closing(connect(pipeline.url)) as other:
                    backend = self._backend_key_data[:4]
                    plain(other, f"select pg_terminate_backend({int.from_bytes(backend)}, 5000)")
            return plain(self, sql, stream=stream, **parameters)

        with monkeypatch.context() as patch:
            patch.setattr(Connection, "run", run)
            with pytest.raises((DatabaseError, InterfaceError, OSError)):
                pipeline.ingest(event)
        assert ended, wanted
        # The same process goes on with a new connection.
        assert pipeline.ingest(event).state == ("deleted" if event.removed else "loaded")
        assert state(pipeline) == undisturbed
