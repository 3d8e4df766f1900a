"""The HTTP API: an API Gateway v2 event to a response.

Each route is a function from a checked request to an answer. What goes wrong becomes problem details
(RFC 9457) with the parameter's name and the request's id, and never anything internal.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pg8000.exceptions import InterfaceError
from pg8000.native import DatabaseError

from geodrop import grid, logs, package, parameters, query
from geodrop.contract import Contract, contracts
from geodrop.database import Kept, code_of
from geodrop.parameters import ParameterError, wrong

GEOJSON, JSON, CSV, NDJSON = (
    "application/geo+json",
    "application/json",
    "text/csv; charset=utf-8",
    "application/x-ndjson",
)
MVT, PROBLEM = "application/vnd.mapbox-vector-tile", "application/problem+json"
_HTML = "text/html; charset=utf-8"
_FORMATS = {"geojson": GEOJSON, "json": JSON, "csv": CSV, "ndjson": NDJSON}
_GZIP_FROM = 1024
_SUMMARIES = 16
"""GET /datasets: at how many categories a dataset's summary stops."""
_STATEMENT_TIMEOUT_S = 20
_SILENCE_S = 22
"""When the server is taken for gone: it would have ended the statement by itself; Lambda ends us after 29 s."""


@dataclass(frozen=True)
class Request:
    """A checked request."""

    route: str
    values: dict[str, Any]
    query: str
    headers: Mapping[str, str]
    base: str
    id: str

    def link(self, path: str, **changes: str) -> str:
        """Absolute address of a path with this request's parameters, changed."""
        kept = [(name, value) for name, value in parse_qsl(self.query, keep_blank_values=True) if name not in changes]
        asked = urlencode([*kept, *changes.items()], safe=",:/")
        return f"{self.base}{path}" + (f"?{asked}" if asked else "")


@dataclass
class Answer:
    """What goes back."""

    status: int
    type: str
    body: str | bytes
    headers: dict[str, str] = field(default_factory=dict)


class NotFoundError(Exception):
    """There is no such thing; the text says what was looked for."""


class _NotModifiedError(Exception):
    """The client has it already; carries the entity tag."""


class Database:
    """The kept connection, and its prepared statements: parsing and describing one takes longer than running it."""

    def __init__(self) -> None:
        self._kept = Kept("geodrop-api")
        self._connection: Any = None
        self._prepared: dict[str, Any] = {}

    def run(self, statement: query.Statement) -> list[list[Any]]:
        """Rows of a statement; a connection found dead is made anew, once."""
        try:
            return self._run(statement)
        except (InterfaceError, OSError) as error:
            self._kept.drop()
            if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
                raise  # there is no time left to ask again
            return self._run(statement)
        except DatabaseError as error:
            if code_of(error).startswith(("57P", "08")):  # the server was shut down or restarted
                self._kept.drop()
                return self._run(statement)
            raise

    def _run(self, statement: query.Statement) -> list[list[Any]]:
        connection = self._kept.get()
        if connection is not self._connection:
            self._connection, self._prepared = connection, {}
            connection._usock.settimeout(_SILENCE_S)  # noqa: SLF001  pg8000 has no other way
            # Plans depend much on the values: a world map and a street want different ones.
            connection.run(
                f"set plan_cache_mode = force_custom_plan; set statement_timeout = '{_STATEMENT_TIMEOUT_S}s';"
                " set jit = off; set random_page_cost = 1.1;"
                # A scan of the table would read every dataset and level, and cost more with each.
                " set enable_seqscan = off"
            )
        prepared = self._prepared.get(statement.sql)
        if prepared is None:
            if len(self._prepared) >= 100:  # noqa: PLR2004  far more than there are shapes of queries in use
                for old in self._prepared.values():
                    old.close()
                self._prepared.clear()
            prepared = self._prepared[statement.sql] = connection.prepare(statement.sql)
        return list(prepared.run(**statement.values) or [])


database = Database()


