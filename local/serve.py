"""The api handler behind a plain HTTP server on loopback: for working on the page, and for measuring.

    python -m local.serve [--port 8080] [--workers 1] [--no-reload]

Each request becomes an API Gateway v2 event, as on AWS: the route comes from functions/api/openapi.yaml, and one
worker answers one request at a time, like one instance of the function. The database is the one that
GEODROP_DATABASE_URL names, or that of the embedded stack, as its reading role.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from local import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = "127.0.0.1"
FUNCTIONS = state.ROOT / "functions"
_WATCHED = (FUNCTIONS, state.ROOT / "datasets")
_LOOK_EVERY_S = 0.4
_MOST_HEAD = 32 * 1024
_MOST_BODY = 1024 * 1024
_WAITING = 512
# Lambda's limit on what a function may answer.
_MOST_ANSWER = 6 * 1024 * 1024
_CORS = "access-control-allow-origin: *\r\naccess-control-expose-headers: etag,link\r\n"


class ServeError(RuntimeError):
    """The server cannot start; the message says what to do."""


class Routes:
    """The paths of an OpenAPI document, and which of them an address means."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._fixed: set[str] = set()
        self._open: list[tuple[re.Pattern[str], str]] = []
        for path in document["paths"]:
            if "{" not in path:
                self._fixed.add(path)
                continue
            parts = re.split(r"\{(\w+)\}", path)
            pattern = "".join(f"(?P<{part}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts))
            self._open.append((re.compile(pattern), path))

    def find(self, path: str) -> tuple[str, dict[str, str]] | None:
        """Route and decoded path parameters of an address; a route without parameters goes first."""
        if path in self._fixed:
            return path, {}
        for pattern, route in self._open:
            found = pattern.fullmatch(path)
            if found:
                return route, {name: unquote(value) for name, value in found.groupdict().items()}
        return None


class Connection(asyncio.Protocol):
    """One client's connection: requests in, answers out, in order; kept open between them."""

    def __init__(self, routes: Routes, handle: Callable[[dict[str, Any], Any], dict[str, Any]]) -> None:
        self._routes = routes
        self._handle = handle
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small answers at once."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a TCP server gives
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete; a body is read and left alone, since no route takes one."""
        self._received += data
        while not self._transport.is_closing():
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                if len(head) > _MOST_HEAD:
                    self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                break
            try:
                method, target, headers = _parse(head.decode("latin-1"))
                length = _length(headers)
            except ValueError:
                self._refuse(HTTPStatus.BAD_REQUEST)
                break
            if length > _MOST_BODY:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                break
            if len(rest) < length:
                break
            self._received = rest[length:]
            answer = self._answer(method, target, headers)
            # What follows the head of an answer to HEAD would be taken for the next answer.
            self._transport.write(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer)
            if headers.get("connection", "").lower() == "close":
                self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what is no request of ours and end the connection: where the next one begins is not known."""
        self._transport.write(_bare(status, "connection: close\r\n"))
        self._transport.close()

    def _answer(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        path, _, query = target.partition("?")
        if method == "OPTIONS":
            more = _CORS + "access-control-allow-methods: GET,HEAD\r\naccess-control-allow-headers: if-none-match\r\n"
            return _bare(HTTPStatus.NO_CONTENT, more)
        found = self._routes.find(path)
        if found is None or method not in ("GET", "HEAD"):
            return _bare(HTTPStatus.NOT_FOUND)
        route, named = found
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": f"{method} {route}",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "domainName": headers.get("host", HOST),
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": HOST},
                "requestId": f"{time.time_ns():x}",
                "routeKey": f"{method} {route}",
                "stage": "$default",
            },
            "isBase64Encoded": False,
        }
        if named:
            event["pathParameters"] = named
        try:
            answer = self._handle(event, None)
        except Exception as error:  # noqa: BLE001  what API Gateway makes of a function that fails
            print(f"{method} {target}: {type(error).__name__}: {error}", file=sys.stderr)
            return _bare(HTTPStatus.INTERNAL_SERVER_ERROR)
        if len(answer["body"]) > _MOST_ANSWER:
            print(f"{method} {target}: {len(answer['body'])} bytes are more than Lambda returns", file=sys.stderr)
            return _bare(HTTPStatus.INTERNAL_SERVER_ERROR)
        body = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"].encode()
        status = answer["statusCode"]
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer["headers"].items())
        if "origin" in headers:
            lines += _CORS
        # What a HEAD leaves out has no length here either: it is not made.
        if status != HTTPStatus.NOT_MODIFIED and method != "HEAD":
            lines += f"content-length: {len(body)}\r\n"
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode("latin-1") + body


