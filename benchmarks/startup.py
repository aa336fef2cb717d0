"""Time from the command to the first optimizer step: `bessemer train` against a minimal TorchTrainer.

    python benchmarks/startup.py [--pairs 5] [--out startup.json]

Both train the CNN of src/digits on two CPU workers and start a Ray cluster of their own; they run in
turn, so that a noisy machine disturbs both alike. The minimal script has no data pipeline, no
tracking and no checkpoints: it is the least that a user of Ray Train writes. Prints the ratio of
medians and writes every figure as JSON. Exit status 1 if the ratio is above the bound.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOUND = 1.15
TIMEOUT_S = 300

MINIMAL = """
import sys, time
sys.path.insert(0, {digits!r})
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model


def train():
    import sys
    sys.path.insert(0, {digits!r})
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, DistributedSampler
    from train import DigitsDataset, Net, RandomShift

    dataset = DigitsDataset("data", train=True, transform=RandomShift(1))
    loader = DataLoader(dataset, batch_size=32, sampler=DistributedSampler(dataset))
    model = prepare_model(Net())
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    for number, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        F.nll_loss(model(data), target).backward()
        optimizer.step()
        if number == 0 and ray.train.get_context().get_world_rank() == 0:
            open({mark!r}, "w").write(str(time.time()))


ray.init(log_to_driver=False, include_dashboard=False)
TorchTrainer(
    train,
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(storage_path={storage!r}, name="minimal"),
).fit()
"""


def minimal_s(folder: Path) -> float:
    """Run the minimal script; return seconds from its start to its first step."""
    mark, script = folder / "mark", folder / "minimal.py"
    script.write_text(
        MINIMAL.format(digits=str(ROOT / "src" / "digits"), mark=str(mark), storage=str(folder / "ray"))
    )
    begun = time.time()
    _run([sys.executable, str(script)], folder)
    return float(mark.read_text()) - begun


def bessemer_s(folder: Path) -> float:
    """Run `bessemer train`; return seconds from its start to its first step."""
    storage = folder / "runs"
    command = [sys.executable, "-m", "bessemer", "train", "--project", "digits", "--epochs", "1"]
    command += ["--scaling.num-workers", "2", "--checkpoint.storage-path", str(storage)]
    command += ["--tracking.uri", f"sqlite:///{folder.parent / 'mlflow.db'}"]
    begun = time.time()
    _run(command, ROOT)
    (result,) = storage.glob("digits/*/result.json")
    return float(json.loads(result.read_text())["first_step_at"]) - begun


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each kind (count)")
    parser.add_argument("--out", type=Path, default=Path("startup.json"), help="JSON file")
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {"minimal_s": [], "bessemer_s": []}
    with tempfile.TemporaryDirectory() as name:
        for pair in range(-1, arguments.pairs):  # the first pair warms the file cache
            folder = Path(name) / str(pair)
            folder.mkdir()
            pairs = {"minimal_s": minimal_s(folder), "bessemer_s": bessemer_s(folder)}
            print("  ".join(f"{kind} {value:.1f}" for kind, value in pairs.items()), flush=True)
            if pair >= 0:
                for kind, value in pairs.items():
                    figures[kind].append(value)
    medians = {kind: statistics.median(values) for kind, values in figures.items()}
    ratio = medians["bessemer_s"] / medians["minimal_s"]
    result = {"ratio": ratio, "bound": BOUND, "medians": medians, "runs": figures}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"time to the first step: ratio of medians {ratio:.3f}, bound {BOUND}")
    return int(ratio > BOUND)


if __name__ == "__main__":
    sys.exit(main())
