"""The files of the settings come: together, from mirrors, again only if asked, and offline not at all."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bessemer.cli import entry
from bessemer.config.data_settings import Data
from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means
from bessemer.data.downloads.plan import wanted_files
from bessemer.data.downloads.report import DownloadReport, Listener
from bessemer.data.downloads.show import Bars, Lines, line_of, size
from bessemer.data.downloads.stage import download, look, means_for
from bessemer.data.downloads.transfer import Patience
from bessemer.errors import DataError, SettingsError
from file_server import FileServer, file_server

CONTENT = b"some rows\n" * 30_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PACKAGE = "downloads_test_project"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick = partial(Patience, num_tries=2, first_wait_s=0.01)
    monkeypatch.setattr("bessemer.data.downloads.stage.Patience", quick)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def run(data: Data, listener: Listener | None = None, is_forced: bool = False) -> DownloadReport:
    return download(data, means_for(data, listener or Listener(), is_forced))


def urls(*addresses: str, **how: Any) -> Data:
    return Data.model_validate({"files": [{"url": address} for address in addresses], **how})


# What is wanted


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([{"url": "https://host/"}], "has no name"),
        ([{"url": "https://host/a"}, {"url": "https://other/a"}], "two of data.files are put into data/a"),
        ([{"url": "https://host/a", "target": "a\0b"}], "no name of a file"),
        ([{"url": "https://host/a", "target": "a\udcff", "unpack": "a\ud800"}], "no name of a file"),
        ([{"url": "ttps://host/a"}], "nothing opens ttps://"),
        ([{"url": "https://host/a", "mirrors": ["ttps://host/a"]}], "nothing opens ttps://"),
        ([{"url": "https://host/a.zip", "unpack": "data"}], "which has data in it"),
        ([{"url": "https://host/a.zip", "unpack": "."}], "which has data in it"),
        ([{"url": "https://h/a.zip", "target": "x/a.zip", "unpack": "x"}], "which has x/a.zip in it"),
        (
            [{"url": "https://h/a", "unpack": "data/x"}, {"url": "https://h/b", "unpack": "data/x"}],
            "are unpacked into data/x",
        ),
        (
            [{"url": "https://h/a", "unpack": "data/x"}, {"url": "https://h/b", "unpack": "data/x/y"}],
            "which has data/x/y in it",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_of_the_user(files: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        wanted_files(Data.model_validate({"files": files}))


def test_places_are_the_mirror_the_url_and_the_other_mirrors() -> None:
    data = Data.model_validate(
        {
            "mirror": "s3://bucket/all/",
            "folder": "here",
            "files": [
                {"url": "https://host/a.csv?x=1", "mirrors": ["https://other/a.csv"]},
                {"url": "https://host/b.csv", "target": "here/deep/c.csv"},
                {"url": "https://host/d.csv", "target": "elsewhere/e.csv"},
            ],
        }
    )
    first, second, third = wanted_files(data)
    assert first.target == Path("here/a.csv")
    assert first.places == ("s3://bucket/all/a.csv", "https://host/a.csv?x=1", "https://other/a.csv")
    assert second.places == ("s3://bucket/all/deep/c.csv", "https://host/b.csv")
    assert third.places == ("s3://bucket/all/e.csv", "https://host/d.csv")


# Several files


def test_several_files_come_at_the_same_time(server: FileServer) -> None:
    barrier = threading.Barrier(3, timeout=10)

    class Meeting(Listener):
        def progress(self, name: str, num_bytes: int, total_bytes: int | None) -> None:
            if num_bytes == 0:
                barrier.wait()

    report = run(
        urls(*(server.serve(f"{n}.csv", CONTENT, pause_s=0.01) for n in range(3)), parallel=3), Meeting()
    )
    assert [file.path.name for file in report.files] == ["0.csv", "1.csv", "2.csv"]
    assert report.num_received_bytes == 3 * len(CONTENT)


def test_one_that_fails_does_not_stop_the_others_and_all_failures_are_told(server: FileServer) -> None:
    good = [server.serve(f"{n}.csv", CONTENT) for n in range(4)]
    bad = [f"{server.url}/none-{n}.csv" for n in range(2)]
    with pytest.raises(DataError) as caught:
        run(urls(bad[0], *good, bad[1], parallel=2))
    assert "2 of 6 files" in caught.value.found
    assert "none-0.csv" in caught.value.found
    assert "none-1.csv" in caught.value.found
    assert sorted(path.name for path in Path("data").glob("[!.]*")) == [f"{n}.csv" for n in range(4)]


def test_a_second_call_fetches_nothing_and_force_fetches_all(server: FileServer) -> None:
    data = urls(server.serve("a.csv", CONTENT))
    run(data)
    assert run(data).num_fetched == 0
    assert len(server.asked) == 1
    assert run(data, is_forced=True).num_fetched == 1
    assert len(server.asked) == 2


def test_the_mirror_is_asked_first_and_what_it_lacks_comes_from_its_own_place(server: FileServer) -> None:
    server.serve("mirror/a.csv", CONTENT)
    data = urls(server.serve("a.csv", CONTENT), server.serve("b.csv", CONTENT), mirror=f"{server.url}/mirror")
    first, second = run(data).files
    assert first.place == f"{server.url}/mirror/a.csv"
    assert second.place == f"{server.url}/b.csv"
    assert second.skipped == (f"{server.url}/mirror/b.csv: it answers 404 Not Found",)


def test_ctrl_c_ends_soon_and_the_next_call_goes_on(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = urls(*(server.serve(f"{n}.csv", CONTENT, pause_s=0.15) for n in range(2)))
    begun = threading.Event()

    class Watching(Listener):
        def progress(self, name: str, num_bytes: int, total_bytes: int | None) -> None:
            if num_bytes > 2**16:
                begun.set()

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread() and begun.is_set() and not interruptions:
            interruptions.append(1)
            raise KeyboardInterrupt
        return wait(event, timeout)

    interruptions: list[int] = []
    wait = threading.Event.wait
    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run(data, Watching())
    assert time.monotonic() - start < 3
    assert {path.suffix for path in Path("data").iterdir()} <= {"", ".part", ".json"}
    num_asked = len(server.asked)
    server.released.set()
    report = run(data)
    assert sum(file.num_resumed_bytes for file in report.files) > 2**16
    assert all(value.startswith("bytes=") for value in server.ranges()[num_asked:])


# Offline


def test_offline_names_all_that_is_missing_and_fetches_nothing(server: FileServer) -> None:
    data = urls(*(server.serve(f"{n}.csv", CONTENT) for n in range(3)))
    Path("data").mkdir()
    Path("data/1.csv").write_bytes(CONTENT)
    with pytest.raises(DataError) as caught:
        look(data, means_for(data, Listener()))
    assert "2 of 3 files are missing" in caught.value.found
    assert f"data/0.csv (from {server.url}/0.csv)" in caught.value.found
    assert "data/2.csv" in caught.value.found
    assert "data/1.csv" not in caught.value.found
    assert not server.asked


def test_offline_passes_when_all_is_there(server: FileServer) -> None:
    data = urls(server.serve("a.csv", CONTENT))
    run(data)
    assert [file.status for file in look(data, means_for(data, Listener())).files] == ["there"]
    assert len(server.asked) == 1


# Shown


class Folder:
    """A project with files to download."""

    def __init__(self, root: Path) -> None:
        self.root = root / "projects" / "fetching"

    def write(self, settings: str, preprocessing: str = "") -> None:
        package = self.root / PACKAGE
        (package / "data").mkdir(parents=True, exist_ok=True)
        (self.root / "pyproject.toml").write_text(
            f'[project]\nname = "{PACKAGE}"\nversion = "0"\n[tool.bessemer]\n'
            f'name = "fetching"\n'
            f'entry = "{PACKAGE}.program:train"\nsettings = "{PACKAGE}.settings:Settings"\n'
        )
        (package / "__init__.py").write_text("")
        (package / "data" / "__init__.py").write_text("")
        (package / "program.py").write_text("def train(run, settings): pass\n")
        (package / "settings.py").write_text(
            "from bessemer.config.settings import Settings as Base\nclass Settings(Base): pass\n"
        )
        if preprocessing:
            (package / "data" / "preprocessing.py").write_text(preprocessing)
        (self.root / "settings.toml").write_text(settings)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Folder(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_the_verb_fetches_the_files_and_calls_the_project(
    server: FileServer, project: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    own = server.serve("own.csv", CONTENT)
    server.serve("mirror/own.csv", CONTENT)
    project.write(
        f'[data]\nmirror = "{server.url}/mirror"\n[[data.files]]\nurl = "{server.serve("a.csv", CONTENT)}"\n'
        f'sha256 = "{SHA256.upper()}"\n',
        "from bessemer.data.fetching import fetch\n"
        f"def download(settings): fetch({own!r}, 'data/own.csv'); print('mine')\n",
    )
    assert entry(["data", "download", "-p", "fetching"]) == 0
    out = capsys.readouterr().out
    assert f"data/a.csv: 300.0 kB from {server.url}/a.csv" in out
    assert f"data/own.csv: 300.0 kB from {server.url}/mirror/own.csv" in out
    assert "mine" in out
    assert "download of fetching is done: 2 files fetched (600.0 kB)" in out
    assert entry(["data", "download", "-p", "fetching"]) == 0
    out = capsys.readouterr().out
    assert "data/a.csv: is there, 300.0 kB and is what its SHA-256 says" in out
    assert "download of fetching is done: all files are there" in out


def test_offline_does_not_call_the_project_and_says_so(
    server: FileServer, project: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write(
        f'[[data.files]]\nurl = "{server.serve("a.csv", CONTENT)}"\n', "def download(settings): 1 / 0\n"
    )
    assert entry(["data", "download", "-p", "fetching", "--offline"]) == 1
    assert "data/a.csv (from" in capsys.readouterr().err
    Path("data").mkdir(exist_ok=True)
    Path("data/a.csv").write_bytes(CONTENT)
    assert entry(["data", "download", "-p", "fetching", "--offline"]) == 0
    out = capsys.readouterr().out
    assert "nothing of data.files is missing: 1 there" in out
    assert f"what download(settings) in {PACKAGE}/data/preprocessing.py" in out
    assert "is not called with --offline" in out
    assert entry(["data", "download", "-p", "fetching", "--offline", "--force"]) == 2


def test_a_failure_of_the_project_is_named_with_its_line(
    project: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("", "import json\n\ndef download(settings):\n    json.loads('{')\n")
    assert entry(["data", "download", "-p", "fetching"]) == 1
    error = capsys.readouterr().err
    assert f"{PACKAGE}/data/preprocessing.py of project fetching failed, line 4: json.loads('{{')" in error
    assert "JSONDecodeError: Expecting property name" in error


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ('[[data.files]]\nurl = "ttps://host/a.csv"', 2, "nothing opens ttps://"),
        ('[[data.files]]\nurl = "http://127.0.0.1:9/a.csv"', 1, "Connection refused"),
        ('[[data.files]]\nurl = "https://host/a.csv"\nsha256 = "12"', 2, "64 hexadecimal digits"),
        ('[[data.files]]\nurl = "package:sklearn/none"', 1, "has no file none"),
        ('[[data.files]]\nurl = "smb://host/share/a"', 1, "not installed"),
    ],
)
def test_mistakes_end_with_a_message_and_a_status(
    project: Folder, capsys: pytest.CaptureFixture[str], settings: str, status: int, message: str
) -> None:
    project.write(settings)
    assert entry(["data", "download", "-p", "fetching"]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def _console(is_terminal: bool) -> Console:
    return Console(file=open(os.devnull, "w"), force_terminal=is_terminal, width=100, record=True)


@pytest.mark.parametrize("make", [Lines, Bars])
def test_what_came_of_a_file_is_shown_once(server: FileServer, make: Callable[[Console], Lines]) -> None:
    console = _console(make is Bars)
    listener = make(console)
    data = urls(server.serve("a.csv", CONTENT, drop_after=100_000, num_drops=1))
    run(data, listener)
    listener.close()
    lines = [line.strip() for line in console.export_text().splitlines() if line.strip()]
    console.file.close()
    assert sum("data/a.csv: 300.0 kB from" in line for line in lines) == 1
    assert any("ended after 100,000 of 300,000 bytes; asked again in" in line for line in lines)


def test_a_bar_shows_how_far_a_file_is() -> None:
    console = _console(True)
    bars = Bars(console)
    bars.progress("a.csv", 500_000, 1_000_000)
    bars.activity("b.zip", "unpacking")
    shown = Console(width=120, record=True, file=console.file)
    shown.print(bars._bars.get_renderable())
    text = shown.export_text()
    bars.close()
    console.file.close()
    assert "0.5/1.0 MB" in text
    assert "b.zip (unpacking)" in text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (3e12, "3.0 TB"),
    ],
)
def test_sizes_are_read_easily(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


def test_a_long_download_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    console = _console(False)
    lines = Lines(console)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for second in range(40):
        now[0] = float(second)
        lines.progress("a.csv", second * 10**6, 40 * 10**6)
    assert console.export_text().splitlines() == [
        "a.csv: 15.0 MB of 40.0 MB, 38%",
        "a.csv: 30.0 MB of 40.0 MB, 75%",
    ]
    console.file.close()


def test_a_folder_that_was_unpacked_is_enough(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr("a", "1")
    data = Data.model_validate(
        {"files": [{"url": str(tmp_path / "source.zip"), "unpack": "data/all"}]},
    )
    first = run(data).files[0]
    assert line_of(first).endswith("; 1 files, 1 byte, in data/all")
    Path("data/source.zip").unlink()
    (tmp_path / "source.zip").unlink()
    assert line_of(run(data).files[0]) == "data/source.zip: is not needed, data/all is there"
    assert isinstance(means_for(data, Listener()), Means)
    assert Memory(Path("data")).folder(Path("data/all")) is not None
