"""Finds a project on disk and says what it consists of; never imports its code.

A project is a folder whose `pyproject.toml` has a `[tool.bessemer]` table: the name, the entry
point that trains, the settings class, and, if a conversion wrote it, which source it came from.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bessemer.config.settings import Settings
from bessemer.errors import ProjectError, nearest

PROJECTS_FOLDER = "projects"
SOURCES_FOLDER = "src"


@dataclass(frozen=True)
class Project:
    """Where a project is and what in it is run.

    Attributes:
        name: what runs, experiments and commands call it.
        root: its folder, absolute.
        entry: `package.module:function`, called as `function(run, settings)` on each worker.
        settings: `package.module:Class`, a subclass of `bessemer.Settings`.
        source: the research code it was converted from, or None for a hand-written project.
        source_sha256: hash of that code when it was converted, or "".
        script: the file in the source's folder that is run, relative to it, or "".
    """

    name: str
    root: Path
    entry: str
    settings: str
    source: Path | None = None
    source_sha256: str = ""
    script: str = ""

    @property
    def settings_file(self) -> Path | None:
        """The project's own `settings.toml`, if it has one."""
        file = self.root / "settings.toml"
        return file if file.is_file() else None

    @property
    def package_dir(self) -> Path:
        """The folder of the package that the entry point is in."""
        return self.root / package_of(self.entry)

    def settings_class(self) -> type[Settings]:
        """Import the project's settings class."""
        found = resolve(self.settings, [str(self.root)])
        if not (isinstance(found, type) and issubclass(found, Settings)):
            raise ProjectError(
                f"{self.settings} of project {self.name} is {found!r}",
                expected="a subclass of bessemer.Settings",
            )
        return found


def find_project(name: str, base: Path) -> Project:
    """Find a project by its name under `base/projects`, or by the path of its folder.

    Raises:
        ProjectError: there is none, or its `pyproject.toml` does not describe one.
    """
    for root in (base / PROJECTS_FOLDER / name, base / name):
        if (root / "pyproject.toml").is_file():
            return read_project(root.resolve())
    raise ProjectError(
        f"there is no project {name!r}",
        expected=f"{PROJECTS_FOLDER}/{name}, or the path of a folder with a pyproject.toml; "
        + (nearest(name, known_names(base)) or f"known: {', '.join(known_names(base)) or 'none'}"),
        todo=f"put research code into {SOURCES_FOLDER}/{name} and run `bessemer convert {name}`",
    )


def known_names(base: Path) -> list[str]:
    """Names of the projects and sources under `base`, sorted."""
    projects = {path.parent.name for path in (base / PROJECTS_FOLDER).glob("*/pyproject.toml")}
    sources = {path.stem for path in (base / SOURCES_FOLDER).glob("*") if not path.name.startswith(".")}
    return sorted(projects | sources)


def read_project(root: Path) -> Project:
    """Read the `[tool.bessemer]` table of a project's `pyproject.toml`."""
    file = root / "pyproject.toml"
    try:
        tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}", expected="valid TOML") from None
    table = tools.get("bessemer", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        table = {}
    missing = [key for key in ("name", "entry", "settings") if not table.get(key)]
    if missing:
        raise ProjectError(
            f"{file} lacks {', '.join(missing)} under [tool.bessemer]",
            expected='name = "...", entry = "package.module:function", settings = "package.module:Class"',
        )
    source = table.get("source")
    return Project(
        name=table["name"],
        root=root,
        entry=table["entry"],
        settings=table["settings"],
        source=(root / source).resolve() if source else None,
        source_sha256=table.get("source_sha256", ""),
        script=table.get("script", ""),
    )


def package_of(program: object) -> str:
    """Return the package of `package.module:function`; of a function by value, "program"."""
    return program.partition(":")[0].partition(".")[0] if isinstance(program, str) else "program"


def resolve(reference: str, search_path: list[str]) -> Any:
    """Import what `package.module:name` names, with `search_path` in front of `sys.path`.

    Raises:
        ProjectError: the module or the name does not exist.
    """
    for folder in reversed(search_path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ProjectError(
            f"{module_name} cannot be imported: no module named {error.name}",
            expected=f"an importable {reference}",
            todo="install what the project's requirements.lock lists",
        ) from error
    if not hasattr(module, attribute):
        raise ProjectError(
            f"{module_name} has no {attribute!r}",
            expected=nearest(attribute, dir(module)) or f"an importable {reference}",
        )
    return getattr(module, attribute)


def resolve_function(reference: str, search_path: list[str]) -> Callable[..., Any]:
    """Import a function, as `resolve` does."""
    return cast(Callable[..., Any], resolve(reference, search_path))
