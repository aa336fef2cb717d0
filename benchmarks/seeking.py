"""Time to the first batch of a run that goes on deep in an epoch, against a run that begins.

    python benchmarks/seeking.py [--pairs 5] [--out seeking.json]

The data set has 10,000,000 samples, shuffled, in batches of 256. A run takes a few steps and leaves a
checkpoint in the middle of its epoch; copies of it have their position set to 10, 50 and 90 % of the
epoch and are gone on with as `bessemer train --resume` does. Measured inside the workers' program,
from its first line to its first batch: making the model, the replay, putting the state back, and
finding the place in the data; not the start of Ray. A second of it is what torch imports when the
first optimizer is made, so the time from the loop's beginning to its first batch is judged too, deep
in the epoch against near its start: it must not grow with the position. `stream_s` is the time to
batch 200, which comes through Ray Data and not from the training process itself; it has no goal.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Goal, interleaved, judge, run_once, write
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset
from ways import folder, leave, measured, options, settings, with_bessemer

_NUM_SAMPLES = 10_000_000
_BATCH = 256
_STEPS_PER_EPOCH = -(-_NUM_SAMPLES // _BATCH)
_SAVED_STEP = 4
_STREAMED_BATCH = 200
PLACES = {"at10": 0.1, "at50": 0.5, "at90": 0.9}
BOUND = 1.1


class Numbers(Dataset[torch.Tensor]):
    """Ten million samples that cost nothing: (8,) float32."""

    def __len__(self) -> int:
        return _NUM_SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((8,), index / _NUM_SAMPLES)


def program(run: Any, given: Any) -> None:
    """Train until enough batches came, and leave the figures."""
    began = time.perf_counter()
    torch.manual_seed(0)
    model = run.place(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Numbers(), _BATCH, shuffle=True)
    num_batches, first_s, loop_s = 0, 0.0, 0.0
    looped = time.perf_counter()
    for _ in run.epochs(1):
        for x in loader:
            num_batches += 1
            if num_batches == 1:
                first_s, loop_s = time.perf_counter() - began, time.perf_counter() - looped
            optimizer.zero_grad()
            functional.mse_loss(model(x), x).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            # The run that leaves the checkpoint ends like one that died: without another one.
            if given.checkpoint.every_steps and run.step > _SAVED_STEP:
                while not list(run.output_dir.glob("checkpoints/*/manifest.json")):
                    time.sleep(0.05)  # it is written in the background
                raise RuntimeError("enough: the checkpoint in the middle of the epoch is there")
            if num_batches == _STREAMED_BATCH:
                break
    step = run.step - num_batches
    leave(
        {
            "first_batch_s": first_s,
            "loop_s": loop_s,
            "stream_s": time.perf_counter() - began,
            "from_step": step,
        }
    )


def leave_checkpoint() -> None:
    """Train for a few steps, to a checkpoint in the middle of the first epoch, and end by an error."""
    from bessemer.errors import TrainingError

    try:
        with_bessemer(program, settings(scaling={"max_failures": 0}, checkpoint={"every_steps": _SAVED_STEP}))
    except TrainingError as error:
        if "enough" not in str(error):
            raise


def moved(run_dir: Path, place: float) -> None:
    """Set the position of a run's newest checkpoint to a fraction of the epoch."""
    from bessemer.training.checkpoints import CheckpointStore

    store = CheckpointStore(str(run_dir / "checkpoints"), keep=1)
    newest = store.newest()
    assert newest is not None
    saved, state = newest
    assert saved.step == _SAVED_STEP
    step = int(place * _STEPS_PER_EPOCH)
    (entry,) = state["passes"]
    state["step"] = step
    entry.update(position=step, num_batches=step, num_samples=step * _BATCH)
    store = CheckpointStore(str(run_dir / "checkpoints"), keep=1, identity=saved.identity)
    store.save(state, step)
    store.close()


def go_on(start: Path, place: float) -> None:
    """Go on with a copy of a run whose checkpoint is moved."""
    from bessemer.training.trainer import Resume

    (run_dir,) = start.glob("runs/seeking/*")
    here = folder() / "runs" / "seeking" / run_dir.name
    shutil.copytree(run_dir, here)
    shutil.copy(start / "mlflow.db", folder() / "mlflow.db")
    (here / "run.json").write_text((here / "run.json").read_text().replace(str(start), str(folder())))
    moved(here, place)
    with_bessemer(program, settings(), resume=Resume(here))


def fresh(_start: Path) -> None:
    """Begin a run."""
    with_bessemer(program, settings())


def main() -> int:
    """Measure all ways, or one in this process."""
    ways: dict[str, Callable[[Path], None]] = {
        "fresh": fresh,
        **{name: partial(go_on, place=place) for name, place in PLACES.items()},
    }
    parser = options(__doc__, Path(__file__).stem, [*ways, "start"])
    parser.add_argument("--start", type=Path, help="folder of the run that is gone on with")
    arguments = parser.parse_args()
    if arguments.way == "start":
        leave_checkpoint()
        return 0
    if arguments.way:
        ways[arguments.way](arguments.start)
        return 0
    with tempfile.TemporaryDirectory(prefix="bessemer-seeking-") as start:
        run_once([sys.executable, __file__, "--as", "start"], Path(start), BENCHMARK_FOLDER=start)
        found = interleaved(
            {way: partial(measured, __file__, way, "--start", start) for way in ways}, arguments.pairs
        )
    for name, place in PLACES.items():
        assert set(found[f"{name}.from_step"]) == {int(place * _STEPS_PER_EPOCH)}
    goals = {
        f"first batch, {place:.0%} of the epoch": Goal(f"{name}.first_batch_s", "fresh.first_batch_s", BOUND)
        for name, place in PLACES.items()
    }
    goals["the loop's first batch, 90% against 10%"] = Goal("at90.loop_s", "at10.loop_s", BOUND)
    write(arguments.out, {"seeking": judge("seeking", found, goals)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
