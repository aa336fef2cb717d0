"""What a search costs beside its trials: against Optuna with a process pool, and against plain Ray Tune.

    python benchmarks/search.py [--pairs 5] [--trials 100] [--only pace] [--out search.json]

`pace`: trials of 0.2 s, two at a time, as trials per minute from the first trial on: starting a cluster,
or a pool, is no part of it. The trial of the two others is a function that waits and returns a number.
Bessemer's is a training run with a checkpoint, a table of metrics and a run in MLflow; it waits as long.

`overhead`: a trial of `digits` on one worker against the same run by `bessemer train`, without start-up
and end; and the time from a trial's launch to its first step, once the first trial has run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairs import ROOT, Goal, interleaved, judge, run_once, write
from ways import folder, leave, measured, options

WAIT_S = 0.2
AT_ONCE = 2
NUM_TRIALS = 100
SPACE = {"x": (0.0, 1.0), "y": (0.001, 1.0)}
MAX_LAUNCH_S = 2.0
NUM_DIGITS_TRIALS = 6
EPOCHS = 10


def trial(x: float, y: float) -> float:
    """Wait as long as a short training, and return a loss."""
    time.sleep(WAIT_S)
    return (x - 0.3) ** 2 + (y - 0.1) ** 2


def optuna_way(num: int) -> dict[str, float]:
    """Ask Optuna in this process, and try in a pool of two."""
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    with ProcessPoolExecutor(AT_ONCE) as pool:
        list(pool.map(abs, range(AT_ONCE)))
        begun = time.monotonic()
        running: dict[Any, Any] = {}
        asked = 0
        while asked < num or running:
            while asked < num and len(running) < AT_ONCE:
                new = study.ask()
                x = new.suggest_float("x", *SPACE["x"])
                y = new.suggest_float("y", *SPACE["y"], log=True)
                running[pool.submit(trial, x, y)] = new
                asked += 1
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                study.tell(running.pop(future), future.result())
        return {"per_minute": 60 * num / (time.monotonic() - begun)}


def tune_way(num: int) -> dict[str, float]:
    """Have plain Ray Tune call the same function, with its own Optuna searcher."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    marks = folder() / "marks"
    marks.mkdir()

    def function(config: dict[str, float]) -> None:
        (marks / f"{time.time():.6f}").touch()
        tune.report({"loss": trial(config["x"], config["y"])})

    tuner = tune.Tuner(
        tune.with_resources(function, {"CPU": 1}),
        param_space={"x": tune.uniform(*SPACE["x"]), "y": tune.loguniform(*SPACE["y"])},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="loss", mode="min", seed=0),
            num_samples=num,
            max_concurrent_trials=AT_ONCE,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder() / "tune"), verbose=0),
    )
    tuner.fit()
    ended = time.time()
    first = min(float(mark.name) for mark in marks.iterdir())
    ray.shutdown()
    return {"per_minute": 60 * num / (ended - first)}


def program(run: Any, settings: Any) -> None:
    """Train a model of two numbers for as long as `trial` waits."""
    import torch

    model = run.place(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.y)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(1):
        loss = (model(torch.tensor([[settings.x, settings.y]])) ** 2).sum()
        loss.backward()
        optimizer.step()
        run.log({"loss": trial(settings.x, settings.y)})


