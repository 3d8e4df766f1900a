"""Results of the benches: one list in bench/results.json, printed as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison. ``ratio`` is what ``goal`` speaks of; ``holds`` whether it is met, None without a goal."""

    name: str
    ours: float
    reference: float
    reference_name: str
    unit: str
    ratio: float
    goal: str
    holds: bool | None
    note: str = ""
    """Where the time or the memory went."""


HOLDS = {True: "yes", False: "**no**", None: ""}


def merge(part: str, found: list[Result]) -> None:
    """Put one part's results in the file, in place of those that it had, and print them."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    kept = [one for one in known if not one["name"].startswith(f"{part}: ")]
    made = [asdict(one) | {"name": f"{part}: {one.name}"} for one in found]
    for one in made:
        for key in ("ours", "reference", "ratio"):
            one[key] = round(one[key], 3)
    FILE.write_text(json.dumps(kept + made, indent=1) + "\n", encoding="utf-8")
    print(table(made))


def table(results: list[dict[str, object]]) -> str:
    """The results as a Markdown table."""
    lines = ["| what | ours | reference | ratio | goal | holds |", "|---|---|---|---|---|---|"]
    for one in results:
        unit = one["unit"]
        reference = f"{one['reference']:g} {unit}, {one['reference_name']}"
        lines.append(
            f"| {one['name']} | {one['ours']:g} {unit} | {reference} | {one['ratio']:.2f} | {one['goal']} |"
            f" {HOLDS[one['holds']]} |"
        )
    return "\n".join(lines)


def notes(results: list[dict[str, object]]) -> str:
    """Where the time went, as a list: of all that has a goal, the missed ones first."""
    told = {}
    for one in sorted(results, key=lambda one: one["holds"] is not False):
        if one.get("note") and (one["holds"] is not None):
            missed = "**goal missed:** " if one["holds"] is False else ""
            told.setdefault(one["note"], f"- {missed}{one['name']}: {one['note']}.")
    return "\n".join(told.values())
