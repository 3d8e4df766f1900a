"""Readers: bytes of a file to batches of raw, positional rows, at constant memory.

CSV, GeoJSON FeatureCollection and GeoJSON lines; each may be gzipped (told by its first bytes, not by its
name). A file that is broken as a whole raises UnreadableObjectError; a broken row comes out as a Malformed,
for the rejects.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from geodrop.checker import MISSING, RAW_LIMIT, Malformed
from geodrop.contract import Contract, Limits
from geodrop.errors import UnreadableObjectError

BATCH_ROWS = 2000
BLOCK_BYTES = 128 * 1024
_GZIP = b"\x1f\x8b"
_WHITESPACE = " \t\r\n"
_NEXT_OBJECT = re.compile(r"[ \t\r\n]*,[ \t\r\n]*(?=\{)").match

csv.field_size_limit(1024 * 1024)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows in file order.

    ``clean`` says that all their text can be stored as it is; otherwise each row goes the careful way.
    ``line(i)`` is where row ``i`` stands: its line, or its feature's number in a FeatureCollection.
    """

    rows: Sequence[Any]
    clean: bool
    line: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns and its rows."""

    columns: tuple[str, ...]
    text: bool
    batches: Iterator[Batch]


def inflate(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The chunks, gunzipped where they are gzip, never more than the limit and never large at once."""
    total = 0
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_GZIP):
            break
    plain = _gunzip(chain([head], chunks)) if head.startswith(_GZIP) else chain([head], chunks)
    for chunk in plain:
        total += len(chunk)
        if total > limits.max_bytes:
            raise UnreadableObjectError(
                f"holds more than {limits.max_bytes} bytes once unpacked; split it, or raise limits.max_bytes"
            )
        if chunk:
            yield chunk


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if member.eof:  # gzip files may be concatenated
                member = zlib.decompressobj(wbits=31)
            try:
                yield member.decompress(data, BLOCK_BYTES)
            except zlib.error:
                raise UnreadableObjectError("is not a valid gzip file: its compressed data is damaged") from None
            data = member.unused_data if member.eof else member.unconsumed_tail
    if not member.eof:
        raise UnreadableObjectError("is a truncated gzip file: it ends in the middle of its data; upload it again")


def read(contract: Contract, chunks: Iterator[bytes]) -> Table:
    """Open a file as its contract says.

    Parameters
    ----------
    contract
        Gives format, columns and limits.
    chunks
        The object's bytes, in pieces of any size.

    Raises
    ------
    UnreadableObjectError
        Here or while the batches are consumed: the file can never be read.
    """
    plain = inflate(chunks, contract.limits)
    if contract.format == "csv":
        return _Csv(contract, plain).table()
    columns = tuple(contract.schema)
    if contract.format == "geojson":
        return Table(columns, text=False, batches=_batches(_Collection(contract, plain).features()))
    return Table(columns, text=False, batches=_batches(_json_lines(contract, plain)))


# -- CSV ----------------------------------------------------------------------------------------------------


class _Csv:
    """CSV as RFC 4180 has it, with a header, in UTF-8 (a BOM is skipped), with LF or CRLF line ends."""

    def __init__(self, contract: Contract, chunks: Iterator[bytes]) -> None:
        self._contract = contract
        self._chunks = chunks
        self._dirty = False  # of the block the reader is in
        self._dirty_since = False  # of any block since the last batch
        lines = chain.from_iterable(self._blocks())
        self._reader = csv.reader(lines, delimiter=contract.delimiter)

    def table(self) -> Table:
        header = next(self._rows(1), None)
        if not header:
            return Table((), text=True, batches=iter(()))
        columns = tuple(name.strip() for name in header[0])
        limit = self._contract.limits.max_columns
        if len(columns) > limit:
            raise UnreadableObjectError(f"has {len(columns)} columns; at most {limit} are read")
        twice = sorted({name for name in columns if columns.count(name) > 1 and name in self._contract.schema})
        if twice:
            raise UnreadableObjectError(f"names the column {twice[0]!r} twice in its header")
        missing = [
            name for name, rules in self._contract.schema.items() if rules.get("required") and name not in columns
        ]
        if missing:
            raise UnreadableObjectError(
                f"lacks the column {', '.join(map(repr, missing))} in its header, which reads: "
                f"{self._contract.delimiter.join(columns)[:RAW_LIMIT]}"
            )
        return Table(columns, text=True, batches=self._batches())

    def _batches(self) -> Iterator[Batch]:
        before = self._reader.line_num
        for rows in self._rows(BATCH_ROWS):
            clean = not self._dirty_since
            self._dirty_since = self._dirty
            yield Batch(
                [row for row in rows if row] if [] in rows else rows,
                clean,
                _line_counter(rows, before, self._reader.line_num),
            )
            before = self._reader.line_num

    def _rows(self, count: int) -> Iterator[list[list[str]]]:
        while True:
            try:
                rows = list(islice(self._reader, count))
            except csv.Error as error:
                raise UnreadableObjectError(
                    f"line {self._reader.line_num}: {error}; is a quote left open before it?"
                ) from None
            if not rows:
                return
            yield rows

    def _blocks(self) -> Iterator[io.StringIO]:
        """Whole lines, some 128 KB at a time."""
        limit = self._contract.limits.max_row_bytes
        rest = b""
        first = True
        for chunk in self._chunks:
            data = rest + chunk
            if len(data) < BLOCK_BYTES and not first:
                rest = data
                continue
            if first and len(data) < len(codecs.BOM_UTF8):
                rest = data
                continue
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if len(rest) > limit:
                raise UnreadableObjectError(f"has a line of more than {limit} bytes; is it CSV?")
            if end:
                yield self._block(data[:end], first=first)
                first = False
        if rest:
            yield self._block(rest, first=first)

    def _block(self, data: bytes, *, first: bool) -> io.StringIO:
        if first and data.startswith(codecs.BOM_UTF8):
            data = data[len(codecs.BOM_UTF8) :]
        elif first and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UnreadableObjectError("is UTF-16 text; save it as UTF-8")
        try:
            text = data.decode()
            self._dirty = "\0" in text
        except UnicodeDecodeError:
            text = data.decode(errors="surrogateescape")
            self._dirty = True
        self._dirty_since |= self._dirty
        return io.StringIO(text, newline="")


