"""Queries: checked parameters to SQL over the aggregates.

Cells are found by their integer keys, never by geometry: a bbox is a range of columns and a range of rows.
Two shapes of plan serve it. A *narrow* area walks its columns one by one, each an exact index range; a
*wide* one walks the index in order from the cursor and stops at the limit. ``near`` finds its cells by the
GiST index of ``geodrop.cell``. Pages are keyset pages: they begin after a key, so nothing is counted or
skipped, and files that come in meanwhile move nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from geodrop import grid
from geodrop.contract import Contract
from geodrop.parameters import wrong

MOST_CELLS = 2048
"""Cells that the area may have at the level that is chosen for it: a sparse map then shows hundreds."""
NARROW_COLUMNS = 256
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_KEY_TEXT = re.compile(
    r"-?infinity|-?Infinity|-?[0-9]{1,40}(\.[0-9]{1,40})?|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\+00"
)
_METRES_PER_DEGREE = 111_195.0
_BUCKETS = ("hour", "day", "month", "all")
_STATISTICS = ("count", "sum", "avg", "min", "max", "stddev", "centroid")


@dataclass(frozen=True, slots=True)
class Area:
    """Ranges of columns (two where the area crosses the antimeridian) and of rows, at one level; inclusive."""

    columns: tuple[tuple[int, int], ...]
    rows: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of one dataset, checked."""

    contract: Contract
    level: int
    area: Area | None
    near: tuple[float, float, float] | None
    since: datetime | None
    until: datetime | None
    categories: tuple[str, ...] | None
    bucket: str
    stats: tuple[str, ...]
    geometry: str
    min_count: int
    sort: str
    descending: bool
    limit: int
    after: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the values of its parameters."""

    sql: str
    values: Mapping[str, Any]


def parse(contract: Contract, values: Mapping[str, Any]) -> Query:
    """Parameters that passed the OpenAPI document, checked against one another and the contract.

    Raises ParameterError.
    """
    bbox = values.get("bbox")
    near = _near(values)
    since, until = interval(values["datetime"]) if "datetime" in values else (None, None)
    since = _truncate(since, contract.bucket) if since else None
    if bbox:
        _check_bbox(bbox)
    level = values.get("level")
    if level is None:
        level = _level(contract, bbox or (_around(near) if near else None))
    elif level not in contract.levels:
        raise wrong("level", level, f"one of {', '.join(map(str, contract.levels))}")
    bucket = values.get("bucket", "all")
    if _BUCKETS.index(bucket) < _BUCKETS.index(contract.bucket):
        allowed = ", ".join(_BUCKETS[_BUCKETS.index(contract.bucket) :])
        raise wrong("bucket", bucket, f"one of {allowed}: the buckets of {contract.name} are {contract.bucket}s")
    sort = values.get("sortby", "cell")
    return Query(
        contract=contract,
        level=level,
        area=area(bbox, level) if bbox else None,
        near=near,
        since=since,
        until=until,
        categories=tuple(dict.fromkeys(values["category"])) if "category" in values else None,
        bucket=bucket,
        stats=tuple(name for name in _STATISTICS if name in values.get("stats", _STATISTICS[:5])),
        geometry=values.get("geometry", "cell"),
        min_count=values.get("min_count", 1),
        sort=sort.lstrip("-"),
        descending=sort.startswith("-"),
        limit=values.get("limit", 1000),
        after=None,
    )


def _check_bbox(bbox: list[float]) -> None:
    _, south, _, north = bbox
    shown = ",".join(f"{number:g}" for number in bbox)
    if not (-90 <= south <= 90 and -90 <= north <= 90):  # noqa: PLR2004  degrees
        raise wrong("bbox", shown, "west,south,east,north with latitudes from -90 to 90")
    if south > north:
        raise wrong("bbox", shown, "west,south,east,north with south at most north")


def _near(values: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if "near" not in values:
        if "radius" in values:
            raise wrong("radius", f"{values['radius']:g}", "near=longitude,latitude beside it")
        return None
    if "radius" not in values:
        raise wrong("near", ",".join(f"{number:g}" for number in values["near"]), "radius=metres beside it")
    longitude, latitude = values["near"]
    if abs(latitude) > 90:  # noqa: PLR2004  degrees
        raise wrong("near", f"{longitude:g},{latitude:g}", "longitude,latitude with a latitude from -90 to 90")
    return longitude, latitude, values["radius"]


def area(bbox: list[float], level: int) -> Area:
    """The cells that a bbox in degrees meets. West greater than east crosses the antimeridian."""
    west, south, east, north = bbox
    first, last = grid.column(west, level), grid.column(east, level)
    columns: tuple[tuple[int, int], ...] = ((first, last),)
    if west > east:
        columns = ((0, last), (first, (1 << level) - 1)) if last < first else ((0, (1 << level) - 1),)
    return Area(columns, (grid.row(south, level), grid.row(north, level)))


def _around(near: tuple[float, float, float]) -> list[float]:
    longitude, latitude, radius = near
    high = min(radius / _METRES_PER_DEGREE, 90.0)
    wide = min(high / max(math.cos(math.radians(latitude)), 0.01), 180.0)
    return [
        max(longitude - wide, -180.0),
        max(latitude - high, -90.0),
        min(longitude + wide, 180.0),
        min(latitude + high, 90.0),
    ]


def _level(contract: Contract, bbox: list[float] | None) -> int:
    """The finest level at which the area has no more than MOST_CELLS cells; else the coarsest."""
    west, south, east, north = bbox or (-180.0, -90.0, 180.0, 90.0)
    width = east - west if east >= west else east - west + 360.0
    for level in reversed(contract.levels):
        side = grid.size(level)
        if (width / side + 1) * ((north - south) / side + 1) <= MOST_CELLS + 2 * (1 << min(level, 6)):
            return level
    return contract.levels[0]


def interval(text: str) -> tuple[datetime | None, datetime | None]:
    """First and last instant of an RFC 3339 instant, date or interval. Raises ParameterError.

    Source: OGC API - Features, part 1, "Parameter datetime"; a date stands for its whole day.
    """
    allowed = "an RFC 3339 time or date such as 2018-02-07T01:26:13Z or 2018-02-07, or start/end with .. for open"
    parts = text.split("/")
    if len(parts) > 2:  # noqa: PLR2004  start and end
        raise wrong("datetime", text, allowed)
    try:
        spans = [None if part in ("", "..") else _span(part) for part in parts]
    except (ValueError, OverflowError):
        raise wrong("datetime", text, allowed) from None
    if len(parts) == 1 and spans[0] is None:
        raise wrong("datetime", text, allowed)
    since = spans[0][0] if spans[0] else None
    until = spans[-1][1] if spans[-1] else None
    if since and until and since > until:
        raise wrong("datetime", text, "a start that is not after the end")
    return since, until


def _span(text: str) -> tuple[datetime, datetime]:
    if _RFC3339.fullmatch(text):
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
        return instant, instant
    if len(text) != len("2018-02-07") or text[4] != "-" or text[7] != "-" or not text.isascii():
        raise ValueError(text)
    day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    return day, day + timedelta(days=1) - timedelta(microseconds=1)


def _truncate(instant: datetime, bucket: str) -> datetime:
    """Start of the bucket that holds the instant."""
    if bucket == "hour":
        return instant.replace(minute=0, second=0, microsecond=0)
    day = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if bucket == "day" else day.replace(day=1)


# -- cursors ------------------------------------------------------------------------------------------------


def digest(*told: object) -> str:
    """A short name for what is asked, whatever it is."""
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:12]


def write_cursor(asked: str, key: tuple[Any, ...]) -> str:
    """A cursor: the key after which the page begins, and for which query."""
    return base64.urlsafe_b64encode(json.dumps([asked, *key], default=str).encode()).decode().rstrip("=")


def read_cursor(text: str, asked: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The key in a cursor. Raises ParameterError where it is not one of this very query."""
    allowed = "the cursor of a link next, with the other parameters unchanged"
    try:
        padded = text + "=" * (-len(text) % 4)
        told = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        name, *key = told
        fits = len(key) == len(kinds) and all(type(value) is kind for value, kind in zip(key, kinds, strict=True))
        if any(isinstance(value, int) and abs(value) >= 2**31 for value in key[-2:]):
            fits = False
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise wrong("cursor", text, allowed) from None
    if name != asked or not fits:
        raise wrong("cursor", text, allowed)
    return tuple(key)