def _parse(head: str) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers by lower-case name; repeated ones joined by commas, as API Gateway does."""
    first, *lines = head.split("\r\n")
    method, target, protocol = first.split(" ")
    if protocol != "HTTP/1.1" or not target.startswith("/"):
        raise ValueError(first)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(line)
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return method, target, headers


def _length(headers: dict[str, str]) -> int:
    """How many bytes of body follow. Raises ValueError where that is not said as a number."""
    if "transfer-encoding" in headers:
        raise ValueError(headers["transfer-encoding"])
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _bare(status: HTTPStatus, headers: str = "") -> bytes:
    """An answer of the gateway itself."""
    if status == HTTPStatus.NO_CONTENT:
        return f"HTTP/1.1 204 No Content\r\n{headers}\r\n".encode()
    body = json.dumps({"message": status.phrase})
    headers += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}\r\n{body}".encode()


def work(listening: socket.socket) -> None:
    """Answer requests on a socket until told to stop."""
    sys.path.insert(0, str(FUNCTIONS))
    from api.handler import handle
    from geodrop import package

    routes = Routes(package.openapi())

    async def answer() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # asyncio takes as many connections at once as its backlog: a few, so that each worker gets its share.
        server = await loop.create_server(lambda: Connection(routes, handle), sock=listening, backlog=4)
        listening.listen(_WAITING)
        await stop.wait()
        server.close()

    asyncio.run(answer())


def database_url() -> str:
    """GEODROP_DATABASE_URL, or the embedded stack's database as its role geodrop_api.

    Raises
    ------
    ServeError
        When there is neither.
    """
    given = os.environ.get("GEODROP_DATABASE_URL")
    if given:
        return given
    stack = state.read_stack()
    if stack is None:
        raise ServeError("there is no database: start the embedded stack (make demo), or set GEODROP_DATABASE_URL")
    address = urlsplit(str(stack["database_url"]))
    with contextlib.suppress(FileNotFoundError, KeyError):
        password = json.loads((state.folder() / "roles.json").read_text())["geodrop_api"]
        login = f"geodrop_api:{quote(password, safe='')}"
        address = address._replace(netloc=f"{login}@{address.hostname}:{address.port or 5432}")
    return urlunsplit(address)


def serve(port: int, workers: int, *, reload: bool) -> None:
    """Listen, and keep the workers going; with ``reload`` they are made anew when a file changes."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise ServeError(f"port {port} is taken: make serve PORT=8081") from error
        listening.listen(_WAITING)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        environment = os.environ | {"GEODROP_DATABASE_URL": database_url(), "GEODROP_PUBLIC_URL": address}
        command = [sys.executable, "-m", "local.serve", "--socket", str(listening.fileno())]

        def start() -> list[subprocess.Popen[bytes]]:
            descriptors = (listening.fileno(),)
            return [
                subprocess.Popen(command, env=environment, cwd=state.ROOT, pass_fds=descriptors) for _ in range(workers)
            ]

        with _interruptible():
            seen = _times() if reload else {}
            running = start()
            print(f"{address}/", flush=True)
            try:
                while True:
                    time.sleep(_LOOK_EVERY_S)
                    if reload and (now := _times()) != seen:
                        seen = now
                        print("changed: starting anew", flush=True)
                        _stop(running)
                        running = start()
                    elif not reload and any(one.poll() is not None for one in running):
                        raise ServeError("a worker has ended; what it said is above")
            except KeyboardInterrupt:
                pass
            finally:
                _stop(running)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that the workers are stopped in either case."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(running: list[subprocess.Popen[bytes]]) -> None:
    for one in running:
        one.terminate()
    for one in running:
        one.wait()


def _times() -> dict[Path, int]:
    """When each watched file was changed."""
    found = {}
    for folder in _WATCHED:
        for path in folder.rglob("*"):
            if path.suffix != ".pyc" and path.is_file():
                with contextlib.suppress(FileNotFoundError):
                    found[path] = path.stat().st_mtime_ns
    return found


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer (default: 1)")
    parser.add_argument("--no-reload", action="store_true", help="do not watch the files")
    parser.add_argument("--socket", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.socket is not None:
        work(socket.socket(fileno=arguments.socket))
        return 0
    try:
        serve(arguments.port, arguments.workers, reload=not arguments.no_reload)
    except ServeError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
