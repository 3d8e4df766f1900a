"""Puts a version into CHANGELOG.md: `python tools/changelog.py VERSION DATE`; prints the version's notes.

The notes are what was written by hand under Unreleased and the commits since the newest tag, grouped by the word
that a commit begins with (CONTRIBUTING.md). A line that stands there already is not written twice.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADS = {"feat": "Added", "fix": "Fixed", "perf": "Changed", "security": "Security", "docs": "Documentation"}
ORDER = ["Breaking", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Documentation"]
_SUBJECT = re.compile(r"^(?P<word>feat|fix|perf|security|docs)(?:\([^)]*\))?(?P<breaking>!)?: (?P<text>.+)$")
_VERSION = re.compile(r"^\d+\.\d+\.\d+$")


def grouped(subjects: list[str]) -> dict[str, list[str]]:
    """Return the subjects of commits by heading, oldest first."""
    groups: dict[str, list[str]] = {}
    for subject in reversed(subjects):
        match = _SUBJECT.match(subject)
        head = "Changed" if not match else "Breaking" if match["breaking"] else HEADS[match["word"]]
        groups.setdefault(head, []).append(match["text"] if match else subject)
    return groups


def release(text: str, version: str, date: str, subjects: list[str]) -> tuple[str, str]:
    """Return the changelog with the version in it, and the version's notes."""
    if not _VERSION.match(version):
        raise ValueError(f"{version!r} is no version: three numbers, as in 1.2.3")
    if f"## [{version}]" in text:
        raise ValueError(f"{version} is in the changelog already")
    before, rest = text.split("## [Unreleased]\n", 1)
    written, mark, older = rest.partition("\n## [")
    groups = grouped([subject for subject in subjects if subject not in written])
    parts = re.split(r"^### (.+)\n", written.strip() + "\n", flags=re.MULTILINE)
    by_hand = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    sections = []
    for head in [*ORDER, *(head for head in by_hand if head not in ORDER)]:
        lines = [by_hand[head]] if head in by_hand else []
        lines += [f"- {each}" for each in groups.get(head, [])]
        if lines:
            sections.append(f"### {head}\n\n" + "\n".join(lines))
    notes = "\n\n".join(sections) or "No change that a user notices."
    return f"{before}## [Unreleased]\n\n## [{version}] - {date}\n\n{notes}\n{mark}{older}", notes


def git(*arguments: str) -> str:
    """Run git and return what it prints; empty where it fails."""
    program = shutil.which("git") or "git"
    done = subprocess.run([program, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def main(version: str, date: str) -> int:
    """Write CHANGELOG.md and print the notes."""
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*")
    subjects = git("log", "--no-merges", "--format=%s", f"{tag}..HEAD" if tag else "HEAD").splitlines()
    path = ROOT / "CHANGELOG.md"
    text, notes = release(path.read_text(), version, date, subjects)
    path.write_text(text)
    sys.stdout.write(notes + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
