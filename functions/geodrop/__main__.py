"""Maintenance from the command line: python -m geodrop verify | rebuild | reingest | ingest.

The database is the one that GEODROP_DATABASE_URL names; AWS is what the environment's credentials reach.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import urlsplit

from geodrop import maintenance
from geodrop.contract import Contract, contracts
from geodrop.database import Kept
from geodrop.errors import ContractError, MissingObjectError
from geodrop.events import ObjectEvent
from geodrop.ingest import ingest
from geodrop.load import ContractChangedError


def _client(service: str) -> Any:
    import boto3

    make: Any = boto3.client
    return make(service)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _verify(kept: Kept, contract: Contract) -> int:
    found = maintenance.verify(kept.get(), contract)
    for one in found:
        _say("differs: " + ", ".join(f"{name}={value}" for name, value in one.items()))
    _say(f"{contract.name}: {'exact' if not found else 'not what its partials or observations add up to'}")
    return 1 if found else 0


def _rebuild(kept: Kept, contract: Contract) -> int:
    _say(f"{contract.name}: {maintenance.rebuild(kept.get(), contract)}")
    return 0


def _reingest(contract: Contract, bucket: str, queue_url: str) -> int:
    sent = maintenance.reingest(_client("s3"), _client("sqs"), bucket, queue_url, contract)
    _say(f"{contract.name}: {sent} objects sent through the queue again")
    return 0


def _ingest(kept: Kept, address: str) -> int:
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc or len(parts.path) < 2:  # noqa: PLR2004  a slash and a key
        _say(f"{address}: expected s3://bucket/key")
        return 2
    event = ObjectEvent(parts.netloc, address.removeprefix(f"s3://{parts.netloc}/"), removed=False, sequencer="")
    outcome = ingest(kept, _client("s3"), event, contracts(), force=True)
    told = f": {outcome.reason}" if outcome.reason else ""
    _say(
        f"{address} {outcome.state}{told} ({outcome.rows} rows, {outcome.accepted} accepted, {outcome.rejected}"
        f" rejected, {outcome.seconds} s)"
    )
    return 0 if outcome.state == "loaded" else 1


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 not as it should be, 2 asked wrongly."""
    parser = argparse.ArgumentParser(prog="python -m geodrop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in (
        ("verify", "compare aggregates with a recompute and print differences"),
        ("rebuild", "make aggregates anew from what is stored; also after a change of the contract"),
        ("reingest", "send the bucket's objects through the queue again"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("--dataset", required=True)
        if name == "reingest":
            command.add_argument("--bucket", required=True, help="the landing bucket")
            command.add_argument("--queue-url", required=True, help="the ingest queue")
    one = commands.add_parser("ingest", help="load one object here and now, however long it takes")
    one.add_argument("object", help="s3://bucket/landing/<dataset>/<file>")
    given = parser.parse_args(arguments)
    kept = Kept("geodrop-maintenance")
    try:
        if given.command == "ingest":
            return _ingest(kept, given.object)
        contract = contracts().get(given.dataset)
        if contract is None:
            _say(f"unknown dataset {given.dataset!r}; known are {', '.join(contracts())}")
            return 2
        if given.command == "reingest":
            return _reingest(contract, given.bucket, given.queue_url)
        return {"verify": _verify, "rebuild": _rebuild}[given.command](kept, contract)
    except (ContractError, ContractChangedError, MissingObjectError) as error:
        _say(str(error))
        return 1
    finally:
        kept.drop()


if __name__ == "__main__":
    sys.exit(main())
