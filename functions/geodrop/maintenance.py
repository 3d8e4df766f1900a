"""Maintenance: compare aggregates with what they are made of, rebuild them, ingest objects again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pg8000.native import Connection

from geodrop import load
from geodrop.contract import Contract
from geodrop.events import PREFIX

_SHOWN = 20
_BATCH = 10
"""Messages that SQS takes at once."""


def _recomputed(contract: Contract, dataset: int) -> str:
    """SELECT of all aggregates that the dataset's partials or observations add up to."""
    table, measures, counts = (
        ("geodrop.partial", load.OF_PARTS, "")
        if contract.mode == "append"
        else ("geodrop.observation", load.of_rows(contract), " and p.current")
    )
    return (
        f"select cast({dataset} as smallint) as dataset_id, l.level::smallint as level, p.x >> l.up as x,"
        f" p.y >> l.up as y, {load.bucket_of('p')} as bucket, p.category, {measures} from {table} as p"
        f" cross join (values {load.targets(contract)}) as l (level, up, total)"
        f" where p.dataset_id = {dataset}{counts} group by 1, 2, 3, 4, 5, 6"
    )


def verify(connection: Connection, contract: Contract) -> list[dict[str, Any]]:
    """The first differences between the dataset's aggregates and a recompute; none means exact.

    Each difference has level, x, y, bucket, category, and both counts and sums (null where there is no row).
    """
    dataset = load.dataset_id(connection, contract)
    columns = "dataset_id, level, x, y, bucket, category"
    found = connection.run(
        f"with wanted ({columns}, {load.MEASURES}) as ({_recomputed(contract, dataset)}),"
        f" stored as (select {columns}, {load.MEASURES} from geodrop.aggregate where dataset_id = {dataset})"
        f" select level, x, y, bucket::text, category, s.count, w.count, s.value_sum::text, w.value_sum::text"
        f" from stored as s full join wanted as w using ({columns})"
        " where (s.*) is distinct from (w.*)"
        f" order by level, x, y, bucket, category limit {_SHOWN}"
    )
    names = ("level", "x", "y", "bucket", "category", "count", "count_wanted", "sum", "sum_wanted")
    return [dict(zip(names, row, strict=True)) for row in found or []]


def rebuild(connection: Connection, contract: Contract) -> str:
    """Make the dataset's aggregates anew, while ingests go on; returns what was done.

    The table is locked against writers. Those that already wrote hold their locks until they commit, and are seen;
    those that have not wait, and add to what was rebuilt.

    Where the contract changed in more than its coarser levels, what is stored cannot be used: it is cleared, the
    contract is taken as it is now, and the objects have to be ingested again.
    """
    connection.run("begin")
    try:
        connection.run("lock table geodrop.aggregate in share row exclusive mode")
        known = connection.run(
            "select dataset_id, fingerprint from geodrop.dataset where name = :name", name=contract.name
        )
        if not known:
            connection.run("rollback")
            return "nothing was loaded yet"
        dataset, fingerprint = known[0]
        usable = _comparable(fingerprint, contract)
        connection.run(f"delete from geodrop.aggregate where dataset_id = {dataset}")
        if usable:
            connection.run(
                f"insert into geodrop.aggregate (dataset_id, level, x, y, bucket, category, {load.MEASURES})"
                f" {_recomputed(contract, dataset)} order by 1, 2, 3, 4, 5, 6"
            )
            load.outline(
                connection,
                contract,
                f"(select x, y from geodrop.aggregate where dataset_id = {dataset} and level = {contract.finest}) as p",
            )
        else:
            for table in ("partial", "observation"):
                connection.run(f"delete from geodrop.{table} where dataset_id = {dataset}")
            connection.run(
                "update geodrop.ledger set state = 'deferred', rows = 0, accepted = 0, rejected = 0,"
                " reason = 'the contract changed; run: python -m geodrop reingest'"
                f" where dataset_id = {dataset} and state = 'loaded'"
            )
        connection.run(
            "update geodrop.dataset set fingerprint = :fingerprint, revision = revision + 1"
            " where dataset_id = :dataset",
            fingerprint=contract.fingerprint,
            dataset=dataset,
        )
        connection.run("commit")
    except BaseException:
        connection.run("rollback")
        raise
    if usable:
        return "aggregates recomputed"
    return f"the contract changed: cleared; now run: python -m geodrop reingest --dataset {contract.name}"


def _comparable(fingerprint: str, contract: Contract) -> bool:
    """Whether what was stored under a fingerprint can be added up under the contract: only coarser levels differ."""
    mode, bucket, levels, decimals = json.loads(fingerprint)
    return (mode, bucket, levels[-1], decimals) == (contract.mode, contract.bucket, contract.finest, contract.decimals)


def objects(s3: Any, bucket: str, contract: Contract) -> Iterator[dict[str, Any]]:
    """Every object of the dataset that is in the bucket now, as S3 lists them."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}{contract.name}/"):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield entry


def reingest(s3: Any, sqs: Any, bucket: str, queue_url: str, contract: Contract) -> int:
    """Send every object of the dataset through the queue again; returns how many.

    The events carry no sequencer: they mean the object as it is now, and are worked on even where it was before.
    """
    sent = 0
    batch: list[dict[str, str]] = []

    def flush() -> None:
        if batch:
            answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=batch)
            if answer.get("Failed"):
                raise RuntimeError(f"SQS refused {len(answer['Failed'])} messages; run it again")
            batch.clear()

    for entry in objects(s3, bucket, contract):
        record = {
            "eventName": "ObjectCreated:Reingest",
            "s3": {"bucket": {"name": bucket}, "object": {"key": _encoded(entry["Key"]), "size": entry["Size"]}},
        }
        batch.append({"Id": str(len(batch)), "MessageBody": json.dumps({"Records": [record]})})
        sent += 1
        if len(batch) == _BATCH:
            flush()
    flush()
    return sent


def _encoded(key: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(key, safe="/")