def _line_counter(rows: Sequence[Sequence[str]], before: int, after: int) -> Callable[[int], int]:
    """Where row ``i`` of the non-empty ones begins; a row can span lines inside quotes."""
    if after - before == len(rows) and [] not in rows:
        return lambda index: before + 1 + index
    starts: list[int] = []

    def line(index: int) -> int:
        if not starts:
            at = before + 1
            for row in rows:
                if row:
                    starts.append(at)
                at += 1 + sum(cell.count("\n") or cell.count("\r") for cell in row if "\n" in cell or "\r" in cell)
        return starts[index]

    return line


# -- GeoJSON ------------------------------------------------------------------------------------------------


def _batches(rows: Iterator[tuple[int, Any]]) -> Iterator[Batch]:
    while taken := list(islice(rows, BATCH_ROWS)):
        numbers = [number for number, _ in taken]
        yield Batch([row for _, row in taken], clean=True, line=numbers.__getitem__)


class _Features:
    """A decoded feature to a positional row, in the order of the contract's schema."""

    def __init__(self, contract: Contract) -> None:
        self._keys = tuple(contract.schema)
        self._pick = itemgetter(*self._keys)
        self._longitude, self._latitude = contract.longitude, contract.latitude

    def row(self, feature: Any) -> Any:
        try:
            if feature["type"] != "Feature":
                return _malformed(feature, "feature", "expected an object of type Feature")
            properties, geometry = feature["properties"], feature["geometry"]
        except (TypeError, KeyError, IndexError):
            return _malformed(feature, "feature", "expected a Feature with type, properties and geometry")
        if properties is None:
            properties = {}
        if not isinstance(properties, dict):
            return _malformed(feature, "feature", "expected properties to be an object or null")
        if not isinstance(geometry, dict) or geometry.get("type") != "Point":
            kind = geometry.get("type") if isinstance(geometry, dict) else geometry
            return _malformed(feature, "geometry", f"expected a Point, got {str(kind)[:40]}")
        place = geometry.get("coordinates")
        if not isinstance(place, list) or len(place) < 2:  # noqa: PLR2004  longitude and latitude
            return _malformed(feature, "geometry", "expected coordinates [longitude, latitude]")
        # The feature is nobody else's: what stands outside of its properties is put among them.
        properties[self._longitude] = place[0]
        properties[self._latitude] = place[1]
        properties["altitude"] = place[2] if len(place) > 2 else MISSING  # noqa: PLR2004
        if "id" in feature:
            properties["id"] = feature["id"]
        try:
            found = self._pick(properties)
        except KeyError:
            found = tuple(properties.get(key, MISSING) for key in self._keys)
        return found


def _malformed(value: object, rule: str, reason: str) -> Malformed:
    raw = value if isinstance(value, str) else json.dumps(value)
    return Malformed(rule, reason, raw[:RAW_LIMIT])


