"""docs/deploying.md followed as it is written, in a clone, against an emulated AWS: `make e2e-docs`.

From an empty account to a first answer, a change with a migration, a rollback past it, and a teardown. The tests below
are one story. What differs from the page: the account's number, and where the emulator answers for the API.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.e2e.environment import PROGRAM, ROOT, Emulated
from tests.live.conftest import clone as make_clone
from tests.live.conftest import git
from tests.require import TERRAFORM, require

PAGE = (ROOT / "docs/deploying.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
URL = "$(terragrunt output -raw url --working-dir api)"

# For a machine without AWS's client: `aws s3 cp FILE s3://BUCKET/FOLDER/`.
AWS = f"""#!{sys.executable}
import sys, boto3
service, verb, source, target = sys.argv[1:]
assert (service, verb) == ("s3", "cp") and target.startswith("s3://") and target.endswith("/"), sys.argv
bucket, _, folder = target.removeprefix("s3://").partition("/")
boto3.client("s3").upload_file(source, bucket, folder + source.rpartition("/")[2])
"""


class Reader:
    """Somebody with one shell: where they are and what they export is kept from one block to the next."""

    def __init__(self, folder, environment, scratch):
        self.folder = folder
        self.environment = environment
        self.scratch = scratch

    def run(self, script):
        """Run a script and return what it printed."""
        ending = f'\npwd > "{self.scratch}/folder"\nenv -0 > "{self.scratch}/environment"\n'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script + ending],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        self.folder = (self.scratch / "folder").read_text().strip()
        pairs = (self.scratch / "environment").read_text().rstrip("\0").split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs)
        return done.stdout

    def follow(self, section, **replaced):
        """Run the one block of shell of a section."""
        [block] = re.findall(r"^```sh\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
        for old, new in replaced.items():
            assert old in block
            block = block.replace(old, new)
        return self.run(block)

    def do(self, section, *commands):
        """Run commands that a section names in its text."""
        for command in commands:
            assert f"`{command}`" in SECTIONS[section], command
            self.run(command)


@pytest.fixture(scope="module")
def emulated():
    require(PROGRAM, TERRAFORM, "provider")
    with Emulated("dev", ROOT / ".local" / "e2e-docs") as started:
        copy = started.folder / "geodrop"
        make_clone(copy)
        git(copy, "tag", "v1.0.0")
        started.live = copy / "live/dev"
        yield started
    print("\n" + ", ".join(f"{what} {taken:.0f} s" for what, taken in started.seconds.items()))


@pytest.fixture(scope="module")
def clone(emulated):
    return emulated.live.parents[1]


@pytest.fixture(scope="module")
def reader(emulated, clone):
    programs = emulated.folder / "bin"
    programs.mkdir()
    if shutil.which("aws") is None:
        (programs / "aws").write_text(AWS)
        (programs / "aws").chmod(0o755)
    environment = emulated.environment()
    environment.pop("GEODROP_DEV_ACCOUNT")  # the page says when to set it
    environment["PATH"] = os.pathsep.join([str(programs), str(ROOT / ".local/venv/bin"), environment["PATH"]])
    return Reader(clone, environment, emulated.folder)


@pytest.fixture
def api(emulated):
    """`api("/path?query")`: the API's answer."""
    base = emulated.api_url()

    def get(path):
        with urllib.request.urlopen(base + path, timeout=30) as answer:
            return json.load(answer)

    return get


def eventually(ask, seconds=30):
    """Return the first answer that is true. The last one, where time runs out."""
    end = time.monotonic() + seconds
    while not (found := ask()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def counted(api):
    return {each["name"]: each["count"] for each in api("/datasets")["datasets"]}


def test_from_an_empty_account(emulated, reader):
    started = time.monotonic()
    reader.follow("First time", **{"<12 digits>": emulated.account})
    emulated.seconds["first time"] = time.monotonic() - started


def test_a_first_answer(emulated, reader, api):
    assert reader.run(f"echo {URL}").startswith("https://")
    reader.follow("A first answer", **{URL: emulated.api_url()})
    assert eventually(lambda: counted(api)["earthquakes"] == 1707)
    assert api("/health")["status"] == "ok"


def test_a_change(emulated, reader, clone, api):
    """A contract and a migration."""
    contract = (clone / "datasets/earthquakes-csv.yaml").read_text()
    (clone / "datasets/tremors.yaml").write_text(contract.replace("title: ", "title: Tremors, once "))
    number = len(list((clone / "functions/migrate/sql").glob("*.sql"))) + 1
    (clone / f"functions/migrate/sql/{number:04d}_told.sql").write_text("comment on schema geodrop is 'told';\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Tremors")
    started = time.monotonic()
    reader.run(f"cd {clone}")
    reader.do("A change", "make build")
    reader.run("cd live/dev")
    reader.do("A change", "terragrunt run --all plan", "terragrunt run --all apply")
    emulated.seconds["a change"] = time.monotonic() - started

    assert emulated.outputs("schema")["version"] == f"{number:04d}"
    assert api("/health") == {"status": "ok", "database": "reachable", "migrations": "current"}
    assert counted(api) == {"earthquakes": 1707, "earthquakes-csv": 0, "tremors": 0}
    bucket = emulated.outputs("ingest")["bucket_name"]
    reader.run(f"aws s3 cp {clone}/examples/earthquakes-csv/all_week.csv s3://{bucket}/landing/tremors/")
    assert eventually(lambda: counted(api)["tremors"] > 1000)


def test_a_rollback_past_the_migration(emulated, reader, clone, api):
    """The prod way, on dev: by the tag of the release before."""
    wanted = "python tools/promote.py prod <tag before>"
    assert f"`{wanted}`" in SECTIONS["A rollback"]
    started = time.monotonic()
    reader.run(f"cd {clone}\n{wanted.replace('prod', 'dev').replace('<tag before>', 'v1.0.0')}\ncd live/dev")
    reader.do("A rollback", "terragrunt run --all apply")
    emulated.seconds["a rollback"] = time.monotonic() - started

    assert set(counted(api)) == {"earthquakes", "earthquakes-csv"}
    assert counted(api)["earthquakes"] == 1707
    health = api("/health")
    assert health["status"] == "ok"
    assert health["migrations"].startswith("ahead of this version")


def test_teardown(emulated, reader, clone):
    started = time.monotonic()
    reader.run(f"cd {clone}")
    reader.follow("Teardown")
    emulated.seconds["teardown"] = time.monotonic() - started
    assert emulated.resources() == []
    assert emulated.leftovers() == []