def is_key_text(text: str) -> bool:
    """Whether a text from a cursor is a number or a time as PostgreSQL writes them."""
    return bool(_KEY_TEXT.fullmatch(text))


# -- SQL ----------------------------------------------------------------------------------------------------

_SUMS = {
    "count": "sum(a.count)::bigint as count",
    "n": "sum(a.value_count)::bigint as n",
    "total": "sum(a.value_sum) as total",
    "squares": "sum(a.value_squares) as squares",
    "low": "min(a.value_min) as low",
    "high": "max(a.value_max) as high",
    "lon": "sum(a.lon_sum) as lon",
    "lat": "sum(a.lat_sum) as lat",
    "first": "min(a.first_time) as first",
    "last": "max(a.last_time) as last",
}
_NEEDS = {
    "count": (),
    "sum": ("n", "total"),
    "avg": ("n", "total"),
    "min": ("low",),
    "max": ("high",),
    "stddev": ("n", "total", "squares"),
    "centroid": ("lon", "lat"),
}


def statistic(name: str, contract: Contract) -> str:
    """SQL of one statistic over the sums, in the dataset's unit; null where there is no value.

    stddev is of the sample: sqrt((sum(v^2) - sum(v)^2 / n) / (n - 1)), from exact sums.
    """
    scale, digits = contract.scale, contract.decimals
    return {
        "count": "count",
        "sum": f"case when n > 0 then trim_scale(round(total / {scale}, {digits})) end",
        "avg": f"trim_scale(round(total / (nullif(n, 0) * {scale}::numeric), {digits + 3}))",
        "min": f"trim_scale(round(low::numeric / {scale}, {digits}))",
        "max": f"trim_scale(round(high::numeric / {scale}, {digits}))",
        "stddev": (
            f"case when n > 1 then trim_scale(round(sqrt(greatest(squares - total * total / n, 0) / (n - 1))"
            f" / {scale}, {digits + 3})) end"
        ),
    }[name]


