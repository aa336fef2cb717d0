"""Images and the cluster of containers, on a real Docker engine, as a project that stands alone.

Skipped where no engine answers. Everything that is started is removed, under names of the test's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bessemer.drill.heads import free_port
from integration.workplaces import BIN, ROOT, environment_with

BASE = "python:3.11-slim-bookworm"
NAME = "bessemer-test-digits"
INSTALLED = """
import importlib.metadata as m
print(sorted(f"{d.metadata['Name'].lower()}=={d.version}" for d in m.distributions()))
"""

pytestmark = pytest.mark.timeout(1500)


def docker(*arguments: str, check: bool = True, timeout_s: float = 900) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that conversion wrote, alone in a folder, with its images built by its own make."""
    if not has_engine():
        pytest.skip("no Docker engine answers here")
    if not docker("image", "ls", "--quiet", BASE):
        pytest.skip(f"the engine has no image {BASE}")
    root = tmp_path_factory.mktemp("alone") / NAME
    command = [sys.executable, "-m", "bessemer", "convert", str(ROOT / "src" / "digits"), "--out", str(root)]
    subprocess.run(command, check=True, capture_output=True, timeout=100, env=environment_with({}))
    done = make(root, "build")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield root
    make(root, "deploy-down")
    for tag in ("latest", "mlflow-latest"):
        docker("image", "rm", "--force", f"{NAME}:{tag}", check=False)


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call a target of the project's own Makefile; Bessemer is the one that runs this test."""
    own = {"BESSEMER": str(BIN / "bessemer"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", *arguments],
        cwd=root,
        env=environment_with(own),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def container(service: str) -> str:
    labels = (f"label=com.docker.compose.project={NAME}", f"label=com.docker.compose.service={service}")
    return docker("ps", "--quiet", "--filter", labels[0], "--filter", labels[1]).split()[0]


def in_image(*command: str) -> str:
    limits = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    return docker("run", "--rm", *limits, f"{NAME}:latest", *command)


def test_the_image_runs_as_nobody_special_on_a_root_that_cannot_be_written(project: Path) -> None:
    assert in_image("id", "-u") == "1000"
    assert "ray, version 2.60" in in_image("ray", "--version")
    assert "train" in in_image("bessemer", "--help")


def test_the_image_has_what_the_lock_pins_and_no_compiler(project: Path) -> None:
    found = in_image("python", "-c", INSTALLED)
    lock = (project / "requirements.lock").read_text().splitlines()
    pins = [line for line in lock if "==" in line and not line.startswith(("torch==", "#"))]
    assert [pin for pin in pins if f"'{pin}'" not in found.replace("_", "-")] == []
    assert in_image("sh", "-c", "command -v gcc cc g++ make || echo none") == "none"


def test_two_builds_have_the_same_packages(project: Path) -> None:
    first = in_image("python", "-c", INSTALLED)
    again = f"{NAME}:again"
    try:
        build = ["build", "--network", "host", "--no-cache", "--file", str(project / "docker" / "Dockerfile")]
        docker(*build, "--target", "runtime", "--tag", again, str(project))
        assert docker("run", "--rm", again, "python", "-c", INSTALLED) == first
    finally:
        docker("image", "rm", "--force", again, check=False)


def test_a_project_alone_trains_on_two_containers_and_leaves_nothing(project: Path) -> None:
    ports = ("--deploy.dashboard-port", str(free_port()), "--deploy.mlflow-port", str(free_port()))
    up = make(project, "deploy", f"ARGS={' '.join(ports)}")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "ready: 2 nodes" in up.stdout

    submit = [sys.executable, "-m", "bessemer", "submit", "train", "--project", ".", "--cluster", "compose"]
    done = subprocess.run(
        [*submit, "--epochs", "2", "--scaling.num-workers", "2", *ports],
        cwd=project,
        env=environment_with({}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training on 2 x cpu" in done.stdout

    said = docker("exec", container("head"), "sh", "-c", "tail -qn 1 /app/runs/*/*/logs/worker-*.jsonl")
    nodes = {json.loads(line)["node"] for line in said.splitlines()}
    assert len(nodes) == 2, "both workers were on one node"

    secrets = [file.read_text() for file in (project / "docker" / "secrets").iterdir()]
    places = docker("inspect", *docker("ps", "-q", "--filter", f"name={NAME}").split())
    places += docker("history", "--no-trunc", f"{NAME}:latest") + done.stdout + done.stderr
    places += docker("exec", container("head"), "sh", "-c", "cat /proc/*/cmdline; cat /tmp/ray/*/logs/*.log")
    assert [secret for secret in secrets if secret in places] == []

    down = make(project, "deploy-down")
    assert down.returncode == 0, down.stdout + down.stderr
    of_project = ("--filter", f"label=com.docker.compose.project={NAME}", "--quiet")
    assert docker("ps", "--all", *of_project) == ""
    assert docker("volume", "ls", *of_project) == ""
    assert docker("network", "ls", *of_project) == ""


def test_what_is_missing_or_taken_is_said_before_anything_starts(project: Path) -> None:
    port = free_port()
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        busy = make(project, "deploy", f"ARGS=--deploy.dashboard-port {port}")
    assert f"error: port {port} of this machine is taken" in busy.stderr
    absent = make(project, "deploy", "ARGS=--deploy.image nobody/has-this:1")
    assert "error: there is no image nobody/has-this:1" in absent.stderr
    assert docker("ps", "--all", "--quiet", "--filter", f"name={NAME}") == ""
