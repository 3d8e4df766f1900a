"""Where the embedded stack keeps what it knows: `.local/`, or the folder that GEODROP_LOCAL names."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from local.emulator import Emulator
from local.postgres import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


def folder() -> Path:
    """Return the state folder."""
    return Path(os.environ.get("GEODROP_LOCAL", ROOT / ".local")).absolute()


@contextmanager
def locked() -> Iterator[None]:
    """Hold the state folder for one command: two at once would start everything twice."""
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another command on this stack ...", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def emulator() -> Emulator | None:
    """Return the embedded stack's MiniStack, or None where GEODROP_ENDPOINT_URL names another to use."""
    return None if os.environ.get("GEODROP_ENDPOINT_URL") else Emulator(folder() / "emulator")


def cluster() -> Cluster | None:
    """Return the embedded stack's PostgreSQL, or None where DATABASE_URL names another to use."""
    return None if os.environ.get("DATABASE_URL") else Cluster(folder() / "postgres", auth="scram")


def given_endpoint() -> str:
    """Return GEODROP_ENDPOINT_URL."""
    return os.environ["GEODROP_ENDPOINT_URL"].rstrip("/")


def given_database_url() -> str:
    """Return DATABASE_URL, with sslmode=disable where it says nothing: it is for servers on this machine."""
    address = urlsplit(os.environ["DATABASE_URL"])
    query = {"sslmode": "disable"} | dict(parse_qsl(address.query))
    return urlunsplit(address._replace(query=urlencode(query)))


def stack_file() -> Path:
    """Return the file that tells tools the stack's addresses."""
    return folder() / "stack.json"


def write_stack(**addresses: str) -> None:
    """Write stack.json, readable by its owner only: the database's URL holds a password."""
    partial = stack_file().with_suffix(".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(addresses, indent=2) + "\n")
    partial.replace(stack_file())


def read_stack() -> dict[str, Any] | None:
    """Return what stack.json says, or None when there is none."""
    try:
        stack: dict[str, Any] = json.loads(stack_file().read_text())
    except FileNotFoundError:
        return None
    return stack
