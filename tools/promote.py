"""Sets the release that an environment takes its modules from: `python tools/promote.py prod v1.2.3`.

It changes the one line `modules_version` of live/<environment>/env.hcl: its value, or the default of its get_env.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINE = re.compile(r'^(\s*modules_version\s*=\s*(?:get_env\("\w+",\s*)?)"([^"]*)"(\)?)$', re.MULTILINE)


def release(text: str) -> str:
    """Return the tag that an env.hcl takes its modules from; empty where it takes the working tree's."""
    found = _LINE.search(text)
    return found[2] if found else ""


def promote(text: str, tag: str) -> str:
    """Return env.hcl with the tag; ValueError where the tag is none or the file has not exactly one such line."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"{tag!r} is no tag of a release: v1.2.3")
    changed, count = _LINE.subn(rf'\g<1>"{tag}"\g<3>', text)
    if count != 1:
        raise ValueError(f"{count} lines set modules_version, where one is expected")
    return changed


def main(environment: str, tag: str) -> int:
    """Change the environment's file."""
    path = ROOT / "live" / environment / "env.hcl"
    path.write_text(promote(path.read_text(), tag))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
