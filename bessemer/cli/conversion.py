"""Verbs that read code and never run it: `convert`, `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import JsonOption, console_for

verbs = typer.Typer()


@verbs.command()
def convert(
    source: Annotated[str, typer.Argument(help="A file or folder, or a name under src/.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: projects/<name>.")] = None,
    entry: Annotated[str, typer.Option("--entry", help="Script of the folder, if several train.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done; write nothing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a production package from research code, without running it."""
    from bessemer.conversion.command import convert_and_report

    path = _source_path(source)
    target = out or Path("projects") / path.stem
    convert_and_report(path, target, entry, plan, json_output, console_for())


@verbs.command()
def check(
    project: Annotated[str, typer.Argument(help="A project, a folder, or a Python file.")],
    json_output: JsonOption = False,
) -> None:
    """Find what a restart would lose, by reading the code; exit status 1 if there is anything."""
    from bessemer.conversion.checking import check_and_report, find_path

    if check_and_report(find_path(project, Path.cwd()), json_output, console_for()):
        raise typer.Exit(1)


def _source_path(source: str) -> Path:
    from bessemer.config.project import SOURCES_FOLDER

    path = Path(source)
    if path.exists() or "/" in source:
        return path
    named = Path.cwd() / SOURCES_FOLDER / source
    return named if named.exists() else path