_LON = "round(lon / (count * 1e7::numeric), 6)"
_LAT = "round(lat / (count * 1e7::numeric), 6)"


def collapsed(query: Query) -> str | None:
    """SQL of the bucket that rows are collapsed to; None where all time is one."""
    if query.bucket == "all":
        return None
    if query.bucket == query.contract.bucket:
        return "a.bucket"
    return f"date_trunc('{query.bucket}', a.bucket)"


def _filters(query: Query, values: dict[str, Any]) -> list[str]:
    """Conditions on time and category; their values go to ``values``."""
    found = []
    if query.since is None:
        # The bucket of all time comes before every other.
        whole = query.until is None and query.bucket == "all"
        found.append(f"a.bucket {'=' if whole else '>'} '-infinity'")
    if query.since is not None:
        found.append("a.bucket >= cast(:since as timestamptz)")
        values["since"] = query.since.isoformat()
    if query.until is not None:
        found.append("a.bucket <= cast(:until as timestamptz)")
        values["until"] = query.until.isoformat()
    if query.categories is not None:
        found.append("a.category = any(cast(:categories as text[]))")
        values["categories"] = list(query.categories)
    return found


def _is_narrow(query: Query) -> bool:
    if query.area is None or query.near is not None:
        return False
    columns = sum(last - first + 1 for first, last in query.area.columns)
    height = query.area.rows[1] - query.area.rows[0] + 1
    return columns <= NARROW_COLUMNS and 2 * height <= max(1 << query.level, 2) // 2


