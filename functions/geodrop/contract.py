"""Contracts: what a dataset's files hold, what a row must be, and how rows are aggregated.

A contract is one file, ``datasets/<name>.yaml``; ``docs/contracts.md`` documents its keys. It is checked
when loaded, and refused with the file, the key and what is expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from cerberus import SchemaError, Validator

from geodrop import package
from geodrop.errors import ContractError
from geodrop.grid import MAX_LEVEL
from geodrop.rules import COERCIONS, RowValidator, to_datetime, validator

Format = Literal["csv", "geojson", "geojsonl"]
Mode = Literal["append", "latest"]
Bucket = Literal["hour", "day", "month"]

EXACT_INTEGER = 2**53 - 1
"""Largest integer up to which a float is exact: scaled values stay within it, so that sums are exact."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

_FIELD = {"type": "string", "minlength": 1}
_SHAPE: dict[str, Any] = {
    "title": {"type": "string", "minlength": 1, "required": True},
    "description": {"type": "string", "default": ""},
    "source": {"type": "string", "default": ""},
    "license": {"type": "string", "default": ""},
    "format": {"type": "string", "allowed": ["csv", "geojson", "geojsonl"], "required": True},
    "delimiter": {"type": "string", "allowed": [",", ";", "\t", "|"], "default": ","},
    "mode": {"type": "string", "allowed": ["append", "latest"], "default": "append"},
    "fields": {
        "type": "dict",
        "required": True,
        "schema": {
            "place": {
                "type": "list",
                "items": [_FIELD, _FIELD],
                "default": ["longitude", "latitude"],
            },
            "time": {**_FIELD, "required": True},
            "category": _FIELD,
            "value": _FIELD,
            "id": _FIELD,
            "updated": _FIELD,
        },
    },
    "value": {
        "type": "dict",
        "default": {},
        "schema": {
            "name": {"type": "string", "default": ""},
            "unit": {"type": "string", "default": ""},
            "decimals": {"type": "integer", "min": 0, "max": 9, "default": 3},
        },
    },
    "bucket": {"type": "string", "allowed": ["hour", "day", "month"], "default": "day"},
    "levels": {
        "type": "list",
        "minlength": 1,
        "maxlength": 8,
        "schema": {"type": "integer", "min": 0, "max": MAX_LEVEL},
        "required": True,
    },
    "limits": {
        "type": "dict",
        "default": {},
        "schema": {
            "max_bytes": {"type": "integer", "min": 1, "default": 8 * 1024**3},
            "max_row_bytes": {"type": "integer", "min": 64, "max": 8 * 1024**2, "default": 1024**2},
            "max_columns": {"type": "integer", "min": 1, "default": 500},
        },
    },
    "schema": {
        "type": "dict",
        "required": True,
        "minlength": 1,
        "keysrules": _FIELD,
        "valuesrules": {"type": "dict"},
    },
}
_COERCE_OF_TEXT = {"float": "float", "number": "float", "integer": "integer", "boolean": "boolean"}
_ROLE_TYPES: dict[str, tuple[str, ...]] = {
    "time": ("datetime",),
    "category": ("string",),
    "value": ("float", "integer", "number"),
    "id": ("string",),
    "updated": ("datetime",),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What protects a run from hostile or broken files; all sizes in bytes, after gunzip."""

    max_bytes: int
    max_row_bytes: int
    max_columns: int


@dataclass(frozen=True)
class Contract:
    """One dataset, checked. ``schema`` is complete: implied coercions and bounds are written out."""

    PLACE_BOUNDS: ClassVar[tuple[float, float]] = (180.0, 90.0)

    name: str
    title: str
    description: str
    source: str
    license: str
    format: Format
    delimiter: str
    mode: Mode
    longitude: str
    latitude: str
    time: str
    category: str | None
    value: str | None
    id: str | None
    updated: str | None
    value_name: str
    value_unit: str
    decimals: int
    bucket: Bucket
    levels: tuple[int, ...]
    limits: Limits
    schema: Mapping[str, Mapping[str, Any]]
    document: Mapping[str, Any] = field(repr=False)

    @property
    def finest(self) -> int:
        """The finest level: partials and observations are kept at it."""
        return self.levels[-1]

    @property
    def scale(self) -> int:
        """Values are summed as integers of 1/scale."""
        return int(10**self.decimals)

    @property
    def fingerprint(self) -> str:
        """Mode, bucket, levels and decimals as JSON: where they differ, aggregates are not comparable."""
        return json.dumps([self.mode, self.bucket, self.levels, self.decimals])

    def validator(self, *fields: str) -> RowValidator:
        """A Cerberus validator for the named fields of a row (all of them where none is named)."""
        return validator({name: self.schema[name] for name in fields or self.schema})


def _problems(errors: Mapping[Any, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key, reasons in errors.items():
        where = f"{path}.{key}" if path else str(key)
        for reason in reasons:
            found += _problems(reason, where) if isinstance(reason, Mapping) else [f"{where}: {reason}"]
    return found


def _rules(given: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A field's rules with what the format implies: text files hold text, so types need a coercion."""
    rules = dict(given)
    if "coerce" not in rules:
        if rules.get("type") == "datetime":
            rules["coerce"] = "datetime"
        elif document["format"] == "csv" and rules.get("type") in _COERCE_OF_TEXT:
            rules["coerce"] = _COERCE_OF_TEXT[rules["type"]]
    for bound in ("min", "max"):
        if rules.get("type") == "datetime" and isinstance(rules.get(bound), str):
            rules[bound] = to_datetime(rules[bound])
    return rules


def _bounded(rules: dict[str, Any], low: float, high: float) -> None:
    rules["min"] = max(low, rules.get("min", low))
    rules["max"] = min(high, rules.get("max", high))


def parse(name: str, file: str, mapping: object) -> Contract:
    """Check a contract's mapping and give it its types.

    Raises ContractError that names the file, the key and what is expected.
    """
    try:
        return _parse(name, mapping)
    except ContractError as error:
        raise ContractError("; ".join(f"{file}: {told}" for told in error.args)) from None


def _parse(name: str, mapping: object) -> Contract:
    if not NAME.fullmatch(name):
        raise _refusal("name", "a dataset's file is named in lower case: a-z, 0-9 and -, at most 63 characters")
    if not isinstance(mapping, Mapping):
        raise _refusal("contract", "expected a mapping of keys such as title, format, fields, levels, schema")
    shape = Validator(_SHAPE)
    if not shape.validate(mapping):
        raise ContractError(*_problems(shape.errors))
    document: dict[str, Any] = shape.document
    fields, value = document["fields"], document["value"]
    levels = document["levels"]
    if sorted(set(levels)) != levels:
        raise _refusal("levels", "expected rising levels, coarse to fine, such as [3, 6, 9, 12]")
    schema = _schema(document)
    _check_roles(document, schema)
    longitude, latitude = fields["place"]
    decimals = value["decimals"]
    _bounded(schema[longitude], -Contract.PLACE_BOUNDS[0], Contract.PLACE_BOUNDS[0])
    _bounded(schema[latitude], -Contract.PLACE_BOUNDS[1], Contract.PLACE_BOUNDS[1])
    if "value" in fields:
        largest = EXACT_INTEGER / 10**decimals
        _bounded(schema[fields["value"]], -largest, largest)
    try:
        validator(schema)
    except SchemaError as error:
        problems = error.args[0]
        told = _problems(problems, "schema") if isinstance(problems, Mapping) else [f"schema: {problems}"]
        raise ContractError(*told) from None
    return Contract(
        name=name,
        title=document["title"],
        description=document["description"],
        source=document["source"],
        license=document["license"],
        format=document["format"],
        delimiter=document["delimiter"],
        mode=document["mode"],
        longitude=longitude,
        latitude=latitude,
        time=fields["time"],
        category=fields.get("category"),
        value=fields.get("value"),
        id=fields.get("id"),
        updated=fields.get("updated"),
        value_name=value["name"] or fields.get("value", ""),
        value_unit=value["unit"],
        decimals=decimals,
        bucket=document["bucket"],
        levels=tuple(levels),
        limits=Limits(**document["limits"]),
        schema=schema,
        document=mapping,
    )


def _refusal(key: str, expected: str) -> ContractError:
    return ContractError(f"{key}: {expected}")


def _schema(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema with what the format implies written out, each field's rules looked at."""
    for key, rules in document["schema"].items():
        coerce = rules.get("coerce", [])
        for one in [coerce] if isinstance(coerce, str) else coerce:
            if one not in COERCIONS:
                raise _refusal(f"schema.{key}.coerce", f"{one!r} is unknown; known are {', '.join(COERCIONS)}")
        if not isinstance(rules.get("type"), str):
            raise _refusal(f"schema.{key}.type", "every field needs one type, such as string, float or datetime")
        if "regex" in rules:
            try:
                re.compile(str(rules["regex"]))
            except re.error as error:
                raise _refusal(f"schema.{key}.regex", f"not a regular expression: {error}") from None
    try:
        return {key: _rules(rules, document) for key, rules in document["schema"].items()}
    except ValueError as error:
        raise _refusal("schema", f"bound of a datetime: {error}") from None


def _check_roles(document: Mapping[str, Any], schema: dict[str, dict[str, Any]]) -> None:
    """Place, time, category, value, id and updated are fields of the schema, of types that fit."""
    fields = document["fields"]
    longitude, latitude = fields["place"]
    for key, role in ((longitude, "fields.place[0]"), (latitude, "fields.place[1]")):
        if schema.get(key, {}).get("type") not in ("float", "number"):
            raise _refusal(role, f"{key!r} must be in schema with type float")
    for role, types in _ROLE_TYPES.items():
        if role in fields and schema.get(fields[role], {}).get("type") not in types:
            raise _refusal(f"fields.{role}", f"{fields[role]!r} must be in schema with type {' or '.join(types)}")
    for key in (longitude, latitude, fields["time"], *([fields["id"]] if "id" in fields else [])):
        schema[key]["required"] = True
        if schema[key].get("nullable") or "default" in schema[key]:
            raise _refusal(f"schema.{key}", "place, time and id can be neither nullable nor have a default")
    if document["mode"] == "latest" and "id" not in fields:
        raise _refusal("fields.id", "mode latest needs to know which field is the id")
    if document["mode"] == "append" and "updated" in fields:
        raise _refusal("fields.updated", "only mode latest compares rows; remove it or set mode: latest")


@cache
def contracts() -> dict[str, Contract]:
    """Every dataset of this package by name, checked. Raises ContractError."""
    return {name: parse(name, file, mapping) for name, (file, mapping) in package.datasets().items()}
