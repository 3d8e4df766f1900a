"""`make serve`: requests become events and answers HTTP, connections are kept, files that change are taken up."""

import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from local.serve import Routes
from tests.integration.conftest import HEADER, Pipeline, csv_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(database_url: str) -> Iterator:
    """`start("--workers", "2")`: the address of a server on the test's database."""
    running = []

    def serve(*options: str) -> str:
        command = [sys.executable, "-m", "local.serve", "--port", "0", *options]
        url = database_url.replace("//postgres:", "//geodrop_api:")
        environment = os.environ | {"GEODROP_DATABASE_URL": url}
        running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
        return running[-1].stdout.readline().strip().rstrip("/")

    yield serve
    for one in running:
        one.terminate()
        assert one.wait(10) == 0
        one.stdout.close()


def talk(url: str, *requests: bytes) -> bytes:
    """Send bytes over one connection, at once; return all that comes until the server has been quiet for a moment."""
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=10)) as connection:
        connection.sendall(b"".join(requests))
        received = connection.recv(65536)
        connection.settimeout(0.4)
        try:
            while more := connection.recv(65536):
                received += more
        except TimeoutError:
            pass
    return received


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_routes_are_those_of_the_document():
    routes = Routes({"paths": {"/": {}, "/a/{b}": {}, "/a/b": {}, "/t/{z}/{x}.json": {}}})
    assert routes.find("/") == ("/", {})
    assert routes.find("/a/b") == ("/a/b", {})
    assert routes.find("/a/c%2Fd") == ("/a/{b}", {"b": "c/d"})
    assert routes.find("/t/1/2.json") == ("/t/{z}/{x}.json", {"z": "1", "x": "2"})
    assert routes.find("/t/1/2xjson") is routes.find("/a/") is routes.find("/a/b/c") is None


def test_it_answers_as_the_function_does(start, pipeline: Pipeline):
    pipeline.put("landing/earthquakes-csv/a.csv", HEADER + csv_rows(50))
    url = start("--no-reload")
    with urllib.request.urlopen(f"{url}/aggregated-data?dataset=earthquakes-csv&level=3&limit=1") as response:
        page = json.load(response)
    assert page["numberReturned"] == 1
    assert [link["href"].split("?")[0] for link in page["links"]] == [f"{url}/aggregated-data"] * 2
    with pytest.raises(HTTPError, match="400"):
        urllib.request.urlopen(f"{url}/aggregated-data?dataset=earthquakes-csv&nonsense=1")
    told = talk(url, get("/ingestions/1"), get("/health", method="HEAD"), get("/nowhere"), get("/", "Origin: x:1"))
    answers = [part.partition(b"\r\n")[0] for part in re.findall(rb"HTTP/1\.1 [\s\S]*?(?=HTTP/1\.1|$)", told)]
    assert answers == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 200 OK"]
    assert b'{"message": "Not Found"}' in told
    assert told.count(b"access-control-allow-origin: *") == 1
    preflight = talk(url, get("/health", "Origin: x:1", method="OPTIONS"))
    assert preflight.startswith(b"HTTP/1.1 204")
    assert b"access-control-allow-methods: GET,HEAD" in preflight


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 40_000, 431),
        (get("/health", method="POST"), 404),
        (get("/health", "Content-Length: -1"), 400),
        (get("/health", "Content-Length: 9999999"), 413),
        (get("/health", "Transfer-Encoding: chunked"), 400),
    ],
)
def test_what_is_no_request_is_refused(start, sent: bytes, status: int):
    assert talk(start("--no-reload"), sent).startswith(b"HTTP/1.1 %d " % status)


def test_every_answer_says_where_it_ends(start):
    url = start("--no-reload")
    tag = re.search(rb"etag: (.*)\r", talk(url, get("/openapi.json")))[1].decode()
    asked = [
        ("/health", 200, []),
        ("/health", 200, ["Content-Length: 5"]),  # no route takes a body; it is not the next request
        ("/openapi.json", 304, [f"If-None-Match: {tag}"]),
        ("/nowhere", 404, []),
        ("/aggregated-data", 400, []),
        ("/aggregated-data/tiles/0/0/0?dataset=earthquakes-csv", 200, []),
    ]
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        for _ in range(3):
            for path, status, headers in asked:
                for method in ("GET", "HEAD", "OPTIONS"):
                    body = b"x" * 5 if headers and "Length" in headers[0] else None
                    given = dict(line.split(": ", 1) for line in headers)
                    connection.request(method, path, body=body, headers=given)
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == (204 if method == "OPTIONS" else status)
                    assert not answer.will_close
        kept = connection.sock
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        assert connection.sock is kept
    for path in ("/nowhere", "/health", "/", "/aggregated-data"):
        assert talk(url, get(path, method="HEAD")).endswith(b"\r\n\r\n"), "a body after the head of HEAD"


def test_workers_share_the_port(start):
    url = start("--no-reload", "--workers", "2")
    for _ in range(20):
        with urllib.request.urlopen(f"{url}/health") as response:
            assert json.load(response)["status"] == "ok"


def test_a_file_that_changes_is_taken_up(start):
    url = start()
    server_before = talk(url, get("/health"))
    assert server_before.startswith(b"HTTP/1.1 200")
    os.utime(ROOT / "functions" / "api" / "web" / "icon.svg")
    deadline = time.monotonic() + 10
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=10)) as kept:
        kept.settimeout(deadline - time.monotonic())
        assert kept.recv(1) == b""  # the worker that had this connection is gone
    assert talk(url, get("/health")).startswith(b"HTTP/1.1 200")


def test_the_page_allows_nothing_from_elsewhere_and_its_files_are_kept(start):
    url = start("--no-reload")
    with urllib.request.urlopen(url) as response:
        page, headers = response.read().decode(), response.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.findall(r"https?://[^\"']*", policy + page)
    assert headers["etag"]
    assert headers["cache-control"] == "no-cache"
    with pytest.raises(HTTPError, match="304"):
        urllib.request.urlopen(urllib.request.Request(url, headers={"If-None-Match": headers["etag"]}))
    files = set(re.findall(r'(?:src|href)="(web/[^"]+)"', page))
    folder = ROOT / "functions" / "api" / "web"
    assert {path.split("/")[2] for path in files} == {
        path.name for path in folder.iterdir() if path.name not in ("index.html", "maplibre-gl-worker.mjs")
    }
    for path in files:
        request = urllib.request.Request(f"{url}/{path}", headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request) as response:
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert response.headers["x-content-type-options"] == "nosniff"
            content = response.read()
            if response.headers["content-encoding"] == "gzip":
                content = gzip.decompress(content)
        assert sha256(content).digest() == sha256((folder / path.split("/")[2]).read_bytes()).digest()
    with urllib.request.urlopen(f"{url}/web/{'0' * 12}/app.js") as response:
        assert response.headers["cache-control"] == "no-cache"
    for wrong in (f"web/{'0' * 12}/nothing.js", f"web/{'0' * 12}/..%2Fhandler.py", "web/x/app.js"):
        with pytest.raises(HTTPError, match=r"40[04]"):
            urllib.request.urlopen(f"{url}/{wrong}")