def _place(query: Query, values: dict[str, Any]) -> list[str]:
    """Conditions on x and y for a wide area."""
    if query.area is None:
        return []
    (south, north), ranges = query.area.rows, []
    for index, (first, last) in enumerate(query.area.columns):
        ranges.append(f"a.x between cast(:x{index} as integer) and cast(:xx{index} as integer)")
        values |= {f"x{index}": first, f"xx{index}": last}
    values |= {"y": south, "yy": north}
    return [f"({' or '.join(ranges)})", "a.y between cast(:y as integer) and cast(:yy as integer)"]


def _grouped(query: Query, dataset_id: int, sums: list[str], values: dict[str, Any], *, page: bool) -> str:
    """SELECT of x, y, bucket and sums, one row a cell and bucket.

    With ``page`` it may stop at the limit and begin after the cursor, since it is in the order of the page.
    """
    bucket = collapsed(query)
    shown = f"{bucket} as bucket" if bucket else "null::timestamptz as bucket"
    group = ["x", "y", *([bucket] if bucket else [])]
    measures = ", ".join(_SUMS[name] for name in sums)
    having = ""
    if query.min_count > 1:
        having = " having sum(a.count) >= cast(:min_count as bigint)"
        values["min_count"] = query.min_count
    where = [
        "a.dataset_id = cast(:dataset as smallint)",
        "a.level = cast(:level as smallint)",
        *_filters(query, values),
    ]
    values |= {"dataset": dataset_id, "level": query.level}
    after = query.after if page else None
    limit = " limit cast(:limit as integer)" if page else ""
    if page:
        values["limit"] = query.limit + 1
    if after:
        values |= {"after_x": after[0], "after_y": after[1]}
        if bucket:
            values["after_bucket"] = after[2]
    if query.near:
        values |= {"near_lon": query.near[0], "near_lat": query.near[1], "near_radius": query.near[2]}
        source = (
            "(select c.x, c.y from geodrop.cell as c where c.level = cast(:level as smallint)"
            " and st_dwithin(st_centroid(c.outline)::geography, st_setsrid(st_makepoint("
            "cast(:near_lon as double precision), cast(:near_lat as double precision)), 4326)::geography,"
            " cast(:near_radius as double precision))) as c"
            " join geodrop.aggregate as a on a.x = c.x and a.y = c.y"
        )
        where += _place(query, values)
        group = ["a.x", "a.y", *group[2:]]
        where += _beyond(after, bucket)
        return (
            f"select a.x, a.y, {shown}, {measures} from {source} where {' and '.join(where)}"
            f" group by {', '.join(group)}{having} order by {', '.join(group)}{limit}"
        )
    if _is_narrow(query) and query.area:
        first_column = after[0] if after else 0
        values["columns"] = [x for first, last in query.area.columns for x in range(max(first, first_column), last + 1)]
        values |= {"y": query.area.rows[0], "yy": query.area.rows[1]}
        where += ["a.x = c.x", "a.y between cast(:y as integer) and cast(:yy as integer)"]
        if after:
            pair = f"(a.y, {bucket}) > (cast(:after_y as integer), cast(:after_bucket as timestamptz))"
            later = pair if bucket else "a.y > cast(:after_y as integer)"
            where.append(f"(c.x > cast(:after_x as integer) or {later})")
        inner = ["a.y", *([bucket] if bucket else [])]
        # With ordinality the planner knows the order of the columns, sorts within each, and stops at the limit.
        return (
            f"select c.x, a.y, a.bucket, {', '.join('a.' + name for name in sums)} from"
            " unnest(cast(:columns as integer[])) with ordinality as c (x, place)"
            f" cross join lateral (select a.y, {shown}, {measures} from geodrop.aggregate as a"
            f" where {' and '.join(where)} group by {', '.join(inner)}{having} order by {', '.join(inner)}{limit}) as a"
            f" order by c.place, a.y, a.bucket{limit}"
        )
    where += [*_place(query, values), *_beyond(after, bucket)]
    group = ["a.x", "a.y", *group[2:]]
    return (
        f"select a.x, a.y, {shown}, {measures} from geodrop.aggregate as a where {' and '.join(where)}"
        f" group by {', '.join(group)}{having} order by {', '.join(group)}{limit}"
    )


