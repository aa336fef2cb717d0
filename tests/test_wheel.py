"""Bessemer's own wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bessemer
from bessemer.deployment.wheel import wheel_bytes, wheel_name, write_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheels"))


def test_the_same_installation_gives_the_same_bytes(wheel: Path) -> None:
    # Made anew, not remembered; and a second later the clock would show.
    assert wheel.read_bytes() == wheel_bytes.__wrapped__()
    assert {entry.date_time for entry in zipfile.ZipFile(wheel).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_it_has_every_file_of_the_package_and_no_leftovers(wheel: Path) -> None:
    package = Path(bessemer.__file__).parent
    files = {
        f"bessemer/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("bessemer-")}
    assert inside == files
    assert "bessemer/deployment/files/Dockerfile" in inside


def test_pip_installs_it_and_what_is_installed_runs(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*command, str(target), str(wheel)], check=True, timeout=100, capture_output=True)
    code = "import bessemer, sys; print(bessemer.__file__); from bessemer.cli import app"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(str(target))
    assert (target / "bin" / "bessemer").exists()


def test_an_older_wheel_gives_way(tmp_path: Path) -> None:
    (tmp_path / "bessemer-0.0.1-py3-none-any.whl").write_bytes(b"old")
    (tmp_path / "other-1.0-py3-none-any.whl").write_bytes(b"not ours")
    write_wheel(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [wheel_name(), "other-1.0-py3-none-any.whl"]
