"""Objects: bytes out of S3, in bounded pieces, resumed after a broken connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from geodrop.errors import MissingObjectError
from geodrop.events import ObjectEvent

CHUNK_BYTES = 128 * 1024
_RESUMES = 5
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}


@dataclass(frozen=True, slots=True)
class Opened:
    """An object being read: what S3 says of it, and its bytes, once."""

    etag: str
    size: int
    version: str | None
    modified: datetime
    chunks: Iterator[bytes]


def open_object(s3: Any, event: ObjectEvent) -> Opened:
    """Open the very version of the object that the event speaks of.

    Raises
    ------
    MissingObjectError
        It is not there (any more).
    botocore.exceptions.ClientError
        S3 refused for another reason: a retry may help.
    """
    which = {"Bucket": event.bucket, "Key": event.key}
    if event.version:
        which["VersionId"] = event.version
    try:
        answer = s3.get_object(**which)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _GONE:
            raise MissingObjectError(f"s3://{event.bucket}/{event.key} is not in the bucket") from None
        raise
    return Opened(
        etag=answer["ETag"].strip('"'),
        size=answer["ContentLength"],
        version=answer.get("VersionId") or event.version,
        modified=answer["LastModified"],
        chunks=_resuming(s3, which, answer),
    )


def _resuming(s3: Any, which: dict[str, str], answer: Any) -> Iterator[bytes]:
    """The body in chunks; a connection that breaks is taken up again where it broke, on the same bytes."""
    etag, size = answer["ETag"], answer["ContentLength"]
    body = answer["Body"]
    done = 0
    failures = 0
    while done < size:
        try:
            chunk = body.read(CHUNK_BYTES)
            if not chunk:
                raise OSError(f"the body ended after {done} of {size} bytes")
        except (BotoCoreError, HTTPError, OSError):
            failures += 1
            if failures > _RESUMES:
                raise
            body.close()
            body = s3.get_object(**which, Range=f"bytes={done}-", IfMatch=etag)["Body"]
            continue
        done += len(chunk)
        yield chunk
