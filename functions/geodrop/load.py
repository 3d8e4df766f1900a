"""Loading: staged rows become partials or observations, and those become aggregates. SQL and nothing else.

What keeps it exact whatever the order, duplicates, crashes and concurrency (each has its test):

- everything about an object happens under a transaction lock on its key, and in one transaction;
- aggregates are touched late, in one statement and in one order, so that writers queue instead of deadlocking; what
  most files share (coarse levels, sums over all time, outlines of cells) comes last and is held but briefly;
- where something is taken back, the touched aggregates are locked first, and recomputed by *later*
  statements: under READ COMMITTED each sees what was committed before its own start;
- sums are of integers, so no order of addition shows;
- mode latest decides which row of an id counts under one lock per dataset, after the COPY.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pg8000.native import Connection

from geodrop.checker import uses_epoch
from geodrop.contract import Contract
from geodrop.events import ObjectEvent

_MERGE_LOCK = 7_305_005

TEMPORARY = """
create temp table if not exists stage (
  longitude double precision not null,
  latitude double precision not null,
  time timestamptz,
  time_us bigint,
  category text collate "C" not null default '',
  value double precision,
  id text collate "C",
  updated timestamptz,
  updated_us bigint,
  n bigint
) on commit delete rows;
create temp table if not exists fresh (
  id text collate "C" not null,
  updated timestamptz not null,
  x integer not null,
  y integer not null,
  bucket timestamptz not null,
  category text collate "C" not null,
  value bigint,
  lon bigint not null,
  lat bigint not null,
  time timestamptz not null
) on commit delete rows;
create temp table if not exists touched (
  x integer not null,
  y integer not null,
  bucket timestamptz not null,
  category text collate "C" not null,
  id text collate "C"
) on commit delete rows
"""

_KEY = "x, y, bucket, category"
MEASURES = "count, value_count, value_sum, value_squares, value_min, value_max, lon_sum, lat_sum, first_time, last_time"
OF_PARTS = (
    "sum(count)::bigint, sum(value_count)::bigint, sum(value_sum), sum(value_squares),"
    " min(value_min), max(value_max), sum(lon_sum), sum(lat_sum), min(first_time), max(last_time)"
)
_ADDED = """
  count = a.count + excluded.count,
  value_count = a.value_count + excluded.value_count,
  value_sum = a.value_sum + excluded.value_sum,
  value_squares = a.value_squares + excluded.value_squares,
  value_min = least(a.value_min, excluded.value_min),
  value_max = greatest(a.value_max, excluded.value_max),
  lon_sum = a.lon_sum + excluded.lon_sum,
  lat_sum = a.lat_sum + excluded.lat_sum,
  first_time = least(a.first_time, excluded.first_time),
  last_time = greatest(a.last_time, excluded.last_time)
