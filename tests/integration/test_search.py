"""Searches on a real Ray head: cheap, exact, and no kill makes them decide anything else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from bessemer.drill.heads import started_head
from bessemer.search.journal import JOURNAL_FILE, Ended, Opened, Reported, Spent, read
from integration.workplaces import BIN, OBJECT_STORE_BYTES, ROOT, Head, Workplace, environment_with

pytestmark = pytest.mark.timeout(400)

SETTINGS = """
[data]
source = "inline"

[checkpoint]
best_metric = "val/loss"

[tracking]
system_metrics_every_s = 0

[tuning]
seed = 5
num_startup = 3

[tuning.space]
lr = {low = 0.01, high = 1.0, log = true}
momentum = {low = 0.0, high = 0.9}
"""
# One at a time: what is decided depends on the order in which trials report.
ONE = ("--tuning.max-at-once", "1", "--tuning.num-trials", "6")


@pytest.fixture(scope="module")
def slope(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return _workplace(tmp_path_factory.mktemp("searches"), head)


def _workplace(folder: Path, head: Head) -> Workplace:
    project = folder / "projects" / "slope"
    shutil.copytree(ROOT / "tests" / "programs" / "slope", project)
    (project / "settings.toml").write_text(SETTINGS)
    return Workplace(folder, environment_with({"RAY_ADDRESS": head.address}))


def arguments(name: str, *more: str) -> list[str]:
    return ["tune", "--project", "slope", "--study", name, *more]


def tuned(slope: Workplace, name: str, *more: str) -> dict[str, Any]:
    """Run a search to its end."""
    done = slope.run(*arguments(name, *more, "--json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def folder_of(slope: Workplace, name: str) -> Path:
    return slope.folder / "runs" / "slope" / name


def decided(folder: Path) -> list[Any]:
    """All lines of a search's journal, without times."""
    lines: list[Any] = []
    for line in read(folder / JOURNAL_FILE):
        if isinstance(line, Opened | Spent):
            continue
        values = {key: value for key, value in vars(line).items() if key not in ("at", "metrics")}
        lines.append((type(line).__name__, values))
    return lines


