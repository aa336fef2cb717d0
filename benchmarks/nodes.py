"""Step time on several nodes: Bessemer against torchrun with DistributedDataParallel, in the same containers.

    make build && python benchmarks/nodes.py [--pairs 5] [--out nodes.json]

A cluster of three containers is started, as `make deploy` does. In turn, a job of Bessemer trains on it
with a worker a container, and torchrun starts a process in each of the same containers. Model, data
and figures are those of steps.py. Needs a Docker engine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pairs import TIMEOUT_S, Goal, interleaved, judge, write

from bessemer.config.settings import Settings
from bessemer.deployment.image import image_name
from bessemer.drill.docker import docker
from bessemer.drill.ground import Ground, started_ground

NUM_NODES = 3
# Each node has as much of a batch as the others.
_GLOBAL_BATCH = 96
_PORT = 29511
_SHARED = "/app/runs"
GOALS = {"cnn": 1.05, "mlp": 1.05}

_PROJECT = """\
[project]
name = "stepping"
version = "0.1.0"

[tool.bessemer]
name = "stepping"
entry = "stepping.program:train"
settings = "stepping.program:Stepping"
"""
_PROGRAM = '''\
"""The program of steps.py, told by settings what the others are told by variables."""

import os

from pydantic import Field

from bessemer import Settings


class Stepping(Settings):
    kind: str = Field("cnn", description="Which model.")
    folder: str = Field("", description="Where figures go.")
    batch: int = Field(96, description="Global batch (count).")


def train(run, settings):
    os.environ.update(
        BENCHMARK_KIND=settings.kind, BENCHMARK_FOLDER=settings.folder, BENCHMARK_BATCH=str(settings.batch)
    )
    from steps import bessemer_program

    bessemer_program(run, settings)
'''


def project_in(folder: Path) -> Path:
    """Write a project that runs steps.py; return its folder."""
    root = folder / "stepping"
    (root / "stepping").mkdir(parents=True)
    for name in ("steps.py", "pairs.py"):
        shutil.copyfile(Path(__file__).parent / name, root / name)
    (root / "pyproject.toml").write_text(_PROJECT)
    (root / "stepping" / "__init__.py").write_text("")
    (root / "stepping" / "program.py").write_text(_PROGRAM)
    return root


def with_torchrun(ground: Ground, project: Path, kind: str) -> dict[str, float]:
    """Start a process in each container and train with DistributedDataParallel."""
    nodes = ground.containers_of("worker")
    folder = _new_folder(ground)
    for name in ("steps.py", "pairs.py"):
        docker("cp", str(project / name), f"{ground.head()}:{folder}/{name}")

    def start(rank: int) -> None:
        command = ["exec", "--env", f"BENCHMARK_BATCH={_GLOBAL_BATCH}", "--env", "OMP_NUM_THREADS=1"]
        command += [nodes[rank], "torchrun", f"--nnodes={NUM_NODES}", f"--node-rank={rank}"]
        command += ["--nproc-per-node=1", f"--master-addr={nodes[0]}", f"--master-port={_PORT}"]
        command += [f"{folder}/steps.py", "--as", "plain", "--kind", kind, "--folder", folder]
        docker(*command, "--workers", str(NUM_NODES))

    with ThreadPoolExecutor(NUM_NODES) as pool:
        list(pool.map(start, range(NUM_NODES)))
    return _figures(ground, folder)


def with_bessemer(ground: Ground, project: Path, kind: str) -> dict[str, float]:
    """Submit a job that trains with a worker in each container."""
    folder = _new_folder(ground)
    command = [sys.executable, "-m", "bessemer", "submit", "train", "--project", str(project)]
    command += ["--scaling.num-workers", str(NUM_NODES), "--data.source", "inline"]
    command += ["--kind", kind, "--folder", folder, "--batch", str(_GLOBAL_BATCH)]
    command += ["--tracking.log-model", "false"]
    done = subprocess.run(
        command, env=ground.environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the job failed:\n{done.stdout}\n{done.stderr}")
    return _figures(ground, folder)


def _new_folder(ground: Ground) -> str:
    folder = f"{_SHARED}/figures-{uuid.uuid4().hex[:8]}"
    docker("exec", ground.head(), "mkdir", folder)
    return folder


def _figures(ground: Ground, folder: str) -> dict[str, float]:
    """Return the figures of the slowest and the largest worker."""
    texts = [
        docker("exec", ground.head(), "cat", f"{folder}/worker-{rank}.json") for rank in range(NUM_NODES)
    ]
    workers = [json.loads(text) for text in texts]
    return {name: max(worker[name] for worker in workers) for name in workers[0]}


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=5, help="rounds (count)")
    parser.add_argument("--only", choices=sorted(GOALS), help="model")
    parser.add_argument("--out", type=Path, default=Path("nodes.json"), help="JSON file")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    nodes = {"worker_nodes": NUM_NODES, "max_worker_nodes": NUM_NODES}
    settings = Settings.model_validate({"deploy": nodes})
    results: dict[str, object] = {}
    missed = False
    with (
        tempfile.TemporaryDirectory() as temporary,
        started_ground(settings, "bessemer-benchmark", image_name(Settings())) as ground,
    ):
        project = project_in(Path(temporary))
        for kind, bound in GOALS.items():
            if arguments.only not in (None, kind):
                continue
            ways = {
                "torchrun": partial(with_torchrun, ground, project, kind),
                "bessemer": partial(with_bessemer, ground, project, kind),
            }
            figures = interleaved(ways, arguments.pairs)
            goal = Goal("bessemer.step_ms", "torchrun.step_ms", bound)
            judged = judge(f"{kind}, {NUM_NODES} containers", figures, {"step time": goal})
            missed |= "false" in json.dumps(judged["goals"])
            results[kind] = judged
            write(arguments.out, results)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
