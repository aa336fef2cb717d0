"""The research code runs as its author runs it, and what it does stays in the copy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bessemer.config.project import Project
from bessemer.errors import ProjectError, UserError
from bessemer.proof.converted import Way, train_command
from bessemer.proof.copies import Ground, beside
from bessemer.proof.original import environment_for, file_to_run, original_of, startable
from bessemer.proof.processes import run_bounded
from conversion.notebooks.making import code, written


def project(root: Path, source: Path | None, script: str = "main.py") -> Project:
    return Project("p", root, "p.training.trainer:main", "p.config.settings:Settings", source, script=script)


@pytest.fixture
def research(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "research"
    (folder / "sub").mkdir(parents=True)
    (folder / "main.py").write_text("open('../data/x.txt'); load('../out'); '../'; '..'; '../../home'\n")
    (folder / "sub" / "more.py").write_text("PATH = '../beside.txt'\n")
    (folder / ".git").mkdir()
    (folder / "a link").symlink_to(folder / "main.py")
    (folder / "a broken link").symlink_to(folder / "nothing")
    os.mkfifo(folder / "a pipe")
    (folder.parent / "data").mkdir()
    (folder.parent / "data" / "x.txt").write_text("x")
    (folder.parent / "data" / "y.txt").write_text("y")
    (folder.parent / "beside.txt").write_text("b")
    (folder.parent / "secret").write_text("s")
    return folder


def test_what_relative_paths_of_the_code_and_of_arguments_lead_to_is_copied(
    research: Path, tmp_path: Path
) -> None:
    found = original_of(project(tmp_path, research), ["--data=../data"], None)
    home = research.parent
    assert found.ground.others == (home / "beside.txt", home / "data", home / "data" / "x.txt")
    folder = found.ground.copied(tmp_path / "area")
    assert folder == tmp_path / "area" / "research"
    assert (folder / "../data/y.txt").read_text() == "y"
    assert sorted(path.name for path in folder.iterdir()) == ["a link", "main.py", "sub"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["beside.txt", "data", "research"]


def test_what_a_notebook_reads_beside_its_folder_is_copied_too(research: Path, tmp_path: Path) -> None:
    written(research / "study.ipynb", [code("%matplotlib inline\nopen('../data/x.txt')")])
    found = original_of(project(tmp_path, research / "study.ipynb", "study.ipynb"), [], None)
    assert found.ground.others == (research.parent / "data" / "x.txt",)


@pytest.mark.parametrize(
    "line",
    [
        "glob('../data/*/x?.txt')",
        "open('../data/%s.txt' % name)",
        "open('../data/{}/x.txt'.format(name))",
        "os.path.join('..', 'data', name)",
        "os.path.join('../data', name)",
    ],
)
def test_of_a_pattern_the_folder_that_it_begins_with_is_copied(line: str, tmp_path: Path) -> None:
    for name in ("program", "data", "other"):
        (tmp_path / name).mkdir()
    assert beside(tmp_path / "program", [line.encode()], ["../*"]) == (tmp_path / "data",)


def test_two_dots_alone_copy_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert beside(tmp_path / "a", [], ["..", "../", "../.", "../a", "../nothing"]) == ()


def test_a_copy_is_made_afresh_each_time_and_writes_stay_in_it(research: Path, tmp_path: Path) -> None:
    ground = Ground(research, (research.parent / "data",))
    before = {path: path.read_bytes() for path in research.parent.rglob("*") if path.is_file()}
    folder = ground.copied(tmp_path / "area")
    (folder / "model.pt").write_text("m")
    (folder / "a link").write_text("changed")
    (folder / "../data/x.txt").write_text("changed")
    assert {path: path.read_bytes() for path in before} == before
    folder = ground.copied(tmp_path / "area")
    assert not (folder / "model.pt").exists()
    assert (folder / "../data/x.txt").read_text() == "x"


def test_it_may_run_in_another_folder_than_its_own(research: Path, tmp_path: Path) -> None:
    ours = original_of(project(tmp_path, research), [], research.parent)
    folder = ours.ground.copied(tmp_path / "area")
    assert (folder / "secret").exists()
    assert ours.ground.place_of(ours.script, tmp_path / "area") == folder / "research" / "main.py"
    (tmp_path / "elsewhere").mkdir()
    ours = original_of(project(tmp_path, research), [], tmp_path / "elsewhere")
    ours.ground.copied(tmp_path / "area")
    assert ours.ground.place_of(ours.script, tmp_path / "area").is_file()


def test_mistakes_of_the_user_are_named(research: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="was not converted"):
        file_to_run(project(tmp_path, None))
    with pytest.raises(ProjectError, match="is not at"):
        file_to_run(project(tmp_path, research, "gone.py"))
    with pytest.raises(UserError, match="is no folder"):
        original_of(project(tmp_path, research), [], tmp_path / "nowhere")


def test_a_single_file_is_run_from_the_folder_that_it_is_in(research: Path, tmp_path: Path) -> None:
    found = original_of(project(tmp_path, research / "main.py"), ["-x"], None)
    assert (found.script, found.ground.folder) == (research / "main.py", research)
    assert found.arguments == ("-x",)


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    program = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "deaf = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', deaf])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    command = [sys.executable, "-c", program]
    ended = run_bounded(command, tmp_path, os.environ, tmp_path / "log", limit_s=2)
    assert ended.status is None
    assert "still ran after 2 s" in str(ended)
    child = int((tmp_path / "log").read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_how_a_program_failed_is_said_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('one')\nraise SystemExit(input())"]
    ended = run_bounded(command, tmp_path, os.environ, tmp_path / "log", limit_s=60)
    assert ended.status == 1
    assert str(ended).splitlines()[0] == "exit status 1"
    assert "EOFError" in str(ended)
    command = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGKILL})"]
    assert run_bounded(command, tmp_path, os.environ, tmp_path / "log", limit_s=60).status == -9


def test_it_runs_without_a_gpu_a_screen_and_chance(tmp_path: Path) -> None:
    found = environment_for({"TQDM_DISABLE": "1", "HOME": "h", "PYTHONHASHSEED": "7"})
    assert "TQDM_DISABLE" not in found
    assert (found["HOME"], found["PYTHONHASHSEED"], found["CUDA_VISIBLE_DEVICES"]) == ("h", "0", "")


def test_the_project_is_trained_on_a_cluster_of_its_own_and_records_elsewhere(tmp_path: Path) -> None:
    way = Way("canonical", num_workers=2)
    command = train_command(project(tmp_path, None), way, tmp_path / "runs", 5, "--epochs 2")
    # Modules of the research code must not stand in for those that Bessemer imports.
    assert command[1] == "-P"
    for part in (
        "--research-args=--epochs 2",
        "--cluster.address=local",
        "--scaling.num-workers=2",
        "--data.order=canonical",
        "--data.source=inline",
        "--data.seed=5",
        f"--checkpoint.storage-path={tmp_path / 'runs'}",
        f"--tracking.uri=sqlite:///{tmp_path / 'runs' / 'mlflow.db'}",
    ):
        assert part in command


def test_a_notebook_is_run_as_the_script_of_its_cells_and_of_the_run_that_was_chosen(tmp_path: Path) -> None:
    loop = "print({number}, double({number}))\nfor _ in range(1):\n    loss(model).backward()"
    cells = [
        "%%writefile helper.py\ndef double(x):\n    return 2 * x",
        "%matplotlib inline\nfrom helper import double\nclass loss:\n    def __init__(self, model): pass",
        "    \nloss.backward = lambda self: print('backward')\nmodel = 1",
        loop.format(number=1),
        loop.format(number=2),
    ]
    notebook = written(tmp_path / "study.ipynb", [code(x) for x in cells])
    for run, printed in ((None, "1 2\nbackward\n2 4\nbackward\n"), (1, "1 2\nbackward\n")):
        script = startable(notebook, run)
        assert script == tmp_path / "study_cells.py"
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == printed
    assert startable(tmp_path / "helper.py", None) == tmp_path / "helper.py"
