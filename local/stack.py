"""The embedded stack: the whole of geodrop on this machine, with no cloud, no account and no Docker.

python -m local.stack demo      start it, load examples/, check the counts, print the addresses
python -m local.stack up        start it
python -m local.stack down      stop it; the data stays
python -m local.stack reset     stop it and forget the data
python -m local.stack invoke F  run the function that event file F is for
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from local import state
from local.emulator import EmulatorError
from local.postgres import PostgisMissingError, PostgresError, connect

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
_WIDTH = 12


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message says what to do."""


def up() -> dict[str, Any]:
    """Start what does not run, deploy what has changed, write stack.json and return what it says."""
    with ThreadPoolExecutor() as pool:  # three things that do not wait for one another
        zips = pool.submit(_timed, _build)
        aws = pool.submit(_timed, _start_emulator)
        database = pool.submit(_timed, _start_database)
        pairs = (("packages", zips), ("MiniStack", aws), ("PostGIS", database))
        for name, task in pairs:
            said, seconds = task.result()
            _tell(name, said[0], seconds)
    (_, endpoint), _ = aws.result()
    (_, database_url), _ = database.result()
    (_, dist), _ = zips.result()

    from local.deploy import (  # boto3 is slow to import: only where it is needed
        BUCKET,
        ENVIRONMENT,
        DeployError,
        Deployment,
    )

    deployment = Deployment(endpoint, database_url, Path(dist), state.folder() / "roles.json")
    try:
        migrated, seconds = _timed(deployment.run)
    except DeployError as error:
        raise StackError(str(error)) from error
    applied = ", ".join(migrated.get("applied") or ()) or "nothing to migrate"
    _tell("geodrop", f"bucket, queues, functions, routes; {applied}", seconds)
    state.write_stack(
        api=deployment.api_url,
        aws_endpoint=endpoint,
        bucket=BUCKET,
        database_url=database_url,
        env=ENVIRONMENT,
    )
    stack = state.read_stack()
    assert stack is not None  # noqa: S101 (just written)
    return stack


def demo() -> None:
    """Start the stack, load the examples, check the counts and say where to go from here."""
    started = time.monotonic()
    stack = up()
    from local.demo import DemoError, run

    try:
        run(stack)
    except DemoError as error:
        raise StackError(str(error)) from error
    print(f"\nReady in {time.monotonic() - started:.1f} s. `make down` stops it, `make reset` forgets the data.")


def down() -> None:
    """Stop all of the stack's processes; buckets and database stay on disk."""
    for part in (state.emulator(), state.cluster()):
        if part is not None:
            part.stop()
    state.stack_file().unlink(missing_ok=True)


def reset() -> None:
    """Stop the stack and delete its data: the bucket's objects, and the database or its schema geodrop."""
    emulator, cluster = state.emulator(), state.cluster()
    if emulator is not None:
        emulator.remove()
    if cluster is not None:
        cluster.remove()
    else:
        with closing(connect(state.given_database_url())) as connection:
            connection.run("DROP SCHEMA IF EXISTS geodrop CASCADE")
    state.stack_file().unlink(missing_ok=True)
    (state.folder() / "roles.json").unlink(missing_ok=True)


def invoke(file: Path, *, fresh: bool = False) -> int:
    """Run the function that an event is for on the running stack; print its log and its answer.

    Parameters
    ----------
    file
        JSON file with the event.
    fresh
        Leave out the S3 sequencers, so that an old event is taken for news.

    Returns
    -------
    int
        0, or 1 when the function failed.
    """
    stack = state.read_stack()
    emulator = state.emulator()
    if stack is None or (emulator is not None and not emulator.running()):
        raise StackError("the stack does not run: make demo")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(f"{file}: {error.strerror}") from error
    if fresh:  # also inside an SQS message's body, where the quotes are escaped
        text = re.sub(r',\s*\\?"sequencer\\?":\s*\\?"[0-9A-F]+\\?"', "", text)
    event = json.loads(text)
    name = function_for(event)
    from local.deploy import function_name
    from local.emulator import client

    answer = client("lambda", stack["aws_endpoint"]).invoke(
        FunctionName=function_name(name), Payload=json.dumps(event).encode(), LogType="Tail"
    )
    print(f"{name} on {file}")
    for line in base64.b64decode(answer.get("LogResult", "")).decode(errors="replace").splitlines():
        print(f"  log  {line}")
    said = answer["Payload"].read().decode()
    print(json.dumps(json.loads(said), indent=2, ensure_ascii=False) if said else "(no answer)")
    return 1 if "FunctionError" in answer else 0


def function_for(event: dict[str, Any]) -> str:
    """Return the name of the function that takes an event of this shape."""
    if "requestContext" in event:
        return "api"
    if "Records" in event or event.get("Event") == "s3:TestEvent":
        return "ingest"
    if "action" in event:
        return "migrate"
    raise StackError("this is no event that geodrop takes: no Records, no requestContext, no action")


def _build() -> tuple[str, str]:
    sys.path.insert(0, str(state.ROOT / "functions"))
    import build

    dist = state.ROOT / "dist"
    made = build.build_all(dist)
    size = sum(path.stat().st_size for path in made.values())
    return f"{len(made)} zips in dist/, {size / 1e6:.1f} MB", str(dist)


def _start_emulator() -> tuple[str, str]:
    emulator = state.emulator()
    if emulator is None:
        return "the one that GEODROP_ENDPOINT_URL names", state.given_endpoint()
    emulator.start()
    return emulator.url, emulator.url


def _start_database() -> tuple[str, str]:
    cluster = state.cluster()
    if cluster is None:
        return "the one that DATABASE_URL names", state.given_database_url()
    cluster.start()
    return f"127.0.0.1:{cluster.port}", cluster.url()


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.monotonic()
    return work(), time.monotonic() - started


def _tell(name: str, what: str, seconds: float) -> None:
    print(f"{name:{_WIDTH}} {what}  ({seconds:.1f} s)", flush=True)


def main() -> int:
    """Run one command; print what went wrong without a traceback where the message says what to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("demo", "up", "down", "reset"):
        commands.add_parser(name)
    invoking = commands.add_parser("invoke")
    invoking.add_argument("event", type=Path, help="event file")
    invoking.add_argument("--fresh", action="store_true", help="leave out the sequencers of S3 events")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "invoke":
                return invoke(arguments.event, fresh=arguments.fresh)
            case "up":
                with state.locked():
                    print(f"\n{up()['api']}")
            case command:
                with state.locked():
                    {"demo": demo, "down": down, "reset": reset}[command]()
    except (StackError, EmulatorError, PostgisMissingError, PostgresError) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What runs goes on running: make down stops it.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
