"""Connections to PostgreSQL: TLS verified, IAM tokens instead of passwords, one kept per process."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.exceptions import InterfaceError
from pg8000.native import Connection, DatabaseError

from geodrop import package

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_PORT = 5432


class ConfigurationError(Exception):
    """The environment does not say how to reach the database; the text says what is expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who we are there. An empty password means an IAM token."""

    host: str
    port: int
    database: str
    user: str
    password: str
    verify: bool


def address(url: str) -> Address:
    """Read ``postgresql://user[:password]@host[:port]/database[?sslmode=verify-full|disable]``.

    Raises ConfigurationError, without repeating the URL: it may hold a password.
    """
    parts = urlsplit(url)
    mode = parse_qs(parts.query).get("sslmode", ["verify-full"])[0]
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
        raise ConfigurationError("GEODROP_DATABASE_URL: expected postgresql://user@host:5432/database")
    if mode not in ("verify-full", "disable"):
        raise ConfigurationError("GEODROP_DATABASE_URL: sslmode is verify-full or disable")
    if mode == "disable" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError("GEODROP_DATABASE_URL: sslmode=disable is for databases on this machine only")
    return Address(
        host=parts.hostname,
        port=parts.port or _PORT,
        database=unquote(parts.path.lstrip("/")) or "geodrop",
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        verify=mode == "verify-full",
    )


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the certificates takes longer than a handshake."""
    return ssl.create_default_context(cafile=str(package.rds_certificates()))


def _token(where: Address) -> str:
    """A signed token that lets the function's role log in as the user for 15 minutes.

    Source: Amazon RDS, "IAM database authentication": a presigned URL of the action rds-db:connect. Only
    botocore's signer is used, since a whole client takes a quarter of a second to import.
    """
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    credentials = Credentials(
        os.environ.get("AWS_ACCESS_KEY_ID", ""),
        os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
        os.environ.get("AWS_SESSION_TOKEN") or None,
    )
    request = AWSRequest(
        method="GET",
        url=f"https://{where.host}:{where.port}/",
        params={"Action": "connect", "DBUser": where.user},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    SigV4QueryAuth(credentials, "rds-db", region, expires=900).add_auth(request)
    return str(request.url).removeprefix("https://")


def _with_secret(where: Address, arn: str) -> Address:
    import boto3

    answer = boto3.client("secretsmanager").get_secret_value(SecretId=arn)
    secret = json.loads(answer["SecretString"])
    return Address(
        host=where.host,
        port=where.port,
        database=where.database,
        user=secret["username"],
        password=secret["password"],
        verify=where.verify,
    )


def connect(url: str | None = None, *, application: str = "geodrop") -> Connection:
    """A new connection, in UTC.

    Parameters
    ----------
    url
        As ``address`` reads it; GEODROP_DATABASE_URL where none is given.

    Raises
    ------
    ConfigurationError
        The URL is missing or wrong.
    pg8000.exceptions.InterfaceError, pg8000.native.DatabaseError
        The database cannot be reached, or refuses.
    """
    where = address(url or os.environ.get("GEODROP_DATABASE_URL", ""))
    arn = os.environ.get("GEODROP_DATABASE_SECRET_ARN") if url is None else None
    if arn:
        where = _with_secret(where, arn)
    connection = Connection(
        where.user,
        host=where.host,
        port=where.port,
        database=where.database,
        password=where.password or _token(where),
        ssl_context=_tls() if where.verify else False,
        timeout=10,
        application_name=application,
    )
    # The timeout is for connecting; a long COPY or merge may be silent for longer.
    connection._usock.settimeout(None)  # noqa: SLF001  pg8000 has no other way
    connection.run("set timezone = 'UTC'")
    return connection


class Kept:
    """The connection that a warm function keeps from one invocation to the next."""

    def __init__(self, application: str, url: str | None = None) -> None:
        self._application = application
        self._url = url
        self._connection: Connection | None = None

    def get(self) -> Connection:
        """The kept connection, or a new one."""
        if self._connection is None:
            self._connection = connect(self._url, application=self._application)
        return self._connection

    def drop(self) -> None:
        """Close it: after a failure its state is unknown (a COPY that failed midway cannot be reused)."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(InterfaceError, OSError):
                connection.close()


def code_of(error: DatabaseError) -> str:
    """PostgreSQL's SQLSTATE of an error, such as 57014; empty where it has none."""
    details: Any = error.args[0] if error.args else {}
    return str(details.get("C", "")) if isinstance(details, dict) else ""