def _beyond(after: tuple[Any, ...] | None, bucket: str | None) -> list[str]:
    """Conditions of a page after the first, on a walk in index order."""
    if not after:
        return []
    if not bucket:
        return ["(a.x, a.y) > (cast(:after_x as integer), cast(:after_y as integer))"]
    place = "cast(:after_x as integer), cast(:after_y as integer)"
    return [
        f"(a.x, a.y) >= ({place})",
        f"(a.x, a.y, {bucket}) > ({place}, cast(:after_bucket as timestamptz))",
    ]


def columns(query: Query) -> list[str]:
    """Names of the properties, in order: of a feature, or of a CSV row."""
    names = ["level", "x", "y", *(["bucket"] if query.bucket != "all" else [])]
    for name in query.stats:
        names += ["centroid_lon", "centroid_lat"] if name == "centroid" else [name]
    return [*names, "first", "last"]


def cells(query: Query, dataset_id: int, *, form: str) -> Statement:
    """A page of cells, put together in the database.

    One row: how many there are up to one more than the limit; the text of the page's (GeoJSON features
    separated by commas, or lines of ``csv`` or ``ndjson``); and of the page's last one sort key, bucket, x, y.
    """
    values: dict[str, Any] = {}
    sums = ["count", "first", "last"]
    wanted = {need for name in query.stats for need in _NEEDS[name]}
    if query.geometry == "centroid":
        wanted |= {"lon", "lat"}
    if query.sort != "cell":
        wanted |= set(_NEEDS[query.sort])
    sums += [name for name in _SUMS if name in wanted and name not in sums]
    by_cell = query.sort == "cell"
    grouped = _grouped(query, dataset_id, sums, values, page=by_cell)
    text = _line(query) if form == "csv" else _feature(query)
    # All qualified: a bare name in ORDER BY could be one of the output's.
    bucket = "coalesce(g.bucket, '-infinity'::timestamptz)"
    beyond, end = "", ""
    if by_cell:
        source, key, order = f"({grouped})", "null::numeric", "g.x, g.y, g.bucket"
    else:
        infinite, compare = ("-Infinity", "<") if query.descending else ("Infinity", ">")
        of = f"coalesce(({statistic(query.sort, query.contract)})::numeric, '{infinite}'::numeric)"
        source, key = f"(select *, {of} as k from ({grouped}) as g)", "g.k"
        order = f"g.k {'desc' if query.descending else 'asc'}, {bucket}, g.x, g.y"
        end = " limit cast(:limit as integer)"
        values["limit"] = query.limit + 1
        if query.after:
            after = dict(zip(("after_key", "after_bucket", "after_x", "after_y"), query.after, strict=True))
            values |= after
            beyond = (
                f" where (g.k {compare} cast(:after_key as numeric) or (g.k = cast(:after_key as numeric)"
                f" and ({bucket}, g.x, g.y) > (cast(:after_bucket as timestamptz), cast(:after_x as integer),"
                " cast(:after_y as integer))))"
            )
    separator = r"E',\n'" if form == "geojson" else r"E'\n'"
    page = f"select {key} as k, {bucket} as b, g.x, g.y, {text} as f from {source} as g{beyond} order by {order}{end}"
    last = "filter (where p.i = cast(:limit as integer) - 1)"
    return Statement(
        f"select count(*)::integer, coalesce(string_agg(p.f, {separator} order by p.i)"
        f" filter (where p.i < cast(:limit as integer)), ''), (max(p.k) {last})::text, (max(p.b) {last})::text,"
        f" max(p.x) {last}, max(p.y) {last} from (select row_number() over () as i, r.* from ({page}) as r) as p",
        values,
    )