def respond(event: Mapping[str, Any], request_id: str | None = None) -> dict[str, Any]:
    """Answer an API Gateway v2 event (payload format 2.0)."""
    context = event.get("requestContext", {})
    identity = str(request_id or context.get("requestId") or "local")
    logs.begin(request_id=identity)
    method, _, path = str(event.get("routeKey", "")).partition(" ")
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    request = None
    try:
        handler = _ROUTES.get(f"GET {path}") if method in ("GET", "HEAD") else None
        if handler is None:
            raise NotFoundError("there is no such route; see /openapi.json")
        raw = event.get("rawQueryString") or ""
        values = parameters.read(f"GET {path}", raw, event.get("pathParameters") or {})
        request = Request(f"GET {path}", values, raw, headers, _base(event, headers), identity)
        answer = handler(request)
    except _NotModifiedError as tag:
        answer = Answer(304, "", "", {"etag": str(tag)})
    except ParameterError as error:
        answer = _problem(400, "Wrong parameter", str(error), identity, parameter=error.name)
    except NotFoundError as error:
        answer = _problem(404, "Not found", str(error), identity)
    except Exception as error:  # noqa: BLE001  nothing internal may leak
        answer = _failure(error, identity)
    return _packed(answer, headers, identity, head=method == "HEAD")


def _failure(error: Exception, identity: str) -> Answer:
    """An answer for what is not the caller's fault; the log gets its kind."""
    code = code_of(error) if isinstance(error, DatabaseError) else ""
    logs.log("ERROR", "request failed", error=type(error).__name__, sqlstate=code)
    if code == "57014":
        detail = f"the query took longer than {_STATEMENT_TIMEOUT_S} s; ask for a smaller bbox, time span or level"
        return _problem(504, "Took too long", detail, identity)
    if isinstance(error, (InterfaceError, OSError)) or code.startswith(("57P", "08", "53")):
        answer = _problem(503, "Database unavailable", "the database cannot be reached now; try again", identity)
        answer.headers["retry-after"] = "5"
        return answer
    return _problem(500, "Internal error", "something went wrong here; the request id helps to find it", identity)


def _problem(status: int, title: str, detail: str, identity: str, **more: str) -> Answer:
    told = {"title": title, "status": status, "detail": detail, **more, "request_id": identity}
    return Answer(status, PROBLEM, json.dumps(told), {"cache-control": "no-store"})


def _packed(answer: Answer, asked: Mapping[str, str], identity: str, *, head: bool) -> dict[str, Any]:
    headers = {"x-request-id": identity, "x-content-type-options": "nosniff", "vary": "accept, accept-encoding"}
    headers |= answer.headers
    if answer.type:
        headers["content-type"] = answer.type
    data = answer.body.encode() if isinstance(answer.body, str) else answer.body
    binary = isinstance(answer.body, bytes)
    if len(data) >= _GZIP_FROM and "gzip" in asked.get("accept-encoding", "") and "content-encoding" not in headers:
        data, binary = gzip.compress(data, 5, mtime=0), True
        headers["content-encoding"] = "gzip"
    if head:
        return {"statusCode": answer.status, "headers": headers, "body": ""}
    body = base64.b64encode(data).decode() if binary else data.decode()
    return {"statusCode": answer.status, "headers": headers, "body": body, "isBase64Encoded": binary}


