"""Converting again: the research code went on, and so did who edited the project; both are kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bessemer.cli import entry
from bessemer.conversion import Change, Conversion, convert, foresee, is_current
from bessemer.conversion.command import bring_up_to_date
from bessemer.conversion.writing import emission, merge_base
from bessemer.conversion.writing.merging import Kind
from bessemer.deployment.wheel import wheel_name
from bessemer.errors import ConversionError
from conversion.converted_projects import DIGITS
from conversion.killed_writes import content_of

MODEL = "waves/models/architectures.py"
DATASETS = "waves/data/datasets.py"
WAVES = '''
"""Fit a line to a noisy wave."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NUM_POINTS = 64


class Line(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Linear(1, width)
        self.second = nn.Linear(width, 1)

    def forward(self, x):
        x = self.first(x)
        x = torch.relu(x)
        x = x * 2
        return self.second(x)


def points():
    x = torch.linspace(0, 1, NUM_POINTS)[:, None]
    return TensorDataset(x, torch.sin(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1.0, help="learning rate")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data")
    args = parser.parse_args()
    loader = DataLoader(points(), batch_size=16)
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
'''


class Workplace:
    """A folder with research code, and the project that was converted from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "src" / "waves.py"
        self.out = folder / "projects" / "waves"

    def research(self, before: str, after: str) -> None:
        """Change the research code."""
        _change(self.source, before, after)

    def edit(self, name: str, before: str, after: str) -> None:
        """Change the project by hand."""
        _change(self.out / name, before, after)

    def read(self, name: str) -> str:
        return (self.out / name).read_text(encoding="utf-8")

    def convert(self) -> Conversion:
        return convert(self.source, self.out)

    def bring_up_to_date(self) -> str:
        """Convert on demand, as before training; return what is printed."""
        printed = io.StringIO()
        bring_up_to_date(self.source, self.out, Console(file=printed, width=200))
        return printed.getvalue()


def _change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


def kinds(changes: tuple[Change, ...]) -> dict[str, Kind]:
    return {x.file: x.kind for x in changes if x.kind is not Kind.UNCHANGED}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Workplace(tmp_path_factory.mktemp("again"))
    made.source.parent.mkdir()
    made.source.write_text(WAVES.lstrip())
    made.convert()
    return made.folder


@pytest.fixture
def workplace(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    folder = Path(shutil.copytree(converted, tmp_path / "here"))
    monkeypatch.chdir(folder)
    return Workplace(folder)


def edited(workplace: Workplace) -> None:
    """Edit a model, settings and a lock file, and let the research code go on in other places."""
    workplace.edit(MODEL, "torch.relu(x)", "torch.tanh(x)")
    workplace.edit("settings.toml", "# epochs = 20", "epochs = 3")
    workplace.edit("pyproject.toml", 'version = "0.1.0"', 'version = "7.0.0"')
    workplace.research('"--lr", type=float, default=1.0', '"--lr", type=float, default=0.5')
    workplace.research("nn.Linear(width, 1)", "nn.Linear(width, 1, bias=False)")
    workplace.research("NUM_POINTS = 64", "NUM_POINTS = 65")


def test_edits_of_the_digits_are_there_and_the_new_code_too(tmp_path: Path) -> None:
    source, out = tmp_path / "src" / "digits", tmp_path / "projects" / "digits"
    shutil.copytree(DIGITS, source, ignore=shutil.ignore_patterns("__pycache__"))
    convert(source, out)
    model, settings = out / "digits" / "models" / "architectures.py", out / "settings.toml"
    _change(model, "F.max_pool2d(x, 2)", "F.avg_pool2d(x, 2)")
    _change(settings, "# epochs = 20", "epochs = 3")
    _change(source / "train.py", "nn.Linear(128, NUM_CLASSES)", "nn.Linear(128, NUM_CLASSES, bias=False)")
    _change(source / "train.py", '"--lr", type=float, default=1.0', '"--lr", type=float, default=0.5')
    assert not convert(source, out).conflicts
    assert "F.avg_pool2d(x, 2)" in model.read_text()
    assert "nn.Linear(128, NUM_CLASSES, bias=False)" in model.read_text()
    assert "\nepochs = 3\n" in settings.read_text()
    assert "# lr = 0.5" in settings.read_text()


def test_edits_are_there_and_the_new_code_too(workplace: Workplace) -> None:
    edited(workplace)
    done = workplace.convert()
    assert "torch.tanh(x)" in workplace.read(MODEL)
    assert "nn.Linear(width, 1, bias=False)" in workplace.read(MODEL)
    assert "\nepochs = 3\n" in workplace.read("settings.toml")
    assert "# lr = 0.5" in workplace.read("settings.toml")
    assert "lr: float = Field(0.5" in workplace.read("waves/config/settings.py")
    assert 'version = "7.0.0"' in workplace.read("pyproject.toml")
    assert is_current(workplace.source, workplace.out)
    found = kinds(done.changes)
    merged = {name for name, kind in found.items() if kind is Kind.MERGED}
    assert merged == {MODEL, "settings.toml", "pyproject.toml"}
    assert found[DATASETS] is Kind.UPDATED
    assert not done.conflicts
    assert [x.name for x in workplace.out.parent.iterdir()] == ["waves"]


def test_edits_are_kept_each_time(workplace: Workplace) -> None:
    """The base is the newest conversion, not the first one."""
    edited(workplace)
    workplace.convert()
    workplace.research("NUM_POINTS = 65", "NUM_POINTS = 66")
    workplace.research("width, 1, bias=False", "width, 1")
    workplace.edit(MODEL, "torch.tanh(x)", "torch.sin(x)")
    assert not workplace.convert().conflicts
    assert "torch.sin(x)" in workplace.read(MODEL)
    assert "nn.Linear(width, 1)" in workplace.read(MODEL)
    assert "NUM_POINTS = 66" in workplace.read(DATASETS)
    again = workplace.convert()
    assert set(kinds(again.changes).values()) == {Kind.KEPT}


def test_the_merged_project_passes_its_own_tests(workplace: Workplace) -> None:
    pytest.importorskip("torch")
    edited(workplace)
    workplace.convert()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=workplace.out,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # The defaults that its tests expect are those of the new research code.
    assert result.returncode == 0, result.stdout + result.stderr


def in_conflict(workplace: Workplace) -> None:
    workplace.edit(MODEL, "nn.Linear(width, 1)", "nn.Linear(width, 1 + 0)")
    workplace.research("nn.Linear(width, 1)", "nn.Linear(width, 1, bias=False)")


def test_a_conflict_is_marked_as_git_does_and_named(
    workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    in_conflict(workplace)
    assert entry(["convert", "waves"]) == 1
    lines = workplace.read(MODEL).splitlines()
    place = lines.index("<<<<<<< yours")
    assert lines[place : place + 5] == [
        "<<<<<<< yours",
        "        self.second = nn.Linear(width, 1 + 0)",
        "=======",
        "        self.second = nn.Linear(width, 1, bias=False)",
        ">>>>>>> converted",
    ]
    printed = capsys.readouterr().out
    assert f"in conflict: {MODEL}:{place + 1}\n" in printed
    assert "1 in conflict" in printed
    assert "to do: " in printed


def test_nothing_is_done_with_a_project_that_has_conflicts_until_they_are_settled(
    workplace: Workplace,
) -> None:
    in_conflict(workplace)
    place = workplace.convert().conflicts[0].lines[0]
    for use in (workplace.convert, workplace.bring_up_to_date):
        with pytest.raises(ConversionError, match=rf"conflicts.* are left: {MODEL}:{place}\n"):
            use()
    text = workplace.read(MODEL)
    start, end = text.index("=======\n"), text.index(">>>>>>> converted\n")
    settled = text[:start] + text[end:].removeprefix(">>>>>>> converted\n")
    (workplace.out / MODEL).write_text(settled.replace("<<<<<<< yours\n", ""))
    assert workplace.bring_up_to_date() == ""
    again = workplace.convert()
    assert kinds(again.changes) == {MODEL: Kind.KEPT}
    assert "1 + 0)" in workplace.read(MODEL)


def test_marks_in_the_file_that_says_what_the_project_is_are_named_too(workplace: Workplace) -> None:
    workplace.edit("pyproject.toml", "source_sha256 =", "# mine\nsource_sha256 =")
    workplace.research("NUM_POINTS = 64", "NUM_POINTS = 65")
    assert [x.file for x in workplace.convert().conflicts] == ["pyproject.toml"]
    for use in (workplace.convert, workplace.bring_up_to_date):
        with pytest.raises(ConversionError, match=r"conflicts.* are left: pyproject\.toml:\d+"):
            use()


def test_training_does_not_begin_with_conflicts_and_leaves_the_project_as_it_is(
    workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    in_conflict(workplace)
    before = content_of(workplace.out)
    assert entry(["train", "--project", "waves"]) == 2
    printed = capsys.readouterr()
    assert f"was changed by hand: {MODEL}:" in printed.err
    assert "bessemer convert" in printed.err
    assert content_of(workplace.out) == before
    workplace.convert()
    assert entry(["train", "--project", "waves"]) == 2
    assert "conflicts of the last conversion are left" in capsys.readouterr().err


def test_conversion_on_demand_merges_and_says_what_it_did(workplace: Workplace) -> None:
    edited(workplace)
    printed = workplace.bring_up_to_date()
    assert "its research code has changed" in printed
    assert f"  merged: {MODEL}\n" in printed
    assert "torch.tanh(x)" in workplace.read(MODEL)
    assert workplace.bring_up_to_date() == ""


def test_a_plan_shows_what_would_become_of_each_file_and_writes_nothing(
    workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(workplace)
    before = content_of(workplace.folder)
    planned = foresee(workplace.source, workplace.out)
    assert entry(["convert", "waves", "--plan"]) == 0
    assert f"  merged: {MODEL}\n" in capsys.readouterr().out
    assert entry(["convert", "waves", "--plan", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["changes"]
    assert content_of(workplace.folder) == before
    assert workplace.convert().changes == planned.changes
    assert shown == [{"file": x.file, "kind": x.kind.value, "lines": []} for x in planned.changes]


def test_json_names_conflicts_with_their_lines(
    workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    in_conflict(workplace)
    assert entry(["convert", "waves", "--plan", "--json"]) == 1
    planned = json.loads(capsys.readouterr().out)
    assert entry(["convert", "waves", "--json"]) == 1
    done = json.loads(capsys.readouterr().out)
    assert planned["changes"] == done["changes"]
    assert (planned["out"], done["out"]) == (None, "projects/waves")
    place = workplace.read(MODEL).splitlines().index("<<<<<<< yours") + 1
    assert {"file": MODEL, "kind": "conflict", "lines": [place]} in done["changes"]


def test_a_file_that_was_deleted_stays_deleted_unless_it_has_changed(workplace: Workplace) -> None:
    (workplace.out / "Makefile").unlink()
    (workplace.out / DATASETS).unlink()
    workplace.research("NUM_POINTS = 64", "NUM_POINTS = 65")
    done = workplace.convert()
    found = kinds(done.changes)
    assert found["Makefile"] is Kind.DELETED
    assert [(x.file, x.lines) for x in done.conflicts] == [(DATASETS, ())]
    assert "Makefile" not in done.files
    assert not (workplace.out / "Makefile").exists()
    assert "NUM_POINTS = 65" in workplace.read(DATASETS)
    (workplace.out / DATASETS).unlink()
    again = workplace.convert()
    assert kinds(again.changes) == {"Makefile": Kind.DELETED, DATASETS: Kind.DELETED}


def test_what_conversion_writes_no_more_goes_unless_it_was_edited(workplace: Workplace) -> None:
    extra = {"waves/old.py": b"x = 1\n", "waves/older/edited.py": b"x = 1\n"}
    written = merge_base.read(workplace.out)
    assert written is not None
    files = {**content_of(workplace.out), **extra}
    emission.write(workplace.out, files, {**written, **extra})
    workplace.edit("waves/older/edited.py", "x = 1", "x = 2")
    (workplace.out / "waves" / "__pycache__").mkdir()
    (workplace.out / "waves" / "__pycache__" / "old.pyc").touch()
    found = kinds(workplace.convert().changes)
    assert (found["waves/old.py"], found["waves/older/edited.py"]) == (Kind.REMOVED, Kind.LEFT)
    assert not (workplace.out / "waves" / "old.py").exists()
    assert not (workplace.out / "waves" / "__pycache__").exists()
    assert workplace.read("waves/older/edited.py") == "x = 2\n"
    assert "waves/older/edited.py" not in kinds(workplace.convert().changes)
    assert workplace.read("waves/older/edited.py") == "x = 2\n"


def test_a_project_that_was_moved_keeps_its_names_and_its_edits(workplace: Workplace) -> None:
    edited(workplace)
    moved = workplace.folder / "elsewhere" / "numbers"
    moved.parent.mkdir()
    shutil.move(workplace.out, moved)
    done = convert(workplace.source, moved)
    assert (done.name, done.package) == ("waves", "waves")
    assert not done.conflicts
    assert set(kinds(done.changes).values()) == {Kind.MERGED, Kind.UPDATED}
    assert "torch.tanh(x)" in (moved / MODEL).read_text()
    assert "nn.Linear(width, 1, bias=False)" in (moved / MODEL).read_text()


def test_another_name_for_the_project_leaves_its_package(workplace: Workplace) -> None:
    workplace.edit("pyproject.toml", '\nname = "waves"\nentry', '\nname = "eights"\nentry')
    workplace.research("NUM_POINTS = 64", "NUM_POINTS = 65")
    done = workplace.convert()
    assert (done.name, done.package) == ("eights", "waves")
    assert not done.conflicts


def test_the_base_is_one_packed_file_that_no_tool_takes_for_code(workplace: Workplace) -> None:
    assert [x.name for x in (workplace.out / ".bessemer").iterdir()] == ["base.zip"]
    assert (workplace.out / merge_base.FILE).stat().st_size < 50_000
    noted = json.loads(workplace.read(emission.MANIFEST))
    written = merge_base.read(workplace.out)
    assert written is not None
    assert emission.digests(written) == noted["files"]
    own = {emission.MANIFEST, merge_base.FILE, f"{emission.WHEELS}/{wheel_name()}"}
    assert noted["files"].keys() == content_of(workplace.out).keys() - own
    first = (workplace.out / merge_base.FILE).read_bytes()
    workplace.convert()
    assert (workplace.out / merge_base.FILE).read_bytes() == first
