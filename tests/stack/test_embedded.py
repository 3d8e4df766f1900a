"""The embedded stack itself: fresh, warm, after crashes, and gone without a trace."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from local.demo import examples
from local.deploy import Deployment, function_name
from local.emulator import Emulator
from local.postgres import Cluster, connect, free_port
from tests.stack.conftest import ROOT, Stack, local_stack, table, wait_for


@pytest.fixture(scope="module")
def folder() -> Path:
    """The state folder of a stack for these tests alone; nothing of it is left behind."""
    path = ROOT / ".local" / "test-embedded"
    assert local_stack("reset", path).returncode == 0
    yield path
    assert local_stack("reset", path).returncode == 0


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """What the first demo printed; what it started runs."""
    return demo(folder)[0]


def parts(folder: Path) -> tuple[Emulator, Cluster]:
    return Emulator(folder / "emulator"), Cluster(folder / "postgres", auth="scram")


def demo(folder: Path) -> tuple[str, float]:
    started = time.monotonic()
    done = local_stack("demo", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, time.monotonic() - started


def addresses(folder: Path) -> dict[str, str]:
    return json.loads((folder / "stack.json").read_text())


def test_a_fresh_demo_loads_and_checks_the_examples(folder, printed):
    print(printed)
    assert "Ready in" in printed
    assert "curl" in printed
    assert addresses(folder)["env"] == "local"
    assert (folder / "stack.json").stat().st_mode & 0o077 == 0  # it holds a password
    assert (folder / "roles.json").stat().st_mode & 0o077 == 0


def test_every_address_that_the_demo_prints_answers(folder, printed):
    commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("  curl ")]
    reading = [words[1] for words in commands if len(words) == 2]
    assert len(reading) >= 6
    for address in reading:
        with urllib.request.urlopen(address, timeout=20) as response:
            assert response.status == 200
            assert response.read()
    [(_, option, _, target)] = [words for words in commands if len(words) != 2]
    assert option == "-T"
    put = urllib.request.Request(target, data=table("test upload", 3).encode(), method="PUT")
    with urllib.request.urlopen(put, timeout=20) as response:
        assert response.status == 200
    stack = Stack(addresses(folder))
    entry = wait_for(lambda: stack.entry("landing/earthquakes-csv/my file.csv"), "the uploaded file")
    assert entry["accepted"] == 3


def test_the_map_is_at_the_address_that_the_demo_prints(printed):
    [address] = [line.removeprefix("The map: ") for line in printed.splitlines() if line.startswith("The map: ")]
    with urllib.request.urlopen(address, timeout=20) as response:
        page = response.read().decode()
    assert response.headers["content-type"].startswith("text/html")
    [script] = re.findall(r'<script[^>]* src="([^"]+)"', page)
    with urllib.request.urlopen(f"{address}{script}", timeout=20) as response:
        assert response.headers["content-type"].startswith("text/javascript")


@pytest.mark.usefixtures("printed")
def test_data_of_another_contract_is_said_before_anything_waits_for_it(folder):
    with closing(connect(addresses(folder)["database_url"])) as connection:
        change = "update geodrop.dataset set fingerprint = {} where name = 'earthquakes'"
        connection.run(change.format("'x' || fingerprint"))
        done = local_stack("demo", folder)
        connection.run(change.format("substr(fingerprint, 2)"))
    assert done.returncode == 1
    assert "datasets/earthquakes.yaml changed" in done.stderr
    assert "`make reset`" in done.stderr


@pytest.mark.usefixtures("printed")
def test_a_second_demo_is_warm_and_changes_nothing(folder, record_property):
    before = addresses(folder), what_takes_time(folder)
    said, seconds = demo(folder)
    record_property("notice", f"make demo while it runs: {seconds:.1f} s")
    assert said.count("was there") == len(examples())
    assert (addresses(folder), what_takes_time(folder)) == before


def what_takes_time(folder: Path) -> list[object]:
    """What a warm demo must find done: the servers' processes and the deployed functions."""
    emulator, cluster = parts(folder)
    functions = Stack(addresses(folder)).aws("lambda").list_functions()["Functions"]
    return [
        min(emulator.pids()),
        cluster.pid(),
        sorted((each["FunctionName"], each["LastModified"]) for each in functions),
    ]