class _Collection:
    """A FeatureCollection, decoded feature by feature through a sliding window of text."""

    def __init__(self, contract: Contract, chunks: Iterator[bytes]) -> None:
        self._features = _Features(contract)
        self._limit = contract.limits.max_row_bytes
        self._chunks = chunks
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape").decode
        self._decoder: Any = json.JSONDecoder()
        self._text = ""
        self._between = ""
        self._at = 0
        self._ended = False

    def _more(self) -> bool:
        """Slide the window on; False at the end of the file."""
        if self._ended:
            return False
        chunk = next(self._chunks, None)
        self._text = self._text[self._at :] + self._decode(chunk or b"", final=chunk is None)
        self._at = 0
        self._ended = chunk is None
        return True

    def _peek(self) -> str:
        """Next character that is not blank; empty at the end of the file."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _WHITESPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._more():
                return ""

    def _expect(self, wanted: str, where: str) -> None:
        found = self._peek()
        if found != wanted:
            told = f"found {found!r}" if found else "the file ends there"
            raise UnreadableObjectError(f"is not a GeoJSON FeatureCollection: expected {wanted!r} {where}, {told}")
        self._at += 1

    def _value(self, where: str) -> Any:
        """Decode the value at the window's start, taking in more text until it is whole."""
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > self._limit:
                    raise UnreadableObjectError(
                        f"{where} is not valid JSON or is longer than {self._limit} characters"
                    ) from None
                if isinstance(error, json.JSONDecodeError) and self._grow():
                    continue
                told = "the file ends inside it" if self._ended else "it is not valid JSON"
                detail = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
                raise UnreadableObjectError(f"{where} cannot be read: {told} ({detail})") from None
            # A number at the very end of the window may go on in the next piece.
            if end == len(self._text) and not isinstance(value, (dict, list, str)) and self._more():
                continue
            self._at = end
            return value

    def _grow(self) -> bool:
        """At least double what the window holds, so that a long value is not scanned over and over."""
        size = len(self._text) - self._at
        grown = False
        while len(self._text) - self._at < 2 * size + 1 and self._more():
            grown = True
        return grown

    def features(self) -> Iterator[tuple[int, Any]]:
        """Every feature's number and row. Members of the collection may come in any order."""
        if not self._peek():
            return
        self._expect("{", "at its start")
        found = False
        while self._peek() != "}":
            key = self._value("a member's name")
            if not isinstance(key, str):
                raise UnreadableObjectError("is not a GeoJSON FeatureCollection: a member's name is not a text")
            self._expect(":", f"after {key[:40]!r}")
            if key == "features":
                if found:
                    raise UnreadableObjectError("has two members named features")
                found = True
                yield from self._array()
            else:
                value = self._value(f"member {key[:40]!r}")
                if key == "type" and value != "FeatureCollection":
                    raise UnreadableObjectError(f"is a GeoJSON {str(value)[:40]}; expected a FeatureCollection")
            self._comma("}", f"after {key[:40]!r}")
        self._at += 1
        if not found:
            raise UnreadableObjectError("is not a GeoJSON FeatureCollection: it has no features")
        if self._peek():
            raise UnreadableObjectError("goes on after the FeatureCollection's end")

    def _array(self) -> Iterator[tuple[int, Any]]:
        self._expect("[", "after 'features'")
        number = 0
        row = self._features.row
        while self._peek() != "]":
            for value in self._whole():
                number += 1
                yield number, row(value)
            number += 1
            yield number, row(self._value(f"feature {number}"))
            following = _NEXT_OBJECT(self._text, self._at)
            if following and number == 1:
                self._between = f"}}{following[0]}{{"
            self._comma("]", f"after feature {number}")
        self._at += 1

    def _whole(self) -> list[Any]:
        """Decode at once the features up to the last in the window that another one follows, at half the cost.

        Where that is, is guessed from what stood between the first two. A wrong guess shows: brackets around whole
        features, and around nothing else, are valid JSON. Then no more is guessed.
        """
        text, at = self._text, self._at
        end = text.rfind(self._between, at) + 1 if self._between else 0
        if not end:
            return []
        try:
            found: list[Any] = self._decoder.decode(f"[{text[at:end]}]")
        except (ValueError, RecursionError):
            self._between = ""
            return []
        self._at = end + len(self._between) - 2
        return found

    def _comma(self, closing: str, where: str) -> None:
        """Between two members a comma; none before the closing character."""
        if self._peek() != closing:
            self._expect(",", where)
            if self._peek() == closing:
                raise UnreadableObjectError(f"is not valid JSON: a comma before {closing!r} {where}")


def _json_lines(contract: Contract, chunks: Iterator[bytes]) -> Iterator[tuple[int, Any]]:
    """GeoJSON lines: a Feature on each line (RFC 8142's record separators are skipped)."""
    row = _Features(contract).row
    for number, data in _lines(chunks, contract.limits.max_row_bytes):
        line = data.decode(errors="surrogateescape").strip("\x1e" + _WHITESPACE)
        if not line:
            continue
        try:
            feature = json.loads(line)
        except (ValueError, RecursionError) as error:
            told = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be decoded"
            yield number, Malformed("json", f"is not valid JSON: {told}", line[:RAW_LIMIT])
        else:
            yield number, row(feature)


def _lines(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > limit:
            raise UnreadableObjectError(f"line {number + len(whole) + 1} has more than {limit} bytes")
        for line in whole:
            number += 1
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    if rest:
        yield number + 1, rest.removeprefix(codecs.BOM_UTF8) if number == 0 else rest
