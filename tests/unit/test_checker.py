"""The compiled checker and Cerberus agree: verdicts, normalised values and reasons, near the edges of every rule."""

import json
import math
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodrop.checker import MISSING, Checker, escape
from geodrop.contract import Contract, parse

EXAMPLES = int(os.environ.get("GEODROP_PROPERTY_EXAMPLES", "150"))
ROWS = int(os.environ.get("GEODROP_PROPERTY_ROWS", "240"))
"""Rows by rule: `make property` takes 100,000."""
FIXED = {
    "lon": {"type": "float"},
    "lat": {"type": "float"},
    "time": {"type": "datetime", "min": "1900-01-01T00:00:00Z", "max": "2100-01-01T00:00:00Z"},
}
YES_NO = (True, False)
WORDS = ["a", "b", "ab", "abc", "quake", "Quake", "1", "-1", "é", "a b"]

ODD_TEXTS = [
    *""" NaN nan inf -Infinity 1_000 5 5. .5 -.5 +5 --1 1- . 1e5 1E-400 1e999 -0 10 10.5 -10 9.999999 true false 0 1
        2018-02-07T01:26:13.840Z 2018-02-07T01:26:13Z 2018-02-07T01:26:13.Z 2018-02-07T01:26:13,8Z 2018-02-07t01:26:13z
        2018-02-07T01:26:13 2018-02-30T01:26:13Z 2018-W06-3T01:26:13.840Z 2018-02-07T24:00:00Z 2018-02-07T01:26:60Z
        2018-02-07T01:26:13.1234567Z 1899-12-31T23:59:59Z 2100-01-01T00:00:00.1Z 0001-01-01T00:00:00+14:00
        9999-12-31T23:59:59-14:00 1517966773840 -1 1517966773.5 99999999999999 999999999999999999""".split(),  # noqa: SIM905  easier to read and to add to
    *["", " ", " 1", "1 ", "\u0661", "0." + "0" * 400 + "1", "1" * 19, "1" * 31, "1" * 5000, "x" * 70],
    *[*WORDS, "a\tb", "a\\b", "a\nb", "ab\n", "2018-02-07 01:26:13+01:00"],
]
ODD_VALUES = [10**400, 1517966773840, [], {}, ["a"], MISSING, "a\0b", "\ud800", 5.0]
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(alphabet="0123456789.-+eETZ:_ aé\u0663", max_size=26),
    st.floats().map(repr),
    st.datetimes().map(lambda when: when.isoformat() + "Z"),
)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from(ODD_VALUES),
)


def sometimes(draw: st.DrawFn, made: dict[str, object], name: str, values: list[object], odds: int = 2) -> None:
    if draw(st.integers(1, odds)) == 1:
        made[name] = draw(st.sampled_from(values))


def number_rules(draw: st.DrawFn, made: dict[str, object], *, text: bool) -> None:
    for bound in ("min", "max"):
        sometimes(draw, made, bound, [-10, -1.5, -1, -0.0, 0, 0.1, 1, 9, 10, 10.5, 180, 1e6])
    if not text:
        sometimes(draw, made, "coerce", ["integer" if made["type"] == "integer" else "float"])
    sometimes(draw, made, "allowed", [[0], [1, 5, 10], [0.1, 1]], 6)


def string_rules(draw: st.DrawFn, made: dict[str, object]) -> None:
    sometimes(draw, made, "minlength", [0, 1, 2, 3])
    sometimes(draw, made, "maxlength", [1, 2, 4, 64])
    sometimes(draw, made, "regex", ["[a-z]+", "a.*", "[a-z ]*$"])
    sometimes(draw, made, "allowed", [["a"], ["ab", "quake"], WORDS], 5)
    sometimes(draw, made, "forbidden", [["a"], ["ab", "quake"]], 5)
    sometimes(draw, made, "coerce", ["strip", "lower", "text", ["strip", "upper"]], 4)
    sometimes(draw, made, "empty", [True, False], 4)
    sometimes(draw, made, "default", ["a", "quake", "NONE"], 5)


@st.composite
def rules(draw: st.DrawFn, *, text: bool) -> dict[str, object]:
    """Rules of one field, with bounds at the edges of what rows hold."""
    made: dict[str, object] = {"type": draw(st.sampled_from(["string", "float", "number", "integer", "datetime"]))}
    sometimes(draw, made, "nullable", [True, False])
    sometimes(draw, made, "required", [True, False])
    if made["type"] == "string":
        string_rules(draw, made)
    elif made["type"] == "datetime":
        made["coerce"] = draw(st.sampled_from(["datetime", "epoch_ms", "epoch_s"]))
        sometimes(draw, made, "min", ["1970-01-01T00:00:00Z"])
    else:
        number_rules(draw, made, text=text)
    return made


