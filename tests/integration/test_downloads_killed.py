"""Processes that download are killed, or want the same file: nothing half-written, nothing fetched twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from file_server import FileServer, file_server

CONTENT = os.urandom(2**20) * 4
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PROGRAM = """
import sys
from bessemer.data.fetching import fetch
fetch(sys.argv[1], "data/a.bin", sys.argv[2])
"""
UNPACKING = """
from bessemer.config.data_settings import Data
from bessemer.data.downloads.report import Listener
from bessemer.data.downloads.stage import download, means_for
data = Data.model_validate({"files": [{"url": "many.zip", "unpack": "data/many"}]})
download(data, means_for(data, Listener()))
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def start(folder: Path, url: str, sha256: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, sha256],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_download_that_is_killed_is_gone_on_with(server: FileServer, tmp_path: Path, how: int) -> None:
    url = server.serve("a.bin", CONTENT, pause_s=0.05)
    part = tmp_path / "data" / ".a.bin.part"
    process = start(tmp_path, url)
    wait_for(lambda: size_of(part) > 2**20)
    process.send_signal(how)
    process.communicate(timeout=30)
    assert not (tmp_path / "data" / "a.bin").exists()
    here = size_of(part)
    assert here > 2**20

    server.files["a.bin"] = replace(server.files["a.bin"], pause_s=0)
    process = start(tmp_path, url)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert (tmp_path / "data" / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.bin"]
    assert server.ranges() == ["", f"bytes={here}-"]


def test_processes_that_want_the_same_file_fetch_it_once(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, pause_s=0.03)
    processes = [start(tmp_path, url, SHA256) for _ in range(3)]
    outs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outs
    assert len(server.asked) == 1
    assert (tmp_path / "data" / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.bin"]
    assert sum("is there" in out for out in outs) == 2


def test_who_waits_for_a_process_that_is_killed_goes_on_where_that_was(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.serve("a.bin", CONTENT, pause_s=0.05)
    first = start(tmp_path, url)
    wait_for(lambda: size_of(tmp_path / "data" / ".a.bin.part") > 2**20)
    second = start(tmp_path, url)
    assert second.stdout is not None
    assert "another process fetches it" in second.stdout.readline()
    server.files["a.bin"] = replace(server.files["a.bin"], pause_s=0)
    first.kill()
    first.communicate(timeout=30)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert server.ranges()[0] == ""
    assert server.ranges()[1].startswith("bytes=")
    assert (tmp_path / "data" / "a.bin").read_bytes() == CONTENT


def test_an_unpacking_that_is_killed_leaves_no_folder_and_is_done_again(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number}.txt", f"{number}")
    unpacking = tmp_path / "data" / ".many.unpacking"
    process = subprocess.Popen([sys.executable, "-c", UNPACKING], cwd=tmp_path)
    wait_for(unpacking.exists)
    process.kill()
    process.wait(30)
    assert unpacking.exists()
    assert not (tmp_path / "data" / "many").exists()
    subprocess.run([sys.executable, "-c", UNPACKING], cwd=tmp_path, check=True, timeout=60)
    assert len(list((tmp_path / "data" / "many").iterdir())) == 5000
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".bessemer", "many", "many.zip"]