"""
_SET = ", ".join(f"{name} = r.{name}" for name in MEASURES.split(", "))
_ALL_TIME = "'-infinity'::timestamptz"
"""The bucket of the sums over all time: a map of everything reads one row a cell and category, however long it runs."""
_ORDER = f"bucket = {_ALL_TIME}, level desc, {_KEY}"
"""The order in which every writer locks aggregates."""
_FITS_SQUARED = 3_000_000_000
"""Integers up to this have squares that fit 64 bits; PostgreSQL's sum of those is exact."""
_CONFLICT = "on conflict (dataset_id, level, x, y, bucket, category)"
_BUCKETS = {
    "hour": "date_bin('1 hour', time, 'epoch')",
    "day": "date_bin('1 day', time, 'epoch')",
    "month": "date_trunc('month', time)",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """The ledger's row of an object, under this transaction's lock."""

    object_id: int
    dataset_id: int | None
    counts_now: bool
    """Whether an earlier version of it is in the aggregates."""


@dataclass(slots=True)
class Counts:
    """What became of an object's rows: accepted + rejected = rows."""

    rows: int = 0
    rejected: int = 0
    rejects: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    """The first ones in full: line, field, rule, reason, raw text."""
    by_rule: dict[tuple[str, str], int] = field(default_factory=dict)
    """All of them, counted by field and rule."""

    @property
    def accepted(self) -> int:
        """Rows that passed their contract."""
        return self.rows - self.rejected


class ContractChangedError(Exception):
    """Stored aggregates were made under another contract; the text says what to run."""


def dataset_id(connection: Connection, contract: Contract) -> int:
    """The dataset's number; made at the first use. Raises ContractChangedError."""
    connection.run(
        "insert into geodrop.dataset (name, fingerprint) values (:name, :fingerprint) on conflict (name) do nothing",
        name=contract.name,
        fingerprint=contract.fingerprint,
    )
    found = connection.run("select dataset_id, fingerprint from geodrop.dataset where name = :name", name=contract.name)
    number, fingerprint = (found or [])[0]
    if fingerprint != contract.fingerprint:
        raise ContractChangedError(
            f"datasets/{contract.name}.yaml: mode, bucket, levels or decimals changed since its files were loaded;"
            f" run: python -m geodrop rebuild --dataset {contract.name}"
        )
    return int(number)


def lock(connection: Connection, event: ObjectEvent, dataset: int | None, *, force: bool = False) -> Entry | None:
    """Lock the object until the transaction ends, and enter it in the ledger.

    Returns None where the event is no news: it, or a newer one of the same object, was dealt with.
    With ``force`` an equal one is news.
    """
    connection.run("select pg_advisory_xact_lock(hashtextextended(:name, 0))", name=f"s3://{event.bucket}/{event.key}")
    found = connection.run(
        "select object_id, sequencer, state from geodrop.ledger where bucket = :bucket and key = :key",
        bucket=event.bucket,
        key=event.key,
    )
    if not found:
        made = connection.run(
            "insert into geodrop.ledger (dataset_id, bucket, key, sequencer, state)"
            " values (:dataset, :bucket, :key, :sequencer, 'loaded') returning object_id",
            dataset=dataset,
            bucket=event.bucket,
            key=event.key,
            sequencer=event.sequencer,
        )
        return Entry((made or [])[0][0], dataset, counts_now=False)
    object_id, sequencer, state = found[0]
    if event.sequencer and sequencer and not force:
        same = event.sequencer == sequencer
        if event.sequencer < sequencer or (same and state != "failed"):
            return None
    return Entry(object_id, dataset, counts_now=state == "loaded")


def prepare(connection: Connection) -> None:
    """Make this session's temporary tables, where they are not there yet."""
    connection.run(TEMPORARY)


def stage(connection: Connection, contract: Contract, columns: Sequence[str], rows: Iterable[bytes]) -> None:
    """COPY rows into the stage. A failure leaves the connection unusable: drop it."""
    names = [
        f"{name}_us" if name in ("time", "updated") and uses_epoch(contract, getattr(contract, name)) else name
        for name in columns
    ]
    connection.run(f"copy stage ({', '.join(names)}) from stdin", stream=rows)


def _staged(contract: Contract) -> str:
    """The staged rows with cell, bucket and scaled integers."""
    columns = 1 << contract.finest
    time, updated = (
        f"timestamptz 'epoch' + {name}_us * interval '1 microsecond'"
        if uses_epoch(contract, getattr(contract, name))
        else name
        for name in ("time", "updated")
    )
    rows = max(columns // 2, 1)
    return f"""
      select least(floor((longitude + 180) / 360 * {columns})::integer, {columns - 1}) as x,
        least(floor((latitude + 90) / 360 * {columns})::integer, {rows - 1}) as y,
        {_BUCKETS[contract.bucket]} as bucket, category, round(value * {contract.scale})::bigint as value,
        round(longitude * 1e7)::bigint as lon, round(latitude * 1e7)::bigint as lat, time, id, updated, n
      from (select longitude, latitude, {time} as time, category, value, id, {updated} as updated, n
        from stage) as s
    """


def _levels(contract: Contract) -> str:
    """Level and how far it is above the finest, as a VALUES list."""
    return ", ".join(f"({level}, {contract.finest - level})" for level in contract.levels)


def of_rows(contract: Contract) -> str:
    """SQL of the measures of single rows; squares are of bigint where the bounds let them fit, else of numeric."""
    square = "value::numeric * value"
    if contract.value is not None:
        rules = contract.schema[contract.value]
        if max(abs(rules["min"]), abs(rules["max"])) * contract.scale < _FITS_SQUARED:
            square = "value * value"
    return (
        f"count(*), count(value), coalesce(sum(value), 0), coalesce(sum({square}), 0),"
        " min(value), max(value), sum(lon), sum(lat), min(time), max(time)"
    )


def bucket_of(alias: str) -> str:
    """SQL of the bucket that a target stands for."""
    return f"case when l.total then {_ALL_TIME} else {alias}.bucket end"


def targets(contract: Contract) -> str:
    """What every key adds to: each level, once for its bucket and once for all time, as a VALUES list."""
    return ", ".join(
        f"({level}, {contract.finest - level}, {total})" for level in contract.levels for total in ("true", "false")
    )


def append(connection: Connection, contract: Contract, entry: Entry) -> None:
    """Mode append: replace what the object adds by what is staged."""
    if entry.counts_now:
        connection.run(
            f"with gone as (delete from geodrop.partial where object_id = :object returning {_KEY})"
            f" insert into touched ({_KEY}) select {_KEY} from gone",
            object=entry.object_id,
        )
    connection.run(
        f"insert into geodrop.partial (dataset_id, object_id, {_KEY}, {MEASURES})"
        f" select cast(:dataset as smallint), cast(:object as bigint), {_KEY}, {of_rows(contract)}"
        f" from ({_staged(contract)}) as r group by {_KEY}",
        dataset=entry.dataset_id,
        object=entry.object_id,
    )
    source = "(select * from geodrop.partial where object_id = :object) as p"
    _apply(connection, contract, entry, source, f"select {_KEY}, {MEASURES} from {source}")


def latest(connection: Connection, contract: Contract, entry: Entry, modified: datetime | None, origin: str) -> None:
    """Mode latest: replace the object's observations by what is staged; the newest row of each id counts.

    Newest: by the contract's ``updated`` field, then by when its object was modified, then by the object's
    name, and within an object by the order of rows. So the outcome does not depend on the order of arrival.
    """
    updated = "coalesce(updated, '-infinity')" if contract.updated else "'-infinity'::timestamptz"
    connection.run(
        f"insert into fresh (id, updated, {_KEY}, value, lon, lat, time)"
        f" select distinct on (id) id, {updated}, {_KEY}, value, lon, lat, time from ({_staged(contract)}) as r"
        f" order by id, {updated} desc, n desc"
    )
    connection.run(f"select pg_advisory_xact_lock({_MERGE_LOCK}, :dataset)", dataset=entry.dataset_id)
    dataset, object_id = entry.dataset_id, entry.object_id
    if entry.counts_now:
        connection.run(
            f"with gone as (delete from geodrop.observation where object_id = :object returning id, current, {_KEY})"
            f" insert into touched (id, {_KEY}) select id, {_KEY} from gone where current",
            object=object_id,
        )
        connection.run(
            "with best as (select distinct on (o.id) o.object_id, o.id from geodrop.observation as o"
            "   join touched as t on t.id = o.id where o.dataset_id = :dataset"
            "   order by o.id, o.updated desc, o.modified desc, o.origin desc),"
            " back as (update geodrop.observation as o set current = true from best as b"
            f"   where o.object_id = b.object_id and o.id = b.id returning {_named('o', _KEY)})"
            f" insert into touched ({_KEY}) select {_KEY} from back",
            dataset=dataset,
        )
    rank = {
        "modified": modified,
        "origin": f"s3://{origin}",
    }
    connection.run(
        "with beaten as (update geodrop.observation as o set current = false from fresh as f"
        "   where o.dataset_id = :dataset and o.id = f.id and o.current"
        "   and (o.updated, o.modified, o.origin)"
        "     < (f.updated, cast(:modified as timestamptz), hashtextextended(:origin, 0))"
        f"  returning {_named('o', _KEY)})"
        f" insert into touched ({_KEY}) select {_KEY} from beaten",
        dataset=dataset,
        **rank,
    )
    connection.run(
        f"insert into geodrop.observation (dataset_id, object_id, id, updated, modified, origin, {_KEY}, value, lon,"
        "   lat, time, current)"
        " select cast(:dataset as smallint), cast(:object as bigint), f.id, f.updated, cast(:modified as timestamptz),"
        "  hashtextextended(:origin, 0),"
        f"  {_named('f', _KEY)}, f.value, f.lon, f.lat, f.time, not exists (select from geodrop.observation as o"
        "     where o.dataset_id = :dataset and o.id = f.id and o.current)"
        " from fresh as f",
        dataset=dataset,
        object=object_id,
        **rank,
    )
    source = "(select * from geodrop.observation where object_id = :object and current) as p"
    finest = f"select {_KEY}, {of_rows(contract)} from {source} group by {_KEY}"
    _apply(connection, contract, entry, source, finest)


def _named(alias: str, columns: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in columns.split(", "))


def _apply(connection: Connection, contract: Contract, entry: Entry, source: str, finest: str) -> None:
    """Bring the aggregates up to date: add where nothing was taken back, recompute where something was.

    ``source`` holds what the object adds now, ``finest`` selects it summed by key.
    """
    names = {"dataset": entry.dataset_id, "object": entry.object_id}
    taken_back = connection.run("select exists (select from touched)")
    if taken_back and taken_back[0][0]:
        connection.run(f"insert into touched ({_KEY}) select {_KEY} from {source}", object=entry.object_id)
        recompute(connection, contract, entry.dataset_id)
    else:
        # One statement, in one order, for all levels: concurrent writers wait for one another and never in a circle.
        connection.run(
            f"{_pyramid(contract, finest)}"
            f" insert into geodrop.aggregate as a (dataset_id, level, {_KEY}, {MEASURES})"
            f" select cast(:dataset as smallint), level, {_KEY}, {MEASURES} from pyramid"
            f" order by {_ORDER} {_CONFLICT} do update set {_ADDED}",
            **names,
        )
    outline(connection, contract, source, object=entry.object_id)


def _pyramid(contract: Contract, finest: str) -> str:
    """WITH clauses whose ``pyramid`` has every level by bucket and over all time, each summed from the next finer."""
    columns = f"{_KEY}, {MEASURES}"
    told = [f"b{contract.finest} ({columns}) as ({finest})"]
    total = f"select x, y, {_ALL_TIME}, category, {OF_PARTS} from b{contract.finest} group by x, y, category"
    told.append(f"t{contract.finest} ({columns}) as ({total})")
    for level, finer in zip(contract.levels[-2::-1], contract.levels[:0:-1], strict=True):
        up = finer - level
        for kind in "bt":
            coarser = (
                f"select x >> {up}, y >> {up}, bucket, category, {OF_PARTS} from {kind}{finer} group by 1, 2, 3, 4"
            )
            told.append(f"{kind}{level} ({columns}) as ({coarser})")
    parts = [
        f"select {level}::smallint as level, {columns} from {kind}{level}" for level in contract.levels for kind in "bt"
    ]
    return f"with {', '.join(told)}, pyramid as ({' union all '.join(parts)})"


def outline(connection: Connection, contract: Contract, source: str, **values: object) -> None:
    """Give every new cell its outline, in key order. ``source`` has the alias p and the finest level's x and y."""
    connection.run(
        "insert into geodrop.cell (level, x, y, outline)"
        " select level, x, y, st_makeenvelope(x * side - 180, y * side - 90, (x + 1) * side - 180,"
        "   (y + 1) * side - 90, 4326)"
        " from (select distinct l.level, p.x >> l.up as x, p.y >> l.up as y, 360.0 / (1 << l.level) as side"
        f"   from (select distinct x, y from {source}) as p"
        f"   cross join (values {_levels(contract)}) as l (level, up)) as k"
        " where not exists (select from geodrop.cell as c where c.level = k.level and c.x = k.x and c.y = k.y)"
        " order by level, x, y on conflict do nothing",
        **values,
    )


def recompute(connection: Connection, contract: Contract, dataset: int | None) -> None:
    """Recompute the aggregates of the touched keys from what is stored, exactly, while others write.

    First every touched key is locked in the usual order (a key that is not there is made, so that there is a row
    to lock). Only then, in new statements, the finest level is summed anew, and from it the coarser ones.
    """
    connection.run(
        f"insert into geodrop.aggregate as a (dataset_id, level, {_KEY}, {MEASURES})"
        f" select cast(:dataset as smallint), level, {_KEY}, 0, 0, 0, 0, null, null, 0, 0, {_ALL_TIME}, {_ALL_TIME}"
        " from (select distinct l.level::smallint as level, t.x >> l.up as x, t.y >> l.up as y,"
        f"     {bucket_of('t')} as bucket, t.category"
        f"   from touched as t cross join (values {targets(contract)}) as l (level, up, total)) as k"
        f" order by {_ORDER} {_CONFLICT} do update set count = a.count",
        dataset=dataset,
    )
    table, measures = (
        ("geodrop.partial", OF_PARTS) if contract.mode == "append" else ("geodrop.observation", of_rows(contract))
    )
    counts = "" if contract.mode == "append" else "and p.current"
    _resum(
        connection,
        dataset,
        contract.finest,
        f"select distinct {_KEY} from touched",
        f"select {_named('k', _KEY)}, s.* from k cross join lateral (select {measures} from {table} as p"
        "  where p.dataset_id = :dataset and p.x = k.x and p.y = k.y and p.bucket = k.bucket"
        f" and p.category = k.category {counts}) as s ({MEASURES})",
    )
    _resum(
        connection,
        dataset,
        contract.finest,
        f"select distinct x, y, {_ALL_TIME} as bucket, category from touched",
        f"select {_named('k', _KEY)}, s.* from k cross join lateral (select {OF_PARTS} from geodrop.aggregate as p"
        f"  where p.dataset_id = :dataset and p.level = {contract.finest} and p.x = k.x and p.y = k.y"
        f"  and p.bucket > {_ALL_TIME} and p.category = k.category) as s ({MEASURES})",
    )
    for level, finer in zip(contract.levels[-2::-1], contract.levels[:0:-1], strict=True):
        up, span = contract.finest - level, 1 << (finer - level)
        _resum(
            connection,
            dataset,
            level,
            f"select distinct x >> {up} as x, y >> {up} as y, b.bucket, category"
            f" from touched as t cross join lateral (values (t.bucket), ({_ALL_TIME})) as b (bucket)",
            f"select {_named('k', _KEY)}, s.* from k cross join lateral (select {OF_PARTS}"
            f"  from generate_series(k.x * {span}, k.x * {span} + {span - 1}) as column_x"
            f"  join geodrop.aggregate as p on p.dataset_id = :dataset and p.level = {finer} and p.x = column_x"
            f"    and p.y between k.y * {span} and k.y * {span} + {span - 1}"
            f"    and p.bucket = k.bucket and p.category = k.category) as s ({MEASURES})",
        )


def _resum(connection: Connection, dataset: int | None, level: int, keys: str, sums: str) -> None:
    """Set the aggregates of one level to their new sums; an empty sum removes the aggregate."""
    same = " and ".join(f"a.{name} = r.{name}" for name in _KEY.split(", "))
    with_sums = f"with k as materialized ({keys}), r ({_KEY}, {MEASURES}) as ({sums})"
    connection.run(
        f"{with_sums} update geodrop.aggregate as a set {_SET} from r"
        f" where a.dataset_id = :dataset and a.level = {level} and {same} and coalesce(r.count, 0) > 0",
        dataset=dataset,
    )
    connection.run(
        f"{with_sums} delete from geodrop.aggregate as a using r"
        f" where a.dataset_id = :dataset and a.level = {level} and {same} and coalesce(r.count, 0) = 0",
        dataset=dataset,
    )


def finish(connection: Connection, entry: Entry, state: str, counts: Counts, about: Mapping[str, Any]) -> None:
    """Write the ledger and the rejects. The last statement of the transaction moves the dataset's revision.

    ``about`` holds version, sequencer, etag, bytes, modified, reason and seconds.
    """
    for table in ("reject", "reject_count"):
        connection.run(f"delete from geodrop.{table} where object_id = :object", object=entry.object_id)
    if counts.rejects:
        connection.run(
            "insert into geodrop.reject (object_id, line, field, rule, reason, raw)"
            " select cast(:object as bigint), * from unnest(cast(:lines as bigint[]), cast(:fields as text[]),"
            "   cast(:rules as text[]), cast(:reasons as text[]), cast(:raws as text[]))",
            object=entry.object_id,
            lines=[line for line, *_ in counts.rejects],
            fields=[told[1] for told in counts.rejects],
            rules=[told[2] for told in counts.rejects],
            reasons=[told[3] for told in counts.rejects],
            raws=[told[4] for told in counts.rejects],
        )
        connection.run(
            "insert into geodrop.reject_count (object_id, field, rule, count)"
            " select cast(:object as bigint), * from unnest(cast(:fields as text[]), cast(:rules as text[]),"
            "   cast(:counts as bigint[]))",
            object=entry.object_id,
            fields=[name for name, _ in counts.by_rule],
            rules=[rule for _, rule in counts.by_rule],
            counts=list(counts.by_rule.values()),
        )
    connection.run(
        "update geodrop.ledger set state = :state, rows = :rows, accepted = :accepted, rejected = :rejected,"
        " version = :version, sequencer = greatest(sequencer, :sequencer), etag = :etag, bytes = :bytes,"
        " modified = :modified, reason = :reason, seconds = :seconds, finished = clock_timestamp()"
        " where object_id = :object",
        object=entry.object_id,
        state=state,
        rows=counts.rows,
        accepted=counts.accepted,
        rejected=counts.rejected,
        **about,
    )
    if entry.dataset_id is not None:
        connection.run(
            "update geodrop.dataset set revision = revision + 1 where dataset_id = :dataset", dataset=entry.dataset_id
        )
