"""Load examples/ into the running stack, check every count against the files, and say what to try next."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import yaml

from local.deploy import LANDING, ROOT
from local.emulator import client
from local.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATIENCE_S = 60
_PAGE = 5000
_NOT_DATA = (".md", ".txt")


class DemoError(RuntimeError):
    """An example did not arrive, or a count is not what the files say; the message says which."""


@dataclass(frozen=True)
class Example:
    """A file under examples/<dataset>/ and the key that it goes to."""

    path: Path

    @property
    def dataset(self) -> str:
        """The dataset: the name of the folder."""
        return self.path.parent.name

    @property
    def key(self) -> str:
        """The object's key."""
        return f"{LANDING}{self.dataset}/{self.path.name}"

    @property
    def etag(self) -> str:
        """What S3 calls this content."""
        return hashlib.md5(self.path.read_bytes(), usedforsecurity=False).hexdigest()


def examples() -> list[Example]:
    """Return the files under examples/, those that only explain left out."""
    files = sorted((ROOT / "examples").glob("*/*"))
    return [Example(path) for path in files if path.is_file() and path.suffix not in _NOT_DATA]


def count_rows(path: Path) -> int:
    """Count a file's rows with nothing but Python's own json and csv."""
    text = _text(path.read_bytes(), path.name)
    match [suffix for suffix in path.suffixes if suffix != ".gz"][-1:]:
        case [".csv"]:
            return sum(1 for _ in csv.DictReader(io.StringIO(text, newline="")))
        case [".geojsonl" | ".geojsons" | ".ndjson" | ".jsonl"]:
            return sum(1 for line in text.splitlines() if line.strip())
        case _:
            return len(json.loads(text)["features"])


def run(stack: dict[str, Any]) -> None:
    """Load and check the examples and print what happened.

    Raises
    ------
    DemoError
        When a file is not in after a minute, or a count differs.
    """
    files = examples()
    if not files:
        raise DemoError("there is nothing under examples/")
    _check_contracts(stack)
    print(f"\n{'object':48} {'rows':>8} {'accepted':>9} {'rejected':>9}   put to query")
    rejecting: dict[str, Any] | None = None
    with ThreadPoolExecutor(max_workers=4) as pool:
        for example, (entry, seconds) in zip(files, pool.map(lambda one: _load(stack, one), files), strict=True):
            _check_object(example, entry)
            rejecting = entry if entry["rejected"] else rejecting
            took = "was there" if seconds is None else f"{seconds:.2f} s"
            name = f"{example.dataset}/{example.path.name}"
            print(f"{name:48} {entry['rows']:>8,} {entry['accepted']:>9,} {entry['rejected']:>9,}   {took}")
    print()
    for dataset in sorted({example.dataset for example in files}):
        _check_dataset(stack, dataset)
    _say_what_to_try(stack, rejecting)


def _check_contracts(stack: dict[str, Any]) -> None:
    """Data that was loaded here under another contract takes no files any more: say so before one waits for them."""
    sys.path.insert(0, str(ROOT / "functions"))
    from geodrop.contract import contracts

    with closing(connect(stack["database_url"])) as connection:
        stored = dict(connection.run("select name, fingerprint from geodrop.dataset") or [])
    changed = [name for name, one in contracts().items() if stored.get(name, one.fingerprint) != one.fingerprint]
    if changed:
        files = ", ".join(f"datasets/{name}.yaml" for name in changed)
        raise DemoError(
            f"{files} changed since files were loaded here: `make reset` forgets the local data, then `make demo`"
            " loads the examples anew"
        )


def ingestions(api: str, dataset: str) -> Iterator[dict[str, Any]]:
    """Yield the ledger's rows of a dataset, over all pages."""
    for page in _pages(f"{api}/ingestions?{urlencode({'dataset': dataset, 'limit': 1000})}"):
        yield from page["ingestions"]


def total_count(api: str, dataset: str) -> tuple[int, int, int]:
    """Return the sum of counts over all pages of /aggregated-data, the number of features and of pages."""
    query = {"dataset": dataset, "stats": "count", "geometry": "none", "limit": _PAGE}
    pages = list(_pages(f"{api}/aggregated-data?{urlencode(query)}"))
    counts = [feature["properties"]["count"] for page in pages for feature in page["features"]]
    return sum(counts), len(counts), len(pages)


def _load(stack: dict[str, Any], example: Example) -> tuple[dict[str, Any], float | None]:
    """Put a file unless it is in already; return the ledger's row and the seconds until it could be queried."""
    address = f"s3://{stack['bucket']}/{example.key}"
    present = _entry(stack["api"], example, address)
    if present is not None:
        return present, None
    started = time.monotonic()
    client("s3", stack["aws_endpoint"]).put_object(
        Bucket=stack["bucket"], Key=example.key, Body=example.path.read_bytes()
    )
    while time.monotonic() - started < _PATIENCE_S:
        entry = _entry(stack["api"], example, address)
        if entry is not None:
            return entry, time.monotonic() - started
        time.sleep(0.05)
    raise DemoError(f"{address} is not in after {_PATIENCE_S} s: see .local/emulator/ministack.log")