@pytest.mark.parametrize(
    ("event", "code", "said"),
    [
        ("s3-put", 0, '"message":"object stale"'),
        ("s3-put-versioned", 1, "MissingObjectError"),
        ("s3-delete", 0, '"message":"object stale"'),
        ("s3-test-event", 0, "null"),
        ("sqs", 0, '"batchItemFailures": []'),
        ("api-request", 0, '"statusCode": 200'),
        ("migrate-check", 0, '"applied": []'),
    ],
)
def test_make_invoke_runs_an_event_as_it_is(folder, event, code, said):
    done = local_stack("invoke", folder, str(ROOT / "events" / f"{event}.json"))
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout


def test_make_invoke_takes_an_old_event_for_news_when_asked(folder):
    stack = Stack(addresses(folder))
    for event, message in (("s3-delete", "object deleted"), ("s3-put", "object loaded"), ("sqs", "object loaded")):
        done = local_stack("invoke", folder, "--fresh", str(ROOT / "events" / f"{event}.json"))
        assert f'"message":"{message}"' in done.stdout, done.stdout + done.stderr
        entry = stack.entry("landing/earthquakes/all_week.geojson")
        assert (entry["state"], entry["accepted"]) == (("deleted", 0) if event == "s3-delete" else ("loaded", 1707))


def test_everything_listens_on_loopback_only(folder):
    """Nobody else on the network can reach the stack: its ports are bound to 127.0.0.1."""
    emulator, cluster = parts(folder)
    assert emulator.running()
    assert cluster.running()
    cluster.start()  # tells us its port; it runs already
    for port in (emulator.port, cluster.port):
        assert listening_addresses(port) == {"127.0.0.1"}


def listening_addresses(port: int) -> set[str]:
    found = set()
    for listing in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(listing).exists():
            pytest.skip("there is no /proc here to read the listening sockets from")
        for line in Path(listing).read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, hexadecimal = local.split(":")
            if state == "0A" and int(hexadecimal, 16) == port:
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address)
    return found


@pytest.mark.parametrize("victim", ["emulator", "database", "both"])
def test_a_demo_after_a_crash(folder, victim):
    emulator, cluster = parts(folder)
    if victim != "database":
        for pid in emulator.pids():
            os.kill(pid, signal.SIGKILL)
    if victim != "emulator":
        os.kill(cluster.pid(), signal.SIGKILL)
    said, seconds = demo(folder)
    print(f"after a crash of {victim}: {seconds:.1f} s")
    assert "Ready in" in said


def test_a_demo_when_only_the_main_process_of_the_emulator_died(folder):
    """Its workers are without a parent then; they are found and ended."""
    emulator, _ = parts(folder)
    pids = emulator.pids()
    assert len(pids) > 1, "the functions have run, so they have processes"
    os.kill(min(pids), signal.SIGKILL)
    demo(folder)
    assert not set(pids) & set(emulator.pids())


def test_down_leaves_no_process_and_keeps_the_data(folder, record_property):
    emulator, cluster = parts(folder)
    assert emulator.pids()
    assert cluster.pid()
    assert local_stack("down", folder).returncode == 0
    assert emulator.pids() == []
    assert not cluster.running()
    assert not (folder / "stack.json").exists()
    assert processes_that_name(str(folder)) == []
    said, seconds = demo(folder)
    record_property("notice", f"make demo after make down: {seconds:.1f} s")
    assert "was there" in said


def processes_that_name(text: str) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if text in line]


