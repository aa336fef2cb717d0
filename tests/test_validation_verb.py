"""`bessemer data validate`: its report, its exit status, its verdict, and what `train` makes of that."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from prepared_folders import digits, prepared_folder

from bessemer.cli import entry
from bessemer.data.validation.checks import CATALOGUE, catalogue_table
from bessemer.data.validation.findings import ColumnSummary, DatasetSummary, Finding, Report
from bessemer.data.validation.page import page_of
from bessemer.data.validation.verdict import VERDICT_FILE, read_verdicts

PACKAGE = "a_project_to_validate"

PROGRAM = """
import torch
from torch.utils.data import TensorDataset
from bessemer import Run, Settings


def samples(start, count):
    values = torch.arange(start, start + count, dtype=torch.float32).unsqueeze(1) + torch.linspace(0, 0.5, 4)
    return TensorDataset(values, torch.arange(count) % 3)


def train(run: Run, settings: Settings) -> None:
    run.loader(samples({test}, 12), batch_size=4)
    run.loader(samples(0, 30), batch_size=4, shuffle=True)
    for _ in run.epochs(3):
        raise AssertionError("nothing is trained")
"""


class Here:
    """A working directory with one project, `rows`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "projects" / "rows" / PACKAGE
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text("")
        (self.package.parent / "pyproject.toml").write_text(
            f'[tool.bessemer]\nname = "rows"\nentry = "{PACKAGE}.train:train"\n'
            'settings = "bessemer:Settings"\n'
        )
        self.program(test=30)

    def program(self, test: int = 30, text: str = "") -> None:
        (self.package / "train.py").write_text(text or PROGRAM.replace("{test}", str(test)))
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]
        shutil.rmtree(self.package / "__pycache__", ignore_errors=True)

    def settings(self, text: str) -> None:
        (self.package.parent / "settings.toml").write_text(dedent(text))

    def prepare(self, **splits: Any) -> Path:
        folder = self.folder / "data" / "prepared" / "rows"
        shutil.rmtree(folder, ignore_errors=True)
        prepared_folder(folder, splits)
        return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BESSEMER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("bessemer.training.validation.log_validation", lambda *given: None)
    path = list(sys.path)
    yield Here(tmp_path)
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def validate(*arguments: str) -> int:
    return entry(["data", "validate", "--project", "rows", *arguments])


def train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, dict[str, str]]:
    """Train up to where Ray would start; return the status, and the tags of the run."""
    given: dict[str, str] = {}

    class StartedError(Exception):
        pass

    def fit(*_: Any, tags: dict[str, str], **__: Any) -> None:
        given.update(tags)
        raise StartedError

    monkeypatch.setattr("bessemer.training.trainer.fit", fit)
    monkeypatch.setenv("BESSEMER_DEBUG", "1")  # as --debug does, for the whole process
    try:
        return entry(["train", "--project", "rows", *arguments]), given
    except StartedError:
        return 0, given
    except Exception as error:
        return error.exit_code, {"error": str(error)}  # type: ignore[attr-defined]


# Status and screen


def test_good_data_end_with_0_and_are_described(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate() == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        "TensorDataset (shuffled): 30 samples, all checked",
        "  column  kind         missing  min      max     mean",
        "  0       float32 [4]        0    0  29.5000  14.7500",
        "  1       int64              0    0        2        1",
        "  classes  0: 10  1: 10  2: 10",
    ]
    assert re.fullmatch(r"0 errors, 0 warnings in \d.*", lines[-2])
    assert lines[-1] == "report  data/validation/report.html"