def _entry(api: str, example: Example, address: str) -> dict[str, Any] | None:
    """Return the ledger's row of this very content, or None."""
    for row in ingestions(api, example.dataset):
        if row["object"] == address and row["etag"] == example.etag:
            return row
    return None


def _check_object(example: Example, entry: dict[str, Any]) -> None:
    rows = count_rows(example.path)
    if entry["state"] != "loaded":
        raise DemoError(f"{example.key} is {entry['state']}: {entry['reason']}")
    if not entry["accepted"] + entry["rejected"] == entry["rows"] == rows:
        raise DemoError(
            f"{example.key}: the file has {rows} rows, but the ledger says "
            f"{entry['accepted']} accepted + {entry['rejected']} rejected = {entry['rows']}"
        )


def _check_dataset(stack: dict[str, Any], dataset: str) -> None:
    """Compare the sum of counts with what the ledger accepted, of the examples and of all that a user added."""
    rows = [row for row in ingestions(stack["api"], dataset) if row["state"] == "loaded"]
    accepted = sum(row["accepted"] for row in rows)
    contract = yaml.safe_load((ROOT / "datasets" / f"{dataset}.yaml").read_text(encoding="utf-8"))
    counted, features, pages = total_count(stack["api"], dataset)
    told = f"{dataset}: counts over {features:,} features on {_many(pages, 'page')} sum to {counted:,}"
    if contract["mode"] == "append":
        if counted != accepted:
            raise DemoError(f"{told}, but {accepted:,} rows were accepted")
        print(f"{told} = accepted rows of {_many(len(rows), 'object')}")
        return
    identities = _identities(stack, rows)
    unsure = sum(row["rejected"] for row in rows)
    if not identities - unsure <= counted <= identities:
        raise DemoError(f"{told}, but the files have {identities:,} different ids, {unsure:,} rows rejected")
    print(f"{told} = different ids in {_many(len(rows), 'object')} with {accepted:,} accepted rows")


def _identities(stack: dict[str, Any], rows: Sequence[dict[str, Any]]) -> int:
    """Count the different ids in a dataset's GeoJSON objects as they lie in the bucket."""
    s3 = client("s3", stack["aws_endpoint"])
    found: set[object] = set()
    for row in rows:
        key = row["object"].removeprefix(f"s3://{stack['bucket']}/")
        body = s3.get_object(Bucket=stack["bucket"], Key=key)["Body"].read()
        found |= {feature.get("id") for feature in json.loads(_text(body, key))["features"]}
    return len(found)


def _say_what_to_try(stack: dict[str, Any], rejecting: dict[str, Any] | None) -> None:
    api = stack["api"]
    own = f"{stack['aws_endpoint']}/{stack['bucket']}/{LANDING}earthquakes-csv/{quote('my file.csv')}"
    lines = [
        ("earthquakes in California", f"curl '{api}/aggregated-data?dataset=earthquakes&bbox=-125,32,-114,42'"),
        (
            "the busiest cells, as CSV",
            f"curl '{api}/aggregated-data?dataset=earthquakes&bucket=all&sortby=-count&limit=10&f=csv'",
        ),
        ("a day's counts", f"curl '{api}/aggregated-data/series?dataset=earthquakes&bucket=day'"),
        ("what became of each file", f"curl '{api}/ingestions'"),
        ("the datasets", f"curl '{api}/datasets'"),
        ("is all well", f"curl '{api}/health'"),
        ("drop a file of your own", f"curl -T 'my file.csv' '{own}'"),
    ]
    if rejecting is not None:
        lines.insert(-1, ("which rows were rejected and why", f"curl '{api}/ingestions/{rejecting['id']}'"))
    print(f"\nThe map: {api}/")
    print("\nTry:")
    for what, line in lines:
        print(f"  # {what}\n  {line}")
    print("\nOther S3 clients: any keys, and")
    print(f"  AWS_ENDPOINT_URL={stack['aws_endpoint']}  s3://{stack['bucket']}/{LANDING}<dataset>/<file>")


def _pages(url: str) -> Iterator[dict[str, Any]]:
    next_url: str | None = url
    while next_url:
        page = _get(next_url)
        yield page
        next_url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=40) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from error
    return answer


def _text(body: bytes, name: str) -> str:
    return (gzip.decompress(body) if name.endswith(".gz") else body).decode("utf-8-sig")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
