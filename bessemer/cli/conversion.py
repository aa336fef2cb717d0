"""Verbs that read code and never run it: `analyze`, `convert`, `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.common import JsonOption, console_for

verbs = typer.Typer()


@verbs.command()
def analyze(
    source: Annotated[str, typer.Argument(help="A script, notebook or folder, or a name under src/.")],
    json_output: JsonOption = False,
) -> None:
    """Say what a program is, without running or converting it; exit status 2 if nothing can be read."""
    from bessemer.conversion.survey.command import analyze_and_report

    if not analyze_and_report(_source_path(source), json_output, console_for()):
        raise typer.Exit(2)


@verbs.command()
def convert(
    source: Annotated[str, typer.Argument(help="A script, notebook or folder, or a name under src/.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: projects/<name>.")] = None,
    entry: Annotated[str, typer.Option("--entry", help="Script of the folder, if several train.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done; write nothing.")] = False,
    run: Annotated[
        int | None, typer.Option("--run", help="Of a notebook's training runs, only this one.")
    ] = None,
    runs: Annotated[
        bool, typer.Option("--runs", help="List a notebook's training runs; write nothing.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a production package from research code, without running it; keep what was edited in it.

    Exit status 1 if there are conflicts, which are marked in the files as git does.
    """
    from bessemer.conversion.command import convert_and_report, list_runs

    path = _source_path(source)
    if runs:
        list_runs(path, json_output, console_for())
        return
    target = out or Path("projects") / path.stem
    if convert_and_report(path, target, entry, plan, json_output, console_for(), run):
        raise typer.Exit(1)


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
    folder = Path.cwd() / SOURCES_FOLDER
    named = (folder / source, folder / f"{source}.py", folder / f"{source}.ipynb")
    return next((x for x in named if x.exists()), path)
