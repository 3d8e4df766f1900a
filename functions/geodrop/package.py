"""What travels with the code: contracts, the OpenAPI document, the RDS certificates.

In a deployed zip these are JSON files under ``geodrop/data/`` (the build puts them there, so that the
functions need no YAML parser); in the source tree they are read from where they are written.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from geodrop import __version__

DATA = Path(__file__).with_name("data")
SOURCE = Path(__file__).parents[2]


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def datasets() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every contract, still unchecked: dataset name -> (file it is from, mapping)."""
    packed = DATA / "datasets.json"
    if packed.exists():
        loaded = json.loads(packed.read_text(encoding="utf-8"))
        return {name: (f"datasets/{name}.yaml", mapping) for name, mapping in loaded.items()}
    files = sorted((SOURCE / "datasets").glob("*.yaml"))
    return {path.stem: (f"datasets/{path.name}", _yaml(path)) for path in files}


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of the API: the one table of its routes and parameters."""
    packed = DATA / "openapi.json"
    document: dict[str, Any] = (
        json.loads(packed.read_text(encoding="utf-8"))
        if packed.exists()
        else _yaml(SOURCE / "functions" / "api" / "openapi.yaml")
    )
    return document


def version() -> str:
    """The version of this package."""
    return __version__


@cache
def migration_checksums() -> dict[str, str]:
    """Number and SHA-256 of every migration that this version of the code needs."""
    packed = DATA / "migrations.json"
    if packed.exists():
        return dict(json.loads(packed.read_text(encoding="utf-8")))
    return {path.name[:4]: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(migrations().glob("*.sql"))}


def rds_certificates() -> Path:
    """PEM file with the certificate authorities of Amazon RDS."""
    return DATA / "rds-ca.pem"


def migrations() -> Path:
    """Folder of the numbered SQL files (in the migrate zip: ``sql/`` at its root)."""
    packed = Path(__file__).parents[1] / "sql"
    return packed if packed.is_dir() else SOURCE / "functions" / "migrate" / "sql"
