"""A private MiniStack: S3, SQS, Lambda, HTTP APIs and more of AWS in one process, on loopback only.

Its processes are known by an environment variable that they all inherit, so that every one of them is found
and stopped, also those that a crash or a kill -9 has left without a parent.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from local.postgres import free_port, is_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

REGION = "eu-central-1"
ACCOUNT = "000000000000"
_HOST = "127.0.0.1"
_MARK = "GEODROP_EMULATOR"
_ROOT = "local"  # the account's own key and its secret: they matter only where IAM is enforced


class EmulatorError(RuntimeError):
    """MiniStack did not start or stop; the message carries the end of its log."""


class Emulator:
    """One MiniStack with its folder: the objects of its buckets are kept there, all else is forgotten on stop.

    Parameters
    ----------
    directory
        Where objects, temporary files and the log go; made when missing.
    port
        TCP port; 0 takes the one used before if it is free, or any free one.
    account
        The account whose APIs can be called, twelve digits. Clients choose their account by an access key of
        twelve digits; any other key means this one.
    enforce_iam
        Whether policies are enforced, as AWS does; any call is allowed otherwise. The answers then come over TLS, with
        a certificate of its own, since policies deny what comes without.
    """

    def __init__(self, directory: Path, port: int = 0, account: str = ACCOUNT, *, enforce_iam: bool = False) -> None:
        self.directory = directory.absolute()
        self.port = port
        self.account = account
        self.enforce_iam = enforce_iam
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for AWS_ENDPOINT_URL."""
        return f"{'https' if self.enforce_iam else 'http'}://{_HOST}:{self.port}"

    @property
    def certificate(self) -> Path:
        """The file with the certificate that answers come with when IAM is enforced."""
        return self.directory / "certificate.pem"

    @property
    def log(self) -> Path:
        """The file with all that MiniStack and the functions print."""
        return self.directory / "ministack.log"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead boto3, the AWS CLI and Terraform to this MiniStack."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": _ROOT,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            # One is what AWS's own clients read, the other what Python and Go read.
            **(
                {"AWS_CA_BUNDLE": str(self.certificate), "SSL_CERT_FILE": str(self.certificate)}
                if self.enforce_iam
                else {}
            ),
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client that talks to this MiniStack."""
        return client(service, self.url, verify=str(self.certificate) if self.enforce_iam else None)

    def start(self) -> None:
        """Start MiniStack and wait until it answers; do nothing when it does already.

        Raises
        ------
        EmulatorError
            When it does not answer within 20 s.
        """
        if self.running():
            return
        self.stop()  # what a crash left behind
        self.port = self._choose_port()
        scratch = self.directory / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        # Nothing of the caller's environment: MiniStack hands its own on to the functions.
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BIND_HOST": _HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": _HOST,
            "MINISTACK_ACCOUNT_ID": self.account,
            "MINISTACK_REGION": REGION,
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.directory / "s3"),
            _MARK: str(self.directory),
            **(self._enforcing() if self.enforce_iam else {}),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=environment,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        (self.directory / "emulator.json").write_text(json.dumps({"port": self.port, "account": self.account}))
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise EmulatorError(f"MiniStack did not start:\n{self._log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop MiniStack and the functions' processes and wait until the last is gone."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            deadline = time.monotonic() + patience
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            while self.pids():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            else:
                break
        else:
            raise EmulatorError(f"processes {self.pids()} of {self.directory} do not end")
        if self._process is not None:
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop MiniStack and delete its folder, the buckets' objects included."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def running(self) -> bool:
        """Say whether this folder's MiniStack answers on its port."""
        known = self._known()
        if known and known["account"] == self.account and self.port in {0, known["port"]}:
            self.port = known["port"]
            return bool(self.pids()) and self._answers()
        return False

    def pids(self) -> list[int]:
        """Return the ids of all live processes of this folder's MiniStack, the functions' included."""
        return list(_marked(f"{_MARK}={self.directory}"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _enforcing(self) -> dict[str, str]:
        """Make a certificate; return the settings that enforce IAM for all but the account's own key."""
        key = self.directory / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={_HOST}"]
        command += ["-addext", f"subjectAltName=IP:{_HOST}", "-addext", "basicConstraints=critical,CA:TRUE"]
        command += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        return {
            "AUTH": "true",
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(self.certificate),
            "MINISTACK_SSL_KEY": str(key),
            "AWS_CA_BUNDLE": str(self.certificate),  # the functions' clients read it
            "AWS_ACCESS_KEY_ID": _ROOT,
            "AWS_SECRET_ACCESS_KEY": _ROOT,
        }

    def _known(self) -> dict[str, Any] | None:
        try:
            known: dict[str, Any] = json.loads((self.directory / "emulator.json").read_text())
        except (OSError, ValueError):
            return None
        return known

    def _choose_port(self) -> int:
        if self.port and is_free(self.port):
            return self.port
        known = self._known()
        if known and is_free(known["port"]):
            return int(known["port"])
        return free_port()

    def _answers(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self.certificate) if self.enforce_iam else None
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2, context=context) as response:
                return bool(response.status == 200)  # noqa: PLR2004
        except (OSError, urllib.error.URLError):
            return False

    def _log_tail(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return ""


def client(service: str, endpoint: str, region: str = REGION, verify: str | None = None) -> Any:
    """Return a boto3 client for a MiniStack's address and the account that is its own.

    `verify` is the file of the certificate to trust; without, it is the one that AWS_CA_BUNDLE names.
    """
    import boto3  # it takes a quarter of a second that `make down` need not wait for
    from botocore.config import Config

    make: Any = boto3.client  # its types want each service by name
    return make(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=_ROOT,  # one of twelve digits would choose another account
        aws_secret_access_key=_ROOT,
        verify=verify,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 2},
            connect_timeout=5,
            read_timeout=150,  # longer than the longest function runs
            max_pool_connections=32,
        ),
    )


def _marked(mark: str) -> Iterator[int]:
    """Yield the ids of the live processes that have NAME=VALUE in their environment."""
    if Path("/proc/self/environ").exists():
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # gone meanwhile, or another user's
                if mark.encode() in environ.read_bytes().split(b"\0"):
                    yield int(environ.parent.name)
    else:
        listing = subprocess.run(["ps", "-AEww", "-o", "pid=,command="], check=True, capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            if f" {mark} " in f"{line} ":
                yield int(line.split()[0])
