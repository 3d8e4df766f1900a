"""A private PostgreSQL with PostGIS, on loopback only, for the embedded stack and the tests.

>>> with Cluster(Path("/tmp/example"), auth="trust", durable=False) as cluster:
...     cluster.url()
'postgresql://postgres:trust@127.0.0.1:40001/geodrop?sslmode=disable'
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

import pg8000.native

if TYPE_CHECKING:
    from types import TracebackType

DATABASE = "geodrop"
_SUPERUSER = "postgres"
_HOST = "127.0.0.1"


class PostgisMissingError(RuntimeError):
    """There is no PostgreSQL server with PostGIS here, and none could be installed; the message says what to do."""


class PostgresError(RuntimeError):
    """A PostgreSQL program failed; the message carries what it said."""


def find_postgis() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs that has PostGIS beside it, or None."""
    candidates = [Path(found).parent for found in (shutil.which("initdb"),) if found]
    debian = Path("/usr/lib/postgresql")
    candidates += sorted(debian.glob("*/bin"), key=lambda path: _version(path.parent.name), reverse=True)
    for candidate in candidates:
        if not (candidate / "initdb").is_file():
            continue
        config = candidate / "pg_config"
        if config.is_file():
            share = Path(_output([str(config), "--sharedir"]))
        else:
            share = Path("/usr/share/postgresql") / candidate.parent.name
        if (share / "extension" / "postgis.control").is_file():
            return candidate
    return None