def _base(event: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """The API's own address, without a slash at its end."""
    fixed = os.environ.get("GEODROP_PUBLIC_URL")
    if fixed:
        return fixed.rstrip("/")
    context = event.get("requestContext", {})
    stage = context.get("stage", "$default")
    host = context.get("domainName") or headers.get("host", "localhost")
    return f"https://{host}" + ("" if stage == "$default" else f"/{stage}")


# -- datasets and entity tags -------------------------------------------------------------------------------


def _contract(name: str) -> Contract:
    found = contracts().get(name)
    if found is None:
        raise wrong("dataset", name, f"one of {', '.join(contracts())}")
    return found


def _revision(contract: Contract) -> tuple[int, int]:
    """The dataset's number and revision; zeros where nothing was loaded yet."""
    found = database.run(
        query.Statement(
            "select dataset_id::integer, revision from geodrop.dataset where name = :name", {"name": contract.name}
        )
    )
    return (found[0][0], found[0][1]) if found else (0, 0)


def _tagged(request: Request, *told: object) -> dict[str, str]:
    """Headers of an answer that depends on what is told and asked; raises _NotModifiedError if the client has it."""
    tag = (
        f'W/"{query.digest(package.version(), request.route, request.values, request.base, _accepted(request), *told)}"'
    )
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        raise _NotModifiedError(tag)
    return {"etag": tag, "cache-control": "no-cache"}


def _accepted(request: Request) -> str:
    return request.headers.get("accept", "")


def _format(request: Request, known: Sequence[str]) -> str:
    """The parameter f, else the first known type that Accept names, else the first."""
    chosen = request.values.get("f")
    if chosen:
        return str(chosen)
    for offered in _accepted(request).split(","):
        kind = offered.split(";")[0].strip().lower()
        for name in known:
            if kind == _FORMATS[name].split(";")[0] or (kind == JSON and name == "geojson"):
                return name
    return known[0]


# -- routes -------------------------------------------------------------------------------------------------


def _aggregated(request: Request) -> Answer:
    contract = _contract(request.values["dataset"])
    asked = query.parse(contract, request.values)
    form = _format(request, ("geojson", "csv", "ndjson"))
    number, revision = _revision(contract)
    headers = _tagged(request, revision, contract.fingerprint)
    name = query.digest({k: v for k, v in request.values.items() if k not in ("cursor", "limit", "f", "count")})
    timed = asked.bucket != "all"
    kinds: tuple[type, ...] = (int, int, *([str] if timed else []))
    if asked.sort != "cell":
        kinds = (str, str, int, int)
    if "cursor" in request.values:
        key = query.read_cursor(request.values["cursor"], name, kinds)
        asked = replace(asked, after=_checked_key(key, request.values["cursor"]))
    found, text, *last = database.run(query.cells(asked, number, form=form))[0]
    links = [{"rel": "self", "href": request.link("/aggregated-data"), "type": _FORMATS[form]}]
    if found > asked.limit:
        key, bucket, x, y = last
        place = (x, y, *([bucket] if timed else [])) if asked.sort == "cell" else (key, bucket, x, y)
        after = request.link("/aggregated-data", cursor=query.write_cursor(name, place))
        links.append({"rel": "next", "href": after, "type": _FORMATS[form]})
        headers["link"] = f'<{after}>; rel="next"'
    matched = None
    if request.values["count"]:
        matched = database.run(query.cells_matched(asked, number))[0][0]
        headers["x-number-matched"] = str(matched)
    end = "\n" if found else ""
    if form == "csv":
        return Answer(200, CSV, f"{','.join(query.columns(asked))}\n{text}{end}", headers)
    if form == "ndjson":
        return Answer(200, NDJSON, f"{text}{end}", headers)
    about = {
        "type": "FeatureCollection",
        "dataset": contract.name,
        "level": asked.level,
        "bucket": asked.bucket,
        "numberReturned": min(found, asked.limit),
        **({} if matched is None else {"numberMatched": matched}),
        "links": links,
    }
    return Answer(200, GEOJSON, f'{json.dumps(about)[:-1]}, "features": [\n{text}\n]}}', headers)


def _checked_key(key: tuple[Any, ...], cursor: str) -> tuple[Any, ...]:
    """A cursor's key, whose texts must be a number and a time: it came from outside."""
    for text in key[:-2] if isinstance(key[-1], int) else key[2:]:
        if isinstance(text, str) and not query.is_key_text(text):
            raise wrong("cursor", cursor, "the cursor of a link next")
    return key


def _series(request: Request) -> Answer:
    contract = _contract(request.values["dataset"])
    asked = query.parse(contract, request.values | {"bucket": request.values.get("bucket", contract.bucket)})
    form = _format(request, ("json", "csv", "ndjson"))
    number, revision = _revision(contract)
    headers = _tagged(request, revision, contract.fingerprint)
    name = query.digest("series", {k: v for k, v in request.values.items() if k not in ("cursor", "limit", "f")})
    if "cursor" in request.values:
        key = query.read_cursor(request.values["cursor"], name, (str, str))
        if not query.is_key_text(key[0]) or "\0" in key[1]:
            raise wrong("cursor", request.values["cursor"], "the cursor of a link next")
        asked = replace(asked, after=key)
    rows = database.run(query.series(asked, number))
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    links = [{"rel": "self", "href": request.link("/aggregated-data/series"), "type": _FORMATS[form]}]
    if more:
        cursor = query.write_cursor(name, (rows[-1][-1], rows[-1][1]))
        after = request.link("/aggregated-data/series", cursor=cursor)
        links.append({"rel": "next", "href": after, "type": _FORMATS[form]})
        headers["link"] = f'<{after}>; rel="next"'
    if form == "csv":
        return Answer(200, CSV, _csv(query.SERIES_COLUMNS, [row[:-1] for row in rows]), headers)
    told = [_series_row(row) for row in rows]
    if form == "ndjson":
        return Answer(200, NDJSON, "".join(json.dumps(row) + "\n" for row in told), headers)
    about = {
        "dataset": contract.name,
        "level": asked.level,
        "bucket": asked.bucket,
        "numberReturned": len(rows),
        "links": links,
        "series": told,
    }
    return Answer(200, JSON, json.dumps(about), headers)


def _series_row(row: list[str | None]) -> dict[str, Any]:
    told: dict[str, Any] = dict(zip(query.SERIES_COLUMNS, row, strict=False))
    for name in query.SERIES_COLUMNS[2:]:
        text = told[name]
        told[name] = None if text is None else int(text) if name == "count" else float(text)
    return told


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _tile(request: Request) -> Answer:
    values = request.values
    contract = _contract(values["dataset"])
    zoom = values["z"]
    for name in ("x", "y"):
        if values[name] >= 1 << zoom:
            raise wrong(name, values[name], f"0 to {(1 << zoom) - 1} at zoom {zoom}")
    asked = query.parse(contract, values)
    number, revision = _revision(contract)
    headers = _tagged(request, revision, contract.fingerprint)
    found = database.run(query.tile(asked, number, zoom, values["x"], values["y"]))
    return Answer(200, MVT, bytes.fromhex(found[0][0]), headers)


def _tile_json(request: Request) -> Answer:
    contract = _contract(request.values["dataset"])
    query.parse(contract, request.values)
    address = f"{request.base}/aggregated-data/tiles/{{z}}/{{x}}/{{y}}" + (f"?{request.query}" if request.query else "")
    told = {
        "tilejson": "3.0.0",
        "name": contract.title,
        "description": contract.description,
        "attribution": contract.source,
        "tiles": [address],
        "minzoom": 0,
        "maxzoom": min(contract.finest + 2, 24),
        "bounds": [-180, -85.05112877980659, 180, 85.05112877980659],
        "vector_layers": [{"id": query.TILE_LAYER, "fields": query.TILE_FIELDS}],
    }
    return Answer(200, JSON, json.dumps(told), _tagged(request, told))


_summaries: dict[str, tuple[int, dict[str, Any]]] = {}


def _datasets(request: Request) -> Answer:
    revisions = {contract.name: _revision(contract) for contract in contracts().values()}
    headers = _tagged(request, revisions)
    return Answer(
        200,
        JSON,
        json.dumps({"datasets": [_described(contracts()[name], *at) for name, at in revisions.items()]}),
        headers,
    )


def _described(contract: Contract, number: int, revision: int) -> dict[str, Any]:
    """A dataset's contract and what is in it; remembered for its revision."""
    known = _summaries.get(contract.name)
    if known is None or known[0] != revision:
        known = _summaries[contract.name] = revision, _summary(contract, number)
    return {
        "name": contract.name,
        "title": contract.title,
        "description": contract.description,
        "source": contract.source,
        "license": contract.license,
        "format": contract.format,
        "mode": contract.mode,
        "bucket": contract.bucket,
        "levels": contract.levels,
        "value": {"name": contract.value_name, "unit": contract.value_unit, "decimals": contract.decimals},
        "upload": f"landing/{contract.name}/",
        "fields": contract.document["fields"],
        "schema": contract.document["schema"],
        **known[1],
    }


def _summary(contract: Contract, number: int) -> dict[str, Any]:
    level = contract.levels[min(1, len(contract.levels) - 1)]
    names = {"dataset": number, "level": level}
    found = database.run(
        query.Statement(
            "select category, sum(count)::bigint, to_json(min(first_time))#>>'{}', to_json(max(last_time))#>>'{}',"
            " min(x), min(y), max(x), max(y) from geodrop.aggregate"
            " where dataset_id = cast(:dataset as smallint) and level = cast(:level as smallint)"
            " and bucket = '-infinity' group by category order by 2 desc, 1",
            names,
        )
    )
    side = grid.size(level)
    return {
        "count": sum(row[1] for row in found),
        "first": min((row[2] for row in found), default=None),
        "last": max((row[3] for row in found), default=None),
        "bbox": [
            min(row[4] for row in found) * side - 180,
            min(row[5] for row in found) * side - 90,
            (max(row[6] for row in found) + 1) * side - 180,
            (max(row[7] for row in found) + 1) * side - 90,
        ]
        if found
        else None,
        "categories": [{"category": row[0], "count": row[1]} for row in found[:_SUMMARIES]],
    }


_LEDGER = (
    "l.object_id, l.bucket, l.key, d.name, l.state, l.reason, l.rows, l.accepted, l.rejected, l.bytes, l.version,"
    " l.etag, l.seconds, to_json(l.modified)#>>'{}', to_json(l.finished)#>>'{}'"
)
_LEDGER_FROM = "geodrop.ledger as l left join geodrop.dataset as d using (dataset_id)"


def _entry(row: Sequence[Any]) -> dict[str, Any]:
    identity, bucket, key, dataset, state, reason, rows, accepted, rejected, size, version, etag, *times = row
    return {
        "id": identity,
        "object": f"s3://{bucket}/{key}",
        "dataset": dataset,
        "state": state,
        "reason": reason,
        "rows": rows,
        "accepted": accepted,
        "rejected": rejected,
        "bytes": size,
        "version": version,
        "etag": etag,
        "seconds": times[0],
        "modified": times[1],
        "finished": times[2],
    }


def _ingestions(request: Request) -> Answer:
    values = request.values
    where, given = ["true"], {"limit": values["limit"] + 1}
    if "dataset" in values:
        where.append("d.name = :dataset")
        given["dataset"] = _contract(values["dataset"]).name
    if "state" in values:
        where.append("l.state = :state")
        given["state"] = values["state"]
    if "cursor" in values:
        (before,) = query.read_cursor(values["cursor"], "ingestions", (int,))
        where.append("l.object_id < cast(:before as bigint)")
        given["before"] = before
    sql = (
        f"select {_LEDGER} from {_LEDGER_FROM} where {' and '.join(where)}"
        " order by l.object_id desc limit cast(:limit as integer)"
    )
    rows = database.run(query.Statement(sql, given))
    more, rows = len(rows) > values["limit"], rows[: values["limit"]]
    links = [{"rel": "self", "href": request.link("/ingestions")}]
    if more:
        cursor = query.write_cursor("ingestions", (rows[-1][0],))
        links.append({"rel": "next", "href": request.link("/ingestions", cursor=cursor)})
    told = {"ingestions": [_entry(row) for row in rows], "numberReturned": len(rows), "links": links}
    return Answer(200, JSON, json.dumps(told), {"cache-control": "no-cache"})


def _ingestion(request: Request) -> Answer:
    given = {"id": request.values["id"]}
    found = database.run(
        query.Statement(f"select {_LEDGER} from {_LEDGER_FROM} where l.object_id = cast(:id as bigint)", given)
    )
    if not found:
        raise NotFoundError(f"there is no ingestion {request.values['id']}")
    by_rule = database.run(
        query.Statement(
            "select field, rule, count from geodrop.reject_count where object_id = cast(:id as bigint)"
            " order by count desc, field, rule",
            given,
        )
    )
    first = database.run(
        query.Statement(
            "select line, field, rule, reason, raw from geodrop.reject where object_id = cast(:id as bigint)"
            " order by line, field limit 1000",
            given,
        )
    )
    told = _entry(found[0]) | {
        "rejects_by_rule": [dict(zip(("field", "rule", "count"), row, strict=True)) for row in by_rule],
        "rejects": [dict(zip(("line", "field", "rule", "reason", "raw"), row, strict=True)) for row in first],
    }
    return Answer(200, JSON, json.dumps(told), {"cache-control": "no-cache"})


def _health(request: Request) -> Answer:
    del request
    told = {"status": "ok", "database": "reachable", "migrations": "current"}
    try:
        rows = database.run(query.Statement("select version, checksum from geodrop.migration", {}))
    except (InterfaceError, DatabaseError, OSError) as error:
        code = code_of(error) if isinstance(error, DatabaseError) else ""
        logs.log("ERROR", "database not healthy", error=type(error).__name__, sqlstate=code)
        missing = code in ("42P01", "3F000", "42501")
        told["database"] = "reachable" if missing else "unreachable"
        told["migrations"] = "not applied" if missing else "unknown"
        rows = []
    newer: list[str] = []
    if told["migrations"] == "current":
        applied, wanted = dict(rows), package.migration_checksums()
        if behind := sorted(wanted.keys() - applied.keys()):
            told["migrations"] = f"not applied yet: {', '.join(behind)}"
        elif any(applied[version] != checksum for version, checksum in wanted.items()):
            told["migrations"] = "other than this version's"
        newer = sorted(applied.keys() - wanted.keys())
    if told["migrations"] != "current":
        told["status"] = "unavailable"
    elif newer:  # while an apply is under way, or after a rollback
        told["migrations"] = f"ahead of this version: {', '.join(newer)}"
    return Answer(200 if told["status"] == "ok" else 503, JSON, json.dumps(told), {"cache-control": "no-store"})


def _openapi(request: Request) -> Answer:
    document = package.openapi() | {"servers": [{"url": request.base}]}
    return Answer(200, JSON, json.dumps(document), _tagged(request))


def _page(request: Request) -> Answer:
    from geodrop import page

    content, zipped, policy = page.index()
    headers = _tagged(request, page.version()) | {"content-security-policy": policy, "referrer-policy": "no-referrer"}
    return _static(request, _HTML, content, zipped, headers)


def _page_file(request: Request) -> Answer:
    from geodrop import page

    found = page.file(request.values["file"])
    if found is None:
        raise NotFoundError("the page has no such file")
    kind, content, zipped = found
    current = request.values["version"] == page.version()
    headers = {"cache-control": "public, max-age=31536000, immutable" if current else "no-cache"}
    return _static(request, kind, content, zipped, headers)


def _static(request: Request, kind: str, content: bytes, zipped: bytes | None, headers: dict[str, str]) -> Answer:
    """An answer with the copy that was gzipped once, where the client takes it."""
    if zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Answer(200, kind, zipped, headers | {"content-encoding": "gzip"})
    return Answer(200, kind, content, headers)


_ROUTES: dict[str, Callable[[Request], Answer]] = {
    "GET /aggregated-data": _aggregated,
    "GET /aggregated-data/series": _series,
    "GET /aggregated-data/tiles.json": _tile_json,
    "GET /aggregated-data/tiles/{z}/{x}/{y}": _tile,
    "GET /datasets": _datasets,
    "GET /ingestions": _ingestions,
    "GET /ingestions/{id}": _ingestion,
    "GET /health": _health,
    "GET /openapi.json": _openapi,
    "GET /": _page,
    "GET /web/{version}/{file}": _page_file,
}
