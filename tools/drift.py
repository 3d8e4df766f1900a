"""Opens, updates or closes the issue about drift: `python tools/drift.py ENVIRONMENT PLANS`, with `gh` on PATH.

Nothing planned is not the same as nothing changed: without a plan the program fails and closes nothing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from plans import Unit, read_all


def title(environment: str) -> str:
    """Return the title that the issue is found by."""
    return f"Drift in {environment}"


def decide(units: list[Unit], issue: int | None) -> tuple[str, str]:
    """Return what to do (open, update, close, none) and the text; `issue` is the number of the open one."""
    if not units:
        raise ValueError("no plan was made: nothing is known about drift")
    lines = []
    for unit in units:
        kinds = {"destroy": unit.destroy, "replace": unit.replaced, "change": unit.change, "add": unit.add}
        for kind, addresses in kinds.items():
            lines += [
                f"- `{unit.name}`: would {kind} `{address}`{' **(data)**' if address in unit.lost else ''}"
                for address in addresses
            ]
    if not lines:
        return ("close", "The nightly plan finds no drift any more.") if issue else ("none", "")
    text = "What is deployed is not what the code says. A plan of the deployed version would do this:\n\n"
    text += "\n".join(lines) + "\n\nApply again, or bring the change into the code.\n"
    return ("update" if issue else "open"), text


def gh(*arguments: str) -> str:
    """Run GitHub's client and return what it prints."""
    program = shutil.which("gh") or "gh"
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def main(environment: str, folder: str) -> int:
    """Do what is decided; return 1 where there is drift."""
    found = json.loads(gh("issue", "list", "--search", f'in:title "{title(environment)}"', "--json", "number,title"))
    numbers = [each["number"] for each in found if each["title"] == title(environment)]
    issue = numbers[0] if numbers else None
    units = [unit for unit in read_all(Path(folder)) if unit.environment == environment]
    action, text = decide(units, issue)
    if action == "open":
        gh("issue", "create", "--title", title(environment), "--body", text)
    elif action == "update":
        gh("issue", "edit", str(issue), "--body", text)
    elif action == "close":
        gh("issue", "close", str(issue), "--comment", text)
    sys.stdout.write(f"{environment}: {action}\n{text}")
    return int(action in {"open", "update"})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
