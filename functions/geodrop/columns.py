"""Checks of whole columns: a batch that is all right is told so by C loops, at half the cost of row by row.

Each check takes one column of a batch and returns its COPY cells; it raises ValueError, TypeError,
AttributeError, OverflowError or LookupError where a value is wrong *or merely unusual*. Then the batch goes
row by row (``checker``), where unusual values pass. So a check may refuse too much, never accept too much.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from geodrop.rules import storable

Column = Sequence[Any]
Check = Callable[[Column], Sequence[str]]
One = Callable[[Any], object]
"""Checks one raw value and returns its COPY cell; raises where it is refused."""

REFUSALS = (ValueError, TypeError, AttributeError, OverflowError, LookupError)
_KINDS = {"string", "datetime", "float", "number", "integer"}
_NUMBERS = {int, float}
_LARGEST = sys.float_info.max
_NEVER_TINY = 300
"""Plain decimals of up to this many characters do not underflow to zero, which PostgreSQL would refuse."""
_LONGEST_INTEGER = 18
_STAMP, _LONGEST_STAMP = 20, 27
"""Lengths of 2018-02-07T01:26:13Z and of the same with six fractional digits."""
_CLASS = re.compile(r"(\[[^\]\\\[]+\])[+*]\$?")
"""A pattern that is one class of characters, repeated."""


def column(
    rules: Mapping[str, Any],
    one: One,
    null: str | None,
    escape: Callable[[str], str],
    *,
    text: bool,
    epoch: tuple[int, int, int] | None = None,
    repeats: bool = False,
) -> Check:
    """The check of one field's column.

    Parameters
    ----------
    rules
        The field's rules, all of them compiled ones.
    one
        Checks one value: for what repeats, and for rules that have no quicker way.
    null
        Cell of an empty CSV value; None where it is refused.
    escape
        Text as a COPY cell.
    text
        Whether values are CSV text, or decoded JSON.
    epoch
        For times since 1970: least, greatest, and how many microseconds the unit has.
    repeats
        Whether many rows share a value.
    """
    if repeats or any(name in rules for name in ("allowed", "forbidden", "empty")) or rules["type"] not in _KINDS:
        return _repeated(one)
    if rules["type"] == "string":
        plain = not any(name in rules for name in ("coerce", "min", "max"))
        return _strings(rules, one, escape, text=text) if plain else _repeated(one)
    if epoch is not None:
        return _epochs(*epoch, text=text)
    if rules["type"] == "datetime":
        return _stamps(rules)
    low, high = rules.get("min", -_LARGEST), rules.get("max", _LARGEST)
    if text:
        return _decimals(low, high, null, whole=rules["type"] == "integer")
    return _numbers(low, high, one, whole=rules["type"] == "integer", convert="coerce" in rules)


def _repeated(one: One) -> Check:
    """Each distinct value once: categories and closed lists."""

    def check(values: Column) -> Sequence[str]:
        if set(map(type, values)) != {str}:  # to a dict, True and 1.0 are the same key as 1
            return list(map(str, map(one, values)))
        cells = {value: str(one(value)) for value in set(values)}
        return list(map(cells.__getitem__, values))

    return check


def _decimals(low: float, high: float, null: str | None, *, whole: bool) -> Check:
    """CSV numbers of digits, dots and signs only: what float() and PostgreSQL read alike."""
    marks, convert, longest = (b"0123456789-", int, _LONGEST_INTEGER) if whole else (b"0123456789-.", float, None)

    def check(values: Column) -> Sequence[str]:
        cells = given = values
        if not all(values):
            if null is None:
                raise ValueError
            given = [value for value in values if value]
            cells = [value or null for value in values]
            if not given:
                return cells
        if "".join(given).encode().translate(None, marks):
            raise ValueError
        numbers = list(map(convert, given))
        if not (low <= min(numbers) and max(numbers) <= high):
            raise ValueError
        if (longest or 0 in numbers) and max(map(len, given)) > (longest or _NEVER_TINY):
            raise ValueError
        return cells

    return check


def _numbers(low: float, high: float, one: One, *, whole: bool, convert: bool) -> Check:
    """JSON numbers."""

    def check(values: Column) -> Sequence[str]:
        kinds = set(map(type, values))
        if not kinds <= ({int} if whole else _NUMBERS):
            return list(map(str, map(one, values)))
        total = sum(values)
        if total - total != 0:  # NaN and infinity: min and max would not see them all
            raise ValueError
        if not (low <= min(values) and max(values) <= high):
            raise ValueError
        return list(map(repr, map(float, values) if convert and not whole else values))

    return check


def _stamps(rules: Mapping[str, Any]) -> Check:
    """Times all written like 2018-02-07T01:26:13.840Z, with the same number of digits: they sort as text."""
    low, high = rules.get("min"), rules.get("max")

    def check(values: Column) -> Sequence[str]:
        (length,) = set(map(len, values))
        if length != _STAMP and not _STAMP + 1 < length <= _LONGEST_STAMP:
            raise ValueError
        joined, count = "".join(values), len(values)
        marks = "--T::Z" if length == _STAMP else "--T::."
        for at, mark in zip(range(4, 20, 3), marks, strict=True):
            if joined[at::length] != mark * count:
                raise ValueError
        if joined[length - 1 :: length] != "Z" * count:
            raise ValueError
        deque(map(datetime.fromisoformat, values), maxlen=0)
        if low is not None and datetime.fromisoformat(min(values)) < low:
            raise ValueError
        if high is not None and datetime.fromisoformat(max(values)) > high:
            raise ValueError
        return values

    return check


def _epochs(low: int, high: int, unit: int, *, text: bool) -> Check:
    """Whole milliseconds or seconds since 1970."""

    def check(values: Column) -> Sequence[str]:
        numbers = values
        if text:
            joined = "".join(values)
            if not (all(values) and joined.isascii() and joined.isdecimal()):
                raise ValueError
            if max(map(len, values)) > _LONGEST_INTEGER:
                raise ValueError
            numbers = list(map(int, values))
        elif set(map(type, values)) != {int}:
            raise ValueError
        if not (low <= min(numbers) and max(numbers) <= high):
            raise ValueError
        return [str(number * unit) for number in numbers]

    return check


def _strings(rules: Mapping[str, Any], one: One, escape: Callable[[str], str], *, text: bool) -> Check:
    """Texts that may all differ, such as ids."""
    shortest, longest = max(int(rules.get("minlength", 0)), 0), int(rules.get("maxlength", sys.maxsize))
    regex = rules.get("regex")
    one_class = _CLASS.fullmatch(regex) if regex else None
    together = re.compile(f"{one_class[1]}*").fullmatch if one_class else None
    each = re.compile(regex.removesuffix("$")).fullmatch if regex else None

    def check(values: Column) -> Sequence[str]:
        if set(map(type, values)) != {str} or not all(values):
            return list(map(str, map(one, values)))
        joined = "".join(values)
        if not text and ("\0" in joined or not joined.isascii()) and not storable(joined):
            raise ValueError
        if not (shortest <= min(map(len, values)) and max(map(len, values)) <= longest):
            raise ValueError
        if together is not None:
            if not together(joined):
                raise ValueError
        elif each is not None and not all(map(each, values)):
            raise ValueError
        if joined.isalnum() or not ("\\" in joined or "\t" in joined or "\n" in joined or "\r" in joined):
            return values
        return list(map(escape, values))

    return check