def cells_matched(query: Query, dataset_id: int) -> Statement:
    """How many cells (and buckets) match in all."""
    values: dict[str, Any] = {}
    return Statement(
        f"select count(*) from ({_grouped(query, dataset_id, ['count'], values, page=False)}) as g", values
    )


def _feature(query: Query) -> str:
    """SQL of a feature's JSON, put together from text: a third of the time of json_build_object."""
    contract, side = query.contract, f"{grid.size(query.level)!r}::double precision"
    west, east = f"(x * {side} - 180)", f"((x + 1) * {side} - 180)"
    south, north = f"(y * {side} - 90)", f"((y + 1) * {side} - 90)"
    timed = query.bucket != "all"
    parts = [f'\'{{"type":"Feature","id":"{query.level}/\'', "x", "'/'", "y"]
    if timed:
        parts += ["'/'", 'to_char(bucket, \'YYYY-MM-DD"T"HH24"Z"\')']
    parts.append('\'","geometry":\'')
    if query.geometry == "none":
        parts.append("'null'")
    elif query.geometry == "centroid":
        parts += ['\'{"type":"Point","coordinates":[\'', _LON, "','", _LAT, "']}'"]
    else:
        parts.append('\'{"type":"Polygon","coordinates":[[\'')
        corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        for index, (longitude, latitude) in enumerate(corners):
            parts += ["',['" if index else "'['", longitude, "','", latitude, "']'"]
        parts.append("']]}'")
    parts += [f'\',"properties":{{"level":{query.level},"x":\'', "x", "',\"y\":'", "y"]
    if timed:
        parts += ["',\"bucket\":'", "to_json(bucket)"]
    for name in query.stats:
        if name == "centroid":
            parts += ["',\"centroid\":['", _LON, "','", _LAT, "']'"]
        else:
            parts += [f"',\"{name}\":'", f"coalesce(({statistic(name, contract)})::text, 'null')"]
    parts += ["',\"first\":'", "to_json(first)", "',\"last\":'", "to_json(last)", "'}}'"]
    return f"concat({', '.join(parts)})"


def _line(query: Query) -> str:
    """SQL of a CSV line; there is nothing in it that would need quotes."""
    found = [f"'{query.level}'", "x", "y"]
    if query.bucket != "all":
        found.append("to_json(bucket)#>>'{}'")
    for name in query.stats:
        found += [_LON, _LAT] if name == "centroid" else [f"coalesce(({statistic(name, query.contract)})::text, '')"]
    return f"concat_ws(',', {', '.join([*found, *_TIMES])})"


_TIMES = ("to_json(first)#>>'{}'", "to_json(last)#>>'{}'")


SERIES_COLUMNS = ("bucket", "category", "count", "sum", "avg", "min", "max", "stddev")


def series(query: Query, dataset_id: int) -> Statement:
    """A page of the time series of the area: rows of bucket, category and statistics as text, oldest first."""
    values: dict[str, Any] = {"dataset": dataset_id, "level": query.level, "limit": query.limit + 1}
    where = ["a.dataset_id = cast(:dataset as smallint)", "a.level = cast(:level as smallint)"]
    where += [*_filters(query, values), *_place(query, values)]
    source = "geodrop.aggregate as a"
    if query.near:
        values |= {"near_lon": query.near[0], "near_lat": query.near[1], "near_radius": query.near[2]}
        where.append(
            "exists (select from geodrop.cell as c where c.level = a.level and c.x = a.x and c.y = a.y"
            " and st_dwithin(st_centroid(c.outline)::geography, st_setsrid(st_makepoint("
            "cast(:near_lon as double precision), cast(:near_lat as double precision)), 4326)::geography,"
            " cast(:near_radius as double precision)))"
        )
    bucket = collapsed(query) or "'-infinity'::timestamptz"
    having = ""
    if query.after:
        values |= {"after_bucket": query.after[0], "after_category": query.after[1]}
        where.append(f"({bucket}, a.category) > (cast(:after_bucket as timestamptz), cast(:after_category as text))")
    sums = ", ".join(_SUMS[name] for name in ("count", "n", "total", "squares", "low", "high"))
    shown = ", ".join(f"({statistic(name, query.contract)})::text" for name in SERIES_COLUMNS[2:])
    return Statement(
        "select case when isfinite(bucket) then to_json(bucket)#>>'{}' end, category, "
        f"{shown}, bucket::text from (select {bucket} as bucket, a.category, {sums} from {source}"
        f" where {' and '.join(where)} group by 1, 2{having} order by 1, 2 limit cast(:limit as integer)) as g"
        " order by bucket, category",
        values,
    )


