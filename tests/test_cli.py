"""The command line: light, frozen, and polite about mistakes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest
import typer.main

import bessemer
from bessemer.cli import app, entry
from bessemer.cli.common import console_for
from bessemer.config.loading import fields_of
from bessemer.config.settings import Settings
from bessemer.remote.jobs import Job
from bessemer.remote.showing import show_jobs

PACKAGE = "a_project_of_a_test"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with one project, `spirals`, that needs no converter."""
    root = tmp_path / "projects" / "spirals"
    (root / PACKAGE).mkdir(parents=True)
    (root / PACKAGE / "__init__.py").write_text("")
    (root / PACKAGE / "train.py").write_text("def train(run, settings): ...\n")
    (root / PACKAGE / "config.py").write_text(
        dedent(
            """
            from pydantic import Field
            from bessemer import Settings

            class SpiralsSettings(Settings):
                lr: float = Field(0.5, gt=0, description="Learning rate (1).")
                no_cuda: bool = Field(False, description="Whether GPUs are left alone.")
            """
        )
    )
    (root / "pyproject.toml").write_text(
        f'[tool.bessemer]\nname = "spirals"\nentry = "{PACKAGE}.train:train"\n'
        f'settings = "{PACKAGE}.config:SpiralsSettings"\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BESSEMER_")]:
        monkeypatch.delenv(name)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(PACKAGE):
            del sys.modules[name]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bessemer", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )


def shown_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert entry(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


# Light

HEAVY = ["torch", "ray", "mlflow", "numpy", "pandas", "pyarrow", "libcst", "jinja2", "nbformat", "sklearn"]


def loaded_by(code: str) -> list[str]:
    result = python(f"{code}\nimport sys\nprint([n for n in {HEAVY} if n in sys.modules])")
    assert result.returncode == 0, result.stderr
    found: list[str] = json.loads(result.stdout.splitlines()[-1].replace("'", '"'))
    return found


def test_importing_bessemer_loads_neither_torch_nor_ray() -> None:
    assert loaded_by("import bessemer; dir(bessemer)") == []


def test_showing_help_loads_neither_torch_nor_ray() -> None:
    assert loaded_by("from bessemer.cli import entry; assert entry(['--help']) == 0") == []


def test_settings_are_read_without_torch_and_ray() -> None:
    assert loaded_by("from bessemer import Settings; from bessemer.config.loading import load_settings") == []


def test_help_takes_less_than_half_a_second_of_cpu() -> None:
    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    taken = []
    for _ in range(6):  # the first may compile, and others work on this machine too
        before = cpu_s()
        assert command("--help").returncode == 0
        taken.append(cpu_s() - before)
        if taken[-1] < 0.5:
            break
    assert min(taken) < 0.5


LEAVES = """
import atexit, concurrent.futures, time
from bessemer.cli import leave

pool = concurrent.futures.ThreadPoolExecutor()
pool.submit(lambda: (time.sleep(0.2), print("thread")))
atexit.register(print, "at exit")
leave(3)
print("not here")
"""


def test_a_process_that_ends_itself_waits_for_threads_and_does_what_is_due_at_exit() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "thread\nat exit\n", "")


# Frozen


def test_the_public_names_are_these() -> None:
    assert bessemer.__all__ == ["Run", "Settings", "current_run", "fit", "tune"]
    for name in bessemer.__all__:
        assert getattr(bessemer, name).__name__ == name
    assert dir(bessemer) == bessemer.__all__


def test_a_name_that_bessemer_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'bessemer' has no attribute 'fitt'"):
        bessemer.fitt  # noqa: B018


def verbs(group: Any, prefix: str = "") -> dict[str, list[str]]:
    found = {}
    for name, verb in group.commands.items():
        if hasattr(verb, "commands"):
            found.update(verbs(verb, f"{prefix}{name} "))
        else:
            found[prefix + name] = sorted(option for p in verb.params for option in p.opts)
    return found


def test_the_verbs_and_their_options_are_these() -> None:
    assert verbs(typer.main.get_command(app)) == VERBS


VERBS = {
    "analyze": ["--json", "source"],
    "convert": ["--entry", "--json", "--out", "--plan", "--run", "--runs", "source"],
    "check": ["--json", "project"],
    "verify": [
        "--cwd",
        "--json",
        "--limit-s",
        "--research-args",
        "--seed",
        "--steps",
        "--workers",
        "project",
    ],
    "train-all": ["--config", "--offline", "--project", "--strict", "-p"],
    "train": [
        "--allow-drift",
        "--allow-invalid-data",
        "--config",
        "--if-changed",
        "--or-begin",
        "--project",
        "--research-args",
        "--resume",
        "-p",
    ],
    "drill": [
        "--every-steps",
        "--json",
        "--limit-s",
        "--num-workers",
        "--only",
        "--project",
        "--seed",
        "--soak",
        "--soak-log",
        "-p",
    ],
    "tune": [
        "--allow-invalid-data",
        "--config",
        "--confirm",
        "--json",
        "--plan",
        "--project",
        "--research-args",
        "--resume",
        "--study",
        "-p",
    ],
    "status": ["--json", "--limit", "--project", "--storage", "-p"],
    "logs": [
        "--follow",
        "--json",
        "--level",
        "--project",
        "--rank",
        "--since",
        "--storage",
        "-f",
        "-p",
        "run",
    ],
    "evaluate": [
        "--checkpoint",
        "--compare",
        "--if-changed",
        "--json",
        "--model",
        "--project",
        "--run",
        "--split",
        "-p",
    ],
    "register": ["--checkpoint", "--if-changed", "--json", "--project", "--run", "-p"],
    "promote": ["--force", "--json", "--project", "--to", "--version", "-p"],
    "models": ["--json", "--project", "-p"],
    "data download": ["--config", "--force", "--offline", "--project", "-p"],
    "data preprocess": ["--config", "--project", "-p"],
    "data validate": [
        "--config",
        "--if-changed",
        "--json",
        "--manifest",
        "--max-samples",
        "--project",
        "--reference",
        "--report",
        "--strict",
        "-p",
    ],
    "config": ["--config", "--json", "--project", "-p"],
    "doctor": ["--json", "--project", "-p"],
    "mlflow": ["--port", "--storage"],
    "cluster render": ["--check", "--config", "--only", "--out", "--project", "-p"],
    "cluster up": ["--config", "--project", "--wait-s", "-p"],
    "cluster down": ["--config", "--keep", "--project", "-p"],
    "cluster logs": ["--config", "--follow", "--project", "--tail", "-f", "-p", "services"],
    "cluster drill": [
        "--every-steps",
        "--image",
        "--json",
        "--limit-s",
        "--nodes",
        "--only",
        "--project",
        "--seed",
        "--storage",
        "--workers",
        "-p",
    ],
    "submit": ["--cluster", "--config", "--json", "--no-wait", "--project", "-p", "verb"],
    "job": [],
    "jobs list": ["--cluster", "--json", "--project", "-p"],
    "jobs logs": ["--cluster", "--follow", "--project", "-f", "-p", "job"],
    "jobs stop": ["--cluster", "--project", "-p", "job"],
}


def test_every_verb_says_what_it_does_in_one_line() -> None:
    for line in (verb.help for verb in typer.main.get_command(app).commands.values()):  # type: ignore[attr-defined]
        assert line
        assert len(line.splitlines()[0]) < 100


def test_the_settings_of_every_project_are_these() -> None:
    assert [name for name, _ in fields_of(Settings)] == SETTINGS


SETTINGS = [
    "scaling.num_workers",
    "scaling.device",
    "scaling.cpus_per_worker",
    "scaling.gpus_per_worker",
    "scaling.loss_reduction",
    "scaling.resize_every_s",
    "scaling.step_timeout_s",
    "scaling.max_failures",
    "scaling.max_failures_at_step",
    "scaling.max_preemptions",
    "scaling.backoff_s",
    "scaling.max_backoff_s",
    "data.source",
    "data.order",
    "data.seed",
    "data.block_steps",
    "data.block_bytes",
    "data.tasks_per_worker",
    "data.prefetch_blocks",
    "data.folder",
    "data.files",
    "data.mirror",
    "data.parallel",
    "data.max_unpacked_bytes",
    "data.max_unpacked_entries",
    "data.max_unpacked_ratio",
    "data.sources",
    "data.cache",
    "checkpoint.storage_path",
    "checkpoint.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_s",
    "checkpoint.retry_s",
    "checkpoint.keep",
    "checkpoint.best_metric",
    "checkpoint.best_mode",
    "tracking.uri",
    "tracking.username",
    "tracking.password_file",
    "tracking.experiment",
    "tracking.run_name",
    "tracking.flush_every_s",
    "tracking.system_metrics_every_s",
    "tracking.retry_s",
    "tracking.row_every_steps",
    "tracking.log_model",
    "tracking.log_level",
    "tuning.metric",
    "tuning.mode",
    "tuning.space",
    "tuning.suggestions",
    "tuning.search",
    "tuning.sampler",
    "tuning.scheduler",
    "tuning.seed",
    "tuning.num_trials",
    "tuning.begin_with_defaults",
    "tuning.workers_per_trial",
    "tuning.max_hours",
    "tuning.max_gpu_hours",
    "tuning.max_at_once",
    "tuning.grace_turns",
    "tuning.reduction",
    "tuning.num_startup",
    "tuning.population",
    "tuning.interval_turns",
    "tuning.quantile",
    "tuning.resample",
    "tuning.max_failures",
    "cluster.address",
    "cluster.connect_timeout_s",
    "preparation.source",
    "preparation.function",
    "preparation.splits",
    "preparation.key",
    "preparation.group",
    "preparation.stratify",
    "preparation.shard_bytes",
    "checks.labels",
    "checks.identifiers",
    "checks.num_classes",
    "checks.ranges",
    "checks.min_class_fraction",
    "checks.max_missing_fraction",
    "checks.near_duplicates",
    "checks.reference",
    "checks.max_drift",
    "evaluation.task",
    "evaluation.num_bootstrap",
    "evaluation.confidence",
    "evaluation.slices",
    "evaluation.predict",
    "evaluation.num_worst",
    "evaluation.num_bins",
    "registry.name",
    "registry.model",
    "registry.split",
    "registry.metric",
    "registry.mode",
    "registry.threshold",
    "registry.better_than_champion",
    "registry.min_improvement",
    "deploy.image",
    "deploy.build",
    "deploy.worker_nodes",
    "deploy.max_worker_nodes",
    "deploy.workers_per_node",
    "deploy.memory_per_worker_bytes",
    "deploy.head_memory_bytes",
    "deploy.object_store_bytes",
    "deploy.spot",
    "deploy.idle_timeout_s",
    "deploy.dashboard_port",
    "deploy.mlflow_port",
    "deploy.clusters",
    "deploy.kubernetes.namespace",
    "deploy.kubernetes.project",
    "deploy.kubernetes.storage_claim",
    "deploy.kubernetes.storage_class",
    "deploy.kubernetes.storage_bytes",
    "deploy.kubernetes.mlflow",
    "deploy.kubernetes.mlflow_bytes",
    "deploy.kubernetes.secret",
    "deploy.kubernetes.storage_secret",
    "deploy.kubernetes.image_pull_policy",
    "deploy.kubernetes.image_pull_secret",
    "deploy.kubernetes.head_cpus",
    "deploy.kubernetes.gpu_product",
    "deploy.kubernetes.spot_label",
    "deploy.kubernetes.grace_s",
    "deploy.kubernetes.retries",
    "deploy.kubernetes.deadline_s",
    "deploy.kubernetes.ttl_s",
    "deploy.aws.region",
    "deploy.aws.head_type",
    "deploy.aws.worker_type",
    "deploy.aws.image_id",
    "deploy.aws.ssh_user",
    "deploy.aws.disk_bytes",
    "deploy.aws.file_system",
    "deploy.machines.head_ip",
    "deploy.machines.worker_ips",
    "deploy.machines.ssh_user",
    "deploy.machines.storage_path",
]


# Polite


@pytest.mark.parametrize("verb", ["train", "tune", "evaluate", "config", "data download", "data validate"])
def test_an_unknown_project_is_the_users_mistake(
    here: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert entry([*verb.split(), "--project", "spiral"]) == 2
    error = capsys.readouterr().err
    assert "there is no project 'spiral'" in error
    assert "did you mean spirals?" in error


def test_a_mistake_is_told_without_a_traceback(here: Path) -> None:
    result = command("train", "--project", "nowhere", cwd=here)
    assert result.returncode == 2
    assert result.stderr.startswith("error: there is no project 'nowhere'\nexpected: ")
    assert "Traceback" not in result.stderr + result.stdout


def test_debug_shows_the_traceback(here: Path) -> None:
    result = command("--debug", "train", "--project", "nowhere", cwd=here)
    assert result.returncode != 0
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("verb", ["train", "config", "data validate"])
def test_an_unknown_setting_gets_the_nearest_one(
    here: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert entry([*verb.split(), "--project", "spirals", "--scaling.num-worker", "2"]) == 2
    assert "did you mean --scaling.num-workers?" in capsys.readouterr().err


def test_a_wrong_value_is_the_users_mistake(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["config", "-p", "spirals", "--lr", "-1"]) == 2
    assert "lr = '-1' (from the command line)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["train", "--project"], ["mlflow", "--port", "x"]], ids=" ".join
)
def test_a_wrong_command_line_ends_with_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert entry(arguments) == 2
    shown = capsys.readouterr()
    assert "Error" in shown.err
    assert "Traceback" not in shown.err


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    entry([])
    shown = capsys.readouterr()
    assert "train" in shown.out + shown.err


def test_ctrl_c_ends_with_status_130(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bessemer.cli.machine.ready", stopped)
    assert entry(["config", "-p", "spirals"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_an_error_of_bessemer_itself_is_not_hidden(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bessemer.cli.machine.ready", broken)
    with pytest.raises(ZeroDivisionError):
        entry(["config", "-p", "spirals"])


# bessemer config


def test_config_shows_each_value_and_where_it_came_from(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "projects" / "spirals" / "settings.toml").write_text("[data]\nseed = 5\n")
    monkeypatch.setenv("BESSEMER_SCALING__NUM_WORKERS", "2")
    shown = shown_by(capsys, "config", "-p", "spirals", "--json", "--lr", "0.25", "--no-cuda")
    assert shown["lr"] == {"value": 0.25, "from": "command line", "meaning": "Learning rate (1)."}
    assert shown["no_cuda"]["value"] is True
    assert (shown["data.seed"]["value"], shown["data.seed"]["from"]) == (5, "file")
    assert (shown["scaling.num_workers"]["value"], shown["scaling.num_workers"]["from"]) == (2, "environment")
    assert shown["scaling.device"]["from"] == "default"


def test_nothing_but_json_is_on_standard_output_also_when_the_project_is_converted_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(bessemer.__file__).parent.parent / "src" / "digits", tmp_path / "src" / "digits")
    monkeypatch.chdir(tmp_path)
    assert entry(["config", "-p", "digits", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["lr"]["value"] == 1.0
    assert "converted" in printed.err


def test_a_file_that_is_named_replaces_the_projects_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "projects" / "spirals" / "settings.toml").write_text("lr = 0.1\n")
    (here / "mine.toml").write_text("lr = 0.2\n")
    shown = shown_by(capsys, "config", "-p", "spirals", "--json", "--config", "mine.toml")
    assert (shown["lr"]["value"], shown["lr"]["from"]) == (0.2, "file")
    assert shown_by(capsys, "config", "-p", "spirals", "--json")["lr"]["value"] == 0.1


def test_config_is_a_table_that_can_be_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["config", "-p", "spirals"]) == 0
    text = capsys.readouterr().out
    assert text.split()[:4] == ["setting", "value", "from", "meaning"]
    assert "scaling.num_workers" in text


def test_names_in_tables_stay_whole_where_no_terminal_says_how_wide_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "digits-train-20261130-085808-b7c1"
    show_jobs(console_for(), [Job(name, "SUCCEEDED", 1.0, 9.0, 0, "", {"run": name})])
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{name}  succeeded  {name}")
    monkeypatch.setenv("COLUMNS", "60")
    assert console_for().width == 60


def test_a_project_is_found_by_the_path_of_its_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_by(capsys, "config", "-p", "projects/spirals", "--json")
    assert shown["lr"]["value"] == 0.5


def test_a_project_is_found_by_the_path_of_its_research_code(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "src").mkdir()
    (here / "src" / "spirals.py").write_text("")
    assert shown_by(capsys, "config", "-p", "src/spirals.py", "--json")["lr"]["value"] == 0.5


# Data


def test_a_project_without_a_download_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["data", "download", "-p", "spirals"]) == 0
    out = capsys.readouterr().out
    assert f"nothing to download: {PACKAGE}/data/preprocessing.py" in out


def test_a_download_of_the_project_is_called_with_its_settings(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "projects" / "spirals" / PACKAGE / "data"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "preprocessing.py").write_text("def download(settings): print('lr is', settings.lr)\n")
    assert entry(["data", "download", "-p", "spirals", "--lr", "0.125"]) == 0
    assert "lr is 0.125" in capsys.readouterr().out


def test_the_command_line_is_built_on_what_it_was_built_on() -> None:
    # `entry` reads `exit_code` and `show` of the option parser's errors.
    assert hasattr(click.UsageError("x"), "show")
    assert click.UsageError.exit_code == 2
