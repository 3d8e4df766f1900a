"""Fixtures that every kind of test may use: a real PostGIS, and a fresh migrated database for each test."""

import importlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local.postgres import Cluster, connect
from tests.require import require as require_tools

ROOT = Path(__file__).resolve().parent.parent

# The short form of a property test always takes the same examples: a change is judged by itself, not by luck. The
# long form, GEODROP_PROPERTY_EXAMPLES=.., takes new ones each time.
settings.register_profile("same", derandomize=True)
if "GEODROP_PROPERTY_EXAMPLES" not in os.environ:
    settings.load_profile("same")


# Folders whose tests share what is slow to start, but for the files that use none of it.
_WHOLE = {"live", "plan", "stack", "browser"}
_APART = {"tests/plan/test_checkov.py", "tests/plan/test_refusals.py"}


class _ByFixtures(LoadScopeScheduling):
    """With `-n`, keep tests that share fixtures in one process: what is slow to start is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        folder = file.split("/")[1]
        return folder if folder in _WHOLE and file not in _APART else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Return who deals the tests out, unless `--dist` says another way."""
    return _ByFixtures(config, log) if config.getvalue("dist") == "load" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests noted with `record_property("notice", ...)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "notice":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A private PostgreSQL with PostGIS for this test run; any password is right."""
    private = Cluster(tmp_path_factory.mktemp("postgres") / "data", auth="trust", durable=False)
    try:
        private.start()
        yield private
    finally:
        private.remove()


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """The superuser's URL of the server to test on: DATABASE_URL if that is set, else `cluster`."""
    return os.environ.get("DATABASE_URL") or request.getfixturevalue("cluster").url()


@pytest.fixture(scope="session")
def template_database(server_url: str) -> Iterator[str]:
    """The name of a database that is migrated once and copied for each test."""
    name = f"geodrop_template_{uuid.uuid4().hex[:12]}"
    execute(server_url, f"CREATE DATABASE {name}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GEODROP_DATABASE_URL", at_database(server_url, name))
            importlib.import_module("migrate.handler").handle({"action": "migrate"}, None)
        yield name
    finally:
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The superuser's URL of a fresh, migrated database; it is dropped after the test."""
    name = f"geodrop_test_{uuid.uuid4().hex[:12]}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    try:
        yield at_database(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def require() -> Callable[..., None]:
    """`require("terragrunt")`: see tests/require.py."""
    return require_tools


def at_database(url: str, name: str) -> str:
    """Return the same URL for another database of that server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def execute(url: str, sql: str) -> None:
    """Run one statement outside a transaction."""
    with closing(connect(url)) as connection:
        connection.run(sql)
