"""Events: what happened to which object.

Source: Amazon S3, "Event message structure". Object keys come URL-encoded (a space as ``+``); sequencers are
hexadecimal, compared as text after padding on the left to one length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

PREFIX = "landing/"
_SEQUENCER_WIDTH = 32


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An object was put, or removed (``removed``).

    ``sequencer`` is padded, so that two of the same key compare as text; it is empty where the event had
    none, and such an event is taken as it comes.
    """

    bucket: str
    key: str
    removed: bool
    sequencer: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    @property
    def dataset(self) -> str | None:
        """Name of the dataset that the key is under; None where it is under none."""
        name, slash, file = self.key.removeprefix(PREFIX).partition("/")
        return name if self.key.startswith(PREFIX) and slash and file else None

    @property
    def is_folder(self) -> bool:
        """Whether this is the empty marker that consoles make for a folder."""
        return self.key.endswith("/") and not self.size


def pad(sequencer: str) -> str:
    """A sequencer that compares as text."""
    return sequencer.upper().rjust(_SEQUENCER_WIDTH, "0") if sequencer else ""


def object_events(message: Mapping[str, Any]) -> Iterator[ObjectEvent]:
    """The object events of an S3 notification; none for the test event that S3 sends first.

    Raises
    ------
    ValueError
        The message is not an S3 notification.
    """
    if message.get("Event") == "s3:TestEvent":
        return
    records = message.get("Records")
    if not isinstance(records, list):
        raise ValueError("not an S3 notification: it has no Records")  # noqa: TRY004  one error for the caller
    for record in records:
        try:
            name: str = record["eventName"]
            bucket: str = record["s3"]["bucket"]["name"]
            entry: Mapping[str, Any] = record["s3"]["object"]
            key = unquote_plus(entry["key"])
        except (KeyError, TypeError):
            raise ValueError("not an S3 notification: a record lacks eventName, bucket or key") from None
        name = name.removeprefix("s3:")
        if not name.startswith(("ObjectCreated:", "ObjectRemoved:", "LifecycleExpiration:")):
            continue
        yield ObjectEvent(
            bucket=bucket,
            key=key,
            removed=not name.startswith("ObjectCreated:"),
            sequencer=pad(entry.get("sequencer", "")),
            version=entry.get("versionId") or None,
            etag=entry.get("eTag"),
            size=entry.get("size"),
        )


def message_of(body: str) -> Mapping[str, Any]:
    """The notification inside an SQS message's body. Raises ValueError."""
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("not an S3 notification: the message is not a JSON object")  # noqa: TRY004  one error for the caller
    return message
