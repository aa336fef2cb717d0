"""What is taken away from a run for a while: a node, the room on its disk, the MLflow server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bessemer.drill.disturbances import Disturbance, Place, Story, resume, wait_for_no_workers
from bessemer.drill.heads import end_tree, free_port, started_head, started_node
from bessemer.drill.moments import Moment
from bessemer.drill.training import Course, DrillError, MissedError, Training
from bessemer.tracking import server_command

_FULL_FOR_S = 4.0
_AWAY_FOR_S = 6.0
_SERVER_STARTS_WITHIN_S = 60.0
_SMALL_DISK_BYTES = 64 * 2**20
_FILL_BYTES = 2**20


def node_kill(place: Place, moment: Moment) -> Story:
    """SIGKILL the raylet of a node that one worker is on; another node comes in its place."""
    story = Story()
    environment, logs = place.course.environment, place.course.storage
    with (
        started_head(place.num_workers - 1, environment) as head,
        contextlib.ExitStack() as nodes,
    ):
        # The head has one CPU too few for all workers, so one of them must be on the other node.
        raylet = nodes.enter_context(started_node(head, 1, environment, logs / "node-1.log"))
        there = replace(place.course, environment={**environment, "RAY_ADDRESS": head.address})
        with Training(there, place.run) as training:
            at = training.wait_until(moment)
            if training.process.poll() is not None or training.has_result:
                raise MissedError("the run was complete before its node was killed")
            os.kill(raylet, signal.SIGKILL)
            nodes.enter_context(started_node(head, 1, environment, logs / "node-2.log"))
            training.succeed()
            if training.num_attempts < 2:
                raise MissedError("the run was complete before its node was missed")
            story.add(training, at)
    return story


def disk_full(place: Place, moment: Moment) -> Story:
    """Let the run's disk, a small one in memory, be full for some seconds."""
    story = Story()
    disk = place.course.storage / place.run
    run_dir = disk / place.course.name / place.run
    with _small_disk(disk):
        on_disk = replace(place, course=replace(place.course, storage=disk))
        with Training(on_disk.course, place.run) as training:
            training.wait_until(moment)
            filler = disk / "filler"
            _fill(filler)
            with contextlib.suppress(MissedError, DrillError):
                end = time.monotonic() + _FULL_FOR_S
                training.wait_for("the disk had room again", lambda: time.monotonic() > end)
            if training.has_result:
                raise MissedError("the run was complete before its disk was full")
            filler.unlink()
            status = training.finish()
            said = any("cannot be written" in line or "No space" in line for line in training.lines)
            if status == 0 and len(training.starts) < 2 and not said:
                raise MissedError("nothing was written while the disk was full")
            story.add(training)
        if status != 0:
            wait_for_no_workers(place)
            resume(on_disk, story)
        shutil.copytree(run_dir, place.course.storage / place.course.name / place.run)
    return story


def mlflow_away(place: Place, moment: Moment) -> Story:
    """Record in an MLflow server that is stopped in the middle for some seconds."""
    story = Story()
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    course = replace(place.course, uri=uri)
    with contextlib.ExitStack() as servers:
        servers.enter_context(_server(place.course, port))
        with Training(course, place.run) as training:
            training.wait_until(moment)
            if training.has_result:
                raise MissedError("the run was complete before MLflow went away")
            servers.close()
            pause = time.monotonic() + _AWAY_FOR_S
            with contextlib.suppress(MissedError, DrillError):
                training.wait_for("MLflow came back", lambda: time.monotonic() > pause)
            servers.enter_context(_server(place.course, port))
            status = training.finish()
            story.add(training)
        if status != 0:
            wait_for_no_workers(place)
            resume(replace(place, course=course), story)
    return story


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK_BYTES}", "bessemer-drill", str(folder)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True, timeout=30)


def can_mount(folder: Path) -> bool:
    """Say whether a small disk can be mounted here."""
    if shutil.which("mount") is None:
        return False
    try:
        with _small_disk(folder / "mounted"):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def _fill(file: Path) -> None:
    """Write until there is no room left."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as target:
        while target.write(b"\0" * _FILL_BYTES):
            pass
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as target:
        while target.write(b"\0" * 4096):
            pass


@contextlib.contextmanager
def _server(course: Course, port: int) -> Iterator[None]:
    """Serve the drill's own tracking store until the end of the block."""
    command = server_command(course.uri, course.storage, port)
    log = course.storage / "mlflow-server.log"
    with log.open("a") as output:
        process = subprocess.Popen(command, env=dict(course.environment), stdout=output, stderr=output)
    try:
        _wait_for_server(process, port)
        yield
    finally:
        end_tree(process.pid)
        process.wait()


def _wait_for_server(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SERVER_STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2),  # nosec B310  # of this machine
        ):
            return
        time.sleep(0.2)
    raise DrillError(f"no MLflow server answers within {_SERVER_STARTS_WITHIN_S:.0f} s")


OUTAGES = (
    Disturbance("node-kill", "the node of one worker is killed", node_kill, needs_own_head=True),
    Disturbance("disk-full", "the disk is full for some seconds", disk_full),
    Disturbance("mlflow-away", "the MLflow server is away for some seconds", mlflow_away),
)
