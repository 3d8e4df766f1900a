"""Ingest files in a process of its own, and say what it took.

python -m bench.worker <url> <key> <file> [<key> <file> ...]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from geodrop.contract import contracts
from geodrop.database import Kept
from geodrop.events import ObjectEvent
from geodrop.ingest import ingest


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


def main() -> None:
    """Ingest the files one after another; print seconds, CPU seconds, peak memory (MB) and counts as JSON."""
    url, *pairs = sys.argv[1:]
    files = {key: Path(file) for key, file in zip(pairs[::2], pairs[1::2], strict=True)}
    kept = Kept("bench", url)
    kept.get()
    begun, cpu = time.perf_counter(), time.process_time()
    outcomes = [
        ingest(kept, Folder(files), ObjectEvent("bench", key, removed=False, sequencer=""), contracts())
        for key in files
    ]
    told = {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": sum(outcome.rows for outcome in outcomes),
        "rejected": sum(outcome.rejected for outcome in outcomes),
        "states": sorted({outcome.state for outcome in outcomes}),
    }
    kept.drop()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
