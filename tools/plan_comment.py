"""Writes the comment that a pull request gets: `python tools/plan_comment.py PLANS [RUN_URL]` -> Markdown.

One table an environment; what loses data comes first and stands out. --check fails where a check of checkov fails.
"""

import sys
from itertools import groupby
from pathlib import Path

from plans import Unit, read_all

MARK = "<!-- geodrop plan -->"
LONGEST = 60_000  # GitHub takes 65,536 characters


def policy(unit: Unit) -> str:
    """Return the cell that says what checkov said."""
    if unit.failed is None:
        return "not checked"
    return f"**{len(unit.failed)} failed**" if unit.failed else "passed"


def comment(units: list[Unit], run_url: str = "") -> str:
    """Return the comment for the units that a pull request affects."""
    lines = [MARK, "## Plan", ""]
    lost = [(unit, address) for unit in units for address in unit.lost]
    if lost:
        lines += ["> [!CAUTION]", "> **This loses data:**"]
        lines += [f"> - `{unit.environment}/{unit.name}`: `{address}`" for unit, address in lost]
        lines.append("")
    if not units:
        lines += ["No unit is affected.", ""]
    for environment, members in groupby(units, key=lambda unit: unit.environment):
        lines += [f"### {environment}", "", "| unit | add | change | destroy | replaced | policy |"]
        lines.append("|---|--:|--:|--:|--:|---|")
        for unit in members:
            counts = [len(unit.add), len(unit.change), len(unit.destroy), len(unit.replaced)]
            cells = [str(counts[0]), str(counts[1]), *(f"**{n}**" if n else "0" for n in counts[2:])]
            lines.append(f"| {unit.name}{' ⚠' if unit.lost else ''} | {' | '.join(cells)} | {policy(unit)} |")
        lines.append("")
    for unit in units:
        lines += [f"- `{unit.environment}/{unit.name}` fails `{failed}`" for failed in unit.failed or []]
    details = [
        f"- {kind} `{unit.environment}/{unit.name}` `{address}`"
        for unit in units
        for kind, addresses in (
            ("destroy", unit.destroy),
            ("replace", unit.replaced),
            ("change", unit.change),
            ("add", unit.add),
        )
        for address in addresses
    ]
    ending = f"The full plans are artifacts of [the run]({run_url}). " if run_url else ""
    ending += "They are for reading: merging plans anew before it applies."
    if details:
        lines += ["<details><summary>Resources</summary>", ""]
        room = LONGEST - sum(len(line) + 1 for line in lines) - len(ending)
        for number, line in enumerate(details):
            room -= len(line) + 1
            if room < 0:
                lines.append(f"- and {len(details) - number} more")
                break
            lines.append(line)
        lines += ["", "</details>", ""]
    return "\n".join([*lines, ending, ""])


def main(arguments: list[str]) -> int:
    """Write the comment to standard output; with --check return 1 where a policy check fails."""
    check = "--check" in arguments
    folder, *rest = [each for each in arguments if each != "--check"]
    units = read_all(Path(folder))
    sys.stdout.write(comment(units, *rest[:1]))
    return int(check and any(unit.failed or unit.failed is None for unit in units))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
