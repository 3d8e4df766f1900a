"""The roles' rights, checked against what they should be."""

from __future__ import annotations

from pg8000.native import Connection

WRITER, READER = "geodrop_ingest", "geodrop_api"
_READ = {"dataset", "ledger", "reject", "reject_count", "aggregate", "cell"}
_WRITTEN = _READ | {"partial", "observation"}


class RoleError(Exception):
    """A role lacks a right or has one too many; the text names both."""


def check(connection: Connection) -> None:
    """Raise RoleError unless each role can do exactly what its function needs."""
    wanted = {(WRITER, table, right) for table in _WRITTEN for right in ("SELECT", "INSERT", "UPDATE", "DELETE")}
    wanted |= {(READER, table, "SELECT") for table in _READ | {"migration"}}
    found = {
        (role, table, right)
        for role, table, right in connection.run(
            "select r.rolname, c.relname, p.right_name from pg_roles as r"
            " cross join pg_class as c"
            " cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as p (right_name)"
            " where r.rolname in (:writer, :reader) and c.relnamespace = 'geodrop'::regnamespace"
            " and c.relkind = 'r' and has_table_privilege(r.oid, c.oid, p.right_name)",
            writer=WRITER,
            reader=READER,
        )
        or []
    }
    for problem, rights in (("lacks", wanted - found), ("has too much:", found - wanted)):
        for role, table, right in sorted(rights):
            raise RoleError(f"role {role} {problem} {right} on geodrop.{table}")
    special = connection.run(
        "select rolname from pg_roles where rolname in (:writer, :reader)  and (rolsuper or rolcreaterole"
        " or rolcreatedb)",
        writer=WRITER,
        reader=READER,
    )
    if special:
        raise RoleError(f"role {special[0][0]} may administer the server")
