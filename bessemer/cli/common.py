"""What the verbs share: their common options, and how they find a project, its settings and a console.

Anything after a verb that is not an option of its own is a setting of the project, such as
`--lr 0.5` or `--scaling.num-workers 4`; a verb that takes such settings passes `PASS_ON`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bessemer.config.loading import LoadedSettings
    from bessemer.config.project import Project
    from bessemer.config.settings import Settings

# Characters of a line where no terminal says how many there are room for.
_WIDTH = 160
# What --resume without a name stands for.
NEWEST = "newest"

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

ProjectOption = Annotated[
    str,
    typer.Option("--project", "-p", help="Name under projects/ or src/, or a project's folder."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: the project's own.")
]
ResearchOption = Annotated[
    str,
    typer.Option("--research-args", help="The research code's own command line, in quotation marks."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


class Given(TypedDict):
    """What belongs to a project, as `fit` wants it."""

    project: str
    search_path: list[str]
    code: list[Path]
    tags: dict[str, str]


def given_of(project: Project, tags: Mapping[str, str]) -> Given:
    """Return what belongs to a project; `tags`: more of its runs, beside where its code comes from."""
    from bessemer.utils.provenance import provenance

    source = {"mlflow.source.type": "PROJECT", "mlflow.source.name": project.entry}
    return Given(
        project=project.name,
        search_path=[str(project.root)],
        code=[project.package_dir],
        tags={**provenance(project.root, project.source_sha256), **source, **tags},
    )


def ready(name: str, console: Console) -> Project:
    """Find a project; convert it first if its research code is new or has changed."""
    from bessemer.config.project import PROJECTS_FOLDER, SOURCES_FOLDER, find_project
    from bessemer.errors import ProjectError

    base = Path.cwd()
    path = Path(name)
    if path.exists() and path.resolve().parent == (base / SOURCES_FOLDER).resolve():
        name = path.stem  # src/digits is what people complete by Tab
    try:
        project = find_project(name, base)
        source = project.source
    except ProjectError:
        folder = base / SOURCES_FOLDER
        candidates = (folder / name, folder / f"{name}.py", folder / f"{name}.ipynb")
        source = next((path for path in candidates if path.exists()), None)
        if source is None or "/" in name:
            raise
        project = None
    if source is not None and source.exists():
        from bessemer.conversion.command import bring_up_to_date

        bring_up_to_date(source, project.root if project else base / PROJECTS_FOLDER / name, console)
        project = find_project(name, base)
    assert project is not None
    return project


def load(
    project: Project,
    arguments: list[str],
    file: Path | None,
    research_arguments: str = "",
    research_folder: Path | None = None,
) -> LoadedSettings:
    """Load a project's settings from a file, the environment and the command line.

    `research_folder` is where the research code is run: by default the current folder.
    """
    from bessemer.config.loading import load_settings
    from bessemer.config.research_arguments import research_values, split

    given = split(research_arguments)
    loaded = load_settings(
        project.settings_class(),
        arguments,
        os.environ,
        file or project.settings_file,
        research_values(project.root, given, research_folder or Path()) if given else None,
    )
    _sign_in(loaded.settings)
    return loaded


def sections(project: Project, arguments: list[str], file: Path | None) -> Settings:
    """Load a project's settings for their sections: where runs are; the project's own may be missing."""
    from bessemer.config.loading import load_settings, without_required

    model = without_required(project.settings_class())
    settings = load_settings(model, arguments, os.environ, file or project.settings_file).settings
    _sign_in(settings)
    return settings


def _sign_in(settings: Settings) -> None:
    """Let every verb that comes to MLflow be known there."""
    if settings.tracking.password_file:
        from bessemer.tracking import sign_in

        sign_in(settings.tracking)


def console_for(json_output: bool = False) -> Console:
    """Return where to write for people; standard output is for JSON alone where that is asked for.

    Where no terminal says how wide it is, lines are long: names in tables are for `grep` and logs then.
    """
    from rich.console import Console

    # Named, so that it stays what it is while Ray's own messages are sent to a log.
    stream = sys.stderr if json_output else sys.stdout
    return Console(file=stream, width=None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH)
