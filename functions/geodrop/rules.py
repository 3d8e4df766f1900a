"""Cerberus, made strict: the rules a row is held against.

``RowValidator`` is Cerberus with the gaps closed that matter for files from strangers:

- a float must be finite (Cerberus lets NaN pass ``min`` and ``max``);
- ``true`` is not a number;
- text that PostgreSQL cannot store (NUL, lone surrogates) is refused;
- coercions are strict: no ``1_000``, no surrounding blanks, no digits outside ASCII;
- a regex must match the whole text (Cerberus lets a trailing newline pass).

It is the one source of truth for what is accepted; ``checker`` compiles the same rules for speed and is
tested against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, ClassVar

from cerberus import TypeDefinition, Validator, errors

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"[+-]?[0-9]+")
RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_INTEGER = 30


def to_float(value: object) -> float:
    """A finite number, from a number or its plain decimal text. Raises ValueError."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError("expected a number such as -12.5")


def to_integer(value: object) -> int:
    """An integer, from an integer, a whole float or decimal text. Raises ValueError."""
    if isinstance(value, str) and len(value) <= _LONGEST_INTEGER and INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and isfinite(value) and value == int(value):
        return int(value)
    raise ValueError("expected an integer such as 42")


def to_boolean(value: object) -> bool:
    """A boolean, from a boolean or ``true``, ``false``, ``1``, ``0``. Raises ValueError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false", "1", "0"):
        return value in ("true", "1")
    raise ValueError("expected true or false")


def to_datetime(value: object) -> datetime:
    """An instant in UTC, from RFC 3339 text with at most six fractional digits. Raises ValueError.

    Source: RFC 3339, section 5.6, without leap seconds (PostgreSQL and Python have none).
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, str) and RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("expected an RFC 3339 time such as 2018-02-07T01:26:13.840Z")


def _since_epoch(value: object, unit: timedelta, example: str) -> datetime:
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is None and isinstance(value, str) and NUMBER.fullmatch(value) and len(value) <= _LONGEST_INTEGER:
        number = int(value) if INTEGER.fullmatch(value) else float(value)
    if number is not None and isfinite(number):
        try:
            return EPOCH + unit * number
        except OverflowError:
            pass
    raise ValueError(f"expected a time since 1970 such as {example}")


def from_epoch_ms(value: object) -> datetime:
    """An instant in UTC, from milliseconds since 1970. Raises ValueError."""
    return _since_epoch(value, timedelta(milliseconds=1), "1517966773840 (milliseconds)")


def from_epoch_s(value: object) -> datetime:
    """An instant in UTC, from seconds since 1970. Raises ValueError."""
    return _since_epoch(value, timedelta(seconds=1), "1517966773 (seconds)")


def to_text(value: object) -> str:
    """Text, from text or an integer. Raises ValueError."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("expected text")


def _of_text(method: str) -> Any:
    def convert(value: object) -> object:
        return getattr(value, method)() if isinstance(value, str) else value

    return convert


COERCIONS = {
    "float": to_float,
    "integer": to_integer,
    "boolean": to_boolean,
    "datetime": to_datetime,
    "epoch_ms": from_epoch_ms,
    "epoch_s": from_epoch_s,
    "text": to_text,
    "strip": _of_text("strip"),
    "lower": _of_text("lower"),
    "upper": _of_text("upper"),
}
"""Coercions a contract may name, by name."""


def storable(text: str) -> bool:
    """Whether PostgreSQL can store the text as UTF-8."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class RowValidator(Validator):  # type: ignore[misc]
    """Cerberus with strict coercions, finite floats, storable text and whole-text regexes."""

    types_mapping: ClassVar[dict[str, TypeDefinition]] = Validator.types_mapping | {
        "float": TypeDefinition("float", (float, int), (bool,)),
        "integer": TypeDefinition("integer", (int,), (bool,)),
    }

    def _validate_type(self, data_type: object, field: str, value: object) -> None:
        """{'type': ['string', 'list'], 'check_with': 'type'}"""
        if isinstance(value, float) and not isfinite(value):
            self._error(field, "must be a finite number")
            self._drop_remaining_rules()
        elif isinstance(value, str) and not storable(value):
            self._error(field, "has characters that are not valid UTF-8 text")
            self._drop_remaining_rules()
        else:
            super()._validate_type(data_type, field, value)

    def _validate_regex(self, pattern: str, field: str, value: object) -> None:
        """{'type': 'string'}"""
        if isinstance(value, str) and not re.fullmatch(pattern.removesuffix("$"), value):
            self._error(field, errors.REGEX_MISMATCH)


def validator(schema: Mapping[str, Mapping[str, Any]]) -> RowValidator:
    """A validator for rows; fields that the schema does not name are ignored.

    Coercions are given by name, as in a contract. Raises cerberus.SchemaError.
    """
    prepared = {}
    for field, rules in schema.items():
        prepared[field] = dict(rules)
        if "coerce" in rules:
            names = rules["coerce"]
            prepared[field]["coerce"] = [COERCIONS[name] for name in ([names] if isinstance(names, str) else names)]
    return RowValidator(prepared, purge_unknown=True)