def wait_for(folder: Path, condition: Callable[[list[Any]], bool], timeout_s: float = 120) -> None:
    """Wait until the journal of a search fulfils a condition."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        file = folder / JOURNAL_FILE
        if file.is_file() and condition(list(read(file))):
            return
        time.sleep(0.02)
    raise AssertionError(f"the search came to no such moment: {list(read(folder / JOURNAL_FILE))[-3:]}")


def reports(lines: list[Any]) -> int:
    return sum(isinstance(line, Reported) for line in lines)


def trial_pids(raylet_pid: int) -> list[int]:
    """Processes that run trials."""
    children = psutil.Process(raylet_pid).children(recursive=True)
    return [child.pid for child in children if "TrialActor" in " ".join(child.cmdline())]


# What a search comes to


@pytest.fixture(scope="module")
def halved(slope: Workplace) -> dict[str, Any]:
    return tuned(slope, "halved", *ONE, "--tuning.sampler", "tpe", "--tuning.scheduler", "asha")


def test_a_search_ends_trials_early_and_says_what_it_cost(slope: Workplace, halved: dict[str, Any]) -> None:
    states = [trial["state"] for trial in halved["trials"]]
    assert states.count("stopped") >= 2
    assert states.count("done") >= 1
    assert halved["turns_trained"] == sum(trial["turns"] for trial in halved["trials"])
    assert halved["turns_trained"] < halved["turns_in_full"] == 6 * 9
    # The first trial has the project's own settings, so the winner is no worse.
    assert halved["trials"][0]["values"] == {"lr": 0.03, "momentum": 0.0}
    assert halved["best_value"] <= halved["trials"][0]["value"]


def test_the_settings_file_of_the_winner_repeats_it_exactly(slope: Workplace, halved: dict[str, Any]) -> None:
    done = slope.run(
        *("train", "--project", "slope", "--config", halved["best_file"]),
        *("--tracking.run-name", "again"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trial = folder_of(slope, "halved") / f"trial-{halved['best']:04d}" / "result.json"
    again = slope.folder / "runs" / "slope" / "again" / "result.json"
    assert json.loads(again.read_text())["metrics"] == json.loads(trial.read_text())["metrics"]


def test_a_search_is_a_run_and_its_trials_are_its_children(slope: Workplace, halved: dict[str, Any]) -> None:
    client = MlflowClient(f"sqlite:///{slope.folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("slope")
    assert experiment is not None
    parent = client.get_run(halved["mlflow_run"])
    assert parent.info.status == "FINISHED"
    children = client.search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{halved['mlflow_run']}'"
    )
    assert sorted(run.info.run_name for run in children) == [f"trial-{number:04d}" for number in range(6)]
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {run.data.tags["bessemer.attempts"] for run in children} == {"1"}
    assert all(run.data.params["lr"] for run in children)
    figures = {file.path for file in client.list_artifacts(halved["mlflow_run"], "figures")}
    assert {
        "figures/learning-curves.png",
        "figures/parallel-coordinates.png",
        "figures/importance.png",
    } <= figures
    assert "best.toml" in {file.path for file in client.list_artifacts(halved["mlflow_run"])}
    best = client.get_metric_history(halved["mlflow_run"], "best/val/loss")
    assert best[-1].value == halved["best_value"]
    assert parent.data.metrics["search/turns"] == halved["turns_trained"]


def test_a_search_that_is_complete_is_not_repeated(slope: Workplace, halved: dict[str, Any]) -> None:
    before = decided(folder_of(slope, "halved"))
    done = slope.run("tune", "--project", "slope", "--resume", "halved", *ONE, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"] == halved["best"]
    assert decided(folder_of(slope, "halved")) == before


def test_the_winner_is_confirmed_with_other_seeds(slope: Workplace, halved: dict[str, Any]) -> None:
    done = slope.run("tune", "--project", "slope", "--resume", "halved", *ONE, "--confirm", "2", "--json")
    assert done.returncode == 0, done.stderr
    confirmed = json.loads(done.stdout)["confirmed"]
    assert confirmed["seeds"] == [1001, 1002]
    assert len(set(confirmed["values"])) == 2
    assert confirmed["mean"] == pytest.approx(sum(confirmed["values"]) / 2)
    assert confirmed["winner"] == halved["best_value"]


# Kills. The journal says it all: what was chosen, reported, and decided, in order.


@pytest.fixture
def struck(tmp_path: Path) -> Iterator[tuple[Workplace, Head]]:
    """A workplace on a head of its own: now and then a raylet goes on counting the CPU of a trial whose
    process was killed, and on the shared head whoever needs both CPUs would wait for ever."""
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    with started_head(2, environment, object_store_bytes=OBJECT_STORE_BYTES) as own:
        yield _workplace(tmp_path, own), own


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("tpe", "asha"), ("random", "pbt")],
)
def test_a_search_whose_trials_and_driver_are_killed_decides_as_an_undisturbed_one(
    struck: tuple[Workplace, Head], sampler: str, scheduler: str
) -> None:
    slope, head = struck
    how = [*ONE, "--tuning.sampler", sampler, "--tuning.scheduler", scheduler]
    how += ["--tuning.interval-turns", "3", "--tuning.population", "3", "--tuning.num-trials", "4"]
    name = f"{sampler}-{scheduler}"
    tuned(slope, f"{name}-whole", *how)
    expected = decided(folder_of(slope, f"{name}-whole"))
    folder = folder_of(slope, f"{name}-killed")
    with started(slope, *arguments(f"{name}-killed", *how, "--wait-s", "0.15")) as driver:
        # First a trial's process, in the middle of its turns: Ray starts another, which goes on.
        wait_for(folder, lambda lines: reports(lines) >= 1)
        assert head.raylet_pid is not None
        time.sleep(0.3)
        for pid in trial_pids(head.raylet_pid):
            os.kill(pid, signal.SIGKILL)
        # Then the driver, somewhere in a later trial.
        wait_for(folder, lambda lines: len({x.number for x in lines if isinstance(x, Reported)}) >= 2)
        time.sleep(0.3)
        driver.kill()
    done = slope.run("tune", "--project", "slope", "--resume", f"{name}-killed", *how, "--wait-s", "0.15")
    assert done.returncode == 0, done.stdout + done.stderr
    assert decided(folder) == expected
    done_before = [x.number for x in read(folder / JOURNAL_FILE) if isinstance(x, Ended)]
    assert len(done_before) == len(set(done_before))


def test_a_search_whose_head_is_killed_goes_on_on_another(
    tmp_path: Path, slope: Workplace, halved: dict[str, Any]
) -> None:
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    how = [*ONE, "--tuning.sampler", "tpe", "--tuning.scheduler", "asha", "--wait-s", "0.1"]
    with started_head(2, environment, object_store_bytes=OBJECT_STORE_BYTES) as first:
        place = _workplace(tmp_path, first)
        folder = folder_of(place, "lost")
        with started(place, *arguments("lost", *how)) as driver:
            wait_for(folder, lambda lines: reports(lines) >= 4)
            assert first.raylet_pid is not None
            for process in psutil.Process(first.raylet_pid).parents()[:1]:
                _kill_tree(process)
            said, _ = driver.communicate(timeout=60)
            assert driver.returncode == 2, said
            assert "the Ray cluster went away" in said
            assert "--resume" in said
    with started_head(2, environment, object_store_bytes=OBJECT_STORE_BYTES) as second:
        place = Workplace(tmp_path, environment_with({"RAY_ADDRESS": second.address}))
        done = place.run("tune", "--project", "slope", "--resume", "lost", *how)
        assert done.returncode == 0, done.stdout + done.stderr
    assert decided(folder) == decided(folder_of(slope, "halved"))


def _kill_tree(process: psutil.Process) -> None:
    for each in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


@contextlib.contextmanager
def started(slope: Workplace, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A search in a process of its own, which is ended with the block."""
    process = slope.start(*words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


# Two cores


def test_trials_of_two_workers_and_of_one_do_not_hang_on_two_processors(slope: Workplace) -> None:
    begun = time.monotonic()
    found = tuned(
        *(slope, "pairs", "--scaling.num-workers", "2", "--tuning.num-trials", "2", "--turns", "2"),
        *("--data.source", "ray", "--tuning.scheduler", "none"),
    )
    assert [trial["state"] for trial in found["trials"]] == ["done", "done"]
    both = tuned(
        *(slope, "side-by-side", "--tuning.num-trials", "6", "--turns", "2", "--data.source", "ray"),
        *("--tuning.scheduler", "none"),
    )
    assert [trial["state"] for trial in both["trials"]] == ["done"] * 6
    assert time.monotonic() - begun < 240


# What goes wrong


def test_a_trial_that_fails_is_reported_and_ends_nothing_but_a_cause_of_all_ends_it_early(
    slope: Workplace,
) -> None:
    space = ("--tuning.space", '{"bad": {"choices": ["", "error", "nan"]}}')
    found = tuned(slope, "some-fail", *space, "--tuning.sampler", "grid", "--tuning.max-at-once", "1")
    # One whose metric is no number is the worst at its first rung.
    assert [trial["state"] for trial in found["trials"]] == ["done", "failed", "stopped"]
    assert found["trials"][2]["turns"] == 1
    assert "told to fail" in found["trials"][1]["cause"]
    assert found["trials"][2]["value"] is None
    assert found["best"] == 0
    # Each of them fails in its second turn, and none is to end before that.
    failing = ("--bad", "error", "--tuning.max-failures", "2", "--tuning.scheduler", "none")
    done = slope.run(*arguments("all-fail", *ONE, *failing))
    assert done.returncode == 1
    assert "all of the first 2 trials failed" in done.stderr
    assert "told to fail" in done.stderr
    assert len(list(folder_of(slope, "all-fail").glob("trial-*"))) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--tuning.space", "{}"), "there is nothing to search"),
        (("--tuning.space", '{"lrr": {"low": 0.1, "high": 1.0}}'), "did you mean lr?"),
        (("--tuning.space", '{"lr": {"low": 1.0, "high": 0.1}}'), "low < high"),
        (("--tuning.num-trials", "0"), "greater than or equal to 1"),
        (("--scaling.num-workers", "64"), "at most 2 such workers fit"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_starts(
    slope: Workplace, more: tuple[str, ...], said: str
) -> None:
    done = slope.run(*arguments("refused", *more))
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert not folder_of(slope, "refused").exists()


def test_a_metric_that_is_never_logged_is_said_after_the_first_turn_with_those_that_are(
    slope: Workplace,
) -> None:
    done = slope.run(*arguments("unlogged", "--tuning.metric", "val/los", "--tuning.mode", "min"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "val/loss" in done.stderr
    assert "turn 1" in done.stderr


def test_a_metric_that_is_never_a_number_is_no_result(slope: Workplace) -> None:
    done = slope.run(*arguments("nan", "--bad", "nan", "--tuning.num-trials", "3"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "val/loss was no finite number in any of 3 trials" in done.stderr
    # What they trained is there.
    assert len(list(folder_of(slope, "nan").glob("trial-*/checkpoints"))) == 3


def test_the_name_of_a_search_with_another_space_is_refused_and_nothing_is_lost(
    slope: Workplace, halved: dict[str, Any]
) -> None:
    before = (folder_of(slope, "halved") / JOURNAL_FILE).read_bytes()
    other = ("--tuning.space", '{"lr": {"low": 0.1, "high": 1.0}}')
    done = slope.run(*arguments("halved", *other))
    assert done.returncode == 2
    assert "range of lr" in done.stderr
    done = slope.run("tune", "--project", "slope", "--resume", "halved", *other)
    assert done.returncode == 2
    assert (folder_of(slope, "halved") / JOURNAL_FILE).read_bytes() == before


def test_ctrl_c_ends_a_search_after_checkpoints_and_it_can_be_gone_on_with(slope: Workplace) -> None:
    how = [*ONE, "--tuning.num-trials", "2", "--tuning.scheduler", "none", "--wait-s", "0.2"]
    with started(slope, *arguments("stopped", *how)) as driver:
        wait_for(folder_of(slope, "stopped"), lambda lines: reports(lines) >= 2)
        driver.send_signal(signal.SIGINT)
        said, _ = driver.communicate(timeout=60)
        assert driver.returncode == 130, said
        assert "--resume stopped" in said
    done = slope.run("tune", "--project", "slope", "--resume", "stopped", *how, "--json")
    assert done.returncode == 0, done.stderr
    assert [trial["state"] for trial in json.loads(done.stdout)["trials"]] == ["done", "done"]


def test_a_plan_says_what_would_be_searched_and_trains_nothing(slope: Workplace) -> None:
    done = slope.run("tune", "--project", "slope", "--plan")
    assert done.returncode == 0, done.stderr
    assert "0.01 to 1, log" in done.stdout
    assert "2 trials at once" in done.stdout
    assert "20 trials" in done.stdout