def test_a_demo_when_a_port_was_taken_meanwhile(folder):
    assert local_stack("down", folder).returncode == 0
    emulator, _ = parts(folder)
    used_before = json.loads((emulator.directory / "emulator.json").read_text())["port"]
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", used_before))
        squatter.listen()
        demo(folder)
        assert f":{used_before}/" not in addresses(folder)["api"]


def test_down_twice_and_reset_of_nothing_are_fine(tmp_path):
    assert local_stack("down", tmp_path / "never").returncode == 0
    assert local_stack("reset", tmp_path / "never").returncode == 0


def test_invoke_without_a_stack_says_what_to_do(tmp_path):
    done = local_stack("invoke", tmp_path / "never", str(ROOT / "events" / "s3-put.json"))
    assert done.returncode == 1
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_package_reaches_the_running_function(folder, tmp_path):
    stack = Stack(addresses(folder))
    functions = stack.aws("lambda")
    name = function_name("api")
    before = functions.get_function_configuration(FunctionName=name)["CodeSha256"]
    zips = tmp_path / "dist"
    shutil.copytree(ROOT / "dist", zips)
    with zipfile.ZipFile(zips / "api.zip", "a") as package:
        package.writestr("changed.txt", "x")
    given = stack.addresses["aws_endpoint"], stack.addresses["database_url"]
    Deployment(*given, zips, folder / "roles.json").run()
    assert functions.get_function_configuration(FunctionName=name)["CodeSha256"] != before
    assert stack.get("/health")[0] == 200
    Deployment(*given, ROOT / "dist", folder / "roles.json").run()
    assert functions.get_function_configuration(FunctionName=name)["CodeSha256"] == before


def test_reset_forgets_everything(folder):
    assert local_stack("reset", folder).returncode == 0
    emulator, cluster = parts(folder)
    assert emulator.pids() == []
    assert not cluster.data.exists()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["lock"]


def test_the_docker_compose_file_fits_the_compose_schema():
    checker = Path(sys.executable).parent / "check-jsonschema"
    file = ROOT / "local" / "docker-compose.yml"
    command = [checker, "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_services_work_on_the_same_ports_without_docker(tmp_path):
    """The environment of each service, on processes of this machine: a PostGIS, a MiniStack, the deploy step."""
    services = yaml.safe_load((ROOT / "local" / "docker-compose.yml").read_text())["services"]
    for image_part in ("functions", "datasets", "examples", "local", "requirements"):
        assert f"COPY {image_part} " in (ROOT / "local" / "Dockerfile").read_text()
        assert f"!{image_part}" in (ROOT / ".dockerignore").read_text().split()
    ports = {"4566": str(free_port())}
    cluster = Cluster(tmp_path / "postgres", auth="scram", durable=False)
    try:
        cluster.start()
        environment = services["deploy"]["environment"] | {"DATABASE_URL": cluster.url()}
        environment["GEODROP_ENDPOINT_URL"] = environment["GEODROP_ENDPOINT_URL"].replace("4566", ports["4566"])
        environment["GEODROP_LOCAL"] = str(tmp_path / "state")
        emulated = services["ministack"]["environment"] | {
            "GATEWAY_PORT": ports["4566"],
            "BIND_HOST": "127.0.0.1",
            "S3_DATA_DIR": str(tmp_path / "s3"),
            "TMPDIR": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        # A session of its own, so that its workers can be ended with it.
        ministack = subprocess.Popen(
            [sys.executable, *services["ministack"]["command"][1:]],
            env=emulated,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until_open(int(ports["4566"]))
            done = subprocess.run(
                [sys.executable, *services["deploy"]["command"][1:]],
                env={"PATH": os.environ["PATH"], **environment},
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Ready in" in done.stdout
        finally:
            os.killpg(ministack.pid, signal.SIGKILL)
            ministack.wait()
    finally:
        cluster.remove()


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on port {port}")
