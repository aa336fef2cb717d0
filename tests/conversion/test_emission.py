"""Writing a project: whole or not at all, and never over somebody's work. (How edits are merged: see
`test_converting_again.py`.)"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bessemer.conversion import convert, is_current
from bessemer.conversion.writing import emission, merge_base, placing
from bessemer.conversion.writing.merging import Kind
from bessemer.conversion.writing.project import package_name
from bessemer.errors import ConversionError, SourceError
from conversion.converted_projects import CASES, DIGITS, Project
from conversion.killed_writes import content_of


@pytest.fixture
def project(digits: Project, tmp_path: Path) -> Path:
    """A copy of the converted digits that a test may change."""
    return Path(shutil.copytree(digits.root, tmp_path / "digits"))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_project_is_written_again_over_itself(project: Path) -> None:
    before = content_of(project)
    again = convert(DIGITS, project)
    assert {x.kind for x in again.changes} <= {Kind.UNCHANGED, Kind.UPDATED}
    assert content_of(project).keys() == before.keys()
    assert leftovers(project.parent) == ["digits"]


def test_what_the_user_added_is_kept(project: Path) -> None:
    (project / "notes.md").write_text("mine")
    (project / "runs" / "first").mkdir(parents=True)
    (project / "runs" / "first" / "log.txt").write_text("loss")
    (project / "settings.toml").write_text("epochs = 3\n")
    convert(DIGITS, project)
    assert (project / "notes.md").read_text() == "mine"
    assert (project / "runs" / "first" / "log.txt").read_text() == "loss"
    assert (project / "settings.toml").read_text() == "epochs = 3\n"


def test_a_project_without_a_base_is_not_written_over_if_it_was_changed(project: Path) -> None:
    """One of an older Bessemer: it kept hashes of what it wrote, and no more."""
    (project / merge_base.FILE).unlink()
    trainer = project / "digits" / "training" / "trainer.py"
    trainer.write_text(trainer.read_text() + "# mine\n")
    with pytest.raises(ConversionError, match=r"changed by hand.*digits/training/trainer\.py"):
        convert(DIGITS, project)
    assert trainer.read_text().endswith("# mine\n")


@pytest.mark.parametrize("broken", [None, b"", b"PK\x05\x06 is how a ZIP file ends"])
def test_a_project_without_a_base_gets_one_if_only_its_settings_were_changed(
    project: Path, broken: bytes | None
) -> None:
    (project / merge_base.FILE).unlink()
    if broken is not None:
        (project / merge_base.FILE).write_bytes(broken)
    (project / "settings.toml").write_text("epochs = 3\n")
    (project / "Makefile").unlink()
    convert(DIGITS, project)
    assert (project / "settings.toml").read_text() == "epochs = 3\n"
    written = merge_base.read(project)
    assert written is not None
    assert written["Makefile"] == (project / "Makefile").read_bytes()
    assert b"epochs" in written["settings.toml"]


def test_files_keep_their_modes_and_those_that_stay_as_they_were_their_times(project: Path) -> None:
    written = merge_base.read(project)
    assert written is not None
    changed, same = project / "jobs" / "train.py", project / "jobs" / "tune.py"
    for path in (changed, same):
        path.chmod(0o755)
        os.utime(path, (1, 1))
    files = {**written, "jobs/train.py": b"changed"}
    emission.write(project, files, written)
    assert (changed.read_bytes(), changed.stat().st_mode & 0o777) == (b"changed", 0o755)
    assert (same.stat().st_mtime, same.stat().st_mode & 0o777) == (1, 0o755)


def test_a_folder_that_was_moved_and_linked_to_is_merged_and_left_where_it_is(project: Path) -> None:
    moved = Path(shutil.move(project / "jobs", project.parent / "elsewhere"))
    (project / "jobs").symlink_to(moved)
    (moved / "train.py").write_text("mine")
    convert(DIGITS, project)
    assert (project / "jobs" / "train.py").read_text() == "mine"
    assert (project / "jobs" / "tune.py").is_file()
    assert (moved / "train.py").read_text() == "mine"


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ConversionError, match="not written by conversion"):
        convert(DIGITS, out)
    assert leftovers(out) == ["thesis.tex"]
    assert leftovers(tmp_path) == ["thesis"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("a file")
    with pytest.raises(ConversionError, match="something else of this name"):
        convert(DIGITS, tmp_path / "digits")


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(placing, "put", fail)
    with pytest.raises(ConversionError, match=r"out cannot be written: no space left"):
        emission.write(tmp_path / "out", {"a/b.txt": b"text"}, {})
    assert leftovers(tmp_path) == []


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="leads out of the project"):
        emission.write(tmp_path / "out", {"../evil.txt": b"text"}, {})
    with pytest.raises(ConversionError, match="leads out of the project"):
        emission.formatted({"../evil.txt": "text"})
    assert leftovers(tmp_path) == []


def test_a_file_where_conversion_needs_a_folder_is_refused(project: Path) -> None:
    shutil.rmtree(project / "jobs")
    (project / "jobs").write_text("mine")
    with pytest.raises(ConversionError, match=r"jobs/evaluate.py cannot be read: Not a directory"):
        convert(DIGITS, project)
    assert (project / "jobs").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("digits", "digits"),
        ("Hand-written digits", "hand_written_digits"),
        ("torch", "torch_project"),
        ("json", "json_project"),
        ("bessemer", "bessemer_project"),
        ("2nd try", "_2nd_try"),
        ("class", "class_project"),
        ("...", "project"),
    ],
)
def test_a_package_hides_nothing_that_is_installed(name: str, package: str) -> None:
    assert package_name(name) == package


TWO_SCRIPTS = {"first.py": "epochs = 1", "second.py": "epochs = 2"}


def folder_of_two(folder: Path) -> Path:
    code = (CASES / "no_options" / "train.py").read_text()
    folder.mkdir()
    for name, line in TWO_SCRIPTS.items():
        (folder / name).write_text(f"{code}\n# {line}\n")
    return folder


def test_a_script_that_was_chosen_once_stays_chosen(tmp_path: Path) -> None:
    source = folder_of_two(tmp_path / "source")
    with pytest.raises(SourceError, match=r"several entry points: first.py, second.py"):
        convert(source, tmp_path / "out")
    convert(source, tmp_path / "out", entry="second.py")
    again = convert(source, tmp_path / "out")
    assert again.plan.entry.startswith("second.py:")
    (source / "second.py").unlink()
    assert convert(source, tmp_path / "out").plan.entry.startswith("first.py:")


def test_a_project_of_a_script_is_old_when_a_module_of_the_script_has_changed(tmp_path: Path) -> None:
    source = Path(shutil.copytree(CASES / "several_files", tmp_path / "source"))
    script, out = source / "train.py", tmp_path / "out"
    convert(script, out)
    (source / "unrelated.py").write_text("x = 1\n")
    assert is_current(script, out)
    (source / "parts" / "data.py").write_text((source / "parts" / "data.py").read_text() + "\n# changed\n")
    assert not is_current(script, out)
