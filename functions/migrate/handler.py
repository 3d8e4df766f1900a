"""Lambda: brings the database's schema and roles to the newest migration, or checks them."""

from __future__ import annotations

from typing import Any

from geodrop import logs, package
from geodrop.database import connect
from geodrop.migrations import MigrationError, ahead, load, migrate, pending
from geodrop.roles import check


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"action": "migrate"}`` applies what is pending; ``{"action": "check"}`` only looks, and raises if anything is.

    Both end with a check of the roles' rights, and return the applied migrations, the newest that this version has, and
    those that only a later version has: a database that was migrated before a rollback stays as it is, and what rights
    it gives is that version's matter.
    """
    logs.begin(request_id=getattr(context, "aws_request_id", None))
    action = event.get("action", "migrate")
    if action not in ("migrate", "check"):
        raise ValueError(f"action {action!r}: expected migrate or check")
    migrations = load(package.migrations())
    connection = connect(application="geodrop-migrate")
    try:
        if action == "migrate":
            applied = migrate(connection, migrations)
        else:
            applied = []
            waiting = [migration.name for migration in pending(connection, migrations)]
            if waiting:
                raise MigrationError(f"not applied yet: {', '.join(waiting)}")
        newer = ahead(connection, migrations)
        if newer:
            logs.log("WARNING", "the database is ahead of this version: roles are not checked", ahead=newer)
        else:
            check(connection)
    finally:
        connection.close()
    current = migrations[-1].version if migrations else None
    logs.log("INFO", f"{action} done", applied=applied, current=current)
    return {"applied": applied, "current": current, "ahead": newer}