def contract(field: dict[str, object], *, text: bool, role: str = "") -> Contract:
    fields = {"place": ["lon", "lat"], "time": "time"} | ({role: "field"} if role else {})
    return parse(
        "generated",
        "generated.yaml",
        {
            "title": "x", "format": "csv" if text else "geojsonl", "levels": [1, 2], "fields": fields,
            "schema": {**FIXED, "field": field},
        },
    )  # fmt: skip


def compare(of: Contract, values: list[object], *, text: bool) -> None:
    """Hold both compiled ways, by column and by row, to Cerberus."""
    columns = ["lon", "lat", "time", "field"]
    compiled, reference = Checker(of, columns, text=text), Checker(of, columns, text=text, compiled=False)
    assert compiled.notice is None
    rows: list[list[object]] = []
    accepted: list[str] = []
    refused: list[object] = []
    for value in values:
        if text and isinstance(value, str) and ("\0" in value or "\ud800" in value):
            continue  # such rows of a CSV file never reach the compiled checker
        row = ["1.5", "2.5", "2018-02-07T01:26:13Z", value] if text else [1.5, 2.5, "2018-02-07T01:26:13Z", value]
        lines: list[str] = []
        bad: list[int] = []
        compiled.check_rows([row], lines, bad, 0)
        line, rejects = reference.examine(row, 0)
        whole = compiled.check_columns([row], 0)
        assert bool(bad) == (line is None), (dict(of.schema["field"]), value, rejects)
        if bad:
            assert compiled.examine(row, 0) == (None, rejects)
            assert whole is None, (dict(of.schema["field"]), value, rejects)
            refused = row
        elif line is not None:
            accepted.append(line)
            rows.append(row)
            assert cells(lines[0]) == cells(line)
            assert whole is None or cells(whole) == cells(line)
    if refused:
        at = len(rows) // 2
        assert compiled.check_columns([*rows[:at], refused, *rows[at:]], 0) is None
    together = compiled.check_columns(rows, 0)
    if together is not None:
        assert [cells(line) for line in together.splitlines()] == [cells(line) for line in accepted]


def cells(line: str) -> list[object]:
    return [same(cell) for cell in line.split("\t")]


def same(cell: str) -> object:
    """A COPY cell as what PostgreSQL makes of it: 5., 5.0 and 05 are one number, Z and +00:00 one zone."""
    cell = cell.strip("\n")
    try:
        return repr(float(cell) + 0)  # as text: NaN is the same as NaN here, and -0 as 0 in the database
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(cell.upper()) if cell[:1].isdigit() else cell
    except ValueError:
        return cell


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), text=st.booleans())
def test_any_schema_and_any_row(data: st.DataObject, text: bool):
    field = data.draw(rules(text=text))
    values = data.draw(st.lists(TEXTS if text else VALUES, min_size=5, max_size=40))
    compare(contract(field, text=text), values, text=text)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), text=st.booleans(), role=st.sampled_from(["category", "value"]))
def test_any_field_that_is_loaded(data: st.DataObject, text: bool, role: str):
    kinds = ("string",) if role == "category" else ("float", "number", "integer")
    field = data.draw(rules(text=text).filter(lambda made: made["type"] in kinds))
    values = data.draw(st.lists(TEXTS if text else VALUES, min_size=5, max_size=40))
    compare(contract(field, text=text, role=role), values, text=text)