def ensure_postgis() -> Path:
    """Return the folder of PostgreSQL's programs, installing Debian's PostGIS first where that is possible.

    Raises
    ------
    PostgisMissingError
        Where there is none and this is not root on Debian (or a system made from it).
    """
    found = find_postgis()
    if found is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PostgisMissingError(
            "No PostgreSQL server with PostGIS was found. Do one of these: install it "
            "(Debian, Ubuntu: sudo apt-get install postgresql-postgis; macOS: brew install postgis); "
            "set DATABASE_URL to a PostGIS that you have; or use Docker: "
            "docker compose -f local/docker-compose.yml up"
        )
    print("Installing PostGIS with apt-get (once; about 20 s) ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _output(["apt-get", "update", "-qq"], env=environment)
    _output(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql-postgis"], env=environment)
    found = find_postgis()
    if found is None:
        raise PostgisMissingError("apt-get installed postgresql-postgis, but it is still not to be found.")
    return found


class Cluster:
    """One PostgreSQL server process with its data folder, listening on 127.0.0.1 only.

    Parameters
    ----------
    directory
        Where the data lives; made when missing. A cluster that is there already is used again.
    port
        TCP port; 0 takes the one used before if it is free, or any free one.
    auth
        "trust" lets every local user in without a password (throw-away data only);
        "scram" asks for a password: the superuser's is generated and kept in the data folder.
    durable
        False trades crash safety for speed: right for tests.
    """

    def __init__(
        self, directory: Path, port: int = 0, auth: Literal["trust", "scram"] = "scram", *, durable: bool = True
    ) -> None:
        self.directory = directory.absolute()
        self.port = port
        self.auth = auth
        self.durable = durable

    @cached_property
    def data(self) -> Path:
        """Where the data really lies.

        PostgreSQL refuses to run as root, so root runs it as `postgres`, who may not enter every folder
        (a checkout under a closed home, say): then the data goes to a closed folder under /var/tmp.
        """
        if self._account is None:
            return self.directory
        nearest = next(path for path in (self.directory, *self.directory.parents) if path.exists())
        blocked = [path for path in (nearest, *nearest.parents) if path != self.directory and not self._may_enter(path)]
        if not blocked:
            return self.directory
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        return Path("/var/tmp") / f"geodrop-postgres-{name}"  # noqa: S108 (made with mode 0700, its owner is checked)

    def start(self) -> None:
        """Start the server (made first when new) and create the database `geodrop`; do nothing when it runs.

        Raises
        ------
        PostgresError
            When the server does not come up; the end of its log is in the message.
        """
        running = self._running_port()
        if running is None:
            if not (self.data / "PG_VERSION").is_file():
                self._create()
            self.port = self._choose_port()
            self._write_settings()
            try:
                self._run("pg_ctl", "start", "--wait", "--silent", "--log", str(self.data / "server.log"))
            except PostgresError as error:
                raise PostgresError(f"{error}\n{self._log_tail()}") from error
        else:
            self.port = running
        self._create_database()

    def stop(self) -> None:
        """Stop the server and wait until it is gone; do nothing when it does not run."""
        if find_postgis() is not None and self._running_port() is not None:
            self._run("pg_ctl", "stop", "--wait", "--silent", "--mode", "fast")

    def remove(self) -> None:
        """Stop the server and delete its data."""
        if find_postgis() is not None:
            self.stop()
            shutil.rmtree(self.data, ignore_errors=True)
            self._password_file.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def running(self) -> bool:
        """Say whether the server answers for this data folder."""
        return self._running_port() is not None

    def pid(self) -> int | None:
        """Return the server's process id, or None when it does not run."""
        lines = self._pid_file()
        return int(lines[0]) if lines and self.running() else None

    def url(self, database: str = DATABASE, user: str = _SUPERUSER, password: str | None = None) -> str:
        """Return a connection URL; the superuser's generated password is filled in.

        Where the server trusts everybody the password is the word "trust": the server does not look at it,
        and the functions take a URL without a password for one that wants an IAM token.
        """
        if password is None and self.auth == "trust":
            password = "trust"  # noqa: S105 (no secret)
        elif password is None and user == _SUPERUSER:
            password = self._password_file.read_text().strip()
        login = quote(user, safe="") if password is None else f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{login}@{_HOST}:{self.port}/{quote(database, safe='')}?sslmode=disable"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _password_file(self) -> Path:
        return self.data.with_name(f"{self.data.name}-password")

    @cached_property
    def _bin(self) -> Path:
        return ensure_postgis()

    @cached_property
    def _account(self) -> pwd.struct_passwd | None:
        """The account that the server runs as where we are root; it comes with the package."""
        if os.geteuid() != 0:
            return None
        ensure_postgis()
        return pwd.getpwnam("postgres")

    def _may_enter(self, path: Path) -> bool:
        assert self._account is not None  # noqa: S101 (narrows the type)
        status = path.stat()
        if status.st_uid == self._account.pw_uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self._account.pw_gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def _create(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            owner = self.data.stat().st_uid
            if owner not in (0, self._account.pw_uid):
                raise PostgresError(f"{self.data} belongs to user id {owner}: remove it or choose another folder.")
            os.chown(self.data, self._account.pw_uid, self._account.pw_gid)
        if any(self.data.iterdir()):  # an earlier initdb was cut off: nothing in it is worth keeping
            for entry in self.data.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        options = ["--username", _SUPERUSER, "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        if self.auth == "scram":
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
            if self._account is not None:
                os.chown(self._password_file, self._account.pw_uid, self._account.pw_gid)
            options += ["--auth", "scram-sha-256", "--pwfile", str(self._password_file)]
        else:
            options += ["--auth", "trust"]
        self._run("initdb", *options)

    def _write_settings(self) -> None:
        settings = {
            "listen_addresses": f"'{_HOST}'",
            "port": str(self.port),
            "unix_socket_directories": "''",
            "max_connections": "100",
            "shared_buffers": "'128MB'",
            "log_min_messages": "warning",
            "timezone": "'UTC'",
            "jit": "off",  # queries here take milliseconds; compiling them takes longer
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.data / "postgresql.auto.conf").write_text(text)

    def _choose_port(self) -> int:
        if self.port:
            return self.port
        used_before = re.search(r"^port = (\d+)$", _read(self.data / "postgresql.auto.conf"), re.MULTILINE)
        if used_before and is_free(int(used_before[1])):
            return int(used_before[1])
        return free_port()

    def _create_database(self) -> None:
        with closing(connect(self.url(database="postgres"))) as connection:
            if not connection.run("SELECT 1 FROM pg_database WHERE datname = :name", name=DATABASE):
                connection.run(f"CREATE DATABASE {DATABASE}")

    def _running_port(self) -> int | None:
        """Return the port of the live server, or None; wait a moment for one that is just coming or going."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            lines = self._pid_file()
            if len(lines) < 4:  # noqa: PLR2004 (pid, folder, start time, port)
                return None
            # pg_ctl tells a live server from a pid file that a crash left behind.
            status = self._command("pg_ctl", "status")
            if subprocess.run(status, check=False, capture_output=True, **self._identity()).returncode != 0:
                return None
            if _answers(int(lines[3])):
                return int(lines[3])
            time.sleep(0.1)
        raise PostgresError(f"A server holds {self.data} but does not answer.\n{self._log_tail()}")

    def _pid_file(self) -> list[str]:
        return _read(self.data / "postmaster.pid").splitlines()

    def _log_tail(self) -> str:
        return "\n".join(_read(self.data / "server.log").splitlines()[-15:])

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {"cwd": "/"}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": [], "cwd": "/"}

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._bin / program), *arguments, "-D", str(self.data)]

    def _run(self, program: str, *arguments: str) -> None:
        _output(
            self._command(program, *arguments),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # a Ctrl-C in the terminal is not for the server
            **self._identity(),
        )


def connect(url: str) -> pg8000.native.Connection:
    """Return a connection, without TLS, to the server of a URL with a password."""
    address = urlsplit(url)
    return pg8000.native.Connection(
        unquote(address.username or _SUPERUSER),
        host=address.hostname or _HOST,
        port=address.port or 5432,
        database=unquote(address.path.lstrip("/")),
        password=unquote(address.password or ""),
    )


def free_port() -> int:
    """Return a TCP port that is free on loopback at this moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Say whether a TCP port is free on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _output(command: list[str], **options: Any) -> str:
    """Run a program without a terminal; return what it printed, or raise PostgresError with what it said."""
    # A file and not a pipe: the server that pg_ctl starts would hold a pipe open for ever.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, **options
        )
        said.seek(0)
        text = said.read().strip()
    if done.returncode != 0:
        raise PostgresError(f"{Path(command[0]).name} failed ({done.returncode}): {text}")
    return text
