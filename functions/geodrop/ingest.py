"""Ingesting: what one object event does, from bytes to committed aggregates."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pg8000.native import Connection

from geodrop import load
from geodrop.checker import Checker
from geodrop.contract import Contract
from geodrop.database import Kept
from geodrop.errors import DeferredObjectError, UnreadableObjectError
from geodrop.events import PREFIX, ObjectEvent
from geodrop.load import Counts, Entry
from geodrop.logs import log
from geodrop.objects import Opened, open_object
from geodrop.readers import Batch, read

COPY_BYTES = 96 * 1024
_CONTAINERS = 50_000
"""More lists and dicts than two batches have: they are freed by their count, and collecting among them would take a
quarter of the reading."""
REJECTS_KEPT = 1000
"""Rejected rows kept in full for each object; the others are counted by field and rule."""
MERGE_SHARE = 0.4
"""Of the time that an invocation has, the part that is kept for what comes after COPY."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event. ``state``: loaded, deleted, failed, deferred, or stale (no news)."""

    event: ObjectEvent
    state: str
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long an invocation may take. ``remaining`` gives seconds; None means as long as it takes."""

    remaining: Callable[[], float] | None = None
    total: float = 0.0

    def check_copy(self) -> None:
        """Raise DeferredObjectError where too little is left to merge what was copied."""
        if self.remaining is not None and self.remaining() < self.total * MERGE_SHARE:
            raise DeferredObjectError(
                "is too large for one invocation; run: python -m geodrop ingest s3://<bucket>/<key>"
            )


def ingest(
    kept: Kept,
    s3: Any,
    event: ObjectEvent,
    contracts: Mapping[str, Contract],
    deadline: Deadline | None = None,
    *,
    force: bool = False,
) -> Outcome:
    """Do what an event asks for, once, in one transaction.

    Returns
    -------
    Outcome
        With state ``failed`` for a file that can never be read: it is in the ledger, it adds nothing, and
        the caller lets its message go to the dead-letter queue.

    Raises
    ------
    Exception
        Anything that a retry may mend: S3, the database, an object that is not there (yet).
    """
    started = time.monotonic()
    deadline = deadline or Deadline()
    contract = contracts.get(event.dataset or "")
    if contract is None and not event.removed:
        return _record(kept.get(), event, None, "failed", _unknown(event, contracts), started)
    try:
        return _once(kept, s3, event, contract, deadline, started, force=force)
    except (UnreadableObjectError, DeferredObjectError) as error:
        kept.drop()  # a COPY may have failed midway
        state = "deferred" if isinstance(error, DeferredObjectError) else "failed"
        return _record(kept.get(), event, contract, state, str(error), started)
    except BaseException:
        kept.drop()
        raise


def _unknown(event: ObjectEvent, contracts: Mapping[str, Contract]) -> str:
    if event.dataset is None:
        return f"is under no dataset; put files under {PREFIX}<dataset>/, such as {PREFIX}{next(iter(contracts))}/"
    return f"is under the unknown dataset {event.dataset!r}; known are {', '.join(contracts)}"


def _once(
    kept: Kept,
    s3: Any,
    event: ObjectEvent,
    contract: Contract | None,
    deadline: Deadline,
    started: float,
    *,
    force: bool,
) -> Outcome:
    connection = kept.get()
    dataset = load.dataset_id(connection, contract) if contract else None
    connection.run("begin")
    entry = load.lock(connection, event, dataset, force=force)
    if entry is None:
        connection.run("rollback")
        return Outcome(event, "stale", seconds=time.monotonic() - started)
    load.prepare(connection)
    counts = Counts()
    if event.removed:
        _merge(connection, contract, entry, event, None)
        return _commit(connection, entry, event, "deleted", counts, None, started)
    if contract is None:
        raise UnreadableObjectError(_unknown(event, {}))
    opened = open_object(s3, event)
    table = read(contract, opened.chunks)
    checker = Checker(contract, table.columns, text=table.text)
    if checker.notice:
        log("WARNING", "slow contract", dataset=contract.name, notice=checker.notice)
    with _rare_collections():
        load.stage(connection, contract, checker.copy_columns, copy_lines(table.batches, checker, counts, deadline))
    _merge(connection, contract, entry, event, opened.modified)
    return _commit(connection, entry, event, "loaded", counts, opened, started)


def _merge(
    connection: Connection, contract: Contract | None, entry: Entry, event: ObjectEvent, modified: datetime | None
) -> None:
    if contract is None:
        return
    if contract.mode == "append":
        load.append(connection, contract, entry)
    else:
        load.latest(connection, contract, entry, modified, f"{event.bucket}/{event.key}")


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector start seldom, not at every third part of a batch."""
    usual = gc.get_threshold()
    gc.set_threshold(_CONTAINERS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def copy_lines(batches: Iterator[Batch], checker: Checker, counts: Counts, deadline: Deadline) -> Iterator[bytes]:
    """Checked rows as COPY data, in pieces of about 96 KB; what fails is counted."""
    lines: list[str] = []
    size = 0
    for batch in batches:
        deadline.check_copy()
        bad: list[int] = []
        first = counts.rows
        done = len(lines)
        if batch.clean:
            checker.check(batch.rows, lines, bad, first)
        else:
            bad.extend(range(len(batch.rows)))
        for index in bad:
            _examine(batch, index, checker, counts, lines, first)
        counts.rows += len(batch.rows)
        size += sum(map(len, lines[done:]))
        if size >= COPY_BYTES:
            yield "".join(lines).encode()
            lines.clear()
            size = 0
    if lines:
        yield "".join(lines).encode()


def _examine(batch: Batch, index: int, checker: Checker, counts: Counts, lines: list[str], first: int) -> None:
    """The careful way for one row: Cerberus decides, and says why."""
    row = batch.rows[index]
    line, rejects = checker.examine(row, first + index)
    if line is not None:
        lines.append(line)
        return
    counts.rejected += 1
    for reject in rejects:
        rule = (reject.field, reject.rule)
        counts.by_rule[rule] = counts.by_rule.get(rule, 0) + 1
    if counts.rejected <= REJECTS_KEPT:
        raw = _storable(checker.raw(row))
        at = batch.line(index)
        counts.rejects += [(at, told.field, told.rule, _storable(told.reason)[:500], raw) for told in rejects]


def _storable(text: str) -> str:
    """Text that PostgreSQL takes: what it cannot hold is shown as an escape."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _commit(
    connection: Connection,
    entry: Entry,
    event: ObjectEvent,
    state: str,
    counts: Counts,
    opened: Opened | None,
    started: float,
    reason: str | None = None,
) -> Outcome:
    seconds = time.monotonic() - started
    load.finish(
        connection,
        entry,
        state,
        counts,
        {
            "version": opened.version if opened else event.version,
            "sequencer": event.sequencer,
            "etag": opened.etag if opened else event.etag,
            "bytes": opened.size if opened else event.size,
            "modified": opened.modified if opened else None,
            "reason": reason,
            "seconds": round(seconds, 3),
        },
    )
    connection.run("commit")
    return Outcome(event, state, counts.rows, counts.accepted, counts.rejected, round(seconds, 3), reason)


def _record(
    connection: Connection, event: ObjectEvent, contract: Contract | None, state: str, reason: str, started: float
) -> Outcome:
    """Enter in the ledger that this version adds nothing, and why; take back what an earlier one added."""
    dataset = load.dataset_id(connection, contract) if contract else None
    connection.run("begin")
    entry = load.lock(connection, event, dataset)
    if entry is None:
        connection.run("rollback")
        return Outcome(event, "stale", seconds=time.monotonic() - started)
    load.prepare(connection)
    if entry.counts_now:
        _merge(connection, contract, entry, event, None)
    return _commit(connection, entry, event, state, Counts(), None, started, _storable(reason))
