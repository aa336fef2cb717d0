"""SIGKILL of a worker to the next new step: Bessemer against Ray Train alone, a checkpoint each step.

    python benchmarks/recovery.py [--pairs 5] [--out recovery.json]

Two CPU workers train the small CNN of `steps.py` on images in memory. Ten seconds after the first step
the worker of rank 1 is killed. The figure is the time from the kill to the first step beyond the last
one that any worker had done before it: the death is noticed, the workers start again, load the
checkpoint, and compute again what it does not cover.

Ray Train alone is the plain loop of Ray's manual: `prepare_model`, `ray.train.report` with a checkpoint
at each step, `get_checkpoint` at the start, `FailureConfig(max_failures=3)`; Bessemer has its default
settings but for `checkpoint.every_steps = 1`. `before_s` is the median step before the kill, and
`lost_steps` the steps between the checkpoint and the kill, which are computed again.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Goal, interleaved, judge, write
from steps import cnn
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from ways import folder, leave, measured, options, settings, with_bessemer

_NUM_SAMPLES = 60_000
_GLOBAL_BATCH = 32
_KILL_AFTER_S = 10.0
_STEPS_AFTER_RESTART = 5
BOUND = 1.1


def data() -> TensorDataset:
    """Random images and labels: more steps than there is time for."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (_NUM_SAMPLES, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return TensorDataset(images, torch.randint(0, 10, (_NUM_SAMPLES,), generator=generator))


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    """One step, as research code has it."""
    optimizer.zero_grad()
    functional.cross_entropy(model(x.float() / 255), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class Diary:
    """Writes down what a worker does, for the one who kills it.

    Args:
        rank: of the worker.
        step: steps that its checkpoint covers (count).
    """

    def __init__(self, rank: int, step: int) -> None:
        self.restarted = (folder() / "killed").exists()
        self.last_step = step + _STEPS_AFTER_RESTART if self.restarted else None
        kind = "after" if self.restarted else "before"
        self._file = open(folder() / f"{kind}-{rank}.jsonl", "w", buffering=1)  # noqa: SIM115
        self._write(step)

    def done(self, step: int) -> bool:
        """Note a step; return whether the worker has done enough."""
        self._write(step)
        return self.last_step is not None and step >= self.last_step

    def _write(self, step: int) -> None:
        self._file.write(json.dumps({"step": step, "at": time.time(), "pid": os.getpid()}) + "\n")


def diary(kind: str, rank: int) -> list[dict[str, Any]]:
    """Return what a worker has written down, its whole lines only."""
    file = folder() / f"{kind}-{rank}.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kill_later() -> None:
    """Kill the worker of rank 1 some time after its first step; called in a thread."""
    while len(seen := diary("before", 1)) < 2 or time.time() < seen[1]["at"] + _KILL_AFTER_S:
        time.sleep(0.05)
    (folder() / "killed").touch()
    at = time.time()
    os.kill(seen[-1]["pid"], signal.SIGKILL)
    (folder() / "killed").write_text(str(at))


def leave_figures() -> None:
    """Leave the figures of a run that is over."""
    killed_at = float((folder() / "killed").read_text())
    before = [entry for rank in (0, 1) for entry in diary("before", rank)]
    last = max(entry["step"] for entry in before)
    after = diary("after", 0)
    new_at = min(entry["at"] for entry in after if entry["step"] > last)
    done = [entry["at"] for entry in diary("before", 0)[1:]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(done)]
    leave(
        {
            "new_step_s": new_at - killed_at,
            "program_s": after[0]["at"] - killed_at,
            "before_s": statistics.median(gaps),
            "lost_steps": last - after[0]["step"],
        }
    )


def ray_loop() -> None:
    """What each worker of Ray Train alone does."""
    import ray.train
    from ray.train.torch import prepare_model

    context = ray.train.get_context()
    rank, step = context.get_world_rank(), 0
    torch.manual_seed(0)
    net = cnn()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as path:
            state = torch.load(os.path.join(path, "state.pt"))
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    model = prepare_model(net)
    dataset = data()
    sampler: DistributedSampler[Any] = DistributedSampler(dataset)
    # What is left of the epoch, without reading what is done.
    left = list(sampler)[step * (_GLOBAL_BATCH // context.get_world_size()) :]
    loader = DataLoader(dataset, _GLOBAL_BATCH // context.get_world_size(), sampler=left)
    notes = Diary(rank, step)
    for x, y in loader:
        train_step(model, optimizer, x, y)
        step += 1
        enough = notes.done(step)
        with tempfile.TemporaryDirectory() as path:
            saved = None
            if rank == 0:
                whole = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                torch.save(whole, os.path.join(path, "state.pt"))
                saved = ray.train.Checkpoint.from_directory(path)
            ray.train.report({"step": step}, checkpoint=saved)
        if enough:
            break


def ray_alone() -> None:
    """Train with Ray Train alone, on a Ray cluster of its own."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(log_to_driver=False, include_dashboard=False)
    threading.Thread(target=kill_later, daemon=True).start()
    TorchTrainer(
        ray_loop,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            storage_path=str(folder() / "runs"),
            name="recovery",
            failure_config=FailureConfig(max_failures=3),
        ),
    ).fit()
    leave_figures()


def program(run: Any, _settings: Any) -> None:
    """The same with Bessemer."""
    torch.manual_seed(0)
    model = run.place(cnn())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data(), _GLOBAL_BATCH, shuffle=True)
    notes: Diary | None = None
    for _ in run.epochs(1):
        for x, y in loader:
            if notes is None:
                notes = Diary(run.rank, run.step)
            train_step(model, optimizer, x, y)
            if notes.done(run.step):
                break


def bessemer() -> None:
    """Train with Bessemer."""
    threading.Thread(target=kill_later, daemon=True).start()
    with_bessemer(program, settings(scaling={"num_workers": 2}, checkpoint={"every_steps": 1}))
    leave_figures()


def main() -> int:
    """Measure both ways, or one in this process."""
    ways = {"ray": ray_alone, "bessemer": bessemer}
    arguments = options(__doc__, Path(__file__).stem, list(ways)).parse_args()
    if arguments.way:
        ways[arguments.way]()
        return 0
    found = interleaved({way: partial(measured, __file__, way) for way in ways}, arguments.pairs)
    goals = {"kill to the next new step": Goal("bessemer.new_step_s", "ray.new_step_s", BOUND)}
    write(arguments.out, {"recovery": judge("recovery", found, goals)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