# -- tiles --------------------------------------------------------------------------------------------------

TILE_LAYER = "cells"
TILE_FIELDS = {"count": "Number", "sum": "Number", "avg": "Number", "min": "Number", "max": "Number"}
_EXTENT = 4096
_BUFFER = 64
_CELLS_A_SIDE = 5
"""A tile shows cells of up to 2**5 a side."""
_MERCATOR_EDGE = 85.0511287798066


def _tile_latitude(row: int, zoom: int) -> float:
    """Latitude of a tile row's northern edge. Source: OpenStreetMap wiki, "Slippy map tilenames"."""
    return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / (1 << zoom)))))


def tile(query: Query, dataset_id: int, zoom: int, column: int, row: int) -> Statement:
    """A vector tile: one row of one hex-encoded Mapbox vector tile with the layer ``cells``.

    Web Mercator keeps the sides of a cell straight, so the outline is computed from x and y: no geometry
    is read, transformed or clipped.
    """
    level = max(
        (level for level in query.contract.levels if level - zoom <= _CELLS_A_SIDE), default=query.contract.levels[0]
    )
    west, east = column / (1 << zoom) * 360 - 180, (column + 1) / (1 << zoom) * 360 - 180
    north, south = _tile_latitude(row, zoom), _tile_latitude(row + 1, zoom)
    within = replace(query, level=level, area=area([west, south, east, north], level), limit=1 << 20)
    values: dict[str, Any] = {"column": column, "row": row, "zoom": zoom}
    grouped = _grouped(within, dataset_id, ["count", "n", "total", "low", "high"], values, page=False)
    side = f"{grid.size(level)!r}::double precision"
    width = f"{_EXTENT * (1 << zoom)}::double precision"

    def across(edge: str) -> str:
        return f"round({edge} * {side} / 360 * {width} - cast(:column as integer) * {_EXTENT}::double precision)"

    def down(edge: str) -> str:
        latitude = f"least(greatest({edge} * {side} - 90, -{_MERCATOR_EDGE}), {_MERCATOR_EDGE})"
        return (
            f"round((0.5 - ln(tan(pi() / 4 + radians({latitude}) / 2)) / (2 * pi())) * {width}"
            f" - cast(:row as integer) * {_EXTENT}::double precision)"
        )

    def kept(edge: str) -> str:
        return f"least(greatest({edge}, -{_BUFFER}), {_EXTENT + _BUFFER})"

    outline = (
        f"st_makeenvelope({kept(across('x'))}, {kept(down('(y + 1)'))}, {kept(across('(x + 1)'))}, {kept(down('y'))})"
    )
    shown = ", ".join(
        f"({statistic(name, query.contract)})::{'bigint' if name == 'count' else 'double precision'} as {name}"
        for name in TILE_FIELDS
    )
    return Statement(
        f"select encode(coalesce(st_asmvt(t, '{TILE_LAYER}', {_EXTENT}, 'outline'), ''), 'hex') from ("
        f"select st_reverse({outline}) as outline, {shown} from ({grouped}) as g) as t",
        {name: value for name, value in values.items() if name != "zoom"},
    )
