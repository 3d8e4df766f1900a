"""Write the tables of inputs and outputs into the modules' README.md, from their variables.tf and outputs.tf.

    python tools/module_docs.py           write them
    python tools/module_docs.py --check   say which are stale, and exit 1 if any is

It reads what `terraform fmt` writes: a block's attributes are indented by two spaces, whatever they hold by more.
"""

import re
import sys
from itertools import pairwise
from pathlib import Path

MODULES = Path(__file__).resolve().parent.parent / "modules"
BEGIN, END = "<!-- tables: tools/module_docs.py -->", "<!-- end of tables -->"

_BLOCK = re.compile(r'^(variable|output) "([^"]+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^  (\w+) += (.*(?:\n(?:    .*|  [\]})].*|))*)", re.MULTILINE)


def blocks(text: str) -> dict[str, dict[str, str]]:
    """Return the variables or outputs of a file: name -> attribute -> its value as written, on one line."""
    return {
        name: {attribute: _one_line(value) for attribute, value in _ATTRIBUTE.findall(body)}
        for _, name, body in _BLOCK.findall(text)
    }


def _one_line(value: str) -> str:
    """Join the lines of a value; commas take the place of the line ends between an object's attributes."""
    lines = [re.sub(r"\s+=\s+", " = ", line.strip()) for line in value.strip().splitlines()]
    joined = lines[0]
    for before, line in pairwise(lines):
        opened, closing = before.endswith(("{", "[", "(")), line.startswith(("}", "]", ")"))
        joined += (" " if opened or closing or before.endswith(",") else ", ") + line
    return joined.replace("({ ", "({").replace(" })", "})")


def _text(value: str) -> str:
    """Return a string of HCL as Markdown."""
    return value.strip('"').replace('\\"', '"').replace("|", "\\|").replace("<", "&lt;")


def tables(module: Path) -> str:
    """Return both tables of a module, between their marks."""
    lines = [BEGIN, "", "### Inputs", "", "| name | description | type | default |", "|---|---|---|---|"]
    for name, attributes in blocks((module / "variables.tf").read_text()).items():
        default = f"`{attributes['default']}`" if "default" in attributes else "**required**"
        lines.append(f"| `{name}` | {_text(attributes['description'])} | `{attributes['type']}` | {default} |")
    lines += ["", "### Outputs", "", "| name | description |", "|---|---|"]
    for name, attributes in blocks((module / "outputs.tf").read_text()).items():
        lines.append(f"| `{name}` | {_text(attributes['description'])} |")
    return "\n".join([*lines, "", END])


def fresh(module: Path) -> str:
    """Return a module's README with the tables as they should be; without marks they go to its end."""
    text = (module / "README.md").read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    return before + tables(module) + rest.split(END, 1)[1]


def main(arguments: list[str]) -> int:
    """Write the tables, or with --check name the stale ones; return the exit code."""
    stale = 0
    for module in sorted(path.parent for path in MODULES.glob("*/variables.tf")):
        readme = module / "README.md"
        wanted = fresh(module)
        if readme.read_text() != wanted:
            stale += 1
            if "--check" in arguments:
                sys.stdout.write(f"modules/{module.name}/README.md is stale: run python tools/module_docs.py\n")
            else:
                readme.write_text(wanted)
    return int("--check" in arguments and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
