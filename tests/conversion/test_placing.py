"""A new folder in the place of an old one: in one step, and with all that was in the old one."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.conversion.writing import placing
from conversion.killed_writes import content_of, convert_again, old_project, state_of


@pytest.fixture(params=["exchange", "rename", "copy"])
def out(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a project is, on systems that can exchange folders, that cannot, and that have no links."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    if request.param == "rename":
        monkeypatch.setattr(placing, "_exchange", lambda first, second: False)
    elif request.param == "copy":
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path / "p"


def everything(path: Path) -> bool:
    return path != Path()


def replace(out: Path, files: dict[str, str] | None = None) -> None:
    with placing.staged(out) as new:
        for name, text in (files or {}).items():
            (new / name).write_text(text)
        placing.put(new, out, everything)


@pytest.mark.parametrize("way", ["exchange", "rename"])
def test_a_kill_at_any_moment_leaves_the_old_project_or_the_new_one(way: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "conversion.killed_writes", str(tmp_path / "area"), way]
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    states = json.loads(ended.stdout)
    at_once, settled = [x[0] for x in states], [x[1] for x in states]
    assert set(settled) == {"old", "new"}
    assert settled == sorted(settled, reverse=True), "once it is new, it stays new"
    assert all(names == ["p"] for _, _, names in states)
    if way == "exchange":
        assert at_once == settled


def test_a_new_folder_takes_the_place_of_none(out: Path) -> None:
    replace(out, {"a": "new"})
    assert content_of(out.parent) == {"p/a": b"new"}


def test_everything_that_is_kept_comes_along_as_it_was(out: Path) -> None:
    (out / "deep" / "er").mkdir(parents=True)
    (out / "empty" / "folder").mkdir(parents=True)
    (out / "deep" / "er" / "run.sh").write_text("#!/bin/sh\n")
    (out / "deep" / "er" / "run.sh").chmod(0o750)
    (out / "deep").chmod(0o700)
    (out / "link").symlink_to("deep/er/run.sh")
    (out / "nowhere").symlink_to("/there/is/nothing")
    (out / "data").symlink_to("../elsewhere")
    (out.parent / "elsewhere").mkdir()
    (out.parent / "elsewhere" / "large.bin").write_text("large")
    before = (out / "deep" / "er" / "run.sh").stat()
    replace(out, {"a": "new"})
    after = (out / "deep" / "er" / "run.sh").stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (out / "deep").stat().st_mode & 0o777 == 0o700
    assert (out / "empty" / "folder").is_dir()
    assert os.readlink(out / "link") == "deep/er/run.sh"
    assert os.readlink(out / "nowhere") == "/there/is/nothing"
    assert os.readlink(out / "data") == "../elsewhere"
    assert (out / "data" / "large.bin").read_text() == "large"
    assert (out / "a").read_text() == "new"
    assert sorted(x.name for x in out.parent.iterdir()) == ["elsewhere", "p"]


def test_what_is_written_while_the_folder_is_exchanged_comes_along(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on while its project is converted: it adds checkpoints, and replaces files by new ones."""
    out.mkdir()
    (out / "result").write_text("old")
    os.utime(out / "result", (1, 1))
    bring, rounds = placing.bring, []

    def at_work(source: Path, target: Path, keep: placing.Keep) -> None:
        bring(source, target, keep)
        rounds.append(source)
        if len(rounds) == 1:
            (out / "checkpoint").write_text("new")
            (out / "result.part").write_text("new")
            os.replace(out / "result.part", out / "result")

    monkeypatch.setattr(placing, "bring", at_work)
    replace(out)
    assert content_of(out) == {"checkpoint": b"new", "result": b"new"}


def test_a_process_that_works_in_the_folder_goes_on_in_the_new_one(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "runs").mkdir(parents=True)
    (out / "runs" / "log").write_text("loss")
    monkeypatch.chdir(out / "runs")
    replace(out)
    assert Path.cwd() == (out / "runs").resolve()
    assert Path("log").read_text() == "loss"


def test_a_failure_leaves_the_old_folder_and_nothing_else(out: Path) -> None:
    old_project(out)
    before = content_of(out.parent)
    with pytest.raises(IsADirectoryError), placing.staged(out) as new:
        new.write_text("a folder")
    assert content_of(out.parent) == before


def test_a_folder_that_cannot_be_read_is_not_left_behind_but_an_error(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "closed").mkdir(parents=True)
    (out / "closed" / "mine").write_text("mine")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        replace(out)
    monkeypatch.undo()
    assert content_of(out.parent) == {"p/closed/mine": b"mine"}


def test_what_vanishes_while_it_is_taken_over_is_no_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out.mkdir()
    (out / "journal").write_text("of a database that a run writes")
    (out / "mine").write_text("mine")
    carry = placing.carry

    def vanish(source: Path, target: Path) -> None:
        if source.name == "journal":
            source.unlink()
        carry(source, target)

    monkeypatch.setattr(placing, "carry", vanish)
    replace(out)
    assert content_of(out) == {"mine": b"mine"}


def test_an_old_folder_that_was_only_moved_away_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p"
    old_project(out)
    rename = os.rename

    def stop(source: Path, target: Path) -> None:
        if Path(target) == out:
            monkeypatch.undo()
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(placing, "_exchange", lambda first, second: False)
    monkeypatch.setattr(os, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        convert_again(out)
    assert state_of(out) == "old"
    assert [x.name for x in tmp_path.iterdir()] == ["p"]


def test_what_a_living_process_is_at_work_on_is_not_cleared_away(tmp_path: Path) -> None:
    busy, dead = tmp_path / ".p.staged-busy", tmp_path / ".p.staged-dead"
    for area in (busy, dead):
        area.mkdir()
        (area / "lock").touch()
    other = tmp_path / ".q.staged-of-another-project"
    other.mkdir()
    with (busy / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        placing.settle(tmp_path / "p")
    assert sorted(x.name for x in tmp_path.iterdir()) == [busy.name, other.name]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders")
def test_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert placing._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()
    assert not placing._exchange(tmp_path / "a", tmp_path / "nothing")
