"""Lambda: S3 events, by way of SQS or bare, into PostGIS."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from pg8000.native import DatabaseError

from geodrop import logs
from geodrop.contract import contracts
from geodrop.database import Kept, code_of
from geodrop.events import message_of, object_events
from geodrop.ingest import Deadline, Outcome, ingest

_kept = Kept("geodrop-ingest")


class FailedObjectError(Exception):
    """An object cannot be read: its message goes back to the queue and, after the last try, to the dead letters."""


@cache
def _s3() -> Any:
    return boto3.client("s3")


def handle(event: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """Ingest what the event names.

    An SQS batch gets a partial batch response, so that one bad message does not hurt the others; a bare S3
    event raises on failure.
    """
    logs.begin(request_id=getattr(context, "aws_request_id", None))
    deadline = _deadline(context)
    records = event.get("Records") or []
    if not records or records[0].get("eventSource") != "aws:sqs":
        _ingest_message(event, deadline)
        return None
    failures = []
    for record in records:
        try:
            _ingest_message(message_of(record["body"]), deadline)
        except Exception as error:  # noqa: BLE001  whatever it is, the other messages go on
            logs.log("ERROR", "message failed", message_id=record["messageId"], **_told(error))
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _deadline(context: Any) -> Deadline:
    total = context.get_remaining_time_in_millis() / 1000
    ends = time.monotonic() + total
    return Deadline(lambda: ends - time.monotonic(), total)


def _ingest_message(message: Any, deadline: Deadline) -> None:
    failed = []
    for event in object_events(message):
        if event.is_folder:
            logs.log("INFO", "folder marker skipped", object=f"s3://{event.bucket}/{event.key}")
            continue
        outcome = ingest(_kept, _s3(), event, contracts(), deadline)
        _tell(outcome)
        if outcome.state == "failed":
            failed.append(f"s3://{event.bucket}/{event.key} {outcome.reason}")
    if failed:
        raise FailedObjectError("; ".join(failed))


def _tell(outcome: Outcome) -> None:
    event = outcome.event
    logs.log(
        "ERROR" if outcome.state == "failed" else "WARNING" if outcome.state == "deferred" else "INFO",
        f"object {outcome.state}",
        object=f"s3://{event.bucket}/{event.key}",
        dataset=event.dataset,
        rows=outcome.rows,
        accepted=outcome.accepted,
        rejected=outcome.rejected,
        duration_s=outcome.seconds,
        reason=outcome.reason,
    )
    if outcome.state != "stale":
        logs.metrics(
            {"environment": os.environ.get("GEODROP_ENV", "local"), "dataset": event.dataset or "none"},
            ObjectsLoaded=int(outcome.state == "loaded"),
            ObjectsFailed=int(outcome.state in ("failed", "deferred")),
            RowsAccepted=outcome.accepted,
            RowsRejected=outcome.rejected,
            IngestSeconds=outcome.seconds,
        )


def _told(error: Exception) -> dict[str, Any]:
    """An error for the log: its kind, and its text where that is ours (a driver's text may hold row content)."""
    ours = type(error).__module__.startswith("geodrop") or isinstance(error, FailedObjectError)
    told = {"error": type(error).__name__}
    if ours:
        told["reason"] = str(error)
    if isinstance(error, DatabaseError):
        told["sqlstate"] = code_of(error)
    return told
