"""A worker process of the tests: ingests the events of a list one after the other, and can be killed on the way.

`python -m tests.integration.worker URL FOLDER EVENTS [POINT]`, or `main_into` for multiprocessing. FOLDER is a
bucket that processes share (`DiskBucket`); EVENTS is a JSON file. POINT is `CALL:N[:after]`: the process kills
itself at the Nth call, where CALL is `run` (statements), `chunk` (pieces of COPY data) or `end` (after the commit,
before the answer). POINT `trace` tells the statements instead. Every line of output is one event's outcome, or the
SQLSTATE that it met before it was tried again.
"""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from pg8000.exceptions import InterfaceError
from pg8000.native import Connection, DatabaseError

from geodrop.contract import contracts
from geodrop.database import Kept, code_of
from geodrop.events import ObjectEvent
from geodrop.ingest import ingest

ATTEMPTS = 5


class DiskBucket:
    """Versions as files, made by `save`: just what `get_object` needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_object(self, *, Bucket: str, Key: str, VersionId: str, Range: str = "", IfMatch: str = "") -> dict:
        path = self._folder / VersionId
        if not path.exists():
            raise ClientError({"Error": {"Code": "NoSuchVersion"}}, "GetObject")
        start = int(Range.removeprefix("bytes=").rstrip("-")) if Range else 0
        size = path.stat().st_size - start
        file = path.open("rb")
        file.seek(start)
        return {
            "Body": StreamingBody(file, size),
            "ContentLength": size,
            "ETag": f'"{VersionId}"',
            "LastModified": datetime.fromisoformat(path.with_suffix(".modified").read_text()),
            "VersionId": VersionId,
        }


def save(folder: Path, versions: dict[tuple[str, str], tuple[bytes, datetime]]) -> None:
    """Write the versions of a bucket in memory where `DiskBucket` reads them."""
    folder.mkdir(exist_ok=True)
    for (_, version), (data, modified) in versions.items():
        (folder / version).write_bytes(data)
        (folder / version).with_suffix(".modified").write_text(modified.isoformat())


class Kill:
    """Counts calls, and ends this process as the kernel does when memory is out."""

    def __init__(self, point: str) -> None:
        self._kind, number, *when = point.split(":")
        self._number = int(number)
        self._after = when == ["after"]
        self._seen = 0

    def reached(self, kind: str, *, after: bool) -> None:
        if kind != self._kind or after != self._after:
            return
        self._seen += 1
        if self._seen == self._number:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        plain = Connection.run
        kill = self

        def chunks(stream: Iterator[bytes]) -> Iterator[bytes]:
            for chunk in stream:
                kill.reached("chunk", after=False)
                yield chunk

        def run(self: Connection, sql: str, stream: object = None, **parameters: object) -> object:
            kill.reached("run", after=False)
            given = chunks(stream) if isinstance(stream, Iterator) else stream
            answer = plain(self, sql, stream=given, **parameters)
            kill.reached("run", after=True)
            return answer

        Connection.run = run


class Trace:
    """Instead of a kill: notes every statement, so that a test knows how many points there are."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def install(self) -> None:
        plain = Connection.run
        trace = self

        def run(self: Connection, sql: str, stream: object = None, **parameters: object) -> object:
            trace.statements.append(" ".join(sql.split())[:60])
            return plain(self, sql, stream=stream, **parameters)

        Connection.run = run


def tell(**told: object) -> None:
    sys.stdout.write(json.dumps(told, default=str) + "\n")
    sys.stdout.flush()


def main(url: str, folder: str, events: str, point: str = "") -> None:
    known = dict(contracts())
    kept = Kept("worker", url)
    kept.get()
    kill = Kill(point) if point and point != "trace" else None
    trace = Trace() if point == "trace" else None
    for wrapper in filter(None, (kill, trace)):
        wrapper.install()
    for given in json.loads(Path(events).read_text()):
        event = ObjectEvent(**given)
        for attempt in itertools.count(1):
            try:
                outcome = ingest(kept, DiskBucket(Path(folder)), event, known)
            except (DatabaseError, InterfaceError, OSError) as error:
                tell(error=code_of(error) if isinstance(error, DatabaseError) else "connection", text=str(error)[:300])
                if attempt == ATTEMPTS:
                    raise
                time.sleep(0.02 * attempt)
                continue
            if kill:
                kill.reached("end", after=False)
            tell(key=event.key, **{k: v for k, v in asdict(outcome).items() if k != "event"})
            break
    if trace:
        tell(statements=trace.statements)


def main_into(out: str, *arguments: str) -> None:
    """As `main`, for multiprocessing; what it tells goes to a file."""
    with Path(out).open("w") as sys.stdout:
        main(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
