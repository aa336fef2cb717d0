"""A project is found by its name or its folder, read without being imported, and imported on demand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from bessemer import Settings
from bessemer.config.project import find_project, known_names, read_project, resolve, resolve_function
from bessemer.errors import ProjectError

PACKAGE = "a_package_of_a_test"
TABLE = f"""
[tool.bessemer]
name = "digits"
entry = "{PACKAGE}.training.trainer:train"
settings = "{PACKAGE}.config:DigitsSettings"
source = "../../src/digits"
source_sha256 = "abc"
"""


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text), encoding="utf-8")
    return file


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write(tmp_path / "projects" / "digits" / "pyproject.toml", TABLE)
    return tmp_path


@pytest.fixture
def imports() -> Iterator[None]:
    """Forget what a test imported, and the folders that it imported it from."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(PACKAGE):
            del sys.modules[name]


def test_a_project_is_found_by_its_name(base: Path) -> None:
    project = find_project("digits", base)
    assert project.name == "digits"
    assert project.root == base / "projects" / "digits"


def test_a_project_is_found_by_the_path_of_its_folder(base: Path) -> None:
    assert find_project("projects/digits", base) == find_project("digits", base)
    assert find_project(str(base / "projects" / "digits"), Path("/")) == find_project("digits", base)


def test_a_project_is_read_without_importing_its_code(base: Path) -> None:
    write(base / "projects" / "digits" / PACKAGE / "__init__.py", "raise RuntimeError('imported')")
    find_project("digits", base)
    assert PACKAGE not in sys.modules


def test_a_project_knows_where_its_parts_are(base: Path) -> None:
    project = find_project("digits", base)
    assert project.package_dir == project.root / PACKAGE
    assert project.source == base / "src" / "digits"
    assert project.source_sha256 == "abc"
    assert project.settings_file is None
    file = write(project.root / "settings.toml", "")
    assert project.settings_file == file


def test_a_hand_written_project_has_no_source(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[tool.bessemer]\nname = "a"\nentry = "b:c"\nsettings = "b:D"\n')
    project = read_project(tmp_path)
    assert project.source is None
    assert project.source_sha256 == ""


def test_a_misspelt_project_gets_the_nearest_known_one(base: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        find_project("digit", base)
    assert "'digit'" in caught.value.found
    assert "did you mean digits?" in caught.value.expected
    assert "bessemer convert" in caught.value.todo


def test_research_code_that_was_not_converted_yet_is_a_known_name(base: Path) -> None:
    write(base / "src" / "spirals.ipynb", "{}")
    write(base / "src" / "charlm" / "train.py", "")
    write(base / "src" / ".hidden", "")
    assert known_names(base) == ["charlm", "digits", "spirals"]
    with pytest.raises(ProjectError, match="did you mean spirals"):
        find_project("spiral", base)


def test_a_folder_without_projects_says_that_none_is_known(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="known: none"):
        find_project("digits", tmp_path)


@pytest.mark.parametrize("missing", ["name", "entry", "settings"])
def test_a_table_that_lacks_a_key_says_which(tmp_path: Path, missing: str) -> None:
    keys = {"name": "a", "entry": "b:c", "settings": "b:D"}
    del keys[missing]
    lines = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    write(tmp_path / "pyproject.toml", f"[tool.bessemer]\n{lines}\n")
    with pytest.raises(ProjectError, match=rf"lacks {missing} under \[tool.bessemer\]"):
        read_project(tmp_path)


def test_a_folder_of_something_else_is_no_project(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nname = "other"\n')
    with pytest.raises(ProjectError, match="lacks name, entry, settings"):
        read_project(tmp_path)


@pytest.mark.parametrize("content", [b"name = [", b"\xff\xfe\x00"], ids=["broken", "not text"])
def test_a_broken_description_is_a_projects_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(ProjectError, match="cannot be read"):
        read_project(tmp_path)


def test_a_description_whose_table_is_no_table_is_a_projects_error(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[tool]\nbessemer = "digits"\n')
    with pytest.raises(ProjectError):
        read_project(tmp_path)


@pytest.mark.usefixtures("imports")
def test_the_settings_class_is_imported_from_the_projects_folder(base: Path) -> None:
    project = find_project("digits", base)
    write(project.root / PACKAGE / "__init__.py", "")
    write(
        project.root / PACKAGE / "config.py",
        """
        from bessemer import Settings

        class DigitsSettings(Settings):
            lr: float = 0.5
        """,
    )
    found = project.settings_class()
    assert issubclass(found, Settings)
    assert found().model_dump()["lr"] == 0.5


@pytest.mark.usefixtures("imports")
def test_settings_that_are_no_settings_class_are_refused(base: Path) -> None:
    project = find_project("digits", base)
    write(project.root / PACKAGE / "__init__.py", "")
    write(project.root / PACKAGE / "config.py", "DigitsSettings = {'lr': 0.5}")
    with pytest.raises(ProjectError, match=r"subclass of bessemer\.Settings"):
        project.settings_class()


@pytest.mark.usefixtures("imports")
def test_a_missing_module_is_named_with_the_lock_file_to_install() -> None:
    with pytest.raises(ProjectError) as caught:
        resolve(f"{PACKAGE}.trainer:train", [])
    assert f"no module named {PACKAGE}" in caught.value.found
    assert "requirements.lock" in caught.value.todo


@pytest.mark.usefixtures("imports")
def test_a_missing_dependency_of_a_module_is_named_and_not_the_module(tmp_path: Path) -> None:
    write(tmp_path / f"{PACKAGE}_needs.py", "import a_package_that_nobody_has")
    with pytest.raises(ProjectError, match="no module named a_package_that_nobody_has"):
        resolve(f"{PACKAGE}_needs:train", [str(tmp_path)])


@pytest.mark.usefixtures("imports")
def test_a_misspelt_function_gets_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path / f"{PACKAGE}_misspelt.py", "def train(run, settings): ...")
    with pytest.raises(ProjectError, match="did you mean train"):
        resolve(f"{PACKAGE}_misspelt:trian", [str(tmp_path)])


@pytest.mark.usefixtures("imports")
def test_an_earlier_folder_of_the_search_path_wins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write(tmp_path / name / f"{PACKAGE}_twice.py", f"def where(): return {name!r}")
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert resolve_function(f"{PACKAGE}_twice:where", folders)() == "first"


@pytest.mark.usefixtures("imports")
def test_an_error_inside_the_projects_own_module_is_not_disguised(tmp_path: Path) -> None:
    write(tmp_path / f"{PACKAGE}_broken.py", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        resolve(f"{PACKAGE}_broken:train", [str(tmp_path)])