def test_an_error_ends_with_1_and_stands_with_its_data(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.program(test=24)
    assert validate() == 1
    shown = capsys.readouterr().out
    assert (
        "  error    leak: 6 samples are in TensorDataset (shuffled) too, such as 0, which is 24 there"
        in shown
    )
    assert "1 error, 0 warnings" in shown


def test_warnings_end_with_1_only_if_strict(here: Here) -> None:
    here.prepare(train=[*digits(20), digits(20)[3]])
    assert validate() == 0
    assert validate("--strict") == 1


def test_json_has_everything_but_pictures(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.prepare(train=digits(20), test=[*digits(5, start=90), digits(20)[7]])
    assert validate("--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["num_errors"], shown["num_warnings"]) == (1, 0)
    assert shown["findings"][0]["check"] == "leak"
    assert [dataset["name"] for dataset in shown["datasets"][:2]] == ["rows/train", "rows/test"]
    assert shown == json.loads((here.folder / "data/validation/report.json").read_text())
    assert "pictures" not in shown["datasets"][0]


def test_the_page_is_written_where_it_is_asked_for_too(here: Here) -> None:
    assert validate("--report", "out/page.html") == 0
    page = (here.folder / "out/page.html").read_text()
    assert page == (here.folder / "data/validation/report.html").read_text()
    assert page.startswith("<!doctype html>")


def test_a_manifest_alone_is_looked_at_and_leaves_no_verdict(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared_folder(here.folder / "elsewhere", {"train": digits(10)})
    assert validate("--manifest", "elsewhere") == 0
    assert "TensorDataset" not in capsys.readouterr().out
    assert not (here.folder / "data/validation" / VERDICT_FILE).exists()
    assert validate("--manifest", "nowhere") == 1
    assert "there is no nowhere/manifest.json" in capsys.readouterr().out


def test_drift_against_a_reference_is_a_warning(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    prepared_folder(here.folder / "before", {"train": [(pixels, 0) for pixels, _ in digits(200)]})
    here.prepare(train=digits(200, start=900))
    assert validate("--reference", "before") == 0
    assert "warning  drift: 1: population stability index" in capsys.readouterr().out
    assert validate("--reference", "before/manifest.json", "--strict") == 1


def test_a_reference_that_is_none_is_refused(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate("--reference", "nowhere") == 1
    assert "there is no" in capsys.readouterr().err


def test_sources_are_looked_at_by_columns(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    (here.folder / "data").mkdir()
    for name, first in (("train", 0), ("test", 95)):
        ids = list(range(first, first + 100))
        table = pa.table({"x": [float(n) for n in ids], "text": [f"row {n}" for n in ids], "label": ids})
        pq.write_table(table, here.folder / "data" / f"{name}.parquet", row_group_size=30)
    (here.folder / "data/bad.csv").write_text("x,label\n1.5,1\n1.5,1\n")
    here.settings(
        """
        [data.sources.train]
        format = "parquet"
        path = "data/train.parquet"
        [data.sources.test]
        format = "parquet"
        path = "data/test.parquet"
        [data.sources.more]
        format = "csv"
        path = "data/bad.csv"
        [data.sources.gone]
        format = "parquet"
        path = "data/gone.parquet"
        """
    )
    assert validate("--json") == 1
    findings = {
        (f["dataset"], f["check"]): f["text"] for f in json.loads(capsys.readouterr().out)["findings"]
    }
    assert findings["test", "leak"] == "5 samples are in train too, such as 0, which is 95 there"
    assert findings["more", "duplicates"].startswith("1 sample is there more than once")
    assert findings["gone", "readable"] == "no file matches data/gone.parquet"


def test_pictures_that_cannot_be_read_are_named_and_the_others_looked_at(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for label in ("cat", "dog"):
        (here.folder / "data/images" / label).mkdir(parents=True)
        for number in range(3):
            noise = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(number + 10 * ord(label[0])))
            file = here.folder / "data/images" / label / f"{number}.png"
            Image.fromarray((noise * 255).to(torch.uint8).numpy()).save(file)
    file.write_bytes(file.read_bytes()[:60])
    here.settings('[data.sources.train]\nformat = "images"\npath = "data/images"\n')
    assert validate("--json") == 1
    shown = json.loads(capsys.readouterr().out)
    (finding,) = shown["findings"]
    assert finding["check"] == "readable"
    assert "dog/2.png" in finding["text"]
    assert shown["datasets"][0]["class_counts"] == {"0": 3, "1": 2}


def test_a_program_that_fails_is_told_with_its_place_and_no_traceback(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.program(text="def train(run, settings):\n    open('data/missing.csv')\n")
    assert validate() == 2
    error = capsys.readouterr().err
    assert "the program failed before its outer loop: FileNotFoundError" in error
    assert "(train.py:2)" in error
    here.prepare(train=digits(10))
    assert validate() == 0
    assert "note: the program's own data sets were not looked at" in capsys.readouterr().out


def test_a_program_without_loaders_cannot_be_validated(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.program(text="def train(run, settings):\n    for _ in run.epochs(3): ...\n")
    assert validate() == 2
    assert "makes no loader" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    (here.folder / "data").write_text("a file")
    assert validate() == 1
    assert "data/validation/report.html cannot be written" in capsys.readouterr().err


def test_a_store_that_is_away_does_not_fail_a_validation(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.settings('[tracking]\nuri = "file:///nowhere"\n')
    assert validate() == 0
    assert "note: the report is not in MLflow: the tracking URI" in capsys.readouterr().out


def test_the_report_is_a_run_in_mlflow(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bessemer.tracking import log_validation
    from bessemer.tracking.store import client_of

    monkeypatch.setattr("bessemer.training.validation.log_validation", log_validation)
    here.program(test=24)
    assert validate() == 1
    assert "not in MLflow" not in capsys.readouterr().out
    client = client_of(f"sqlite:///{here.folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("rows")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "validation"
    assert run.info.status == "FINISHED"
    assert (run.data.metrics["data/errors"], run.data.metrics["data/leak"]) == (1.0, 1.0)
    files = {file.path for file in client.list_artifacts(run.info.run_id, "validation")}
    assert files == {"validation/report.html", "validation/report.json"}


# The page


def awkward() -> Report:
    evil = "<script>alert('x')</script>\x1b[31m"
    column = ColumnSummary(name=evil, kind="str", counts={evil: 3}, num_missing=1)
    dataset = DatasetSummary(
        name=evil, origin="source", num_samples=3, num_checked=3, columns=(column,), class_counts={evil: 3}
    )
    finding = Finding(severity="error", check="missing", dataset=evil, text=evil, column=evil)
    return Report(project=evil, time=0, duration_s=1, datasets=(dataset,), findings=(finding,), notes=(evil,))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_comes_from_data_cannot_be_code_in_the_page() -> None:
    page = page_of(awkward())
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page


def test_the_page_needs_nothing_else(here: Here) -> None:
    here.prepare(train=digits(20))
    assert validate() == 0
    page = (here.folder / "data/validation/report.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert {"svg", "rect", "img", "figure"} <= tags.seen
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    assert "http" not in page


def test_every_check_is_in_the_table_of_the_papers() -> None:
    table = catalogue_table()
    assert all(f"| `{check.name}` | " in table for check in CATALOGUE)
    assert len({check.name for check in CATALOGUE}) == len(CATALOGUE)
    papers = (Path(__file__).parent.parent / "docs").glob("*.md")
    assert any(table in paper.read_text(encoding="utf-8") for paper in papers)


# Verdict


def test_an_unchanged_verdict_is_not_come_to_again(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.prepare(train=[*digits(20), digits(20)[3]])
    assert validate("--if-changed") == 0
    capsys.readouterr()
    assert validate("--if-changed") == 0
    assert re.match(r"unchanged since validation found 0 errors, 1 warning on ", capsys.readouterr().out)
    assert validate("--if-changed", "--strict") == 1


@pytest.mark.parametrize("change", ["settings", "data", "files", "code", "samples", "damaged verdict"])
def test_what_a_verdict_depends_on_has_it_come_to_again(
    here: Here, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    folder = here.prepare(train=digits(20))
    assert validate() == 0
    capsys.readouterr()
    arguments: list[str] = []
    if change == "settings":
        here.settings("[checks]\nnum_classes = 5\n")
    elif change == "data":
        prepared_folder(folder, {"train": digits(25)})
    elif change == "files":
        (here.folder / "data/more.csv").write_text("a")
    elif change == "code":
        here.program(text=PROGRAM.replace("{test}", "30") + "# more\n")
    elif change == "samples":
        arguments = ["--max-samples", "7"]
    else:
        (here.folder / "data/validation" / VERDICT_FILE).write_text("{")
    assert validate("--if-changed", *arguments) in (0, 1)
    assert "unchanged" not in capsys.readouterr().out


def test_two_projects_with_one_folder_keep_a_verdict_each(here: Here) -> None:
    assert validate() == 0
    other = here.folder / "projects" / "other"
    shutil.copytree(here.package.parent, other)
    text = (other / "pyproject.toml").read_text().replace('name = "rows"', 'name = "other"')
    (other / "pyproject.toml").write_text(text)
    assert entry(["data", "validate", "--project", "other"]) == 0
    assert set(read_verdicts(here.folder / "data").projects) == {"rows", "other"}


# Training


def test_data_that_were_validated_are_trained_on_without_a_word(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.prepare(train=digits(20))
    assert validate() == 0
    capsys.readouterr()
    status, tags = train(monkeypatch)
    assert status == 0
    assert "bessemer.invalid_data" not in tags
    assert capsys.readouterr().out == ""


def test_data_that_were_never_validated_are_trained_on_with_a_note_if_they_are_declared(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(monkeypatch)[0] == 0
    assert capsys.readouterr().out == ""
    here.prepare(train=digits(20))
    assert train(monkeypatch)[0] == 0
    assert capsys.readouterr().out == "note: these data were never validated: bessemer data validate\n"


def test_data_that_failed_are_refused_until_it_is_allowed(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.program(test=24)
    assert validate() == 1
    status, refusal = train(monkeypatch)
    assert status == 2
    assert "validation of these data found 1 error, 0 warnings on " in refusal["error"]
    assert "leak: TensorDataset (in order): 6 samples are in" in refusal["error"]
    assert "--allow-invalid-data" in refusal["error"]
    status, tags = train(monkeypatch, "--allow-invalid-data")
    assert status == 0
    assert "6 samples are in" in tags["bessemer.invalid_data"]
    assert "note: training on invalid data" in capsys.readouterr().out


def test_warnings_refuse_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.prepare(train=[*digits(20), digits(20)[3]])
    assert validate("--strict") == 1
    assert train(monkeypatch)[0] == 0


def test_data_that_changed_since_they_failed_are_trained_on_with_a_note(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.program(test=24)
    assert validate() == 1
    here.program(test=30)
    capsys.readouterr()
    assert train(monkeypatch)[0] == 0
    assert "note: code changed since validation found 1 error" in capsys.readouterr().out


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[50] ^= 255
    path.write_bytes(raw)


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove, "is missing"),
        (truncate, "has [0-9,]+ bytes instead of"),
        (flip, "has another content than its SHA-256 says"),
    ],
)
def test_a_shard_that_changed_since_is_refused_by_name(
    here: Here, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], text: str, validated: bool
) -> None:
    folder = here.prepare(train=digits(20))
    if validated:
        assert validate() == 0
    path = folder / "train-0.parquet"
    damage(path)
    if path.exists():
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))
    status, refusal = train(monkeypatch)
    assert status == 2
    assert re.search(f"train-0.parquet {text}", refusal["error"])
    assert train(monkeypatch, "--allow-invalid-data")[0] == 0


def test_a_copy_with_other_times_is_the_same_data(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = here.prepare(train=digits(20))
    assert validate() == 0
    os.utime(folder / "train-0.parquet")
    assert train(monkeypatch)[0] == 0


def test_a_damaged_manifest_is_refused(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.prepare(train=digits(20)) / "manifest.json").write_text("{}")
    status, refusal = train(monkeypatch)
    assert status == 2
    assert "manifest.json is damaged" in refusal["error"]
