"""Migrations: numbered SQL files, each run once, in order, in a transaction of its own.

A file that was applied may not change: its checksum is kept, and a difference is refused. The database may have more
than the files: after a rollback it keeps what the later version made.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pg8000.native import Connection, literal

_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_LOCK = 7_305_004
_TABLE = """
create schema if not exists geodrop;
create table if not exists geodrop.migration (
  version text primary key,
  name text not null,
  checksum text not null,
  applied timestamptz not null default now()
)
"""


class MigrationError(Exception):
    """The files and the database do not fit; the text names the file."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    version: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load(folder: Path) -> list[Migration]:
    """The migrations of a folder, in order. Raises MigrationError for a wrong or missing number."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if not match:
            raise MigrationError(f"{path.name}: expected a name such as 0001_what_it_does.sql")
        found.append(Migration(match[1], path.stem, path.read_text(encoding="utf-8")))
    for place, migration in enumerate(found, 1):
        if int(migration.version) != place:
            raise MigrationError(f"{migration.name}.sql: expected number {place:04d}; numbers have no gaps")
    return found


def _applied(connection: Connection) -> dict[str, str]:
    known = connection.run("select to_regclass('geodrop.migration') is not null")
    if not known or not known[0][0]:
        return {}
    return {row[0]: row[1] for row in connection.run("select version, checksum from geodrop.migration") or []}


def pending(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    """Migrations not applied yet. Raises MigrationError where an applied one was edited."""
    applied = _applied(connection)
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(
                f"{migration.name}.sql was edited after it was applied, or another of its number was applied;"
                " write a new migration instead"
            )
    return [migration for migration in migrations if migration.version not in applied]


def ahead(connection: Connection, migrations: list[Migration]) -> list[str]:
    """Numbers of the migrations that a later version has applied: these files, which have no gaps, end before them."""
    return sorted(_applied(connection).keys() - {migration.version for migration in migrations})


def migrate(connection: Connection, migrations: list[Migration]) -> list[str]:
    """Apply what is pending and return its names. Concurrent runs wait for one another."""
    connection.run(f"select pg_advisory_lock({_LOCK})")
    try:
        connection.run(_TABLE)
        done = []
        for migration in pending(connection, migrations):
            row = ", ".join(literal(text) for text in (migration.version, migration.name, migration.checksum))
            connection.run("begin")
            try:
                connection.run(migration.sql)
                connection.run(f"insert into geodrop.migration (version, name, checksum) values ({row})")  # noqa: S608  literals
                connection.run("commit")
            except BaseException:
                connection.run("rollback")
                raise
            done.append(migration.name)
        return done
    finally:
        connection.run(f"select pg_advisory_unlock({_LOCK})")
