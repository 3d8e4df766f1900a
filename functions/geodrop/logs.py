"""Logs: one JSON object a line, and metrics in CloudWatch's embedded metric format.

No row's content and no secret is ever logged: callers name fields, and those are counts, names and times.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TextIO

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_context: dict[str, object] = {}


def begin(**context: object) -> None:
    """Fields that every line of this invocation carries, such as request_id."""
    _context.clear()
    _context.update(context)


def log(level: str, message: str, *, stream: TextIO | None = None, **fields: object) -> None:
    """Write one line. Levels: DEBUG, INFO, WARNING, ERROR."""
    if _LEVELS[level] >= _LEVELS.get(os.environ.get("GEODROP_LOG_LEVEL", "INFO").upper(), 20):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}Z"
        _write({"time": stamp, "level": level, "message": message, **_context, **fields}, stream)


def metrics(dimensions: dict[str, str], **values: float) -> None:
    """Write metrics, counted except where the name ends in Seconds.

    Source: Amazon CloudWatch, "Embedded metric format specification".
    """
    told = [{"Name": name, "Unit": "Seconds" if name.endswith("Seconds") else "Count"} for name in values]
    metadata = {
        "Timestamp": time.time_ns() // 1_000_000,
        "CloudWatchMetrics": [{"Namespace": "geodrop", "Dimensions": [list(dimensions)], "Metrics": told}],
    }
    _write({"_aws": metadata, **dimensions, **values}, None)


def _write(line: dict[str, object], stream: TextIO | None) -> None:
    out = stream or sys.stdout
    out.write(json.dumps(line, default=str, separators=(",", ":")) + "\n")
    out.flush()
