"""`bessemer status` and `bessemer logs`, without a cluster."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bessemer.cli import entry
from bessemer.observation.cluster import ClusterLook, ClusterView, cluster_address
from left_runs import append, checkpoint, made

BEAT = {"state": "stopped", "attempts": 2, "step": 40, "turn": 4, "num_turns": 9, "began_at": 1.0, "at": 61.0}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without projects and a machine without a cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("BESSEMER_CHECKPOINT__STORAGE_PATH", raising=False)


def test_status_is_a_table_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "runs", "digits", "first", heartbeat={**BEAT, "metrics": {"loss": 0.5}})
    checkpoint(folder, 36, None)
    assert entry(["status"]) == 0
    head, project, row, last = capsys.readouterr().out.splitlines()
    columns = ["run", "state", "attempts", "step", "epoch", "checkpoint", "time", "metric", "MLflow", "run"]
    assert head.split() == columns
    assert project.split() == ["digits"]
    assert row.split()[:6] == ["first", "stopped", "2", "40", "4/9", "36,"]
    assert "1 min" in row
    assert "last loss 0.5" in row
    assert last == "cluster: none is named: each run starts one of its own"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    beat = {**BEAT, "step": 123456, "turn": 10, "num_turns": 100, "metrics": {"train/loss": 0.1234}}
    folder = made(tmp_path / "runs", "digits", "20260518-101112-ab12", heartbeat=beat)
    checkpoint(folder, 123400, None)
    assert entry(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    assert any(line.startswith("20260518-101112-ab12 ") for line in lines)
    assert any("last train/loss 0.1234" in line for line in lines)


def test_status_as_json_is_all_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beat = {**BEAT, "metrics": {"loss": float("nan")}}
    made(tmp_path / "runs", "digits", "first", heartbeat=beat, run={"run_id": "abc"})
    assert entry(["status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (run,) = shown["runs"]
    assert (run["name"], run["state"], run["mlflow_run"], run["metrics"]) == (
        "first",
        "stopped",
        "abc",
        {"loss": None},
    )
    assert shown["cluster"]["nodes"] is None


def test_no_runs_at_all_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["status"]) == 0
    shown = capsys.readouterr().out
    assert "no runs in " in shown
    assert "bessemer train --project NAME begins one" in shown
    assert "bessemer jobs list --cluster NAME" in shown


def test_a_damaged_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "runs", "digits", "first", heartbeat="{")
    assert entry(["status"]) == 0
    assert "first: cannot be read: heartbeat.json" in capsys.readouterr().out


def test_the_limit_leaves_out_the_oldest_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for age in (30, 20, 10):
        made(tmp_path / "runs", "digits", f"of-{age}", age_s=age)
    assert entry(["status", "--limit", "2"]) == 0
    shown = capsys.readouterr().out
    assert "of-30" not in shown
    assert "and 1 older" in shown


def test_a_project_that_is_gone_is_known_by_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "runs", "digits", "first")
    assert entry(["status", "-p", "digits"]) == 0
    assert entry(["status", "-p", "spirals"]) == 2
    assert "there is no project 'spirals'" in capsys.readouterr().err


def test_status_loads_neither_torch_nor_ray_nor_mlflow(tmp_path: Path) -> None:
    made(tmp_path / "runs", "digits", "first")
    append(tmp_path / "runs" / "digits" / "first", "driver.jsonl", (1, "a"))
    code = (
        "import sys; from bessemer.cli import entry;"
        "assert entry(['status']) == 0; assert entry(['logs']) == 0;"
        "assert not {'torch', 'ray', 'mlflow', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# The cluster


def test_the_cluster_is_the_one_that_training_would_use(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    folder.mkdir()
    environment = {"RAY_TMPDIR": str(tmp_path)}
    assert cluster_address("", environment) == ("", "none is named, and no head runs on this machine")
    (folder / "ray_current_cluster").write_text("1.2.3.4:6379\n")
    assert cluster_address("", environment)[0] == "1.2.3.4:6379"
    assert cluster_address("", {**environment, "RAY_ADDRESS": "5.6.7.8:1"})[0] == "5.6.7.8:1"
    assert cluster_address("h:2", {**environment, "RAY_ADDRESS": "5.6.7.8:1"})[0] == "h:2"
    assert cluster_address("http://h:8265", {})[0] == ""


def test_a_head_that_does_not_answer_is_not_waited_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    begun = time.monotonic()
    assert ClusterLook(f"127.0.0.1:{port}").seen() == ClusterView(note=f"nothing answers at 127.0.0.1:{port}")
    assert time.monotonic() - begun < 5


def test_a_head_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        address = f"127.0.0.1:{head.getsockname()[1]}"

        class Sleeper(subprocess.Popen):  # type: ignore[type-arg]
            def __init__(self, _command: list[str], **options: object) -> None:
                super().__init__(["/bin/sleep", "60"], **options)  # type: ignore[call-overload]

        monkeypatch.setattr("bessemer.observation.cluster.subprocess.Popen", Sleeper)
        begun = time.monotonic()
        view = ClusterLook(address, limit_s=0.3).seen()
    assert view.nodes is None
    assert "did not say what it has" in view.note
    assert time.monotonic() - begun < 10


# Logs


def test_logs_are_shown_by_time_with_rank_and_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "runs", "digits", "first")
    append(folder, "worker-0.jsonl", (2, "second"), level="ERROR")
    append(folder, "driver.jsonl", (1, "first\x1b[31m"))
    assert entry(["logs"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["2026-01-01", "UTC", "rank", "attempt", "step", "level", "message"]
    assert first.split()[0] == "00:00:01.000"
    assert first.endswith("first[31m")
    assert second.split()[-2:] == ["ERROR", "second"]


def test_logs_as_json_are_the_lines_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "runs", "digits", "first")
    file = append(folder, "worker-0.jsonl", (2, "a"), (3, "b"))
    assert entry(["logs", "first", "--json"]) == 0
    assert capsys.readouterr().out == file.read_text()


def test_following_ends_when_the_run_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "runs", "digits", "first", heartbeat={**BEAT})
    append(folder, "driver.jsonl", (1, "the end"))
    assert entry(["logs", "--follow"]) == 0
    assert "the end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frist"], "did you mean first?"),
        (["--level", "INFOS"], "did you mean INFO?"),
        (["--rank", "x"], "a number from 0, or driver"),
        (["--rank", "9"], "has no log of worker 9"),
        (["--since", "x"], "is no time"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    append(made(tmp_path / "runs", "digits", "first"), "driver.jsonl", (1, "a"))
    assert entry(["logs", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_who_reads_only_the_first_lines_sees_no_traceback(tmp_path: Path) -> None:
    folder = made(tmp_path / "runs", "digits", "first")
    append(folder, "driver.jsonl", *((number % 60, "x" * 200) for number in range(3000)))
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "bessemer", "logs", *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
            process.wait(timeout=30)
