"""What the browser tests share: the example files in a PostGIS, `local.serve` over it, Chromium, and a watched page."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.conftest import at_database, execute
from tests.integration.conftest import Pipeline
from tests.require import require

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--use-gl=angle",
]
DESKTOP = {"width": 1280, "height": 800}
SMALL = {"width": 1024, "height": 640}  # enough to test on, and half of the pixels to draw without a GPU
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1, "is_mobile": True, "has_touch": True}


@dataclass
class Site:
    """A served API with its page, and the superuser's URL of its database."""

    url: str
    database: str

    def get(self, path: str, **parameters: object) -> Any:
        query = f"?{urlencode(parameters, safe=',:/')}" if parameters else ""
        with urllib.request.urlopen(f"{self.url}/{path}{query}", timeout=20) as response:
            return json.load(response)

    def total(self, **parameters: object) -> int:
        """The sum of counts of what is asked."""
        page = self.get("aggregated-data", stats="count", geometry="none", limit=5000, **parameters)
        return sum(feature["properties"]["count"] for feature in page["features"])


@contextmanager
def served(database_url: str) -> Iterator[Site]:
    """`local.serve` on a free port, connected as the reading role."""
    url = database_url.replace("//postgres:", "//geodrop_api:")
    command = [sys.executable, "-m", "local.serve", "--port", "0", "--no-reload"]
    environment = os.environ | {"GEODROP_DATABASE_URL": url}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield Site(server.stdout.readline().strip().rstrip("/"), database_url)
        finally:
            server.terminate()
            server.wait()


@contextmanager
def database(server_url: str, template: str) -> Iterator[str]:
    name = f"geodrop_test_{uuid.uuid4().hex[:12]}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield at_database(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(chromium: Browser, server_url: str, template_database: str) -> Iterator[Site]:
    """The page over the example files."""
    with database(server_url, template_database) as url:
        pipeline = Pipeline(url)
        for example in sorted((ROOT / "examples").glob("*/*.*sv")) + sorted((ROOT / "examples").glob("*/*.geojson")):
            pipeline.put(f"landing/{example.parent.name}/{example.name}", example.read_bytes())
        pipeline.kept.drop()
        with served(url) as made:
            yield made


@pytest.fixture(scope="session")
def empty_site(chromium: Browser, server_url: str, template_database: str) -> Iterator[Site]:
    with database(server_url, template_database) as url, served(url) as made:
        yield made


@dataclass
class Visit:
    """An open page, and all that it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def asked(self, path: str) -> list[str]:
        """Addresses of a path that were asked for."""
        return [url for url in self.requests if urlsplit(url).path.endswith(path)]

    def settle(self) -> None:
        """Wait until nothing is under way: what was asked for is drawn."""
        self.page.wait_for_timeout(170)  # a change is asked for 120 ms after it
        self.page.wait_for_selector("body[data-ready]:not(.busy)")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def rows(self) -> int:
        """How many rows the page says are in view."""
        return int(re.search(r"([\d,]+) rows? in", self.text("#summary")).group(1).replace(",", ""))

    def categories(self) -> int:
        """How many rows all categories have together, by the time series."""
        listed = self.page.locator("#categories li b").all_inner_texts()
        return sum(int(text.replace(",", "")) for text in listed)

    def cell(self) -> dict[str, str]:
        """The chosen cell's numbers by statistic, as shown."""
        pairs = self.page.query_selector_all("#cell dl div")
        return {one.get_attribute("data-statistic"): one.query_selector("dd").inner_text() for one in pairs}

    def data(self) -> list[str]:
        """Addresses of the API that were asked for, without the page's own files."""
        return [url for url in self.requests if "/web/" not in url and not url.startswith("blob:")]


@pytest.fixture(scope="session")
def desktop(chromium: Browser) -> Iterator[BrowserContext]:
    """One context for most tests, so that the map's code is loaded once."""
    context = chromium.new_context(viewport=SMALL, color_scheme="light", reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="session")
def kept(desktop: BrowserContext) -> Visit:
    """The page that most tests go on with: another address is enough, and loading takes longer than the tests."""
    return watched(desktop)


@pytest.fixture
def visit(desktop: BrowserContext, kept: Visit, site: Site) -> Iterator[Callable[..., Visit]]:
    """`visit("#dataset=earthquakes")`: an open page; after the test it must have been quiet and have stayed here.

    It is `kept`, led to that address; with `fresh`, another `url` or `context` it is one of its own.
    """
    made: list[Visit] = []

    def open_page(
        address: str = "", *, fresh: bool = False, url: str = site.url, context: BrowserContext = desktop
    ) -> Visit:
        fresh = fresh or not address or url != site.url or context is not desktop
        opened = watched(context) if fresh else kept
        made.append(opened)
        opened.requests.clear()
        if fresh or opened.page.url in ("about:blank", f"{url}/{address}"):
            opened.page.goto("about:blank")
            opened.page.goto(f"{url}/{address}")
        else:
            opened.page.evaluate("hash => void (location.hash = hash)", address)
        opened.settle()
        return opened

    yield open_page
    for one in made:
        if one is not kept:
            one.page.close()
        complaints, one.complaints = one.complaints, []
        assert complaints == []
        away = [url for url in one.requests if urlsplit(url).hostname not in ("127.0.0.1", None)]
        assert away == []


def watched(context: BrowserContext) -> Visit:
    """A new page that keeps what it asks for and complains of."""
    opened = Visit(context.new_page())

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened.complaints.append(message.text)

    opened.page.on("console", heard)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    return opened
