"""Checking rows: the contract's Cerberus schema, compiled to positional Python.

Cerberus is the source of truth, at about 4,000 rows a second. ``Checker`` makes from the same schema a check of
whole columns of a batch (``columns``) and generates a function that goes row by row, for batches that are not
right or not uniform; both work on raw positional rows and append PostgreSQL COPY lines. They may only accept
what Cerberus accepts; a row they do not accept goes to Cerberus, which gives the verdict and the reasons. So a
fault in them could cost time, and a wrong *acceptance* is what the property tests look for. A schema with a
rule that is not compiled is checked by Cerberus alone, and ``notice`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

from geodrop.columns import REFUSALS, Check, column
from geodrop.contract import Contract
from geodrop.rules import (
    COERCIONS,
    EPOCH,
    RowValidator,
    from_epoch_ms,
    from_epoch_s,
    storable,
    to_datetime,
    to_float,
    to_integer,
)

NULL = "\\N"
RAW_LIMIT = 500
"""Characters of a rejected row that are kept."""
_MEMO_LIMIT = 4096
_ROWWISE = 15
"""Batches that go row by row after one that had to, before whole columns are tried again."""
_COMPILED_RULES = frozenset(
    [
        "type",
        "required",
        "nullable",
        "coerce",
        "min",
        "max",
        "minlength",
        "maxlength",
        "regex",
        "allowed",
        "forbidden",
        "empty",
        "default",
        "meta",
    ]
)
_MICROSECOND = timedelta(microseconds=1)
_EPOCHS = {"epoch_ms": (1000, from_epoch_ms), "epoch_s": (1_000_000, from_epoch_s)}


class Missing:
    """The type of MISSING: a member that a JSON feature does not have (null is something else)."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands where a row could not even be taken apart; it is always rejected."""

    rule: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Why one field of one row failed. ``field`` is empty where the row as a whole is wrong."""

    field: str
    rule: str
    reason: str


class _NotCompiledError(Exception):
    """The schema has something that only Cerberus can check."""


def escape(text: str) -> str:
    """Text as a field of PostgreSQL's COPY text format.

    Source: PostgreSQL documentation, COPY, "Text Format".
    """
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - EPOCH) // _MICROSECOND


def uses_epoch(contract: Contract, field: str | None) -> bool:
    """Whether a time field is staged as microseconds since 1970 rather than as text."""
    return field is not None and contract.schema[field].get("coerce") in _EPOCHS


def _rejects_of(validator: RowValidator) -> list[Reject]:
    """One reason for each field and rule; where a value is null or cannot be coerced, that alone."""
    found: dict[str, list[Reject]] = {}
    for error in validator._errors:  # noqa: SLF001  the rule's name is nowhere else
        field = str(error.document_path[0]) if error.document_path else ""
        if error.is_group_error:  # of a list's or an object's members
            reason = str(validator.errors.get(field, ["is not as the schema says"])[0])
        else:
            reason = validator.error_handler._format_message(field, error)  # noqa: SLF001  .errors copies all, twice
        found.setdefault(field, []).append(
            Reject(field, error.rule or "value", reason.partition(" cannot be coerced: ")[2] or reason)
        )
    rejects: list[Reject] = []
    for reasons in found.values():
        null = [one for one in reasons if one.rule == "nullable"]
        wrong = [one for one in reasons if one.rule == "coerce"]
        rejects += (null or wrong)[:1] or reasons
    return rejects


class Checker:
    """Checks rows of one file against one contract.

    Parameters
    ----------
    contract
        The dataset's contract.
    columns
        The row's columns in their order; columns that the schema does not know are ignored.
    text
        True for CSV (every value is a str, an empty one means null); False for decoded JSON.
    compiled
        False leaves everything to Cerberus: the reference in tests and benches.
    """

    def __init__(self, contract: Contract, columns: Sequence[str], *, text: bool, compiled: bool = True) -> None:
        self.contract = contract
        self.width = len(columns)
        self.text = text
        self.notice: str | None = None
        self._position = {name: columns.index(name) for name in contract.schema if name in columns}
        self._validator = contract.validator()
        self._one_field: dict[str, RowValidator] = {}
        self._known_reasons: dict[tuple[str, type, object], list[Reject]] = {}
        self._roles = self.written()
        self.copy_columns = [name for name, _ in self._roles] + (["n"] if contract.mode == "latest" else [])
        self._fast: Callable[[Sequence[Any], list[str], list[int], int], None] | None = None
        self._passes: dict[str, Callable[[object], bool]] = {}
        self._columns: list[tuple[int, Check]] = []
        self._absent: dict[str, str] = {}
        self._rowwise = 0
        if compiled:
            try:
                self._compile()
            except _NotCompiledError as reason:
                self.notice = f"dataset {contract.name} is checked by Cerberus alone, row by row: {reason}"

    def written(self) -> list[tuple[str, str]]:
        """What a COPY line holds: the stage's columns, each with the field it takes."""
        roles = ["longitude", "latitude", "time", "category", "value"]
        roles += ["id", "updated"] if self.contract.mode == "latest" else []
        fields = [(role, getattr(self.contract, role)) for role in roles]
        return [(role, field) for role, field in fields if field is not None]

    # -- checking -----------------------------------------------------------------------------------------

    def check(self, rows: Sequence[Any], lines: list[str], bad: list[int], first: int) -> None:
        """Append the COPY lines of the rows that pass and, to ``bad``, the index of each that does not.

        Parameters
        ----------
        rows
            Raw rows, positional; a Malformed may stand for a row.
        first
            Number of the first of these rows in the file: the order of rows in mode latest.
        """
        if self._rowwise:
            self._rowwise -= 1
        else:
            whole = self.check_columns(rows, first)
            if whole is not None:
                lines.append(whole)
                return
            self._rowwise = _ROWWISE
        self.check_rows(rows, lines, bad, first)

    def check_columns(self, rows: Sequence[Any], first: int) -> str | None:
        """The COPY lines of all rows; None where they have to go row by row."""
        if self._fast is None or not rows:
            return None
        try:
            values = list(zip(*rows, strict=True))
            if len(values) != self.width:
                return None
            checked = {at: check(values[at]) for at, check in self._columns}
        except REFUSALS:
            return None
        cells: list[Iterable[str]] = [
            checked[self._position[field]] if field in self._position else repeat(self._absent[field])
            for _, field in self._roles
        ]
        if self.contract.mode == "latest":
            cells.append(map(str, range(first, first + len(rows))))
        return "\n".join(map("\t".join, zip(*cells, strict=False))) + "\n"

    def check_rows(self, rows: Sequence[Any], lines: list[str], bad: list[int], first: int) -> None:
        """As ``check``, row by row."""
        if self._fast is not None:
            self._fast(rows, lines, bad, first)
        else:
            bad.extend(range(len(rows)))

    def examine(self, row: Any, number: int) -> tuple[str | None, list[Reject]]:
        """What Cerberus says of one row: its COPY line, or why it is rejected."""
        if isinstance(row, Malformed):
            return None, [Reject("", row.rule, row.reason)]
        if len(row) != self.width:
            return None, [Reject("", "columns", f"has {len(row)} columns where the header has {self.width}")]
        if self._passes:
            rejects: list[Reject] = []
            for field, passes in self._passes.items():
                value = self._value(row, field)
                if not passes(value):
                    rejects += self._reasons(field, value)
            if rejects:
                return None, rejects
        document = {field: value for field in self.contract.schema if (value := self._value(row, field)) is not MISSING}
        if not self._validator.validate(document):
            return None, _rejects_of(self._validator)
        return self.line(self._validator.document, number), []

    def raw(self, row: Any) -> str:
        """A rejected row as bounded text."""
        if isinstance(row, Malformed):
            return row.raw[:RAW_LIMIT]
        if self.text:
            return self.contract.delimiter.join(row)[:RAW_LIMIT]
        told = {field: value for field in self._position if (value := self._value(row, field)) is not MISSING}
        return repr(told)[:RAW_LIMIT]

    def line(self, document: Mapping[str, Any], number: int) -> str:
        """The COPY line of a row in Cerberus's normalised form."""
        cells = [self._cell(role, document.get(field)) for role, field in self._roles]
        if self.contract.mode == "latest":
            cells.append(str(number))
        return "\t".join(cells) + "\n"

    def _cell(self, role: str, value: Any) -> str:
        if value is None:
            return "" if role == "category" else NULL
        if isinstance(value, datetime):
            field = self.contract.time if role == "time" else self.contract.updated
            return str(micros(value)) if uses_epoch(self.contract, field) else value.isoformat()
        return escape(value) if isinstance(value, str) else repr(value)

    def _value(self, row: Sequence[Any], field: str) -> object:
        if field not in self._position:
            return MISSING
        value = row[self._position[field]]
        return None if self.text and value == "" else value

    def _reasons(self, field: str, value: object) -> list[Reject]:
        try:
            known = self._known_reasons.get((field, type(value), value))  # True is 1 to a dict
        except TypeError:  # a list or an object
            return self._ask(field, value)
        if known is None:
            if len(self._known_reasons) >= _MEMO_LIMIT:
                self._known_reasons.clear()
            known = self._known_reasons[field, type(value), value] = self._ask(field, value)
        return known

    def _ask(self, field: str, value: object) -> list[Reject]:
        if field not in self._one_field:
            self._one_field[field] = self.contract.validator(field)
        validator = self._one_field[field]
        if value is None or value is MISSING:
            return [] if validator.validate({} if value is MISSING else {field: value}) else _rejects_of(validator)
        # Coerced here, as Cerberus does it: its own way of getting there copies and hashes the schema for each value.
        coerce = self.contract.schema[field].get("coerce", [])
        try:
            for name in [coerce] if isinstance(coerce, str) else coerce:
                value = COERCIONS[name](value)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            return [Reject(field, "coerce", str(error))]
        return [] if validator.validate({field: value}, normalize=False) else _rejects_of(validator)

    # -- compiling ----------------------------------------------------------------------------------------

    def _compile(self) -> None:
        constants: dict[str, Any] = {
            "MISSING": MISSING,
            "escape": escape,
            "fromiso": datetime.fromisoformat,
            "micros": micros,
            "storable": storable,
            "to_datetime": to_datetime,
            "to_float": to_float,
            "to_integer": to_integer,
        }
        body: list[str] = []
        for index, field in enumerate(self.contract.schema):
            if field not in self._position:
                outcome = self._outcome(field, MISSING)
                if outcome is None:
                    raise _NotCompiledError(f"required field {field} has no column")
                body += [f"t{index} = {outcome!r}"]
                self._passes[field] = lambda _value: True
                self._absent[field] = outcome
                continue
            block = self._block(index, field, constants)
            checking = [f"def one(v{index}):", f"    t{index} = ''", *_indented(block), f"    return t{index}"]
            scope: dict[str, Any] = dict(constants)
            exec("\n".join(checking), scope)  # noqa: S102  generated from a checked contract
            one: Callable[[object], object] = scope["one"]
            self._passes[field] = self._predicate(one)
            self._columns.append((self._position[field], self._column(index, field, one, constants)))
            body += self._memoised(index, field, block, one, constants)
        targets = [f"_{at}" for at in range(self.width)]
        for index, field in enumerate(self.contract.schema):
            if field in self._position:
                targets[self._position[field]] = f"v{index}"
        numbers = {field: index for index, field in enumerate(self.contract.schema)}
        cells = [f"{{t{numbers[field]}}}" for _, field in self._roles]
        if self.contract.mode == "latest":
            cells.append("{first + i}")
        line = "\\t".join(cells)
        source = [
            "def check(rows, lines, bad, first):",
            "    add = lines.append",
            "    for i, row in enumerate(rows):",
            "        try:",
            *_indented([f"{', '.join(targets)}, = row", *body, f'add(f"{line}\\n")'], 12),
            "        except (ValueError, TypeError, AttributeError, OverflowError):",
            "            bad.append(i)",
        ]
        scope = dict(constants)
        exec("\n".join(source), scope)  # noqa: S102  generated from a checked contract
        self._fast = scope["check"]

    def _predicate(self, one: Callable[[object], object]) -> Callable[[object], bool]:
        def passes(value: object) -> bool:
            try:
                one("" if self.text and value is None else value)
            except (ValueError, TypeError, AttributeError, OverflowError):
                return False
            return True

        return passes

    def _column(self, index: int, field: str, one: Callable[[object], object], constants: Mapping[str, Any]) -> Check:
        rules = self.contract.schema[field]
        epoch = None
        if rules["type"] == "datetime" and uses_epoch(self.contract, field):
            epoch = (constants[f"low{index}"], constants[f"high{index}"], _EPOCHS[rules["coerce"]][0])
        null = self._outcome(field, None) if self.text else None
        repeats = field == self.contract.category
        return column(rules, one, null, escape, text=self.text, epoch=epoch, repeats=repeats)

    def _outcome(self, field: str, value: object) -> str | None:
        """What stands in the COPY line for an absent or null value; None where Cerberus rejects it."""
        validator = self.contract.validator(field)
        if not validator.validate({} if value is MISSING else {field: value}):
            return None
        role = next((role for role, of in self._roles if of == field), "")
        return self._cell(role, validator.document.get(field))

    def _block(self, index: int, field: str, constants: dict[str, Any]) -> list[str]:
        """Statements that check raw value ``v<index>``, leave its COPY cell in ``t<index>`` or raise ValueError."""
        rules = self.contract.schema[field]
        unknown = sorted(set(rules) - _COMPILED_RULES)
        if unknown:
            raise _NotCompiledError(f"rule {unknown[0]} of field {field} is not compiled")
        v, t = f"v{index}", f"t{index}"
        lines: list[str] = []
        word = "if"
        for test, value in (
            [(f"{v} == ''", None)] if self.text else [(f"{v} is None", None), (f"{v} is MISSING", MISSING)]
        ):
            outcome = self._outcome(field, value)
            lines += [f"{word} {test}:", "    raise ValueError" if outcome is None else f"    {t} = {outcome!r}"]
            word = "elif"
        kinds = {
            "float": self._float,
            "number": self._float,
            "integer": self._integer,
            "datetime": self._datetime,
            "string": self._string,
        }
        if rules["type"] not in kinds:
            raise _NotCompiledError(f"type {rules['type']} of field {field} is not compiled")
        checks = kinds[rules["type"]](index, rules, constants)
        if not any(of == field for _, of in self._roles):
            checks = [line for line in checks if not line.strip().startswith(f"t{index} = ")] or ["pass"]
        return [*lines, "else:", *_indented(checks)]

    def _range(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any], kinds: Any) -> list[str]:
        """The bounds of the normalised value ``n<index>``; they are of the given kinds."""
        tests = [f"n{index}"]
        for bound, at in (("min", 0), ("max", 2)):
            if bound in rules:
                if not isinstance(rules[bound], kinds) or rules[bound] != rules[bound]:
                    raise _NotCompiledError(f"a {bound} of another type than the field's")
                constants[f"{bound}{index}"] = rules[bound]
                tests.insert(at, f"{bound}{index}")
        return [f"if not {' <= '.join(tests)}: raise ValueError"] if len(tests) > 1 else []

    def _members(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any]) -> list[str]:
        lines = []
        for rule, test in (("allowed", "not in"), ("forbidden", "in")):
            if rule in rules:
                try:
                    constants[f"{rule}{index}"] = frozenset(rules[rule])
                except TypeError:
                    raise _NotCompiledError(f"{rule} with values that are not plain") from None
                lines += [f"if n{index} {test} {rule}{index}: raise ValueError"]
        return lines

    def _expect(self, rules: Mapping[str, Any], coercions: tuple[str | None, ...], *without: str) -> None:
        coerce = rules.get("coerce")
        if isinstance(coerce, list) or coerce not in coercions:
            raise _NotCompiledError(f"coerce {coerce} with type {rules['type']} is not compiled")
        for rule in ("minlength", "maxlength", "regex", "empty", *without):
            if rule in rules:
                raise _NotCompiledError(f"rule {rule} with type {rules['type']} is not compiled")

    def _float(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any]) -> list[str]:
        self._expect(rules, ("float",) if self.text else (None, "float"))
        v, t, n = f"v{index}", f"t{index}", f"n{index}"
        checks = [*self._range(index, rules, constants, (int, float)), *self._members(index, rules, constants)]
        if not ("min" in rules and "max" in rules):
            checks.insert(0, f"if {n} - {n} != 0: raise ValueError")
        if not self.text:
            plain = [f"if type({v}) is not float and type({v}) is not int: raise ValueError", f"{n} = {v}"]
            return [*([f"{n} = to_float({v})"] if rules.get("coerce") else plain), *checks, f"{t} = {n}"]
        # A text of digits, dots and signs only is what float() reads without surprises. Zero is written as 0,
        # since PostgreSQL refuses a text that underflows.
        return [
            f"if {v}.strip('0123456789.-'):",
            f"    {n} = to_float({v})",
            f"    {t} = repr({n})",
            "else:",
            f"    {n} = float({v})",
            f"    {t} = {v} if {n} else '0'",
            *checks,
        ]

    def _integer(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any]) -> list[str]:
        self._expect(rules, ("integer",) if self.text else (None, "integer"))
        v, t, n = f"v{index}", f"t{index}", f"n{index}"
        if self.text:
            lines = [f"{n} = to_integer({v}) if {v}.strip('0123456789-') or len({v}) > 18 else int({v})"]
        elif rules.get("coerce"):
            lines = [f"{n} = {v} if type({v}) is int else to_integer({v})"]
        else:
            lines = [f"if type({v}) is not int: raise ValueError", f"{n} = {v}"]
        checks = [*self._range(index, rules, constants, (int, float)), *self._members(index, rules, constants)]
        return [*lines, *checks, f"{t} = {n}"]

    def _datetime(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any]) -> list[str]:
        self._expect(rules, ("datetime", *_EPOCHS), "allowed", "forbidden")
        v, t, n = f"v{index}", f"t{index}", f"n{index}"
        bounds = self._range(index, rules, constants, datetime)
        if rules["coerce"] == "datetime":
            shape = f"s == '--T::.' and 21 < len({v}) < 28 or s == '--T::Z' and len({v}) == 20"
            # The usual shape, 2018-02-07T01:26:13.840Z, is told by its punctuation: positions 4, 7, .. 19.
            # fromisoformat then finds digits only, and PostgreSQL reads the very same text.
            return [
                f"s = {v}[4:20:3]",
                f"if ({shape}) and {v}[-1] == 'Z':",
                f"    {n} = fromiso({v})",
                f"    {t} = {v}",
                "else:",
                f"    {n} = to_datetime({v})",
                f"    {t} = {n}.isoformat()",
                *bounds,
            ]
        unit, convert = _EPOCHS[rules["coerce"]]
        low = micros(rules.get("min", datetime.min.replace(tzinfo=UTC)))
        high = micros(rules.get("max", datetime.max.replace(tzinfo=UTC)))
        constants |= {f"low{index}": -(-low // unit), f"high{index}": high // unit, f"convert{index}": convert}
        digits = f"{v}.isdecimal() and {v}.isascii() and len({v}) < 19"
        return [
            f"if {digits if self.text else f'type({v}) is int'}:",
            f"    {n} = int({v})",
            f"    if not low{index} <= {n} <= high{index}: raise ValueError",
            f"    {t} = {n} * {unit}",
            "else:",
            f"    {n} = convert{index}({v})",
            *_indented(bounds),
            f"    {t} = micros({n})",
        ]

    def _string(self, index: int, rules: Mapping[str, Any], constants: dict[str, Any]) -> list[str]:
        v, t, n = f"v{index}", f"t{index}", f"n{index}"
        coerce = rules.get("coerce", [])
        coerce = [coerce] if isinstance(coerce, str) else list(coerce)
        lines = [f"{n} = {v}"] if self.text else [f"if type({v}) is not str: raise ValueError", f"{n} = {v}"]
        if coerce[:1] == ["text"]:
            constants["to_text"] = COERCIONS["text"]
            lines = [f"{n} = to_text({v})"]
            coerce = coerce[1:]
        if any(name not in ("strip", "lower", "upper") for name in coerce):
            raise _NotCompiledError(f"coerce {', '.join(coerce)} with type string is not compiled")
        lines += [f"{n} = {n}.{name}()" for name in coerce]
        if not self.text:
            # CSV rows with anything that cannot be stored never come this way: see readers.Batch.clean.
            lines += [f"if ('\\0' in {n} or not {n}.isascii()) and not storable({n}): raise ValueError"]
        checks = self._members(index, rules, constants)
        if "minlength" in rules:
            checks += [f"if len({n}) < {int(rules['minlength'])}: raise ValueError"]
        if "maxlength" in rules:
            checks += [f"if len({n}) > {int(rules['maxlength'])}: raise ValueError"]
        if "regex" in rules:
            constants[f"regex{index}"] = re.compile(rules["regex"].removesuffix("$")).fullmatch
            checks += [f"if regex{index}({n}) is None: raise ValueError"]
        if "empty" in rules:
            # As in Cerberus: with this rule, and only then, an empty text is spared the rules above.
            refused = [f"if {n} == '': raise ValueError"] if rules["empty"] is False else []
            checks = [*refused, f"if {n} != '':", *_indented(checks)] if checks else refused
        return [
            *lines,
            *self._range(index, rules, constants, str),
            *checks,
            f"{t} = {n} if {n}.isalnum() else escape({n})",
        ]

    def _memoised(
        self, index: int, field: str, block: list[str], one: Callable[[object], Any], constants: dict[str, Any]
    ) -> list[str]:
        """The same check, remembered per raw value where values repeat: categories and closed lists."""
        rules = self.contract.schema[field]
        repeats = field == self.contract.category or "allowed" in rules
        # Not with coerce text: to a dict, True and 1.0 are the same key as 1.
        if rules["type"] != "string" or not repeats or "text" in rules.get("coerce", ""):
            return block
        memo: dict[object, str] = {}

        def remember(value: object) -> str:
            cell: str = one(value)
            if len(memo) >= _MEMO_LIMIT:
                memo.clear()
            memo[value] = cell
            return cell

        constants |= {f"memo{index}": memo.get, f"fill{index}": remember}
        t, v = f"t{index}", f"v{index}"
        return [f"{t} = memo{index}({v})", f"if {t} is None: {t} = fill{index}({v})"]


def _indented(lines: Iterable[str], by: int = 4) -> list[str]:
    return [" " * by + line for line in lines]
