"""Lambda: API Gateway requests to aggregates out of PostGIS."""

from __future__ import annotations

from typing import Any

from geodrop.api import respond


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request (API Gateway payload format 2.0)."""
    return respond(event, getattr(context, "aws_request_id", None))