def bessemer_way(num: int) -> dict[str, float]:
    """Search the same with Bessemer."""
    import ray
    from pydantic import Field
    from rich.console import Console

    from bessemer.config.settings import Settings
    from bessemer.search.command import tune

    class Waiting(Settings):
        x: float = Field(0.5, description="A number (1).")
        y: float = Field(0.5, description="A number (1).")

    settings = Waiting.model_validate(
        {
            "data": {"source": "inline"},
            "tracking": {"log_model": False, "system_metrics_every_s": 0},
            "tuning": {
                "metric": "loss",
                "mode": "min",
                "num_trials": num,
                "scheduler": "none",
                "space": {
                    "x": {"low": 0.0, "high": 1.0},
                    "y": {"low": 0.001, "high": 1.0, "log": True},
                },
            },
        }
    )
    ray.init(num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with open(folder() / "screen.log", "w", encoding="utf-8") as log:
        found = tune(program, settings, project="waiting", console=Console(file=log))
    assert all(trial.state == "done" for trial in found.trials)
    ends = [trial.ended_at for trial in found.trials if trial.ended_at is not None]
    results = [json.loads(file.read_text()) for file in found.folder.glob("trial-*/result.json")]
    first = min(result["first_step_at"] for result in results)
    ray.shutdown()
    return {"per_minute": 60 * num / (max(ends) - first)}


WAYS = {"optuna": optuna_way, "tune": tune_way, "bessemer": bessemer_way}


def pace(num_pairs: int, num: int) -> dict[str, object]:
    """Measure trials per minute in each way."""
    script = __file__

    def way(name: str) -> Any:
        return lambda: measured(script, name, "--trials", str(num))

    figures = interleaved({name: way(name) for name in WAYS}, num_pairs)
    goals = {
        "trials per minute, Bessemer / Optuna with a pool": Goal(
            "bessemer.per_minute", "optuna.per_minute", 0.7, at_least=True
        ),
        "trials per minute, Bessemer / plain Ray Tune": Goal(
            "bessemer.per_minute", "tune.per_minute", 1.0, at_least=True
        ),
    }
    return judge(f"{num} trials of {WAIT_S} s", figures, goals)


# One worker of digits


def digits_figures(place: Path, number: int) -> dict[str, Mapping[str, float]]:
    """Train alone and as the trials of a search; return the time of each without start-up and end."""
    common = ["--project", "digits", "--epochs", str(EPOCHS), "--tracking.log-model", "false"]
    bessemer = [sys.executable, "-m", "bessemer"]
    alone = ["--scaling.num-workers", "1", "--tracking.run-name", f"alone-{number}"]
    run_once([*bessemer, "train", *common, *alone], place)
    # All trials are the run alone, told apart by a setting that this run does not use.
    space = '{"checkpoint.keep": {"low": 2, "high": 1000}}'
    search = ["--study", f"search-{number}", "--tuning.space", space, "--tuning.search", "[]"]
    search += ["--tuning.sampler", "random", "--tuning.scheduler", "none", "--tuning.max-at-once", "1"]
    search += ["--tuning.num-trials", str(NUM_DIGITS_TRIALS), "--tuning.workers-per-trial", "1"]
    run_once([*bessemer, "tune", *common, *search], place)
    runs = place / "runs" / "digits"
    one = json.loads((runs / f"alone-{number}" / "result.json").read_text())
    asked = {}
    for line in (runs / f"search-{number}" / "journal.jsonl").read_text().splitlines():
        values = json.loads(line)
        if values["kind"] == "asked":
            asked[values["number"]] = values["at"]
    trials = [
        json.loads((runs / f"search-{number}" / f"trial-{n:04d}" / "result.json").read_text())
        for n in range(NUM_DIGITS_TRIALS)
    ]
    assert all(each["metrics"] == one["metrics"] for each in trials)
    launches = [each["first_step_at"] - asked[n] for n, each in enumerate(trials)][1:]
    return {
        "alone": {"s": _training_s(one)},
        "trial": {"s": statistics.median(_training_s(each) for each in trials[1:])},
        "launch": {"s": statistics.median(launches), "longest_s": max(launches)},
    }


def _training_s(result: Mapping[str, Any]) -> float:
    account = result["account"]
    parts = ("steps_s", "data_wait_s", "checkpoint_s", "other_s")
    return float(sum(account[part] for part in parts))


def overhead(num_pairs: int) -> dict[str, object]:
    """Measure what a trial of digits costs more than the run alone."""
    import tempfile

    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bessemer-search-") as name:
        place = Path(name)
        shutil.copytree(ROOT / "src" / "digits", place / "src" / "digits")
        for number in range(num_pairs):
            for way, values in digits_figures(place, number).items():
                for figure, value in values.items():
                    figures.setdefault(f"{way}.{figure}", []).append(value)
            print("  ".join(f"{name} {values[-1]:.4g}" for name, values in figures.items()), flush=True)
    figures["bound.s"] = [MAX_LAUNCH_S]
    goals = {
        "training time, trial / alone": Goal("trial.s", "alone.s", 1.05),
        "launch to first step / 2 s": Goal("launch.s", "bound.s", 1.0),
    }
    return judge("digits on one worker", figures, goals)


def main() -> None:
    parser: argparse.ArgumentParser = options(__doc__, "search", tuple(WAYS))
    parser.add_argument("--trials", type=int, default=NUM_TRIALS, help="trials of each search (count)")
    parser.add_argument("--only", choices=("pace", "overhead"), help="one part of it")
    arguments = parser.parse_args()
    if arguments.way:
        leave(WAYS[arguments.way](arguments.trials))
        return
    results: dict[str, object] = {}
    if arguments.only != "overhead":
        results["pace"] = pace(arguments.pairs, arguments.trials)
    if arguments.only != "pace":
        results["overhead"] = overhead(arguments.pairs)
    write(arguments.out, results)


if __name__ == "__main__":
    main()
