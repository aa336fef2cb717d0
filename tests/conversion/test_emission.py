"""Writing a project: whole or not at all, and never over somebody's work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bessemer.conversion import convert, emission, is_current
from bessemer.conversion.project import package_name
from bessemer.errors import ConversionError, SourceError
from conversion.converted_projects import CASES, DIGITS, Project


@pytest.fixture
def project(digits: Project, tmp_path: Path) -> Path:
    """A copy of the converted digits that a test may change."""
    return Path(shutil.copytree(digits.root, tmp_path / "digits"))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_project_is_written_again_over_itself(project: Path) -> None:
    (project / "digits" / "models" / "losses.py").unlink()
    convert(DIGITS, project)
    assert (project / "digits" / "models" / "losses.py").is_file()
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


def test_a_file_that_was_changed_by_hand_is_not_written_over(project: Path) -> None:
    trainer = project / "digits" / "training" / "trainer.py"
    trainer.write_text(trainer.read_text() + "# mine\n")
    with pytest.raises(ConversionError, match=r"changed by hand.*digits/training/trainer\.py"):
        convert(DIGITS, project)
    assert trainer.read_text().endswith("# mine\n")


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


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(staged: Path) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        emission.write(tmp_path / "out", {"a/b.txt": "text"}, fail)
    assert leftovers(tmp_path) == []


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="leads out of the project"):
        emission.write(tmp_path / "out", {"../evil.txt": "text"}, lambda _: None)
    assert leftovers(tmp_path) == []


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