NUMBERS = ("float", "number", "integer")
STAMPS = ("datetime", "epoch_ms", "epoch_s")
EACH_RULE: dict[str, list[dict[str, object]]] = {
    "type": [*({"type": kind} for kind in ("string", *NUMBERS)), {"type": "datetime", "coerce": "datetime"}],
    "required": [{"type": kind, "required": True} for kind in ("string", *NUMBERS)],
    "nullable": [{"type": kind, "nullable": True} for kind in ("string", *NUMBERS)],
    "min": [
        *({"type": kind, "min": low} for kind in NUMBERS for low in (-1.5, 0, 10)),
        *({"type": "datetime", "coerce": how, "min": "2018-02-07T01:26:13Z"} for how in STAMPS),
    ],
    "max": [
        *({"type": kind, "max": high} for kind in NUMBERS for high in (-1, 0.1, 180)),
        *({"type": "datetime", "coerce": how, "max": "2018-02-07T01:26:13Z"} for how in STAMPS),
    ],
    "min and max": [{"type": kind, "min": low, "max": 10} for kind in NUMBERS for low in (-10, 0, 9.5)],
    "minlength": [{"type": "string", "minlength": length} for length in (0, 1, 3)],
    "maxlength": [{"type": "string", "maxlength": length} for length in (1, 4, 64)],
    "regex": [{"type": "string", "regex": regex} for regex in ("[a-z]+", "[^a]*$", "a.*", "[A-Za-z0-9_-]+", "a|ab")],
    "allowed": [{"type": "string", "allowed": WORDS}, *({"type": kind, "allowed": [0, 5, 10]} for kind in NUMBERS)],
    "forbidden": [{"type": "string", "forbidden": WORDS}, *({"type": kind, "forbidden": [0, 5]} for kind in NUMBERS)],
    "empty": [{"type": "string", "empty": empty, "minlength": 2, "nullable": no} for empty in YES_NO for no in YES_NO],
    "default": [{"type": "string", "default": "quake"}, {"type": "string", "default": "x", "nullable": True}],
    "coerce of texts": [
        {"type": "string", "coerce": how, "maxlength": 3}
        for how in ("strip", "lower", "upper", "text", ["strip", "upper"], ["text", "lower"])
    ],
    "coerce of times": [{"type": "datetime", "coerce": how} for how in STAMPS],
    "coerce of numbers": [{"type": "float", "coerce": "float"}, {"type": "integer", "coerce": "integer"}],
}  # fmt: skip


def near_the_edges(draw: random.Random, *, text: bool) -> object:
    """A value that is odd, or a few characters from one, or a number or a time close to a bound."""
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(ODD_TEXTS) if text or draw.random() < 0.5 else draw.choice([*ODD_VALUES, None, True, False])
    if kind == 1:
        told = list(draw.choice(ODD_TEXTS)[:40])
        for _ in range(draw.randint(1, 2)):
            at = draw.randint(0, len(told))
            told[at : at + draw.randint(0, 1)] = draw.choice(["", *"0123456789.-+eETZ:_ abz\\\té\u0663"])
        return "".join(told)
    if kind == 2:
        stamp = datetime(2018, 2, 7, 1, 26, 13, tzinfo=UTC) + timedelta(microseconds=draw.choice([-1, 0, 1, 10**6]))
        if draw.random() < 0.5:
            since = stamp.timestamp() * draw.choice([1, 1000])
            number = draw.choice([since, round(since)])
            return repr(number) if text else number
        return stamp.isoformat().replace("+00:00", draw.choice(["Z", "Z", "+00:00", "", "-01:00"]))
    edge = draw.choice([-10, -1.5, -1, 0, 0.1, 1, 5, 9.5, 10, 180])
    number = draw.choice([edge, float(edge), math.nextafter(edge, math.inf), math.nextafter(edge, -math.inf)])
    number = draw.choice(
        [number, number, edge + draw.randint(-2, 2), round(draw.uniform(-20, 200), draw.randint(0, 9))]
    )
    return repr(number) if text else number


@pytest.mark.parametrize("rule", EACH_RULE)
def test_each_rule_on_many_rows(rule: str):
    draw = random.Random(rule if ROWS < 1000 else None)
    fields = EACH_RULE[rule]
    share = -(-ROWS // (2 * len(fields)))
    for field in fields:
        role = {"string": "category", "datetime": "time"}.get(str(field["type"]), "value")
        for text in (True, False):
            if text and rule == "coerce of numbers":
                continue  # every number of a CSV file is read that way
            of = contract(field, text=text, role="" if "nullable" in field and role != "value" else role)
            for done in range(0, share, 50):
                values = [near_the_edges(draw, text=text) for _ in range(min(50, share - done))]
                compare(of, values, text=text)


def test_a_rule_that_is_not_compiled_leaves_the_dataset_to_cerberus():
    of = contract({"type": "string", "dependencies": "lon"}, text=True)
    checker = Checker(of, ["lon", "lat", "time", "field"], text=True)
    assert checker.notice
    assert "dependencies" in checker.notice
    lines: list[str] = []
    bad: list[int] = []
    checker.check([["1", "2", "2018-02-07T01:26:13Z", "x"]], lines, bad, 0)
    assert bad == [0]
    assert checker.examine(["1", "2", "2018-02-07T01:26:13Z", "x"], 0)[0]


@pytest.mark.parametrize(("text", "expected"), [("a\tb", "a\\tb"), ("a\\b", "a\\\\b"), ("a\r\nb", "a\\r\\nb")])
def test_escape(text: str, expected: str):
    assert escape(text) == expected


def test_raw_text_of_a_reject_is_bounded():
    of = contract({"type": "string"}, text=False)
    checker = Checker(of, list(of.schema), text=False)
    assert len(checker.raw([1, 2, "x", "y" * 9000])) == 500
    assert json.dumps(checker.raw([1, 2, "x", MISSING]))
